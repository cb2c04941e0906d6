"""The way of a batch of events from its body to the commit, for one kind of keys."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from flagloop_server.edge.answers import Answer, Receive, Refused, Scope, error, header, json_answer
from flagloop_server.edge.body import Bodies, unpack
from flagloop_server.edge.keys import EdgeKey

COMMIT_SECONDS = 10.0
"""How long an answer to events waits for the commit; a later one is told by the retry."""

FEW = 100
"""Rejected events whose answer is written on the loop: 10,000 of them would hold it for 30 ms."""

INSTANCE = b"x-flagloop-instance"


class Ingest(Protocol):
    """Takes the body of a batch of events."""

    def __call__(
        self, key: EdgeKey, body: bytes, received: int, said: bytes | None = None
    ) -> Future[Mapping[str, object]]:
        """The answer once the batch is durable; `received` is epoch ms. Raises Refused.

        `said` is how the process introduced itself that sends the batch. It may block for the
        time of parsing and is called on a thread.
        """
        ...


class Intake:
    """Bodies that are read, threads that parse them and batches that wait, all bounded.

    At most `batches` wait for their commit, and half of them of one key; `limit` is the bytes of
    a body as sent, `unpacked` without its Content-Encoding. `waiting` counts by the key's id.
    """

    def __init__(
        self, ingest: Ingest, bodies: Bodies, *, limit: int, unpacked: int, batches: int
    ) -> None:
        self.waiting: Counter[int] = Counter()
        self._ingest = ingest
        self._bodies = bodies
        self._limit = limit
        self._unpacked = unpacked
        self._batches = batches
        # Two at a time: one is unpacked while another is read, and their memory stays bounded.
        self._parsers = ThreadPoolExecutor(2, thread_name_prefix="edge-events")

    def close(self) -> None:
        """Let the threads end; running calls are not waited for."""
        self._parsers.shutdown(wait=False, cancel_futures=True)

    async def take(self, key: EdgeKey, scope: Scope, receive: Receive) -> Answer:
        """Read, parse on a thread, wait for the commit.

        Raises Refused (400, 408, 413, 415, 429, 503) and Disconnected.
        """
        encoding = (header(scope, b"content-encoding") or b"").strip().lower()
        said = header(scope, INSTANCE)
        async with self._bodies.read(scope, receive, self._limit) as body:
            received = time.time_ns() // 1_000_000
            if self.waiting.total() >= self._batches:
                raise Refused(error(429, "too many batches wait", retry_after=2))
            if self.waiting[key.id] >= max(1, self._batches // 2):
                raise Refused(error(429, "too many batches of this key wait", retry_after=2))

            def parse() -> Future[Mapping[str, object]]:
                return self._ingest(key, unpack(body, encoding, self._unpacked), received, said)

            return await self._commit(key, parse)

    async def _commit(
        self, key: EdgeKey, parse: Callable[[], Future[Mapping[str, object]]]
    ) -> Answer:
        self.waiting[key.id] += 1
        try:
            # The writer's future must not be cancelled with this request: it is shared.
            loop = asyncio.get_running_loop()
            commit = asyncio.wrap_future(await loop.run_in_executor(self._parsers, parse))
            async with asyncio.timeout(COMMIT_SECONDS):
                told = await asyncio.shield(commit)
            rejected = told.get("rejected")
            if isinstance(rejected, list) and len(rejected) > FEW:
                return await loop.run_in_executor(self._parsers, json_answer, 200, told)
            return json_answer(200, told)
        except TimeoutError:
            raise Refused(error(503, "the disk is slow, send again", retry_after=5)) from None
        finally:
            self.waiting[key.id] -= 1
            if not self.waiting[key.id]:
                del self.waiting[key.id]

"""Everything that the edge does not answer itself goes to a WSGI application on few threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from a2wsgi import WSGIMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from flagloop_server.edge.answers import (
    ASGIApp,
    Message,
    Receive,
    Refused,
    Scope,
    Send,
    error,
)
from flagloop_server.edge.body import Bodies
from flagloop_server.edge.stream import CONNECTION

_SLOW = frozenset({"reports", "playground"})
"""Segments of paths behind which a page may be slow: the playground compiles every flag of a
revision at its first question."""

LONGEST_KEPT = 8 * 1024 * 1024
"""Bytes of an answer that is kept for its reader: a document of 4 MB in JSON is shorter."""

MOST_KEPT = 64 * 1024 * 1024
"""Bytes of answers that may wait for their readers; `SMALL` ones are not counted."""

SMALL = 64 * 1024

_NAMES = frozenset({"environments", "flags", "rules", "share"})
"""What follows one of these in a path is a name: the kill of a flag `reports` is no report."""


class Workers:
    """Places for `workers` requests at once; reports and strangers hold at most `reports` of them.

    At most `waiting` requests wait for a place, and a quarter of that many of those two.
    """

    def __init__(self, workers: int, reports: int, waiting: int) -> None:
        self._all = asyncio.Semaphore(workers)
        self._reports = asyncio.Semaphore(reports)
        self._limits = {False: waiting, True: max(1, waiting // 4)}
        self.waiting = {False: 0, True: 0}
        self.busy = 0

    @asynccontextmanager
    async def place(self, report: bool) -> AsyncIterator[None]:
        """Hold one place until the block ends; raises Refused (503) when too many wait.

        `report` is said of strangers too.
        """
        if self.waiting[report] >= self._limits[report]:
            raise Refused(error(503, "too many requests wait", retry_after=1))
        async with AsyncExitStack() as stack:
            self.waiting[report] += 1
            try:
                if report:
                    await stack.enter_async_context(self._reports)
                await stack.enter_async_context(self._all)
            finally:
                self.waiting[report] -= 1
            self.busy += 1
            try:
                yield
            finally:
                self.busy -= 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request comes from: whose bodies its own is among, of at most `limit` bytes."""

    bodies: Bodies
    limit: int
    strangers: bool = False


class Bridge:
    """An ASGI application that hands whole requests to `wsgi` on a pool of threads.

    X-Forwarded-For and X-Forwarded-Proto are believed from the addresses in `trusted`.
    """

    def __init__(self, wsgi: Any, workers: Workers, *, threads: int, trusted: str) -> None:
        calls: Any = WSGIMiddleware(wsgi, workers=threads)
        self._app: ASGIApp = ProxyHeadersMiddleware(calls, trusted_hosts=trusted)  # type: ignore[assignment]
        self._workers = workers
        self._room = Room(MOST_KEPT)

    async def answer(self, scope: Scope, receive: Receive, send: Send, source: Source) -> None:
        """Read the body, wait for a place, call, give the place back, answer. Raises Refused."""
        try:
            scope["query_string"].decode("ascii")
        except UnicodeDecodeError:
            raise Refused(error(400, "the query string must be percent-encoded")) from None
        kept = Kept(send)
        await self._call(scope, receive, kept, source)
        if kept.size <= SMALL:
            await kept.give()
            return
        with self._room.place(kept.size, ending(scope)):
            await kept.give()

    async def _call(self, scope: Scope, receive: Receive, send: Send, source: Source) -> None:
        async with (
            source.bodies.read(scope, receive, source.limit) as body,
            self._workers.place(source.strangers or is_report(scope["path"])),
        ):
            await self._app(whole(scope, len(body)), Replay(body, receive), send)


class Kept:
    """A `send` that keeps an answer until its place is free: a reader may take its time.

    Else a few readers that take nothing would hold every place. Of a longer answer than
    `LONGEST_KEPT` what came is given on, and the rest as it comes.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: list[Message] | None = []
        self.size = 0

    async def __call__(self, message: Message) -> None:
        """Keep one message, or pass it on."""
        if self._messages is None:
            await self._send(message)
            return
        self._messages.append(message)
        self.size += len(message.get("body", b""))
        if self.size > LONGEST_KEPT:
            await self.give()

    async def give(self) -> None:
        """Send what is kept; from now on nothing is."""
        messages, self._messages, self.size = self._messages or [], None, 0
        for message in messages:
            await self._send(message)


class Room:
    """The answers that wait for their readers, of `most` bytes; who waits longest makes room.

    Were the next one refused, a few that take nothing would keep out all others; and what it
    answers has been done.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[object, tuple[int, Callable[[], object]]] = {}
        self.bytes = 0

    @contextmanager
    def place(self, size: int, end: Callable[[], object]) -> Iterator[None]:
        """Hold `size` bytes until the block ends; `end` is called to end it before its time."""
        mine = object()
        while self._held and self.bytes + size > self._most:
            self._leave(next(iter(self._held)))()
        self._held[mine] = size, end
        self.bytes += size
        try:
            yield
        finally:
            if mine in self._held:
                self._leave(mine)

    def _leave(self, whose: object) -> Callable[[], object]:
        size, end = self._held.pop(whose)
        self.bytes -= size
        return end


def ending(scope: Scope) -> Callable[[], object]:
    """What ends the request of `scope` at once: its connection's abort, else a cancel."""
    extension = scope.get("extensions", {}).get(CONNECTION)
    task = asyncio.current_task()
    assert task is not None
    return extension["is"].abort if extension else task.cancel


class Replay:
    """A `receive` that gives a body which has been read, then what the connection says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        """The whole body once, then the connection's own messages."""
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def whole(scope: Scope, length: int) -> Scope:
    """The scope of a request whose body is known: with its length, without chunking.

    Names with an underscore are dropped: in WSGI they could pose as another header.
    """
    dropped = (b"transfer-encoding", b"content-length")
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in dropped and b"_" not in name
    ]
    headers.append((b"content-length", str(length).encode()))
    return {**scope, "headers": headers}


def is_report(path: str) -> bool:
    """Whether the page behind `path` may be slow: it has a segment of `_SLOW` that is no name."""
    return any(part in _SLOW and before not in _NAMES for before, part in pairwise(path.split("/")))

"""The ASGI application: answers the SDKs from memory, hands the rest to the bridge.

Nothing here blocks the loop: what may wait runs on threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from flagloop_server.edge.answers import (
    NO_STORE,
    Answer,
    Message,
    Receive,
    Refused,
    Scope,
    Send,
    error,
    header,
    json_answer,
    reply,
)
from flagloop_server.edge.body import Disconnected, brings_body
from flagloop_server.edge.bridge import Bridge, Source
from flagloop_server.edge.hub import ARCHIVED, Hub
from flagloop_server.edge.intake import INSTANCE, Intake
from flagloop_server.edge.keys import EdgeKey, KeyRing
from flagloop_server.edge.snapshots import Snapshots
from flagloop_server.edge.stream import Stream

Route: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")

STRANGER = error(
    401, "send an admin key (fl_adm_...) or sign in: others may send small forms only", close=True
)


class Instances(Protocol):
    """Is told which processes are there; called on the loop, so it must not wait.

    `said` is how a process introduces itself, `environment` an id, `key` the id of its key.
    """

    def polled(self, environment: int, key: int, said: bytes, tag: bytes | None) -> None:
        """It asked for the ruleset and has the one of this entity tag."""

    def opened(self, environment: int, key: int, said: bytes, last: bytes | None) -> None:
        """It opened a stream and has this revision."""

    def closed(self, environment: int, key: int, said: bytes) -> None:
        """A stream of it ended."""


class Operations(Protocol):
    """What operators ask; each may block and is called on a thread."""

    def ready(self) -> list[str]:
        """Why the server is not ready; nothing when it is."""
        ...

    def alerts(self) -> list[str]:
        """What a person should mend, though requests are welcome."""

    def metrics(self) -> tuple[str, bytes]:
        """Content type and text of the metrics."""
        ...


@dataclass(frozen=True, slots=True)
class Intakes:
    """Where events go that come by a server key, and those by a public one.

    Anybody has the public keys: they must not take the place of the others.
    """

    server: Intake
    public: Intake


@dataclass(frozen=True, slots=True)
class Sources:
    """Who sends what goes to the bridge: those who are `known`, and strangers.

    `signed_in` tells by a Cookie header whether somebody is; it may block and is called on a
    thread. Strangers have bodies of their own, so that they cannot take the place of a kill.
    """

    known: Source
    strangers: Source
    signed_in: Callable[[bytes], bool]


class Edge:
    """The front of the server; `requests` counts answers by (route, status)."""

    def __init__(
        self,
        keys: KeyRing,
        snapshots: Snapshots,
        *,
        hub: Hub,
        bridge: Bridge,
        intakes: Intakes,
        instances: Instances,
        operations: Operations,
        sources: Sources,
    ) -> None:
        self.keys = keys
        self.requests: Counter[tuple[str, int]] = Counter()
        self.used: dict[int, int] = {}
        self.stopping = False
        self.hub = hub
        self._snapshots = snapshots
        self._bridge = bridge
        self._intakes = intakes
        self._instances = instances
        self._operations = operations
        self._sources = sources
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="edge")
        self._operators = ThreadPoolExecutor(1, thread_name_prefix="edge-operators")
        self._asked: dict[str, asyncio.Future[Answer]] = {}
        self._routes: dict[str, Route] = {
            "/api/v1/ruleset": self._ruleset,
            "/api/v1/stream": self._stream,
            "/api/v1/events": self._events,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request (or the lifespan)."""
        if scope["type"] == "http":
            await self._routes.get(scope["path"], self._web)(scope, receive, send)
        elif scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    def stop(self) -> None:
        """The server stops: called on the loop before connections are closed."""
        self.stopping = True
        self.hub.close()

    def close(self) -> None:
        """Let the threads end; running calls are not waited for."""
        for threads in (self._threads, self._operators):
            threads.shutdown(wait=False, cancel_futures=True)
        self._intakes.server.close()
        self._intakes.public.close()

    @property
    def waiting(self) -> int:
        """Batches of events in work."""
        both = (self._intakes.server, self._intakes.public)
        return sum(intake.waiting.total() for intake in both)

    async def _answer(self, route: str, send: Send, answer: Answer) -> None:
        self.requests[route, answer.status] += 1
        await reply(send, answer)

    async def _on_thread(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    async def _key(self, authorization: bytes | None) -> EdgeKey:
        """The key of a request; raises Refused (401)."""
        digest = self.keys.digest(authorization) if authorization is not None else None
        if digest is None:
            raise Refused(error(401, "send the header 'Authorization: Bearer <key>'"))
        key = self.keys.known(digest)
        if key is None and not self.keys.refused(digest):
            key = await self._on_thread(self.keys.look_up, digest)
        if key is None:
            raise Refused(error(401, "this key is unknown, expired or revoked"))
        self.used[key.id] = int(time.time() * 1000)
        return key

    async def _ruleset(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorization, tag, said, encoding = None, None, None, b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"if-none-match":
                tag = value
            elif name == b"accept-encoding":
                encoding = value
            elif name == INSTANCE:
                said = value
        try:
            allow(scope, "GET", "HEAD")
            key = await self._key(authorization)
            environment = rules_of(key)
            snapshot = self._snapshots.get(environment)
            if snapshot is None:
                raise Refused(error(404, ARCHIVED))
            if said is not None:
                self._instances.polled(environment, key.id, said, tag)
            answer = snapshot.answer(tag, encoding)
        except Refused as refusal:
            answer = refusal.answer
        # SDKs ask by HEAD to say which revision they have, and want none.
        route = "confirm" if scope["method"] == "HEAD" else "ruleset"
        await self._answer(route, send, answer)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            allow(scope, "GET")
            authorization = header(scope, b"authorization")
            key = await self._key(authorization)
            environment = rules_of(key)
            stream = Stream(self.hub, scope, receive, send)
            stream.open(scope, self.keys.digest(authorization or b""))
        except Refused as refusal:
            await self._answer("stream", send, refusal.answer)
        except asyncio.CancelledError as cancelled:
            await self._answer("stream", send, self._cut(cancelled))
        else:
            self.requests["stream", 200] += 1
            said = header(scope, INSTANCE)
            if said is None:
                await stream.serve()
                return
            last = header(scope, b"last-event-id")
            self._instances.opened(environment, key.id, said, last)
            try:
                await stream.serve()
            finally:
                self._instances.closed(environment, key.id, said)

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            allow(scope, "POST")
            key = await self._key(header(scope, b"authorization"))
            if key.kind == "admin" or key.environment is None:
                raise Refused(error(403, "events need a server key or a client key", close=True))
            if self._snapshots.get(key.environment) is None:
                raise Refused(error(404, ARCHIVED, close=True))
            intakes = self._intakes
            intake = intakes.public if key.kind == "client" else intakes.server
            answer = await intake.take(key, scope, receive)
        except Refused as refusal:
            answer = refusal.answer
        except Disconnected:
            return
        except asyncio.CancelledError as cancelled:
            answer = self._cut(cancelled)
        await self._answer("events", send, answer)

    async def _healthz(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer("healthz", send, json_answer(200, {"status": "ok"}))

    async def _readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._told("readyz", send, self._ready)

    async def _metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._told("metrics", send, self._measured)

    def _ready(self) -> Answer:
        problems = self._operations.ready()
        if self.stopping:
            problems = ["the server stops", *problems]
        alerts = self._operations.alerts()
        status = "not ready" if problems else "ready"
        body = {"status": status, "problems": problems, "alerts": alerts}
        return json_answer(503 if problems else 200, body)

    def _measured(self) -> Answer:
        kind, text = self._operations.metrics()
        return Answer(200, [(b"content-type", kind.encode()), NO_STORE], text)

    async def _told(self, route: str, send: Send, make: Callable[[], Answer]) -> None:
        """Answer with what `make` gives: it is asked once for all who wait at the moment.

        Anybody may ask, without a key, and it may take a while: so it has a thread of its own.
        """
        asked = self._asked.get(route)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._asked[route] = loop.run_in_executor(self._operators, make)
            asked.add_done_callback(lambda _: self._asked.pop(route))
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError as cancelled:
            answer = self._cut(cancelled)
        await self._answer(route, send, answer)

    async def _source(self, scope: Scope) -> Source:
        """Who sends: known by an admin key or a session, or bringing nothing to hold."""
        sources = self._sources
        if not brings_body(scope):
            return sources.known
        authorization = header(scope, b"authorization")
        cookie = header(scope, b"cookie")
        if authorization is not None:
            with contextlib.suppress(Refused):
                # The other kinds are not good for pages and the API, and one of them is public.
                if (await self._key(authorization)).kind == "admin":
                    return sources.known
        elif cookie is not None and await self._on_thread(sources.signed_in, cookie):
            return sources.known
        return sources.strangers

    async def _web(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self.requests["web", message["status"]] += 1
            await send(message)

        try:
            source = await self._source(scope)
            await self._bridge.answer(scope, receive, counted, source)
        except Refused as refusal:
            too_much = refusal.answer.status == 413 and source.strangers
            await self._answer("web", send, STRANGER if too_much else refusal.answer)
        except Disconnected:
            return
        except asyncio.CancelledError as cancelled:
            answer = self._cut(cancelled)
            if not started:
                await self._answer("web", send, answer)

    def _cut(self, cancelled: asyncio.CancelledError) -> Answer:
        """What a request is told that still runs when the server ends; else the cancel goes on."""
        if not self.stopping:
            raise cancelled
        return error(503, "the server stops", retry_after=5, close=True)


def allow(scope: Scope, *methods: str) -> None:
    """Raise Refused (405) for another method."""
    if scope["method"] not in methods:
        answer = error(405, f"use {' or '.join(methods)}", close=True)
        answer.headers.append((b"allow", ", ".join(methods).encode()))
        raise Refused(answer)


def rules_of(key: EdgeKey) -> int:
    """The id of the environment whose rules `key` may read; raises Refused (403)."""
    if key.kind == "client":
        message = "a client key is public: it may post events, never get rules"
        raise Refused(error(403, f"{message}; use a server key, fl_srv_..."))
    if key.kind != "server" or key.environment is None:
        raise Refused(error(403, "the ruleset needs a server key (fl_srv_...)"))
    return key.environment


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer the lifespan's two messages; starting and stopping are the application's."""
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})

"""One stream: an endless answer of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib

from flagloop_server.edge.answers import Headers, Receive, Refused, Scope, Send, error, header
from flagloop_server.edge.body import brings_body
from flagloop_server.edge.hub import PIECE, Connection, Hub, Subscriber

CONNECTION = "flagloop.connection"
"""The ASGI extension that is the request's Connection; without it everything works, slower."""

HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"connection", b"close"),
]
CHUNKED: Headers = [*HEADERS, (b"transfer-encoding", b"chunked")]
"""Said where chunks are written to the connection itself."""


class Stream:
    """Serves one reader of `hub` until it goes away, is dropped or the hub ends it."""

    __slots__ = ("_connection", "_hub", "_receive", "_send", "_subscriber", "_task")

    def __init__(self, hub: Hub, scope: Scope, receive: Receive, send: Send) -> None:
        extension = scope.get("extensions", {}).get(CONNECTION)
        self._connection: Connection | None = extension and extension["is"]
        self._hub = hub
        self._receive = receive
        self._send = send
        self._task: asyncio.Task[None] | None = asyncio.current_task()
        self._subscriber: Subscriber | None = None

    def open(self, scope: Scope, digest: bytes | None) -> None:
        """Take a place by the digest of a key that may read rules; raises Refused."""
        if brings_body(scope):
            raise Refused(error(400, "a stream takes no body", close=True))
        last = header(scope, b"last-event-id")
        self._subscriber = self._hub.open(digest or b"", last, self.cut, self._connection)

    def cut(self) -> None:
        """End it now, in the middle of whatever is being sent."""
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.abort()

    async def serve(self) -> None:
        """Send until the end; a cancel that came from `cut` goes no further."""
        subscriber = self._subscriber
        assert subscriber is not None
        listener = asyncio.ensure_future(self._listen())
        listener.add_done_callback(lambda _: subscriber.end("gone"))
        try:
            await self._feed(subscriber)
        except asyncio.CancelledError:
            if subscriber.reason is None:
                raise
            with contextlib.suppress(asyncio.CancelledError):
                # The server must hear of the abort first, or it complains of half an answer.
                await asyncio.wait([listener], timeout=1.0)
        finally:
            self._task = self._subscriber = None
            listener.cancel()
            self._hub.leave(subscriber)

    async def _feed(self, subscriber: Subscriber) -> None:
        headers = HEADERS if self._connection is None else CHUNKED
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        while (frame := await subscriber.next()) is not None:
            await self._put(subscriber, frame.text)
            del frame  # or each waiting stream would keep its last one
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _put(self, subscriber: Subscriber, text: bytes) -> None:
        for place in range(0, len(text), PIECE):
            if subscriber.reason is not None:
                break
            subscriber.sending = 0
            piece = text if len(text) <= PIECE else text[place : place + PIECE]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

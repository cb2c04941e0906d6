"""A reader of streams that needs no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from flagloop_server.edge.stream import CONNECTION


class Frame(NamedTuple):
    """One frame as a reader sees it; a comment has neither id nor event."""

    id: str | None
    event: str | None
    data: Any


def frame(text: bytes) -> Frame:
    """Read one frame; its form is part of the contract, so every other form is an error."""
    if text == b":":
        return Frame(None, None, None)
    first, second, third = text.split(b"\n")
    assert (first[:4], second[:7], third[:6]) == (b"id: ", b"event: ", b"data: ")
    return Frame(first[4:].decode(), second[7:].decode(), json.loads(third[6:]))


class Reader:
    """Opens a stream in the running loop; `free` is cleared to take nothing more.

    With `connected` it is also the connection that the server's own protocol would be, and
    `aborted` tells whether that was dropped.
    """

    def __init__(self, asgi: Any, *headers: tuple[str, str], connected: bool) -> None:
        self.messages: list[Any] = []
        self.aborted = False
        self.written = 0
        self.connected = connected
        self.free = asyncio.Event()
        self.free.set()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/v1/stream",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "extensions": {CONNECTION: {"is": self}} if connected else {},
        }
        self.task = asyncio.ensure_future(asgi(scope, self._incoming.get, self._send))

    async def _send(self, message: Any) -> None:
        await self.free.wait()
        self.messages.append(message)

    def write(self, chunk: bytes) -> bool:
        """Take a chunk as the connection does."""
        if not self.free.is_set():
            return False
        length, _, text = chunk.partition(b"\r\n")
        body = text.removesuffix(b"\r\n")
        assert int(length, 16) == len(body)
        self.messages.append({"body": body, "more_body": True})
        self.written += 1
        return True

    def abort(self) -> None:
        """Drop the connection."""
        self.aborted = True
        self.leave()

    def leave(self) -> None:
        """Close the connection."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def pieces(self) -> list[bytes]:
        """The bodies of the messages."""
        return [message["body"] for message in self.messages[1:] if message["body"]]

    @property
    def ended(self) -> bool:
        """Whether the answer came to its proper end."""
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)

    @property
    def frames(self) -> list[Frame]:
        """The whole frames so far."""
        return [frame(text) for text in b"".join(self.pieces).split(b"\n\n")[:-1]]

    async def until(self, number: int) -> list[Frame]:
        """The frames once there are so many."""
        async with asyncio.timeout(30):
            # Counted, not read: with hundreds of readers that would be most of a test's time.
            while b"".join(self.pieces).count(b"\n\n") < number:
                assert not self.task.done(), self.messages
                await asyncio.sleep(0)
        return self.frames

    async def over(self) -> None:
        """Wait for the end of the request."""
        async with asyncio.timeout(10):
            await self.task


@pytest.fixture(params=[True, False], ids=["connection", "messages"])
def reading(request: pytest.FixtureRequest) -> Callable[..., Reader]:
    """`reading(asgi, *headers)`: open a stream, in a running loop.

    Once over the server's own connection, once as any ASGI server would.
    """
    return partial(Reader, connected=request.param)


@pytest.fixture
def settled() -> Callable[..., Any]:
    """A function to await: it lets everything run that can run without waiting."""

    async def settle() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    return settle

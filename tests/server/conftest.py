"""What tests of the server may use: an application without a socket, and calls into it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flagloop_server.app import Application


@dataclass
class Answer:
    """One whole answer; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def call_async(
    asgi: Callable[..., Awaitable[None]],
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | Iterable[bytes] = b"",
    *,
    query: bytes = b"",
    ends: bool = True,
) -> Answer:
    """Feed one request to an ASGI application; a list as `body` comes in those pieces.

    With `ends` False the last piece never comes.
    """
    pieces = [body] if isinstance(body, bytes) else list(body)
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for place, piece in enumerate(pieces):
        more = place < len(pieces) - 1 or not ends
        incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 8377),
    }
    await asgi(scope, incoming.get, send)
    start = sent[0]
    assert start["type"] == "http.response.start"
    text = b"".join(message.get("body", b"") for message in sent[1:])
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, text)


@pytest.fixture
def call() -> Callable[..., Answer]:
    """`call(asgi, method, path, headers, body)`: one request through the edge, no socket."""

    def run(*arguments: Any, **options: Any) -> Answer:
        return asyncio.run(call_async(*arguments, **options))

    return run


@pytest.fixture
def calling() -> Callable[..., Awaitable[Answer]]:
    """The same inside a running loop, for several requests at once."""
    return call_async


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """A fresh application on an empty folder, nothing running in the background."""
    from flagloop_server.app import create_app
    from flagloop_server.config import Config

    with create_app(Config(data=tmp_path / "data")) as made:
        yield made


@pytest.fixture
def csrf_of() -> Callable[[str], str]:
    """`csrf_of(html)`: the token of the page's form."""

    def find(html: str) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', html)
        assert found, "the page has no csrf_token field"
        return found[1]

    return find

"""The server on real sockets: its end with open streams, and connections that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from flagloop_server.edge.hub import HEARTBEAT
from flagloop_server.edge.protocol import LONGEST_HEAD
from flagloop_server.edge.server import Server, allow_many_files, listen
from flagloop_server.edge.stream import CONNECTION
from helpers.patience import LONG, Stopwatch
from helpers.real import read_until, request_for_a_stream

STREAMS = 1000
LENGTH = (b"content-length", b"2")


def connected(address: tuple[str, int], key: str) -> socket.socket:
    """A connection that has asked for a stream."""
    made = socket.create_connection(address, timeout=LONG)
    made.sendall(request_for_a_stream(key))
    return made


def test_sigterm_ends_a_thousand_streams_within_five_seconds(
    tmp_path: Path, start_server: Any
) -> None:
    """Exit code 0 and no complaint; each reader sees the proper end of its answer."""
    server = start_server(tmp_path / "data")
    key = re.search(r"^server key for production: (\S+)$", "\n".join(server.said), re.M)
    assert key
    host, port = server.url.removeprefix("http://").split(":")
    address = (host, int(port))
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(connected(address, key[1])) for _ in range(STREAMS)]
        for text in read_until(connections, b"\n\n\r\n", LONG):
            assert text.startswith(b"HTTP/1.1 200 ")
            assert b"event: snapshot\n" in text
        watch = Stopwatch()
        assert server.stop() == 0
        assert watch.seconds < 5
        # On a slow machine there are heartbeats before.
        texts = read_until(connections, b"0\r\n\r\n", LONG)
    ends = [text.replace(HEARTBEAT.chunk(), b"") for text in texts]
    assert ends == [b"0\r\n\r\n"] * STREAMS
    wrong = [line for line in server.said if "rror" in line or "Traceback" in line]
    assert wrong == []


def test_a_connection_that_nobody_reads_can_be_dropped() -> None:
    """A close would wait for its reader for ever; the application hears of the end at once.

    Until then nothing more is written to it than what the buffers took.
    """
    heard, begun = asyncio.Event(), asyncio.Event()
    sent: list[int] = []
    connections: list[Any] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        connections.append(scope["extensions"][CONNECTION]["is"])
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

        async def endless() -> None:
            piece = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
            while True:
                await send(piece)
                sent.append(65536)
                begun.set()

        sender = asyncio.ensure_future(endless())
        assert (await receive())["type"] == "http.disconnect"
        sender.cancel()
        heard.set()

    async def run() -> None:
        listener = listen("127.0.0.1", 0)
        server = Server(asgi, stop_seconds=1, ready=lambda: None, stopping=lambda: None)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        loop = asyncio.get_running_loop()
        reader = socket.socket()
        reader.setblocking(False)
        await loop.sock_connect(reader, listener.getsockname())
        await loop.sock_sendall(reader, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(LONG):
            await begun.wait()
            while connections[0].write(b"1\r\nx\r\n"):  # until the system's buffers are full
                await asyncio.sleep(0.05)
            connections[0].abort()
            await heard.wait()
            assert connections[0].write(b"1\r\nx\r\n") is False
            server.stop()
            await serving
        reader.close()

    asyncio.run(run())


ENDLESS = {
    "one header": (b"GET / HTTP/1.1\r\nhost: x\r\nx: ", b"a" * 4096),
    "many headers": (b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 500),
    "the target": (b"GET /", b"a" * 4096),
    "trailers": (
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        b"x: y\r\n" * 500,
    ),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_comes_before_and_after_a_body_has_an_end(kind: str) -> None:
    """Else one stranger could fill the memory: the parser keeps all of it, whoever sends it.

    A body of any length, in however many pieces, is none of that.
    """
    heard: list[int] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        heard.append(size)
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def run() -> None:
        listener = listen("127.0.0.1", 0)
        server = Server(asgi, stop_seconds=1, ready=lambda: None, stopping=lambda: None)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        async with asyncio.timeout(LONG):
            reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            piece = b"1000\r\n" + b"b" * 4096 + b"\r\n"
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(piece * 100 + b"0\r\n\r\n")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
            first, more = ENDLESS[kind]
            sent = 0
            with contextlib.suppress(ConnectionError):
                writer.write(first)
                while sent < 50 * LONGEST_HEAD and not reader.at_eof():
                    writer.write(more)
                    await writer.drain()
                    await asyncio.sleep(0)
                    sent += len(more)
            writer.close()
            server.stop()
            await serving
        assert sent < 50 * LONGEST_HEAD
        assert heard == [100 * 4096]

    asyncio.run(run())


def test_a_server_takes_the_open_files_that_it_may_have() -> None:
    """A thousand would not do for a thousand streams."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

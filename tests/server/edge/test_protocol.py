"""One connection on a real socket: clients that hang, send ahead or wish for other protocols."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import pytest

from flagloop_server.edge.body import Bodies
from flagloop_server.edge.bridge import LONGEST_KEPT, MOST_KEPT, Bridge, Source, Workers
from flagloop_server.edge.protocol import MOST_AHEAD, Patience
from flagloop_server.edge.server import Server, listen
from helpers.patience import LONG as LONG_ENOUGH

HASTY = Patience(request=0.2, reader=0.2, every=0.05)
LONG = Patience(request=3600.0, reader=3600.0, every=0.05)


class Place(NamedTuple):
    """A running server: what to connect to, and its connections."""

    address: tuple[str, int]
    server: Server

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has said nothing."""
        return await asyncio.open_connection(*self.address)

    async def empty(self) -> None:
        """Wait until no connection is left."""
        while self.server.server_state.connections:
            await asyncio.sleep(0.01)


def serving(asgi: Any, act: Callable[[Place], Awaitable[None]], patience: Patience = HASTY) -> None:
    """Run `act` beside a server of `asgi`."""

    async def http_only(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"  # the server goes on without a lifespan
        await asgi(scope, receive, send)

    async def run() -> None:
        listener = listen("127.0.0.1", 0)
        server = Server(
            http_only, stop_seconds=1, ready=lambda: None, stopping=lambda: None, patience=patience
        )
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(LONG_ENOUGH):
                await act(Place(listener.getsockname()[:2], server))
        finally:
            server.stop()
            await task

    asyncio.run(run())


async def said(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end; a reset takes along what was not read before it."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Tells method, path and body; 404 for nothing at all."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    told = f"{scope['method']} {scope['path']} ".encode() + body
    length = (b"content-length", str(len(told)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": told})


async def hasty(scope: Any, receive: Any, send: Any) -> None:
    """Answers without a look at the body."""
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize(
    ("begun", "answer"),
    [
        (b"", b""),
        (b"GET / HTT", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "half a line", "half a head"],
)
def test_a_connection_that_never_asks_is_ended(begun: bytes, answer: bytes) -> None:
    """Whoever opens thousands and says nothing would keep out all others."""

    async def act(place: Place) -> None:
        reader, writer = await place.connect()
        writer.write(begun)
        assert (await reader.read())[:13] == answer
        writer.close()
        await place.empty()

    serving(echo, act)


def test_headers_that_come_drop_by_drop_are_ended() -> None:
    """The time is that of the whole head: each drop makes no new one."""

    async def act(place: Place) -> None:
        reader, writer = await place.connect()
        told = asyncio.ensure_future(said(reader))
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        while not told.done():
            writer.write(b"a")
            await asyncio.sleep(0.01)
        assert told.result()[:13] in (b"HTTP/1.1 408 ", b"")
        writer.close()

    serving(echo, act)


def test_a_body_after_its_answer_drop_by_drop_is_ended() -> None:
    """Nobody reads that body, and each of its bytes ends the timer of a connection at rest."""

    async def act(place: Place) -> None:
        reader, writer = await place.connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        end = asyncio.ensure_future(said(reader))
        while not end.done():
            writer.write(b"a")
            await asyncio.sleep(0.01)
        assert end.result() == b""
        writer.close()

    serving(hasty, act)


def test_a_reader_that_takes_nothing_is_ended() -> None:
    """A close would wait for it for ever, and so would the application that sends."""
    sent, ended = 0, asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 1
            await asyncio.sleep(0)
        assert gone.result()["type"] == "http.disconnect"
        ended.set()

    async def act(place: Place) -> None:
        _, writer = await asyncio.open_connection(*place.address, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await ended.wait()
        assert sent
        writer.transport.abort()

    serving(endless, act)


def test_whoever_waits_for_the_server_or_rests_is_left_alone() -> None:
    """A slow answer is the server's own, and a connection between requests has its own time."""
    free = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await free.wait()
        await hasty(scope, receive, send)

    async def act(place: Place) -> None:
        waiting, resting, hanging = [await place.connect() for _ in range(3)]
        waiting[1].write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        for _ in range(2):  # the second time after one that hangs was ended
            resting[1].write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await resting[0].readuntil(b"ok")
            assert await hanging[0].read() == b""
        free.set()
        assert (await waiting[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        for _, writer in (waiting, resting, hanging):
            writer.close()

    serving(slow, act)


def test_an_answer_that_nobody_takes_makes_room_for_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its connection is dropped, without a word in the log; the others get all of theirs."""
    most = MOST_KEPT // LONGEST_KEPT

    def large(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(LONGEST_KEPT))])
        return [b"x" * LONGEST_KEPT]

    bridge = Bridge(large, Workers(2, 1, 20), threads=2, trusted="127.0.0.1")
    source = Source(Bodies(5.0, 100, 1000), 1000)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await bridge.answer(scope, receive, send, source)

    async def act(place: Place) -> None:
        readers = []
        for _ in range(most + 1):
            reader, writer = await asyncio.open_connection(*place.address, limit=4096)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")  # so it waits, behind those before it
            readers.append((reader, writer))
        bodies = [len(await said(reader)) for reader, _ in readers]
        assert bodies[0] < LONGEST_KEPT
        assert bodies[1:] == [LONGEST_KEPT] * most
        for _, writer in readers:
            writer.close()
        await place.empty()

    with caplog.at_level(logging.WARNING):
        serving(application, act, LONG)
    assert caplog.messages == []


HEADS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
    "websocket": b"Connection: upgrade\r\nUpgrade: websocket\r\n",
}
LENGTH = b"Content-Length: 32\r\n\r\n"
INNER = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "framing", [LENGTH + INNER, CHUNKED + b"20\r\n" + INNER + b"\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("kind", HEADS)
def test_a_body_stays_a_body_beside_a_wish_for_another_protocol(
    kind: str, framing: bytes, apart: bool
) -> None:
    """Java's client wishes for h2c with each request; a lost body would be a lost change.

    Taken for the next request it would be a request that a proxy never saw.
    """

    async def act(place: Place) -> None:
        reader, writer = await place.connect()
        head, separator, body = framing.partition(b"\r\n\r\n")
        for path in (b"/1", b"/2"):
            writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\n%b" % (path, HEADS[kind]))
            writer.write(head + separator)
            if apart:
                await asyncio.sleep(0.05)
            writer.write(body)
        writer.write(b"GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = (await reader.read()).split(b"HTTP/1.1 200 OK")
        told = [answer.partition(b"\r\n\r\n")[2] for answer in answers[1:]]
        assert told == [b"POST /1 " + INNER, b"POST /2 " + INNER, b"GET /3 "]
        writer.close()

    serving(echo, act, LONG)


@pytest.mark.parametrize("wish", [b"close", b"close, upgrade\r\nUpgrade: h2c"])
@pytest.mark.parametrize("more", [b"\r\n", b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00"])
def test_what_comes_after_the_last_request_does_not_cost_it_its_answer(
    wish: bytes, more: bytes
) -> None:
    """It said that it is the last one; old clients send a line's end after a body."""

    async def act(place: Place) -> None:
        reader, writer = await place.connect()
        writer.write(b"POST /1 HTTP/1.1\r\nHost: x\r\nConnection: %b\r\n" % wish)
        writer.write(b"Content-Length: 4\r\n\r\nbody" + more)
        assert (await said(reader)).endswith(b"\r\n\r\nPOST /1 body")
        writer.close()

    serving(echo, act, LONG)


@pytest.mark.parametrize(
    "request_", [b"CONNECT x:80 HTTP/1.1\r\n\r\n", b"CONNECT /x HTTP/1.1\r\n\r\n"]
)
def test_a_tunnel_is_refused(request_: bytes) -> None:
    """This is no proxy."""

    async def act(place: Place) -> None:
        reader, writer = await place.connect()
        writer.write(request_)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()

    serving(echo, act, LONG)


def test_what_is_no_http_is_refused_without_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anybody can send it: the log must not be theirs to fill."""

    async def act(place: Place) -> None:
        for garbage in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n"):
            reader, writer = await place.connect()
            writer.write(garbage)
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
        reader, writer = await place.connect()
        writer.write(b"GET / HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()

    with caplog.at_level(logging.WARNING):
        serving(echo, act, LONG)
    assert caplog.messages == []


def test_every_request_of_a_client_that_went_away_hears_of_it() -> None:
    """Also the one in work while another was sent ahead: a stream would go on for nobody."""
    begun, heard = asyncio.Event(), asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/stream"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"late", "more_body": True})
        heard.set()

    async def act(place: Place) -> None:
        _, writer = await place.connect()
        writer.write(
            b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\nGET /next HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        await begun.wait()
        writer.transport.abort()
        await heard.wait()
        await place.empty()

    serving(stream, act, LONG)


@pytest.mark.parametrize("wish", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
def test_requests_ahead_are_answered_in_turn_and_bounded(wish: bytes) -> None:
    """Many are served in order; thousands in one packet would take the memory of many."""
    asked, free = 0, asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await free.wait()
        await echo(scope, receive, send)

    async def act(place: Place) -> None:
        few, many = await place.connect(), await place.connect()
        number = MOST_AHEAD - 10
        few[1].write(b"".join(b"GET /%d HTTP/1.1\r\n%b\r\n" % (n, wish) for n in range(number)))
        many[1].write(b"GET / HTTP/1.1\r\n%b\r\n" % wish * (MOST_AHEAD + 2))
        assert await said(many[0]) == b""
        free.set()
        text = await few[0].readuntil(b"GET /%d " % (number - 1))
        places = [text.index(b"GET /%d " % n) for n in range(number)]
        assert places == sorted(places)
        assert asked <= number + 1
        for _, writer in (few, many):
            writer.close()

    serving(slow, act, LONG)

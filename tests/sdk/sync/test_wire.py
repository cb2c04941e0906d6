"""Requests that any thread ends at once, whatever they wait for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from flagloop import Client
from flagloop.errors import TransportError
from flagloop.sync.line import Line, Patience
from flagloop.sync.live import Live
from flagloop.sync.presence import FAREWELL
from flagloop.sync.refresh import Refresh
from flagloop.sync.source import ServerSource
from flagloop.sync.transport import Transport
from flagloop.sync.wire import Wire
from helpers.patience import LONG, Stopwatch

KEY = "fl_srv_x"
SOON = 1.0
CONNECTIONS = Path("/proc/net/tcp")
SYN_SENT = "02"


class Place(NamedTuple):
    """A server's url, and whether a request is where it is to be cut."""

    url: str
    reached: Callable[[], bool]


def hangs(flags: Any) -> Iterator[Place]:
    """A poll that gets no answer."""
    flags.polled = flags.held_head
    yield Place(flags.url, lambda: flags.polls > 0)


def drips(flags: Any) -> Iterator[Place]:
    """A poll whose answer comes byte by byte."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not flags.released.wait(0.02):
                handler.wfile.write(b" ")

    flags.polled = answer
    yield Place(flags.url, lambda: flags.polls > 0)


def hands(flags: Any) -> Iterator[Place]:
    """A connection that takes the greeting of TLS and says nothing."""
    taken: list[socket.socket] = []

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take)
        thread.start()
        yield Place(f"https://127.0.0.1:{listener.getsockname()[1]}", lambda: bool(taken))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for one in taken:
        one.close()


def connects(flags: Any) -> Iterator[Place]:
    """A listener whose queue is full, so that nobody else gets a connection."""
    if not CONNECTIONS.exists():
        pytest.skip("this system does not tell which connections are being made")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        before = connecting(port)
        yield Place(f"http://127.0.0.1:{port}", lambda: connecting(port) > before)


def connecting(port: int) -> int:
    """How many connections to that port are being made."""
    rows = (line.split() for line in CONNECTIONS.read_text().splitlines())
    return sum(row[2].endswith(f":{port:04X}") and row[3] == SYN_SENT for row in rows)


@pytest.fixture(params=[hangs, drips, hands, connects])
def place(request: pytest.FixtureRequest, flags: Any) -> Iterator[Place]:
    """A server that keeps a poll waiting."""
    yield from request.param(flags)


def threads() -> list[threading.Thread]:
    """Those of the SDK."""
    return [one for one in threading.enumerate() if one.name.startswith("flagloop-")]


@pytest.mark.parametrize("kind", [Live, Refresh])
def test_stopping_cuts_a_poll(place: Place, until: Any, kind: type[Refresh]) -> None:
    """Its thread ends within a second, and what the cut did is no failure of the server."""
    source = ServerSource(Transport(place.url, KEY, timeout=(60.0, 60.0), total=60.0))
    one = kind(source, lambda snapshot: None)
    one.start()
    until(place.reached)
    watch = Stopwatch()
    assert one.stop(60.0)
    assert watch.seconds < SOON
    assert one.state()["error"] is None
    with pytest.raises(TransportError):
        source.fetch(None)


def dripping(flags: Any, first: bytes, piece: bytes = b"x") -> Callable[[Any], None]:
    """An answer that begins so and then comes piece by piece, for ever."""

    def drip(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 " + first)
        with contextlib.suppress(OSError):
            while not flags.released.wait(0.02):
                handler.wfile.write(piece)

    return drip


CHUNKED = b"200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"200 OK\r\nX-Slow: ", b"x"),
        (CHUNKED + b"\r\n1;", b"x"),
        (CHUNKED + b"\r\n1\r\n{\r\n0\r\n", b"X: y\r\n"),
        (CHUNKED + b"Content-Encoding: gzip\r\n\r\n4\r\n\x1f\x8b\x08\x10\r\n", b"1\r\nx\r\n"),
    ],
    ids=["head", "size of a chunk", "trailer", "head of gzip"],
)
def test_an_answer_that_drips_is_given_up(flags: Any, first: bytes, piece: bytes) -> None:
    """Each packet comes in time, the whole never, and there is nothing of a body meanwhile."""
    flags.polled = dripping(flags, first, piece)
    transport = Transport(flags.url, KEY, timeout=(60.0, 60.0), total=0.3)
    with pytest.raises(TransportError, match="no answer in time"):
        transport.ruleset()


def test_a_stream_that_drips_is_given_up(flags: Any) -> None:
    """Its head, and what stands around the parts of its body; the whole has no end."""
    patience = Patience(connect=60.0, first=60.0, silence=0.1)
    line = Line(Transport(flags.url, KEY, total=0.3), patience)
    flags.stream = dripping(flags, b"200 OK\r\nX-Slow: ")
    with pytest.raises(TransportError, match="no stream"):
        line.open(None)
    line.close()
    transport = Transport(flags.url, KEY, total=1e6)
    line = Line(transport, patience)
    stream = CHUNKED + b"Content-Type: text/event-stream\r\n\r\n2\r\n:\n\r\n1;"
    flags.stream = dripping(flags, stream)
    line.open(None)
    assert line.read() == b":\n"
    transport.total = 0.2
    with pytest.raises(TransportError, match="no stream"):
        line.read()
    line.close()


def test_a_goodbye_waits_for_no_head_that_drips(flags: Any) -> None:
    """Also on a connection that is there: nobody waits for its end as long as for a poll's."""
    transport = Transport(flags.url, KEY, lambda: {"id": "i-1"}, timeout=(60.0, 60.0), total=1e6)
    transport.confirm("k.1")
    flags.place.answer = dripping(flags, b"304 Not Modified\r\nX-Slow: ")
    with pytest.raises(TransportError, match="no answer in time"):
        transport.farewell(0.3)
    transport.close()


def test_a_refusal_that_drips_is_one(flags: Any) -> None:
    """Its status is what counts, and that is there."""
    flags.stream = dripping(flags, b"503 Busy\r\nRetry-After: 7\r\n\r\n", b" ")
    line = Line(Transport(flags.url, KEY), Patience(connect=60.0, first=60.0))
    with pytest.raises(TransportError, match="answered 503") as caught:
        line.open(None)
    line.close()
    assert caught.value.retry_after == 7.0


def test_a_client_closes_and_leaves_no_thread(
    place: Place, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a second, whatever it was waiting for, and however long it would have."""
    patient = {"timeout": (60.0, 60.0), "total": 60.0}
    monkeypatch.setattr(
        Transport.__init__, "__kwdefaults__", {**Transport.__init__.__kwdefaults__, **patient}
    )
    before = set(threads())
    client = Client(place.url, key=KEY)
    until(place.reached)
    watch = Stopwatch()
    client.close()
    assert watch.seconds < SOON + FAREWELL
    until(lambda: not set(threads()) - before)
    assert watch.seconds < SOON + FAREWELL


@pytest.mark.parametrize("place", [hands, connects], indirect=True)
def test_a_stream_is_cut_before_it_is_there(place: Place, until: Any) -> None:
    """While it connects or shakes hands: `open` raises."""
    line = Line(Transport(place.url, KEY), Patience(connect=60.0, first=60.0))
    ended: list[TransportError] = []

    def run() -> None:
        try:
            line.open(None)
        except TransportError as problem:
            ended.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    until(place.reached)
    watch = Stopwatch()
    line.cut()
    thread.join(LONG)
    took = watch.seconds
    line.close()
    assert ended
    assert took < SOON


def test_a_delivery_that_hangs_ends_with_its_client(flags: Any, until: Any) -> None:
    """`close` gives it its time and no more: what was not acknowledged then is lost, and told."""
    posting = threading.Event()
    answered = flags.answer

    def answer(handler: Any) -> None:
        if handler.command == "POST":
            posting.set()
            flags.held_head(handler)
        else:
            answered(handler)

    flags.place.answer = answer
    before = set(threads())
    client = Client(flags.url, key=KEY)
    assert client.wait(LONG)
    client.track("sign_up", "u-1")
    assert not client.flush(0.0)
    assert posting.wait(LONG)
    assert not client.close(0.5)
    until(lambda: not set(threads()) - before)
    assert client.status()["delivery"]["lost"] == {"closed": 1}


def test_a_kind_of_connection_is_made_once() -> None:
    """However many streams and polls there are: a class costs more than a connection."""
    kinds = set()
    for _ in range(3):
        with requests.Session() as session:
            Wire().carry(session)
            for _ in range(2):
                request = requests.Request("GET", "http://flags.test/").prepare()
                adapter: Any = session.get_adapter("http://flags.test/")
                kinds.add(adapter.get_connection_with_tls_context(request, True).ConnectionCls)
    assert len(kinds) == 1

"""Requests that any thread ends at once, whatever they wait for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
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
    source = ServerSource(Transport(place.url, KEY, timeout=(20.0, 20.0)))
    one = kind(source, lambda snapshot: None)
    one.start()
    until(place.reached)
    began = time.monotonic()
    assert one.stop(10.0)
    assert time.monotonic() - began < SOON
    assert one.state()["error"] is None
    with pytest.raises(TransportError):
        source.fetch(None)


def test_a_client_closes_and_leaves_no_thread(place: Place, until: Any) -> None:
    """Within a second, whatever it was waiting for."""
    before = set(threads())
    client = Client(place.url, key=KEY)
    until(place.reached)
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < SOON + FAREWELL
    until(lambda: not set(threads()) - before)
    assert time.monotonic() - began < SOON + FAREWELL


@pytest.mark.parametrize("place", [hands, connects], indirect=True)
def test_a_stream_is_cut_before_it_is_there(place: Place, until: Any) -> None:
    """While it connects or shakes hands: `open` raises."""
    line = Line(Transport(place.url, KEY), Patience(connect=20.0))
    ended: list[float] = []

    def run() -> None:
        with contextlib.suppress(TransportError):
            line.open(None)
            return
        ended.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    until(place.reached)
    began = time.monotonic()
    line.cut()
    thread.join(10)
    line.close()
    assert ended
    assert ended[0] - began < SOON


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
    assert client.wait(10)
    client.track("sign_up", "u-1")
    assert not client.flush(0.0)
    assert posting.wait(10)
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

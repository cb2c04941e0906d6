"""A real server that is killed, stopped, crowded or not read: SDKs obey, events are there once.

Every application is a process of its own; all of it on the loopback.
"""

from __future__ import annotations

import resource
import selectors
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from flagloop.sync.line import Patience
from helpers.patience import LONG, Stopwatch
from helpers.real import ON, Real, read_until, request_for_a_stream

VISIBLE = 5.0
"""Seconds after a visible break in which every SDK has the newest revision."""
SLACK = 2.0
"""What a busy machine may add."""
CROWDED = 5 * LONG
"""Seconds for thousands of connections: they take four of a machine that does nothing else."""
COMMENTS = 'flagloop_streams_opened_total{first="comment"}'


def check_stored(real: Real, units: set[str]) -> None:
    """Each unit's exposure and event are there, once."""
    stored = real.stored()
    exposed = Counter(row["unit"] for row in stored if row["kind"] == 0)
    tracked = Counter(row["units"] or row["unit"] for row in stored if row["kind"] == 1)
    assert set(exposed) == units
    assert len(tracked) == len(units)
    assert set(exposed.values()) | set(tracked.values()) == {1}


# Ends.


def test_a_server_killed_again_and_again_under_load(real: Real, application: Any) -> None:
    """SDKs decide on, find each new server in time, and every event of theirs is stored once."""
    places = [application(real.url) for _ in range(3)]
    for number, one in enumerate(places):
        one("work", f"p{number}")
    for change in (real.kill_flag, real.restore_flag, real.kill_flag):
        real.server.kill()
        real.again()
        newest = change()
        for one in places:
            one.begin("all_have", newest, "stream", VISIBLE + SLACK)
        for one in places:
            assert one.answer() is not None, one("status")
    units = {f"p{n}-{k}-0" for n, one in enumerate(places) for k in range(one("rest"))}
    assert len(units) > 100
    for one in places:
        assert one("flush", 60)
        delivery = one("status")["delivery"]
        assert (delivery["lost"], delivery["queued"]) == ({}, 0)
        assert one("close")
    check_stored(real, units)


def test_a_killed_application_takes_nothing_with_it(
    real: Real, application: Any, until: Callable[[Callable[[], Any]], None]
) -> None:
    """Its stream is given back, what it had delivered is there once, and the others obey on."""
    doomed, other = application(), application()
    doomed("decide", "doomed", 200)
    assert doomed("flush", 60)
    other("decide", "other", 20)
    assert real.metric("flagloop_streams") == 2
    doomed.kill()
    until(lambda: real.metric("flagloop_streams") == 1)
    assert real.metric('flagloop_streams_ended_total{reason="gone"}') == 1
    assert other("all_have", real.kill_flag(), "stream", VISIBLE) is not None
    assert other("close")
    check_stored(real, {f"doomed-{n}" for n in range(200)} | {f"other-{n}" for n in range(20)})
    assert real.server.stop() == 0
    assert real.complaints() == []


def test_a_thousand_clients_find_a_restarted_server(
    real: Real, application: Any, until: Callable[[Callable[[], Any]], None]
) -> None:
    """Each is current, so it gets a comment or a 304, and nobody a snapshot."""
    places = [application(clients=250, streams=False) for _ in range(4)]
    for one in places:
        one.begin("all_have", None, "stream", 60)
    assert all(one.answer() is not None for one in places)
    until(lambda: real.metric("flagloop_streams") == 1000)  # and of none that was given up
    watch = Stopwatch()
    real.server.kill()
    real.again()
    for one in places:
        one.begin("all_have", None, "stream", VISIBLE + 2 * SLACK)
    assert all(one.answer() is not None for one in places)
    opened = real.metric(COMMENTS)
    # One each: only after five seconds without its first frame is a stream opened again.
    assert 1000 <= opened <= 1000 * (1 + watch.passed // Patience().first)
    assert real.metric('flagloop_streams_opened_total{first="snapshot"}') == 0
    assert real.metric('flagloop_requests_total{route="ruleset",status="200"}') == 0
    newest = real.kill_flag()
    for one in places:
        one.begin("all_have", newest, "stream", VISIBLE)
    assert all(one.answer() is not None for one in places)
    watch = Stopwatch()
    assert real.server.stop() == 0
    assert watch.seconds < 5
    assert real.complaints() == []


def test_a_herd_is_spread(
    real: Real, proxy: Any, application: Any, until: Callable[[Callable[[], Any]], None]
) -> None:
    """Hundreds lose their streams at one moment, and come back at many."""
    places = [application(proxy.url, clients=100) for _ in range(3)]
    before = real.metric(COMMENTS)
    proxy.made.clear()
    proxy.cut()
    until(lambda: real.metric(COMMENTS) - before == 300)
    for one in places:
        assert one("all_have", None, "stream", VISIBLE) is not None
    # One second of jitter: the middle half of them takes half of it.
    quarter = len(proxy.made) // 4
    assert quarter >= 75
    assert proxy.made[3 * quarter] - proxy.made[quarter] > 0.2, proxy.made


# Readers.


def aborted(connections: list[socket.socket]) -> None:
    """Close them with a reset, so that none is left waiting in the system."""
    for one in connections:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()


def test_readers_that_take_nothing_are_dropped_and_hold_up_nobody(
    real: Real, application: Any, until: Callable[[Callable[[], Any]], None]
) -> None:
    """Large changes reach who reads; who does not costs little memory and is gone soon."""
    one = application()
    slow = []
    for _ in range(20):
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", real.port))
        made.sendall(request_for_a_stream(real.key))
        slow.append(made)
    until(lambda: real.metric("flagloop_streams") == 21)
    before = real.rss()
    for n in range(40):
        text = f"{n:04}" * 50_000
        newest = real.put({"banner": ON, "big": {"variants": {"a": text}, "default": "a"}})
    assert one("all_have", newest, "stream", VISIBLE) is not None, one("status")
    until(lambda: real.metric('flagloop_streams_ended_total{reason="slow"}') == 20)
    assert real.metric("flagloop_streams") == 1
    # 20 x 16 frames of 200 KB would be 64 MB, were they not shared.
    assert real.rss() - before < 60_000_000
    aborted(slow)


def test_five_thousand_connects_in_a_second(
    real: Real,
    application: Any,
    missing_part: Callable[[str], None],
    until: Callable[[Callable[[], Any]], None],
) -> None:
    """Each gets its stream, a change reaches all, and when they are gone nothing is left."""
    count = 5000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 1000:
        missing_part(f"a process may open {hard} files only, {count + 1000} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 1000), hard))
    one = application()
    crowd = connecting(real, count)
    try:
        answered = ask(crowd, request_for_a_stream(real.key), CROWDED)
        assert answered == count
        newest = real.kill_flag()
        assert one("all_have", newest, "stream", VISIBLE) is not None
        wanted = f'"revision":"{newest}"'.encode()
        texts = read_until(crowd, b"}\n\n\r\n", CROWDED)  # a heartbeat ends without the brace
        assert sum(wanted in text for text in texts) == count
    finally:
        aborted(crowd)
    until(lambda: real.metric("flagloop_streams") == 1)
    assert one("all_have", real.restore_flag(), "stream", VISIBLE) is not None
    assert real.server.stop() == 0
    assert real.complaints() == []


def connecting(real: Real, count: int) -> list[socket.socket]:
    """So many connections that are about to be made, all of them begun."""
    made = []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", real.port))
        made.append(one)
    return made


def ask(crowd: list[socket.socket], request: bytes, seconds: float) -> int:
    """Send the request wherever there is a connection; how many have their first frame."""
    texts = dict.fromkeys(crowd, b"")
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        for one in crowd:
            ready.register(one, selectors.EVENT_WRITE)
        while ready.get_map() and time.monotonic() < end:
            for key, _ in ready.select(0.2):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if key.events == selectors.EVENT_WRITE:
                    one.sendall(request)
                    ready.modify(one, selectors.EVENT_READ)
                    continue
                part = one.recv(65536)
                texts[one] += part
                if not part or texts[one].endswith(b"\n\n\r\n"):
                    ready.unregister(one)
    return sum(b"event: snapshot\n" in text for text in texts.values())


# Keys.


def test_a_revoked_key_is_cut_at_once(
    real: Real, application: Any, until: Callable[[Callable[[], Any]], None]
) -> None:
    """The application keeps its last good definitions and says why; one of another key goes on."""
    from flagloop_server.store import SYSTEM, Store

    one = application()
    served = one("decide", "u", 50)
    with Store(real.data) as store:
        _, secret = store.create_key("production", "server", "another", SYSTEM)
        other = socket.create_connection(("127.0.0.1", real.port))
        other.sendall(request_for_a_stream(secret))
        (first,) = read_until([other], b"\n\n\r\n", LONG)
        assert b"event: snapshot\n" in first
        store.revoke_key(real.key_id, SYSTEM)
    watch = Stopwatch()
    while one("modes") == ["stream"]:
        assert watch.within(1.0 + SLACK)
    real.kill_flag("half")
    (told,) = read_until([other], b"\n\n\r\n", LONG)
    assert b"event: change\n" in told
    other.close()
    until(lambda: "revoked" in (one("status")["problem"] or ""))
    assert one("decide", "u", 50) == served
    assert real.key not in repr(one("status"))


@pytest.mark.parametrize("stopped", [2.0])
def test_a_server_that_stands_still(real: Real, application: Any, stopped: float) -> None:
    """A stop that is shorter than the patience costs nothing: the same stream goes on."""
    one = application()
    real.server.process.send_signal(signal.SIGSTOP)
    assert len(one("decide", "u", 100)) == 100
    threading.Event().wait(stopped)
    real.server.process.send_signal(signal.SIGCONT)
    assert one("all_have", real.kill_flag(), "stream", VISIBLE) is not None
    assert one("flush", 60)
    assert real.metric('flagloop_streams_opened_total{first="snapshot"}') == 0
    assert real.metric("flagloop_streams") == 1
    assert one("close")
    check_stored(real, {f"u-{n}" for n in range(100)})

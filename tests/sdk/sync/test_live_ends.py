"""What a stream leaves behind: on disk, when it is stopped or forgotten, in a forked child."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from flagloop import Client
from flagloop.sync.line import Patience
from flagloop.sync.source import ServerSource
from flagloop.sync.transport import Transport
from helpers.patience import LONG, Stopwatch

KEY = "fl_srv_x"
REFRESH = "flagloop-refresh"


# The copy on disk.


def kept(folder: Path) -> str:
    """The revision on disk."""
    (copy,) = folder.glob("*.json")
    return str(json.loads(copy.read_bytes().partition(b"\n")[2])["revision"])


def test_what_a_stream_tells_is_kept_on_disk(
    flags: Any, follow: Any, until: Any, tmp_path: Path
) -> None:
    """A change is kept when the last copy is some seconds old, else at a later frame."""
    now = [1000.0]
    one = follow(cache=tmp_path)
    one._source._clock = lambda: now[0]
    until(one.streaming)
    now[0] += 5.0
    flags.publish(a={"killed": True})
    until(lambda: kept(tmp_path) == "k.2")
    flags.publish(b={})
    until(lambda: one.applied[-1] == "k.3")
    flags.writers[0].put(b":\n\n" + flags.publish(tell=False, c={}))
    until(lambda: one.applied[-1] == "k.4")
    assert kept(tmp_path) == "k.2"
    now[0] += 5.0
    flags.writers[0].put(b":\n\n")
    until(lambda: kept(tmp_path) == "k.4")
    flags.publish(d={})
    until(lambda: one.applied[-1] == "k.5")
    assert kept(tmp_path) == "k.4"
    assert one.stop(60.0)
    assert kept(tmp_path) == "k.5"
    again = ServerSource(Transport(flags.url, KEY), tmp_path).load_cached()
    assert again is not None
    assert again.mapping == json.loads(flags.snapshot())


# Stopping, being forgotten, forking.


@pytest.mark.parametrize("answer", ["well", "silent", "held_head", "held_body"])
def test_stopping_takes_less_than_a_second(
    flags: Any, follow: Any, until: Any, answer: str
) -> None:
    """Whatever the thread is waiting for, and the server sees the connection go."""
    flags.stream = getattr(flags, answer)
    one = follow(patience=Patience(first=60.0, silence=60.0))
    until(lambda: flags.resumed and (answer.startswith("held") or one.streaming()))
    watch = Stopwatch()
    assert one.stop(60.0)
    assert watch.seconds < 1.0
    assert not one.state()["running"]
    if answer == "well":
        for _ in range(100):  # what the first writes to nobody only finds out that nobody is there
            flags.writers[0].put(b":\n\n")
        until(lambda: not flags.alive)


@pytest.mark.parametrize("status", [200, 503])
def test_no_connection_is_left_open(flags: Any, follow: Any, until: Any, status: int) -> None:
    """Also where the server or a proxy would go on with it after a whole answer."""
    ended = threading.Semaphore(0)

    def answer(handler: Any) -> None:
        flags.plainly(handler, b":\n\n", status, Content_Type="text/event-stream")
        handler.wfile.flush()
        assert handler.rfile.read(1) == b""  # waits for the other side to hang up
        handler.close_connection = True
        ended.release()

    flags.stream = answer
    follow()
    for _ in range(3):
        assert ended.acquire(timeout=LONG)


def test_a_forgotten_client_ends_its_stream(flags: Any, until: Any) -> None:
    """Nobody holds it: its threads end without `close`, also while one waits for news."""
    before = set(threading.enumerate())
    clients = [Client(flags.url, key=KEY)]
    until(lambda: clients[0].status()["refresh"]["mode"] == "stream")
    assert clients[0].enabled("a", "u-1")
    threads = {
        one.name: one
        for one in set(threading.enumerate()) - before
        if one.name in (REFRESH, "flagloop-delivery")
    }
    assert len(threads) == 2
    clients.clear()
    gc.collect()
    for thread in threads.values():
        thread.join(LONG)
        assert not thread.is_alive()


def test_a_client_obeys_at_once_and_closes_at_once(flags: Any, until: Any) -> None:
    """Whoever waits for a change is called within a second; `close` does not wait for news."""
    with Client(flags.url, key=KEY, interval=3600.0) as client:
        until(lambda: client.status()["refresh"]["mode"] == "stream")
        obeyed = threading.Event()
        client.on_change(lambda changed: obeyed.set())
        watch = Stopwatch()
        flags.publish(a={"killed": True})
        assert obeyed.wait(LONG)
        assert watch.seconds < 1.0
        assert not client.enabled("a", "u-1")
        watch = Stopwatch()
        assert client.close(60.0)
        assert watch.seconds < 1.0


def test_a_client_may_only_poll(flags: Any, until: Any) -> None:
    """`stream=False` never asks for a stream."""
    with Client(flags.url, key=KEY, stream=False, interval=0.02) as client:
        assert client.wait(10)
        flags.publish(a={"killed": True})
        until(lambda: client.status()["revision"] == "k.2")
        assert client.status()["refresh"]["mode"] == "poll"
        assert flags.resumed == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_follows_by_a_stream_of_its_own(flags: Any, follow: Any, until: Any) -> None:
    """The parent's stream goes on untouched, and the child's end does not end it."""
    one = follow()
    until(one.streaming)

    def child() -> bool:
        until(lambda: one.applied[-1] == "k.2")
        return bool(one.applied == ["k.1", "k.2"] and one.streaming() and one.stop(60.0))

    with warnings.catch_warnings():
        # Python 3.12 warns of threads at fork: that they are survived is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 2  # whatever happens, the child must not go on as a second test session
        try:
            signal.alarm(120)
            code = 0 if child() else 1
        finally:
            os._exit(code)
    until(lambda: flags.alive == 2)
    flags.publish(a={"killed": True})
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    until(lambda: one.applied == ["k.1", "k.2"])
    flags.publish(b={})
    until(lambda: one.applied[-1] == "k.3")
    assert len(flags.resumed) == 2

"""Records left by any thread for the one worker."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from flagloop.evaluation.decision import Exposed
from flagloop.events.event import Exposure
from flagloop.events.inbox import STRIDE, Inbox

ORIGIN = Exposure(Exposed("f", "v", "key"), None)


def make(limit: int, every: int = 100) -> tuple[Inbox, list[int], Counter[tuple[Any, ...]]]:
    """An inbox, how often it woke the worker, and what it lost."""
    woken: list[int] = []
    lost: Counter[tuple[Any, ...]] = Counter()
    inbox = Inbox(limit, every, lambda: woken.append(1), lambda *row: lost.update([row]))
    return inbox, woken, lost


def test_records_come_out_in_order() -> None:
    """What is taken first was left first, and nothing twice."""
    inbox, _, _ = make(100)
    for i in range(10):
        assert inbox.put(ORIGIN, f"u{i}", float(i))
    assert inbox.take(4)[1::STRIDE] == ["u0", "u1", "u2", "u3"]
    assert inbox.take(100)[1::STRIDE] == [f"u{i}" for i in range(4, 10)]
    assert inbox.take(100) == []


def test_a_full_inbox_loses_and_counts() -> None:
    """Beyond the limit a record is lost with reason, flag and variant; nothing raises."""
    inbox, _, lost = make(5)
    kept = [inbox.put(ORIGIN, f"u{i}", 0.0) for i in range(8)]
    assert kept == [True] * 5 + [False] * 3
    assert lost == {("queue_full", "f", "v"): 3}
    assert len(inbox) == 5
    inbox.take(2)
    assert inbox.put(ORIGIN, "again", 0.0)


def test_the_worker_is_woken_first_and_when_half_is_used() -> None:
    """The first record starts the worker; the next reasons to wake it are half and full."""
    inbox, woken, _ = make(10)
    seen = []
    for _ in range(12):
        inbox.put(ORIGIN, "u", 0.0)
        seen.append(len(woken))
    assert seen == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 4]


def test_a_closed_inbox_loses_everything() -> None:
    """After close each record is a loss of its own reason."""
    inbox, woken, lost = make(10)
    inbox.close()
    assert not inbox.put(ORIGIN, "u", 0.0)
    inbox.take(10)
    assert not inbox.put(ORIGIN, "u", 0.0)
    assert lost == {("closed", "f", "v"): 2}
    assert not woken


@pytest.mark.parametrize(
    "move", [lambda inbox: inbox.put(ORIGIN, "u", 0.0), lambda inbox: inbox.take(1)]
)
def test_closing_in_the_middle_of_something_closes(move: Any) -> None:
    """Whoever puts or takes when another thread closes does not open it again."""
    inbox, _, lost = make(10)
    inbox.put(ORIGIN, "u", 0.0)
    inbox.mark = 0
    inbox.on_mark = lambda records: inbox.close()
    move(inbox)
    assert not inbox.put(ORIGIN, "late", 0.0)
    assert lost == {("closed", "f", "v"): 1}


def test_marks_are_told_every_so_often_and_at_each_take() -> None:
    """Who listens hears the number of records so far at least each `every` records."""
    inbox, _, _ = make(1000, every=10)
    told: list[int] = []
    inbox.on_mark = told.append
    for _ in range(35):
        inbox.put(ORIGIN, "u", 0.0)
    assert told == [0, 10, 20, 30]
    inbox.take(5)
    assert told[-1] == 35


def test_nothing_is_lost_or_doubled_between_threads() -> None:
    """Eight threads put while one takes: every record comes out exactly once, whole."""
    inbox, _, lost = make(1_000_000)
    gate = threading.Barrier(9)
    done = threading.Event()
    taken: list[Any] = []

    def put(thread: int) -> None:
        gate.wait()
        for i in range(2000):
            inbox.put(ORIGIN, (thread, i), 1.0)

    def take() -> None:
        gate.wait()
        while not done.is_set() or inbox.items:
            taken.extend(inbox.take(300))

    threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
    taker = threading.Thread(target=take)
    for thread in [*threads, taker]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    taker.join()
    assert taken[0::STRIDE] == [ORIGIN] * 16_000
    payloads = taken[1::STRIDE]
    assert len(payloads) == len(set(payloads)) == 16_000
    for thread in range(8):
        assert [i for n, i in payloads if n == thread] == list(range(2000))
    assert not lost

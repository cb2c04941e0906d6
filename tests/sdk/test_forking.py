"""Forks: who is asked, and in which order."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from flagloop import forking
from flagloop.assembly import _let_go
from flagloop.evaluation.ruleset import Ruleset
from flagloop.events.delivery import Delivery
from flagloop.sync.refresh import Refresh
from flagloop.sync.source import StaticSource

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def announced() -> int:
    """A fork as Python does it."""
    with warnings.catch_warnings():
        # Python 3.12 warns of threads at fork: that they are survived is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def unannounced() -> int:
    """A fork in C that tells Python of the child alone, as uWSGI's does under Python 3.11."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        # From here on no thread asks for the interpreter's lock: between the two calls, which are
        # one in C, the child would give it to a thread that it does not have, and wait for ever.
        threading.Event().wait(0.05)
        child = int(ctypes.PyDLL(None).fork())
        if child == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
    finally:
        sys.setswitchinterval(before)
    return child


def fork(in_child: Callable[[], bool], how: Callable[[], int] = announced) -> bool:
    """Whether `in_child` was true in a child."""
    child = how()
    if child == 0:
        code = 2  # whatever happens, the child must not go on as a second test session
        try:
            signal.alarm(120)
            code = 0 if in_child() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Part(forking.Forkable):
    """Writes down what it is told."""

    def __init__(self, rank: int, told: list[tuple[int, str]]) -> None:
        self._rank = rank
        self.told = told

    def _before_fork(self) -> None:
        self.told.append((self._rank, "before"))

    def _after_fork_in_parent(self) -> None:
        self.told.append((self._rank, "parent"))

    def _after_fork_in_child(self) -> None:
        self.told.append((self._rank, "child"))


def test_ranks_are_the_order_of_locks() -> None:
    """Locks are taken in the order of ranks, and given back or made anew in the opposite one."""
    told: list[tuple[int, str]] = []
    kept = [Part(rank, told) for rank in (2, 0, 1)]
    for one in kept:
        forking.keep(one)
    before = [(0, "before"), (1, "before"), (2, "before")]
    assert fork(lambda: told == [*before, (2, "child"), (1, "child"), (0, "child")])
    assert told == [*before, (2, "parent"), (1, "parent"), (0, "parent")]


def test_what_is_gone_is_not_asked() -> None:
    """Being kept keeps nothing alive."""
    told: list[tuple[int, str]] = []
    forking.keep(Part(0, told))
    assert fork(lambda: told == [])
    assert told == []


@pytest.mark.parametrize("side", ["in_parent", "in_child"])
def test_a_fork_that_comes_into_the_middle_of_another(side: str) -> None:
    """A signal handler that forks while a fork is prepared leaves no lock held on either side.

    The hooks are called without a fork: other libraries' hooks may not bear one inside of one.
    """
    hooks = forking._forks
    interrupted: list[bool] = []

    class Forks(Part):
        def _before_fork(self) -> None:
            if not interrupted:
                interrupted.append(True)
                hooks.before()
                getattr(hooks, side)()

    first = Refresh(StaticSource({}), lambda _: None)
    kept = Forks(forking.DELIVERY, [])
    forking.keep(kept)
    delivery = Delivery(lambda _: None)
    last = Refresh(StaticSource({}), lambda _: None)
    last._rank = forking.RULESET

    def use() -> None:
        """What another thread does with every part."""
        for one in (first, last):
            one.state()
            one.stop(0.0)
        delivery.close(60)
        forking.keep(kept)

    def free() -> bool:
        hooks.before()
        hooks.in_parent()
        user = threading.Thread(target=use, daemon=True)
        user.start()
        user.join(60)
        return bool(interrupted) and not user.is_alive()

    assert fork(free)


def test_a_client_that_is_collected_in_the_middle_of_a_fork(until: Any) -> None:
    """Whoever runs the collector may hold the lock that the fork waits for, and must go on."""
    refresh = Refresh(StaticSource({}), lambda _: None)
    delivery = Delivery(lambda _: None)
    delivery.adopt(Ruleset({}))
    inside = threading.Event()

    def forking_holds_refresh() -> bool:
        if not refresh._condition.acquire(blocking=False):
            return True
        refresh._condition.release()
        return False

    def collect() -> None:
        with delivery._changed:
            inside.set()
            until(forking_holds_refresh)
            _let_go(refresh, delivery)

    collector = threading.Thread(target=collect, daemon=True)
    collector.start()
    assert inside.wait(60)
    assert fork(lambda: delivery.close(60))
    collector.join(60)
    assert not collector.is_alive()
    assert refresh.state()["running"] is False
    assert delivery.close(60)


@pytest.mark.parametrize("ran", [True, False])
def test_leaving_takes_no_lock(ran: bool) -> None:
    """The collector may run where any lock is held: the threads end without them."""
    refresh = Refresh(StaticSource({}), lambda _: None, 3600.0)
    delivery = Delivery(lambda _: None)
    if ran:
        refresh.start()
        delivery.start()
        assert refresh.wait_first(60)
    threads = [one for one in (refresh._thread, delivery._thread) if one is not None]
    assert len(threads) == 2 * ran
    with refresh._condition, delivery._changed:
        gone = threading.Thread(target=_let_go, args=(refresh, delivery))
        gone.start()
        gone.join(60)
        assert not gone.is_alive()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    refresh.start()
    assert not refresh.state()["running"]


def reading(delivery: Delivery) -> bool:
    """Whether every part of it can still be used."""
    ruleset = Ruleset({"flags": {"half": {"rules": [{"name": "all", "split": SPLIT}]}}}, "r.2")
    delivery.adopt(ruleset)
    decision = ruleset.evaluate("half", {"key": "u-1"})
    _, _, record = delivery.exposures.watch(decision)
    record("u-1", {"key": "u-1"}, None)
    delivery.reservoir.take({"key": "u-1"})
    delivery.losses.add("invalid", None, None)
    flushed = delivery.flush(60)
    return flushed and delivery.status()["sent"] == 1


SPLIT = {"on": "50%", "off": "50%"}


@pytest.mark.parametrize("part", ["exposures", "counts", "losses", "reservoir"])
def test_a_child_waits_for_no_thread_of_its_parent(part: str) -> None:
    """A thread that is inside of a part while another forks never leaves it in the child."""
    contexts: list[bytes] = []
    delivery = Delivery(contexts.append)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with getattr(delivery, part)._lock:
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(60)
    fine = fork(lambda: reading(delivery) and b'"contexts":[{' in contexts[0])
    done.set()
    holder.join(60)
    assert fine
    assert delivery.close(60)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="this Python bears no such fork")
def test_a_fork_that_does_not_announce_itself() -> None:
    """The child has a refresh of its own, and nothing of what its parent has yet to send."""
    source = StaticSource({"flags": {}})
    refresh = Refresh(source, lambda snapshot: None, 0.01)
    delivery = Delivery(lambda batch: None, background=False)
    delivery.track("click", {"key": "u-1"})
    refresh.start()
    parent = refresh._thread

    def begun_anew() -> bool:
        mine = refresh._thread
        return mine is not None and mine is not parent and delivery.status()["queued"] == 0

    try:
        assert fork(begun_anew, unannounced)
        assert delivery.status()["queued"] == 1
    finally:
        assert refresh.stop(60)
        assert delivery.close(60)

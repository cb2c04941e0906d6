"""The loop that keeps a ruleset fresh: it backs off, recovers, forks and never dies."""

from __future__ import annotations

import gc
import os
import random
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flagloop.document.problem import Problem
from flagloop.errors import DocumentError, TransportError
from flagloop.sync import refresh as module
from flagloop.sync.refresh import Refresh
from flagloop.sync.source import Snapshot


def snapshot(revision: str) -> Snapshot:
    """An empty ruleset."""
    return Snapshot({"flags": {}}, revision, None, "server", 0.0)


class Script:
    """A source that answers (or raises) what a test wrote down, the last answer for ever."""

    name = "script"
    interval = 10.0
    patience = 60.0

    def __init__(self, *answers: Snapshot | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[str | None] = []
        self.fetched = threading.Semaphore(0)

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The next answer."""
        self.asked.append(revision)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.fetched.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cut(self) -> None:
        """It waits for no network."""

    def notes(self) -> dict[str, str]:
        """One note."""
        return {"cache": "damaged"}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def made() -> Iterator[Callable[..., Refresh]]:
    """Makes a Refresh in the middle of its jitter, stopped at the end."""
    all_made: list[Refresh] = []

    def make(
        source: Script, apply: Callable[[Snapshot], None] = lambda _: None, **more: Any
    ) -> Any:
        one = Refresh(source, apply, **{"spread": lambda: 0.5, **more})
        all_made.append(one)
        return one

    yield make
    for one in all_made:
        assert one.stop(5.0)


def test_news_is_applied_and_its_revision_asked_for(made: Any) -> None:
    """The next request names what is in force; unchanged applies nothing."""
    applied: list[Snapshot] = []
    source = Script(snapshot("k.1"), None, snapshot("k.2"), None)
    refresh = made(source, applied.append)
    for _ in range(4):
        assert refresh.step() == pytest.approx(10.0)
    assert [one.revision for one in applied] == ["k.1", "k.2"]
    assert source.asked == [None, "k.1", "k.1", "k.2"]


def test_a_known_copy_is_asked_for_first(made: Any) -> None:
    """A start from disk needs only a 304."""
    source = Script(None)
    refresh = made(source, known="k.9")
    refresh.step()
    assert source.asked == ["k.9"]
    assert refresh.wait_first(0)


def test_the_pause_varies_by_a_tenth(made: Any) -> None:
    """Processes that start together do not poll together."""
    assert made(Script(None), spread=lambda: 0.0).step() == pytest.approx(9.0)
    assert made(Script(None), spread=lambda: 0.999).step() == pytest.approx(11.0, abs=0.01)
    assert made(Script(None), interval=2.0).step() == pytest.approx(2.0)


def test_before_the_first_answer_it_tries_again_soon(made: Any) -> None:
    """Each failure doubles the pause up to the source's patience."""
    refresh = made(Script(TransportError("away")))
    assert [refresh.step() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_after_the_first_answer_it_backs_off_from_the_interval(made: Any) -> None:
    """A server that is away is not hammered; an answer resets the pause."""
    away = TransportError("away")
    refresh = made(Script(snapshot("k.1"), away, away, away, away, None, away))
    assert [refresh.step() for _ in range(7)] == [10, 10, 20, 40, 60, 10, 10]


def test_a_thousand_failures_still_give_a_pause(made: Any) -> None:
    """The doubling never overflows."""
    refresh = made(Script(TransportError("away")))
    assert {refresh.step() for _ in range(1100)} == {1, 2, 4, 8, 16, 32, 60}


def test_retry_after_is_honoured_up_to_a_limit(made: Any) -> None:
    """The server's wish counts when it is longer, but ten minutes at most."""
    asks = [TransportError("busy", 429, seconds) for seconds in (0.1, 90.0, 1e9)]
    refresh = made(Script(*asks))
    assert [refresh.step() for _ in range(3)] == [1.0, 90.0, module.RETRY_AFTER_LIMIT]


def test_any_exception_is_survived_and_told(made: Any) -> None:
    """Also one of our own bugs: the state names its type, the next step runs."""
    refresh = made(Script(KeyError("bug"), snapshot("k.1")))
    refresh.step()
    state = refresh.state()
    assert state["error"] == "KeyError: 'bug'"
    assert (state["failures"], state["failures_ever"]) == (1, 1)
    refresh.step()
    assert refresh.state()["error"] is None
    assert (refresh.state()["failures"], refresh.state()["failures_ever"]) == (0, 1)


def test_a_snapshot_that_cannot_be_applied_is_fetched_again(made: Any) -> None:
    """The revision in force stays what was applied."""
    refused = iter([True, False])

    def apply(_: Snapshot) -> None:
        if next(refused):
            raise ValueError("no")

    source = Script(snapshot("k.1"))
    refresh = made(source, apply)
    refresh.step()
    assert refresh.state()["revision"] is None
    assert not refresh.wait_first(0)
    refresh.step()
    assert source.asked == [None, None]
    assert refresh.state()["revision"] == "k.1"


def test_the_state_tells_age_problems_and_notes(made: Any) -> None:
    """What `status()` shows: how old, what is wrong, where."""
    clock = Clock()
    wrong = DocumentError([Problem("unknown word", ("flags", "a"), 3)], "flags.yaml")
    refresh = made(Script(snapshot("k.1"), wrong), clock=clock)
    assert refresh.state()["age"] is None
    refresh.step()
    clock.now += 12.0
    refresh.step()
    state = refresh.state()
    assert state["source"] == "script"
    assert (state["age"], state["revision"], state["running"]) == (12.0, "k.1", False)
    assert state["error"] == "flags.yaml:3: flags.a: unknown word"
    assert state["problems"][0]["line"] == 3
    assert state["notes"] == {"cache": "damaged"}


def test_a_failure_keeps_no_frames_alive(made: Any) -> None:
    """The state holds texts: an exception's traceback would keep whole answers in memory."""

    class Big:
        pass

    class Leaky(Script):
        def fetch(self, revision: str | None) -> Snapshot | None:
            big = Big()
            self.big = weakref.ref(big)
            raise TransportError("away")

    source = Leaky(None)
    refresh = made(source)
    refresh.step()
    gc.collect()
    assert source.big() is None


def test_the_thread_fetches_waits_and_wakes(made: Any) -> None:
    """It fetches at once, and again when woken, long before the pause ends."""
    source = Script(snapshot("k.1"))
    refresh = made(source)
    refresh.start()
    refresh.start()
    assert refresh.wait_first(60.0)
    assert source.fetched.acquire(timeout=60)
    assert refresh.state()["running"]
    refresh.wake()
    assert source.fetched.acquire(timeout=60)
    assert refresh.stop(60.0)
    assert not refresh.state()["running"]
    assert len(source.asked) == 2


def test_an_interval_longer_than_a_lock_can_wait_is_a_long_one(made: Any) -> None:
    """Whoever wants no polls says so by a huge number, and can still wake it."""
    source = Script(None)
    refresh = made(source, interval=1e300)
    refresh.start()
    for _ in range(2):
        assert source.fetched.acquire(timeout=60)
        refresh.wake()
    assert source.fetched.acquire(timeout=60)
    assert refresh.state()["running"]


def test_waiting_ends_without_an_answer(made: Any) -> None:
    """A server that is away costs no more than the seconds given; stopping ends the wait."""
    refresh = made(Script(TransportError("away")))
    assert refresh.wait_first(0.0) is False
    waiting = threading.Thread(target=refresh.wait_first, args=(None,))
    waiting.start()
    refresh.stop()
    waiting.join(60)
    assert not waiting.is_alive()


def test_stopping_from_inside_does_not_wait_for_itself(made: Any) -> None:
    """A callback of `apply` may close the client."""
    stopped = threading.Event()

    def apply(_: Snapshot) -> None:
        refresh.stop()
        stopped.set()

    refresh = made(Script(snapshot("k.1")), apply)
    refresh.start()
    assert stopped.wait(60)


def test_a_stopped_refresh_does_not_start_again(made: Any) -> None:
    """Closing is for good."""
    source = Script(None)
    refresh = made(source)
    refresh.stop()
    refresh.start()
    assert not refresh.state()["running"]
    assert source.asked == []


def test_stop_says_when_a_request_still_runs(made: Any) -> None:
    """A slow server does not hold up the end of the application."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Script):
        def fetch(self, revision: str | None) -> Snapshot | None:
            inside.set()
            go_on.wait(60)
            return None

    refresh = made(Slow(None))
    refresh.start()
    assert inside.wait(60)
    assert refresh.stop(0.01) is False
    go_on.set()
    assert refresh.stop(60.0) is True


def forked(check: Callable[[], bool]) -> bool:
    """Whether `check` is true in a child."""
    with warnings.catch_warnings():
        # Python 3.12 warns of threads at fork: that they are survived is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            fine = check()
        except BaseException:  # noqa: BLE001 - a child must never go on as a second pytest
            fine = False
        os._exit(0 if fine else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_keeps_itself_fresh(made: Any) -> None:
    """A forked child gets a thread of its own, also when the parent's was just fetching."""
    source = Script(snapshot("k.1"))
    refresh = made(source)
    refresh.start()
    assert refresh.wait_first(60.0)
    assert source.fetched.acquire(timeout=60)

    def child() -> bool:
        fresh = Script(None)
        refresh._source = fresh
        assert refresh.state()["running"]
        refresh.wake()
        done = fresh.fetched.acquire(timeout=60)
        return done and fresh.asked == ["k.1"] and refresh.stop(60.0)

    assert forked(child)
    refresh.wake()
    assert source.fetched.acquire(timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_of_a_parent_that_knows_nothing_asks_at_once(made: Any) -> None:
    """As a worker does that is forked right after the client was made."""
    refresh = made(Script(TransportError("away")), interval=3600.0, spread=lambda: 0.5)
    refresh.start()
    assert refresh._source.fetched.acquire(timeout=60)
    fresh = Script(snapshot("k.1"))
    refresh._source = fresh
    assert forked(lambda: refresh.wait_first(60) and fresh.asked == [None])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_of_a_stopped_or_idle_one_stays_idle(made: Any) -> None:
    """No thread appears where none was."""
    idle, stopped = made(Script(None)), made(Script(None))
    stopped.start()
    stopped.stop(60.0)
    assert forked(lambda: not idle.state()["running"] and not stopped.state()["running"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forks_from_several_threads_do_not_tangle(made: Any) -> None:
    """Each child has exactly one refresh thread, and the parent's locks are free again."""
    refreshes = [made(Script(snapshot("k.1"))) for _ in range(3)]
    for refresh in refreshes:
        refresh.start()
        assert refresh.wait_first(60.0)
    fine: list[bool] = []

    def running() -> int:
        return [one.name for one in threading.enumerate()].count("flagloop-refresh")

    before = running()

    def child() -> bool:
        return running() == before >= 3

    def fork_some() -> None:
        fine.extend(forked(child) for _ in range(5))

    threads = [threading.Thread(target=fork_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert fine == [True] * 15
    assert all(refresh.state()["running"] for refresh in refreshes)


def test_the_random_numbers_of_the_application_stay_its_own() -> None:
    """A seeded program gives the same numbers with a client beside it."""
    random.seed(7)
    expected = random.random()
    random.seed(7)
    waits = {Refresh(Script(None), lambda one: None).step() for _ in range(5)}
    assert len(waits) > 1
    assert random.random() == expected

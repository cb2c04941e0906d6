"""When the stream is tried and when polls stand in for it, by a clock that a test moves."""

from __future__ import annotations

import random
from typing import Any

import pytest

from flagloop.sync.pacing import Mode, Pacing


class Plan(Pacing):
    """A plan with its own clock; every pause is as long as it may be."""

    def __init__(self, spread: float = 1.0, **options: Any) -> None:
        self.now = 1000.0
        super().__init__(lambda: self.now, lambda: spread, **options)

    def fail(self, times: int = 1, lived: float | None = None) -> list[float]:
        """Try and fail (after a stream of `lived` seconds); the pauses to the next tries."""
        pauses = []
        for _ in range(times):
            if lived is not None:
                self.heard()
                self.now += lived
                self.heard()
            self.failed("it ended")
            pauses.append(self._stream_at - self.now)
            self.now = self._stream_at
        return pauses


def test_it_begins_with_a_poll_and_goes_on_with_the_stream() -> None:
    """Definitions come by what works on every path; after that only the stream is due."""
    plan = Plan()
    assert plan.poll_due()
    plan.polled(10.0)
    assert not plan.poll_due()
    assert plan.stream_due()
    plan.heard()
    assert plan.mode.name == "stream"
    plan.now += 1e6
    assert not plan.poll_due()
    assert not Plan(polled=True).poll_due()


def test_a_first_poll_that_fails_is_tried_again() -> None:
    """Without definitions there is more to wait for than the stream."""
    plan = Plan()
    plan.poll_failed(2.0)
    assert not plan.poll_due()
    plan.now += 2.0
    assert plan.poll_due()


def test_pauses_grow_to_five_seconds_in_the_first_minute_and_then_to_thirty() -> None:
    """A server that restarts is found at once, one that is away is left alone."""
    plan = Plan()
    pauses = plan.fail(30)
    assert pauses[:5] == [1.0, 2.0, 4.0, 5.0, 5.0]
    ended = [sum(pauses[:n]) for n in range(30)]
    assert {p for p, at in zip(pauses, ended, strict=True) if 7 <= at < 60} == {5.0}
    assert {p for p, at in zip(pauses, ended, strict=True) if at >= 60} == {30.0}


def test_a_healthy_minute_makes_the_next_trouble_a_new_one() -> None:
    """After it the first pause is short again; after less it is not."""
    plan = Plan()
    plan.fail(20)
    assert plan.fail(lived=59.0) == [5.0]
    assert plan.fail(lived=60.0) == [1.0]


def test_a_proxy_that_cuts_every_half_minute_is_no_reason_to_poll() -> None:
    """The stream comes back within five seconds each time, however long that goes on."""
    plan = Plan()
    plan.polled(10.0)
    for _ in range(50):
        assert max(plan.fail(lived=20.0)) <= 5.0
        assert plan.mode.name == "connecting"
        assert not plan.poll_due()


def test_a_stream_that_breaks_at_once_counts_as_failed() -> None:
    """First frames alone do not keep definitions fresh: polls stand in, pauses grow."""
    plan = Plan()
    plan.polled(10.0)
    plan.fail(2, lived=1.0)
    assert not plan.polling
    plan.fail(1, lived=1.0)
    assert plan.polling
    assert plan.poll_due()
    assert plan.fail(20, lived=1.0)[-1] == 30.0


def test_after_three_failures_in_a_row_it_polls_and_keeps_trying() -> None:
    """The third makes a poll due at once; then every interval, until a frame comes."""
    plan = Plan()
    plan.polled(10.0)
    plan.fail(2)
    assert not plan.poll_due()
    plan.fail(1)
    assert plan.mode == Mode("poll", 1003.0, "it ended")
    assert plan.poll_due()
    plan.polled(10.0)
    assert not plan.poll_due()
    plan.fail(2)
    plan.now = 1007.0 + 10.0
    assert plan.poll_due()
    plan.heard()
    assert plan.mode.name == "stream"
    assert plan.mode.why is None
    assert not plan.poll_due()


def test_a_path_that_buffers_is_tried_after_1_5_and_30_minutes() -> None:
    """Polls stand in at once; the status says since when and why."""
    plan = Plan(spread=0.5)
    plan.polled(10.0)
    pauses: list[float] = []
    for _ in range(4):
        plan.unusable("it buffers")
        assert plan.poll_due() or pauses
        plan.polled(10.0)
        pauses.append(plan._stream_at - plan.now)
        plan.now = plan._stream_at
    assert pauses == pytest.approx([60.0, 300.0, 1800.0, 1800.0])
    assert plan.state() == {"mode": "poll", "mode_age": sum(pauses), "why": "it buffers"}
    plan.heard()
    plan.unusable("it buffers again")
    assert plan._stream_at - plan.now == pytest.approx(60.0)


def test_a_wish_of_the_server_is_added_to_the_jitter() -> None:
    """All that were told the same number of seconds must not come back together."""
    plan = Plan()
    plan.failed("busy", 20.0)
    assert plan._stream_at - plan.now == 21.0
    plan.failed("busy", 1e9)
    assert plan._stream_at - plan.now == 602.0


def test_hurrying_makes_both_due() -> None:
    """Somebody woke it."""
    plan = Plan()
    plan.unusable("it buffers")
    plan.polled(10.0)
    assert plan.pause() > 0
    plan.hurry()
    assert plan.poll_due()
    assert plan.stream_due()
    assert plan.pause() == 0


def test_a_thousand_processes_come_back_one_by_one() -> None:
    """After a restart of three seconds no tenth of a second sees more than a tenth of them."""
    chance = random.Random(7)
    arrivals = []
    for _ in range(1000):
        now = [0.0]
        plan = Pacing(lambda now=now: now[0], chance.random, polled=True)  # type: ignore[misc]
        plan.heard()
        now[0] = 100.0
        plan.heard()
        plan.failed("cut")
        while now[0] < 103.0 or not plan.stream_due():
            if plan.stream_due():
                plan.failed("away")
            if plan.poll_due():
                plan.poll_failed(30.0)
            now[0] += plan.pause()
        arrivals.append(now[0])
    assert max(sum(t <= one < t + 0.1 for one in arrivals) for t in arrivals) <= 100
    assert max(arrivals) < 108.0

"""Periodic work goes on after failures from outside, and its death is seen."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

import pytest

from flagloop_server.background import Background, Job
from helpers.patience import LONG, until

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)


def test_a_job_is_called_again_and_again() -> None:
    """Until it is stopped."""
    thrice = threading.Semaphore(0)
    background = Background()
    background.every(0.001, "count", thrice.release)
    background.start()
    for _ in range(3):
        assert thrice.acquire(timeout=60)
    assert background.problems() == []
    background.stop()
    assert not background.jobs[0].alive()


@pytest.mark.parametrize("error", [OSError("disk full"), sqlite3.OperationalError("locked")])
def test_a_failure_from_outside_is_told_once_and_the_job_goes_on(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Each failure is counted, the first of a row is logged, and so is the recovery."""
    outcomes: list[Callable[[], None]] = []

    def work() -> None:
        outcomes.pop(0)()

    def fail() -> None:
        raise error

    outcomes[:] = [fail, fail, lambda: None]
    job = Job("write", 1.0, work)
    with caplog.at_level(logging.INFO):
        job.once()
        job.once()
        assert job.failing
        job.once()
    assert (job.failures, job.failing) == (2, False)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_dead_job_makes_the_server_not_ready() -> None:
    """An error of the program ends the job; that is seen, not hidden."""
    called = threading.Event()

    def broken() -> None:
        called.set()
        raise ValueError

    background = Background()
    background.every(0.0, "broken", broken)
    assert background.problems() == []
    background.start()
    assert called.wait(LONG)
    assert until(lambda: background.problems() == ["the job 'broken' has died"])


def test_a_failing_job_is_an_alert() -> None:
    """It goes on trying, so the server stays ready."""

    def fail() -> None:
        raise OSError("disk full")

    background = Background()
    background.every(60.0, "write", fail)
    background.start()
    background.jobs[0].once()
    assert (background.problems(), background.alerts()) == ([], ["the job 'write' is failing"])
    background.stop()

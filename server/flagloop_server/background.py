"""The one scheduler of periodic work: each job on a thread of its own, so none delays another."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

from flagloop.errors import FlagloopError

log = logging.getLogger(__name__)


class Job:
    """Calls `work` every `seconds` until stopped.

    A failure that the outside can cause (disk, database, document) is logged and the job goes on;
    any other ends it, and then `alive()` is False, which makes the server "not ready".
    """

    def __init__(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        self.name = name
        self.failures = 0
        self.failing = False
        self._seconds = seconds
        self._work = work
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first call comes after `seconds`."""
        self._thread = threading.Thread(target=self._run, name=f"job-{self.name}", daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """Whether the job was started and its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, timeout: float) -> None:
        """Ask the job to end and wait at most `timeout` seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.once()

    def once(self) -> None:
        """One call of the work; a failure is logged when it begins, not each time."""
        try:
            self._work()
        except (FlagloopError, sqlite3.Error, OSError) as problem:
            self.failures += 1
            if not self.failing:
                log.error("job failed job=%s problem=%s", self.name, problem)
            self.failing = True
        else:
            if self.failing:
                log.info("job works again job=%s", self.name)
            self.failing = False


class Background:
    """All periodic jobs of the server."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.running = False

    def every(self, seconds: float, name: str, work: Callable[[], None]) -> None:
        """Add a job; to be called before `start`."""
        self.jobs.append(Job(name, seconds, work))

    def start(self) -> None:
        """Start every job."""
        self.running = True
        for job in self.jobs:
            job.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Stop every job; waits at most `timeout` seconds for each."""
        self.running = False
        for job in self.jobs:
            job.stop(timeout)

    def problems(self) -> list[str]:
        """Which jobs have died; nothing before `start`."""
        dead = [job for job in self.jobs if self.running and not job.alive()]
        return [f"the job '{job.name}' has died" for job in dead]

    def alerts(self) -> list[str]:
        """Which jobs are failing, and go on trying."""
        return [f"the job '{job.name}' is failing" for job in self.jobs if job.failing]

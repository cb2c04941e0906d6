"""Keeps a ruleset fresh: one daemon thread that fetches, applies, waits, and never dies."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flagloop import forking
from flagloop.errors import DocumentError, TransportError
from flagloop.sync.source import Snapshot, Source

if TYPE_CHECKING:
    from flagloop.document.problem import Problem

SPREAD = random.SystemRandom().random
"""Of nobody's seed: an application's own `random` gives what it would give without us."""

JITTER = 0.1
FIRST_RETRY = 1.0
RETRY_AFTER_LIMIT = 600.0
LONGEST = 1e8
"""Seconds, three years: the system's clocks and locks take no infinity."""


def limited(seconds: float | None) -> float:
    """What a lock can wait for: not negative, as what is left of a deadline may be, nor endless."""
    return LONGEST if seconds is None else max(0.0, min(seconds, LONGEST))


class Refresh(forking.Forkable):
    """Asks `source` every `interval` seconds (its own by default) and calls `apply` with news.

    `known` is the revision that is applied already (a copy from disk, say). A failed fetch
    changes nothing but `state()` and is tried again, later each time up to the source's
    patience. `clock` (monotonic seconds) and `spread` (a number of [0, 1)) are for tests.
    """

    _rank = forking.REFRESH
    _thread: threading.Thread | None

    def __init__(
        self,
        source: Source,
        apply: Callable[[Snapshot], None],
        interval: float | None = None,
        *,
        known: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = SPREAD,
    ) -> None:
        self._source = source
        self._apply = apply
        self._interval = source.interval if interval is None else interval
        self._clock = clock
        self._spread = spread
        self._revision = known
        self._succeeded_at: float | None = None
        self._started_at: float | None = None
        # Texts, not the exception: its traceback would keep every frame and body alive.
        self._error: str | None = None
        self._problems: list[Problem] = []
        self._failures = 0
        self._failures_ever = 0
        self._stopped = False
        self._reset()
        forking.keep(self)

    def start(self) -> None:
        """Start the thread; nothing when it runs or was stopped."""
        with self._lock:
            self._start(0.0)

    def wake(self) -> None:
        """Fetch now instead of at the end of the pause."""
        with contextlib.suppress(RuntimeError):  # it is open: the thread has been told already
            self._gate.release()

    def leave(self) -> None:
        """Nobody needs news any more: the thread ends.

        Takes no lock and waits for nothing, since the garbage collector may call it anywhere.
        """
        self._stopped = True
        self._source.cut()
        self.wake()

    def stop(self, timeout: float = 2.0) -> bool:
        """End the thread; False if it still sits in a request after `timeout` seconds."""
        self.leave()
        with self._lock:
            thread = self._thread
            self._condition.notify_all()
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def wait_first(self, seconds: float | None) -> bool:
        """Wait until the source has answered once (also "unchanged"); False when it has not."""
        with self._lock:
            return self._condition.wait_for(
                lambda: self._succeeded_at is not None or self._stopped, seconds
            ) and (self._succeeded_at is not None)

    def state(self) -> dict[str, Any]:
        """How fresh: source, revision, age (seconds since the source last answered, None: never),
        waiting (seconds since the first request began, None: it was answered, well or badly),
        error (text), problems (of a document), failures (in a row), failures_ever, notes, mode
        ("poll"; see `live` for others).
        """
        with self._lock:
            at = self._succeeded_at
            return {
                "source": self._source.name,
                "waiting": self._waiting(),
                "revision": self._revision,
                "age": None if at is None else max(0.0, self._clock() - at),
                "error": self._error,
                "problems": [problem.to_mapping() for problem in self._problems],
                "failures": self._failures,
                "failures_ever": self._failures_ever,
                "running": self._thread is not None and self._thread.is_alive(),
                "notes": self._source.notes(),
                "mode": "poll",
            }

    def step(self) -> float:
        """Fetch and apply once; the seconds to wait before the next time. Never raises."""
        try:
            return self._once()
        # An edge: whatever goes wrong in one fetch, the next one must still come.
        except Exception as problem:  # noqa: BLE001
            return self._failed(problem)

    def _once(self) -> float:
        self._take(self._source.fetch(self._revision))
        return self._interval * (1 - JITTER + 2 * JITTER * self._spread())

    def _take(self, snapshot: Snapshot | None) -> None:
        """The source was heard of: apply what came, None stands for "unchanged"."""
        if snapshot is not None:
            self._apply(snapshot)
        with self._lock:
            if snapshot is not None:
                self._revision = snapshot.revision
            self._error, self._problems = None, []
            self._failures = 0
            self._succeeded_at = self._clock()
            self._condition.notify_all()

    def _note(self, problem: Exception) -> None:
        if self._stopped:
            return  # what ends a request that was cut says nothing of the server
        with self._lock:
            self._error = _text(problem)
            self._problems = problem.problems if isinstance(problem, DocumentError) else []
            self._failures += 1
            self._failures_ever += 1

    def _failed(self, problem: Exception) -> float:
        self._note(problem)
        with self._lock:
            first = FIRST_RETRY if self._succeeded_at is None else self._interval
            failures = self._failures
        longest = max(self._source.patience, self._interval)
        # A wide spread: many processes lost the server at the same moment.
        delay = min(longest, first * 2.0 ** min(failures - 1, 16)) * (0.7 + 0.6 * self._spread())
        if isinstance(problem, TransportError) and problem.retry_after is not None:
            delay = max(delay, min(problem.retry_after, RETRY_AFTER_LIMIT))
        return delay

    def _start(self, delay: float) -> None:
        """Start the thread, its first fetch after `delay` seconds; the condition is held."""
        if self._stopped or self._thread is not None:
            return
        thread = threading.Thread(
            target=self._run, args=(delay,), name="flagloop-refresh", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as problem:
            # No more threads, or the interpreter is ending: the last good ruleset stays.
            self._error = str(problem)
            return
        self._thread = thread
        self._started_at = self._clock() + delay

    def _waiting(self) -> float | None:
        heard = self._succeeded_at is not None or self._failures_ever > 0
        if heard or self._started_at is None or self._thread is None:
            return None
        return max(0.0, self._clock() - self._started_at)

    def _run(self, delay: float) -> None:
        while self._pause(delay):
            delay = self.step()

    def _pause(self, delay: float) -> bool:
        """Wait for the time, a wake or a stop; whether to go on."""
        self._gate.acquire(timeout=limited(delay))
        return not self._stopped

    def _reset(self) -> None:
        """The state of threads: none. Also in a forked child, whose threads are gone."""
        # Reentrant: a signal handler may come while its own thread is in here. Taken itself and not
        # by the condition, which is Python: a handler that raises would leave it locked.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._gate = threading.Lock()
        self._gate.acquire()
        self._thread = None

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork_in_parent(self) -> None:
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        """The child has no thread: begin anew. Not at once, since many children end soon, unless
        there was nothing yet that it could decide by.
        """
        ran = self._thread is not None
        self._reset()
        if ran:
            self._start(0.0 if self._succeeded_at is None else self._child_pause())

    def _child_pause(self) -> float:
        return self._interval * self._spread()


def _text(problem: Exception) -> str:
    if isinstance(problem, TransportError | DocumentError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}"

"""Events on their way to the server: one bounded inbox, one lazy worker, safe across forks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from flagloop import forking
from flagloop.evaluation.decision import Decision
from flagloop.events import ending
from flagloop.events.event import JSON, UNFIT, Instance, tracked
from flagloop.events.exposure import Exposures
from flagloop.events.inbox import Inbox
from flagloop.events.outbox import Clocks, Outbox, Policy, Send, Sources
from flagloop.events.queue import MemoryQueue, Queue
from flagloop.events.recording import Counts, Losses, Reservoir

KEEP = 0.8
"""Seconds that a record is in memory alone when there is a spool: with writing, under one."""
BEHIND = 0.05


class Adopted(Protocol):
    """A ruleset, as far as events need to know it."""

    revision: str | None

    @property
    def units(self) -> Iterable[str]:
        """The attributes that the ruleset uses as unit."""

    @property
    def recording(self) -> Iterable[str]:
        """The attributes that recorded contexts keep."""

    def counted(self) -> Iterable[Decision]:
        """Every decision that may have been served so far; takes no lock."""


class Delivery(forking.Forkable):
    """Takes exposures, events, counts and contexts from any thread and sends them in batches.

    Nothing but `flush` and `close` ever waits. `send` gets each batch as JSON; `queue` bounds
    the records that wait, `memory` the units of which exposures are remembered, `spool` is where
    batches wait (one in memory if None). Without `background` there is no worker: `flush` and
    `close` do its work.
    """

    _rank = forking.DELIVERY

    def __init__(
        self,
        send: Send,
        *,
        sdk: str = "flagloop-python",
        instance: Instance | None = None,
        queue: int = 100_000,
        memory: int = 50_000,
        policy: Policy | None = None,
        clocks: Clocks | None = None,
        spool: Queue | None = None,
        background: bool = True,
    ) -> None:
        policy = policy or (Policy(interval=KEEP) if spool else Policy())
        clocks = clocks or Clocks()
        self._background = background
        self._closed = False
        self._left = False
        self._eager = False
        self._invalid: str | None = None
        self._clocks = clocks
        self._units: tuple[str, ...] = ("key",)
        self.instance = instance or Instance()
        self.losses = Losses()
        self.inbox = Inbox(queue, (memory + 7) // 8, self._wake, self.losses.add)
        self.exposures = Exposures(self.inbox, clocks.wall, memory)
        self.counts = Counts(self._start, clocks.wall)
        self.reservoir = Reservoir(self._start, clocks.steady)
        sources = Sources(self.inbox, self.counts, self.losses, self.reservoir)
        batches = spool or MemoryQueue()
        self._durable = batches.durable
        self._outbox = Outbox(
            send, sources, policy, clocks, sdk=sdk, instance=self.instance, queue=batches
        )
        self._reset()
        ending.keep(self)
        forking.keep(self)

    def adopt(self, ruleset: Adopted) -> None:
        """Decisions come from `ruleset` from now on; call it before they do."""
        self._units = tuple(sorted(ruleset.units))
        self._outbox.revision = ruleset.revision
        self.exposures.adopt(ruleset.revision)
        self.counts.adopt(ruleset)
        self.reservoir.adopt(self._units, ruleset.recording)

    def track(
        self,
        event: str,
        context: Mapping[str, Any],
        value: Any = None,
        properties: Mapping[str, Any] | None = None,
    ) -> bool:
        """Send `event` of the units in `context`; False when it is lost (`status` says why)."""
        at = self._clocks.wall()
        try:
            origin = tracked(event, context, self._units, value, properties)
        except UNFIT as problem:
            self._invalid = str(problem)
            self.losses.add("invalid", None, None)
            return False
        return self.inbox.put(origin, None, at)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all that is here has been acknowledged or lost; False after `timeout` s."""
        return self._flush(time.monotonic() + timeout, lambda: False)

    def close(self, timeout: float = ending.AT_EXIT) -> bool:
        """Take nothing more, flush, stop the worker; what cannot be sent in time is lost, or is
        for the next process if there is a spool.
        """
        deadline = time.monotonic() + timeout
        if self._closed:
            return not self._outbox.queued
        self.inbox.close()
        # First, since a process that ends has no time to lose, and `send` may hang.
        self._outbox.seal(timeout * 0.8)
        # A part is kept for the worker's end, in which what is left becomes a counted loss.
        flushed = self._flush(deadline - timeout * 0.2, lambda: self._outbox.spared)
        with self._lock:
            self._closed = True
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._nudge()
            thread.join(max(0.0, deadline - time.monotonic()))
        elif self._turn.acquire(blocking=False):
            self._outbox.abandon()
            self._turn.release()
        return flushed

    def start(self) -> None:
        """Start the worker now, also in forked children, for counts that nothing else announces."""
        self._eager = True
        self._start()

    def hurry(self) -> None:
        """Send what is here as soon as possible; does not wait for that."""
        self._ask()

    def leave(self) -> None:
        """Nobody puts anything any more: the worker sends what is here and ends.

        Takes no lock and waits for nothing, since the garbage collector may call it anywhere.
        """
        self._left = True
        self._nudge()

    def status(self) -> JSON:
        """How delivering goes.

        `queued`, `sent` (acknowledged) and `lost` (by reason) are numbers of events of this
        process, `lost_rows` numbers of evaluations (`counts`) and recorded contexts
        (`contexts`) that the server never got, `last_error` a text or None, `failures` tries
        since the last success, `retry_in` seconds or None, `invalid` what was wrong with the
        last event refused here. `spool`: what is on disk (see `Spool.status`), None without.
        """
        outbox = self._outbox
        return {
            "queued": outbox.queued,
            "sent": outbox.sent,
            "lost": self.losses.totals,
            "lost_rows": dict(outbox.lost_rows),
            "last_error": outbox.last_error,
            "failures": outbox.failures,
            "retry_in": outbox.retry_in,
            "invalid": self._invalid,
            "spool": outbox.status(),
        }

    def _flush(self, deadline: float, enough: Callable[[], bool]) -> bool:
        """Flush until `deadline` (monotonic seconds), or until it is `enough`."""
        if not self._running and self._empty():
            return True
        ticket = self._ask()
        self._start()

        def over() -> bool:
            return self._served >= ticket or enough()

        if not self._running:
            self._work(over, deadline)
        with self._lock:
            self._changed.wait_for(over, max(0.0, deadline - time.monotonic()))
        return self._served >= ticket

    def _empty(self) -> bool:
        """Whether there is nothing to send, for a process that never evaluated."""
        self.counts.drain()
        here = self._outbox.queued + len(self.counts) + len(self.reservoir)
        return not here and not self.losses.totals

    # The worker.

    def _reset(self) -> None:
        """The state of threads: none. Also in a forked child, whose threads are gone."""
        # Reentrant: a signal handler may come while its own thread is in here. Taken itself and not
        # by the condition, which is Python: a handler that raises would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._turn = threading.Lock()
        self._gate = threading.Lock()
        self._gate.acquire()
        self._thread: threading.Thread | None = None
        self._asked = self._serving = self._served = 0

    @property
    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        """See that the worker runs, if it can."""
        if self._running or not self._background or self._closed:
            return
        # Whoever holds the lock is about to start it, or is forking: never wait for that here.
        if self._lock.acquire(blocking=False):
            try:
                if not self._running:
                    self._thread = _thread(self._run, "flagloop-delivery")
                    if self._durable:
                        _thread(partial(self._keep, self._thread), "flagloop-spool")
            except RuntimeError:
                pass  # no more threads, as while the interpreter ends
            finally:
                self._lock.release()

    def _wake(self) -> None:
        self._start()
        self._nudge()

    def _nudge(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is open: the worker has been told already
            self._gate.release()

    def _ask(self) -> int:
        """Ask for everything to be sent; the ticket that is served when that is done."""
        with self._lock:
            self._asked += 1
            ticket = self._asked
        self._nudge()
        return ticket

    def _run(self) -> None:
        left = False
        while True:
            with self._turn:
                if self._closed:
                    self._outbox.abandon()
                    return
                wait = self._round()
            if left and (self._served >= self._asked or self._outbox.spared):
                with self._turn:
                    self._outbox.abandon()
                return
            if self._left and not left:
                left = True
                self._ask()
            elif wait > 0 and not self._closed:
                self._gate.acquire(timeout=wait)

    def _keep(self, worker: threading.Thread) -> None:
        """Put on disk what comes while `worker` sits in a request that hangs."""
        while worker.is_alive() and not self._closed:
            pause = 0.0
            with contextlib.suppress(Exception):  # an edge: the worker stumbles on it and tells
                pause = self._outbox.keep()
            # A moment later than the worker, who does the same when it is free.
            worker.join(pause + BEHIND)

    def _work(self, over: Callable[[], bool], deadline: float) -> None:
        """The worker's work on the caller's thread, until it is `over` or time is up."""
        while not over():
            if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return
            try:
                wait = 0.0 if over() else self._round()
            finally:
                self._turn.release()
            left = deadline - time.monotonic()
            if not over() and wait > 0:
                if left <= 0:
                    return
                self._gate.acquire(timeout=min(wait, left))

    def _round(self) -> float:
        """One step of the outbox; seconds until the next."""
        asked = self._asked
        if asked > self._serving:
            self._serving = asked
            self._outbox.begin_flush()
        try:
            wait = self._outbox.step()
        except Exception as problem:  # noqa: BLE001
            # The delivery loop is an edge: whatever `send` raises, later batches must go out.
            wait = self._outbox.stumble(problem)
        if self._served < self._serving:
            with self._lock:
                if self._outbox.flushed:
                    self._served = self._serving
                self._changed.notify_all()
        return 0.0 if self._asked > self._serving else wait

    # Forks: the parent keeps what waits and sends it, the child starts with nothing.

    def _before_fork(self) -> None:
        self._lock.acquire()
        self._outbox.before_fork()

    def _after_fork_in_parent(self) -> None:
        self._outbox.after_fork_in_parent()
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._reset()
        self.losses.reset()
        self.inbox.clear()
        self.exposures.reset()
        self.counts.reset()
        self.reservoir.reset()
        self._outbox.reset()
        if self._eager:
            self._start()


def _thread(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread

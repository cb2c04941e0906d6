"""From raw records to acknowledged batches: what to send when, and what an answer means.

Nothing here waits or starts threads: `step` does what is due and says when to come again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flagloop.errors import TransportError
from flagloop.events.batch import Batch
from flagloop.events.event import JSON, Instance, uuids
from flagloop.events.inbox import STRIDE, Inbox
from flagloop.events.queue import Queue
from flagloop.events.recording import Counts, Losses, Reservoir

LOG = logging.getLogger("flagloop")

COUNT_ROWS = 2_000
LOSS_ROWS = 500
MINUTE = 60.0
SAMPLING = 1.0
"""Seconds between two looks at the reservoir while the application evaluates."""
STUMBLES = 5
"""How often a batch may fail for no reason of the server's before it is given up."""
BROKEN = frozenset({400, 405, 406, 409, 410, 411, 415, 422})
"""Answers that another try of the same bytes will not change."""
SLOW = frozenset({401, 403, 404, 301, 302, 303, 307, 308})
"""Answers that a person has to mend, so asking often makes no sense."""


class Policy(NamedTuple):
    """How events travel: at most `events` and about `size` bytes in a batch, each `interval`.

    Times are seconds. Between tries of a batch a random part of `backoff`, doubled with each
    failure up to `longest`, passes; the server's Retry-After counts up to `obey`.
    """

    interval: float = 5.0
    events: int = 2_000
    size: int = 900_000
    backoff: float = 1.0
    longest: float = 60.0
    obey: float = 3_600.0


class Sources(NamedTuple):
    """Where a batch is filled from."""

    inbox: Inbox
    counts: Counts
    losses: Losses
    reservoir: Reservoir


class Clocks(NamedTuple):
    """Epoch seconds, seconds that never go back, and a random number in [0, 1)."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = lambda: int.from_bytes(os.urandom(4), "big") / 2**32


Send = Callable[[bytes], Mapping[str, Any] | None]
"""Takes a batch's JSON; gives the server's answer, or None where there is none to give."""


class Outbox:
    """Builds batches from `sources` and sends them one after the other, each until it is known.

    `send` raises TransportError when there is no usable answer. Only one thread may call `step`;
    while it is in `send`, another may `keep` and `seal`. `queue` is where batches wait.
    """

    def __init__(
        self,
        send: Send,
        sources: Sources,
        policy: Policy,
        clocks: Clocks,
        *,
        sdk: str,
        instance: Instance,
        queue: Queue,
    ) -> None:
        self._send = send
        self._queue = queue
        self._from = sources
        self._policy = policy
        self._clocks = clocks
        self._sdk = sdk
        self._instance = instance
        self.revision: str | None = None
        queue.lose = self._lose
        self.reset()

    def reset(self) -> None:
        """Forget everything, for a forked child: its parent sends."""
        # Reentrant: a signal handler may come while its own thread is in here.
        self._lock = threading.RLock()
        self._queue.reset()
        now = self._clocks.steady()
        self.sent = 0
        self.failures = 0
        self.last_error: str | None = None
        self.lost_rows: dict[str, int] = {}
        """Evaluations (`counts`) and recorded contexts (`contexts`) that the server never got."""
        self._chunk: list[Any] = []
        self._next = 0
        self._taken = 0
        self._made: Batch | None = None
        self._whole: Batch | None = None
        self._parts: deque[Batch] = deque()
        self._settled = 0
        self._over = False
        self._tick = now + self._policy.interval
        self._not_before = now
        self._losses_from = now
        self._imposed = False
        self._stumbles = 0
        self._minute = self._clocks.wall() // MINUTE
        self._goal: int | None = None
        self._mark: int | None = None

    @property
    def waiting(self) -> int:
        """Records that are in no batch yet."""
        return len(self._from.inbox) + (len(self._chunk) - self._next) // STRIDE

    @property
    def queued(self) -> int:
        """Records that are neither acknowledged nor lost."""
        # Rather one batch too many, while it is made, than a moment at which all seems done.
        made = self._made
        new = len(made.events) if made is not None else 0
        return new + self.waiting + self._queue.events - self._settled

    @property
    def retry_in(self) -> float | None:
        """Seconds until the next try after a failure, None when all is well."""
        if not self.failures or self._whole is None:
            return None
        return max(0.0, self._not_before - self._clocks.steady())

    @property
    def spared(self) -> bool:
        """Whether the server is away and nothing is lost by not waiting for it."""
        return self._queue.durable and self.failures > 0

    def begin_flush(self) -> None:
        """From now on everything that is here is due, also a batch that waits for its retry.

        Only a wait that the server asked for is kept.
        """
        with self._lock:
            self._from.counts.drain()
            self._goal = self._taken + len(self._from.inbox)
            self._mark = None
            self._losses_from = self._clocks.steady()
            if not self._imposed:
                self._not_before = self._losses_from

    @property
    def flushed(self) -> bool:
        """Whether all that was here at `begin_flush` has been acknowledged or lost."""
        return self._goal is None

    def step(self) -> float:
        """Do what is due, at most one send; seconds until something is due again."""
        with self._lock:
            busy = self._collect()
            batch = self._front()
            ready = self._clocks.steady() >= self._not_before
        if batch is not None and ready:
            self._deliver(batch)
        with self._lock:
            self._settle()
            return self._rest(self._clocks.steady(), busy)

    def keep(self) -> float:
        """Put what is due into the queue, as far as it has room; sends nothing.

        Gives the seconds until more is due.
        """
        with self._lock:
            if not self._over:
                self._collect()
            wait = self._tick - self._clocks.steady()
            return wait if wait > 0 else self._policy.interval

    def seal(self, timeout: float) -> None:
        """Put all that is here into a durable queue, unless that takes `timeout` seconds."""
        if self._queue.durable and self._lock.acquire(timeout=timeout):
            try:
                self._seal()
            finally:
                self._lock.release()

    def stumble(self, problem: Exception) -> float:
        """After `step` raised: seconds to wait. A batch that makes it raise is given up."""
        with self._lock:
            self._stumbles += 1
            kind = type(problem).__name__
            # A log gets the kind alone: the text of whatever was raised may hold an attribute.
            self._fail(f"{kind}: {problem}"[:200], kind)
            if self._stumbles >= STUMBLES and self._parts:
                self._stumbles = 0
                self._lose(self._parts[0], "error")
                self._done()
            wait = self._backoff(self._policy.longest)
            self._not_before = self._clocks.steady() + wait
            return wait

    def abandon(self) -> None:
        """The end: nothing will be sent any more. What the queue cannot keep counts as lost."""
        with self._lock:
            self._over = True
            if self._queue.durable:
                self._seal()
            for batch in self._queue.close():
                for part in self._parts if batch is self._whole else (batch,):
                    self._lose(part, "closed")
            self._whole, self._settled = None, 0
            self._parts.clear()
            self._from.counts.drain()
            counts = self._from.counts.take(len(self._from.counts))
            self._lose_rows(counts, self._from.reservoir.drain())
            self._chunk = self._chunk[self._next :]
            self._next = 0
            while self._chunk or (self._refill() and self._chunk):
                for origin in self._chunk[::STRIDE]:
                    self._from.losses.add("closed", origin.flag, origin.variant)
                self._chunk = []

    def before_fork(self) -> None:
        """See that no other thread is in the middle of something."""
        self._lock.acquire()
        self._queue.before_fork()

    def after_fork_in_parent(self) -> None:
        """Let other threads go on."""
        self._lock.release()

    def status(self) -> JSON | None:
        """What `Queue.status` says."""
        return self._queue.status()

    # Below, the lock is held.

    def _collect(self) -> bool:
        """Put what is due into the queue; True while the application evaluates."""
        now = self._clocks.steady()
        minute = self._clocks.wall() // MINUTE
        if minute != self._minute:
            self._minute = minute
            self._from.counts.drain()
        busy = self._from.reservoir.arm()
        while self._queue.room() and self._due(now):
            self._build(now)
        return busy

    def _seal(self) -> None:
        self._from.counts.drain()
        while self._queue.room() and self._build(self._clocks.steady()):
            pass

    def _front(self) -> Batch | None:
        """What is to be sent next: the queue's oldest batch, or what is left of it."""
        if self._whole is None:
            self._whole = self._queue.first()
            if self._whole is not None:
                self._parts.append(self._whole)
        return self._parts[0] if self._parts else None

    def _done(self) -> None:
        """`_front` has arrived, or is lost."""
        self._settled += len(self._parts.popleft().events)
        if not self._parts:
            self._queue.remove()
            self._whole, self._settled = None, 0

    def _due(self, now: float) -> bool:
        due = (self._goal is not None and self._mark is None) or now >= self._tick
        return due or len(self._from.inbox.items) >= self._from.inbox.wake_at

    def _settle(self) -> None:
        """Forget the goal of a flush that is reached."""
        if self._mark is not None and self._queue.passed(self._mark):
            self._goal = self._mark = None

    def _rest(self, now: float, busy: bool) -> float:
        edge = MINUTE - self._clocks.wall() % MINUTE
        until = min(edge, SAMPLING) if busy else edge
        if self._front() is not None:
            until = min(until, self._not_before - now)
        if self._queue.room():
            until = min(until, 0.0 if self._due(now) else self._tick - now)
        return max(0.0, until)

    def _build(self, now: float) -> bool:
        """Put a batch of what is there into the queue; False when there was nothing."""
        sources = self._from
        if now >= self._tick:
            sources.counts.drain()
        batch = Batch(
            {"sdk": self._sdk, "instance": self._instance.mapping(), "revision": self.revision},
            lost=sources.losses.take(LOSS_ROWS) if now >= self._losses_from else [],
            counts=sources.counts.take(COUNT_ROWS),
            contexts=sources.reservoir.drain(),
        )
        self._made = batch
        self._fill(batch)
        if self.waiting < self._policy.events:
            self._tick = now + self._policy.interval
        if batch:
            self._queue.put(batch)
        self._made = None
        built = self._taken - (len(self._chunk) - self._next) // STRIDE
        if self._goal is not None and built >= self._goal and not len(sources.counts):
            self._mark = self._queue.last
        return bool(batch) or self.waiting > 0

    def _refill(self) -> bool:
        """Take the next records from the inbox; False when it is empty."""
        # Several batches at once: what is taken from a list's front moves all that is behind.
        self._chunk = self._from.inbox.take(10 * self._policy.events)
        self._next = 0
        taken = len(self._chunk) // STRIDE
        self._taken += taken
        return bool(taken)

    def _fill(self, batch: Batch) -> None:
        """Put the next events into `batch`, as many as it holds."""
        room = self._policy.size
        left = room - batch.size
        for identity in uuids(min(self._policy.events, self.waiting), self._clocks.wall):
            if self._next >= len(self._chunk) and not self._refill():
                return
            origin, payload, at = self._chunk[self._next : self._next + STRIDE]
            text = origin.text(identity, payload, at)
            if len(text) > left and len(text) <= room // 2:
                return
            if len(text) > left:
                self._from.losses.add("too_large", origin.flag, origin.variant)
            else:
                left -= len(text) + 1
                batch.events.append(text)
            self._next += STRIDE

    def _deliver(self, batch: Batch) -> None:
        """Send, without the lock."""
        try:
            answer = self._send(batch.encode(int(self._clocks.wall() * 1000)))
        except TransportError as problem:
            with self._lock:
                self._refused(batch, problem)
            return
        with self._lock:
            if self.failures:
                LOG.info("flagloop: events are delivered again")
            self.failures = self._stumbles = 0
            self.last_error = None
            self._imposed = False
            self.sent += len(batch.events) - self._rejected(batch, answer)
            self._done()

    def _rejected(self, batch: Batch, answer: Mapping[str, Any] | None) -> int:
        """Count the events that the server did not take."""
        rejected = answer.get("rejected") if isinstance(answer, Mapping) else None
        places = {
            row["index"]
            for row in (rejected if isinstance(rejected, list) else ())
            if isinstance(row, Mapping) and isinstance(row.get("index"), int)
        }
        refused = [place for place in places if 0 <= place < len(batch.events)]
        for place in refused:
            self._from.losses.add("rejected", *batch.about(place))
        return len(refused)

    def _refused(self, batch: Batch, problem: TransportError) -> None:
        self._fail(str(problem))
        if problem.status == 413:
            self._replace(batch, batch.halves(), "too_large")
        elif problem.status in BROKEN:
            self._replace(batch, batch.apart(), "rejected")
        else:
            self._wait(problem)

    def _replace(self, batch: Batch, parts: list[Batch], reason: str) -> None:
        """Go on with the parts of a batch; one that has none is lost."""
        if parts:
            self._parts.popleft()
            self._parts.extendleft(reversed(parts))
            return
        self._lose(batch, reason)
        self._done()
        if batch.lost:
            # Not with each batch: if it is these rows that the server minds, the others pass.
            self._losses_from = self._clocks.steady() + self._policy.longest

    def _lose(self, batch: Batch, reason: str) -> None:
        """Give a batch up; what it tells of losses is kept for a later one."""
        for place in range(len(batch.events)):
            self._from.losses.add(reason, *batch.about(place))
        self._from.losses.give_back(batch.lost)
        self._lose_rows(batch.counts, batch.contexts)

    def _lose_rows(self, counts: list[JSON], contexts: list[JSON]) -> None:
        for kind, n in (("counts", sum(row["n"] for row in counts)), ("contexts", len(contexts))):
            if n:
                self.lost_rows[kind] = self.lost_rows.get(kind, 0) + n

    def _fail(self, reason: str, logged: str | None = None) -> None:
        if not self.failures:
            text = logged or reason
            LOG.warning("flagloop: events are not delivered and will be tried again: %s", text)
        self.failures += 1
        self.last_error = reason

    def _wait(self, problem: TransportError) -> None:
        self._imposed = problem.retry_after is not None
        if problem.retry_after is not None:
            asked = min(max(problem.retry_after, 0.0), self._policy.obey)
            # Not earlier than asked, and not all at the same instant.
            wait = asked + self._clocks.jitter() * min(1.0 + asked / 10, self._policy.longest)
        elif problem.status in SLOW:
            wait = self._policy.longest * (1 + self._clocks.jitter()) / 2
        else:
            wait = self._backoff(self._policy.longest)
        self._not_before = self._clocks.steady() + wait

    def _backoff(self, longest: float) -> float:
        ceiling = min(longest, self._policy.backoff * 2.0 ** min(self.failures - 1, 30))
        return max(0.05, self._clocks.jitter() * ceiling)

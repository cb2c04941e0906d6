"""The append-only event log: one writer thread, groups of batches in one commit."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flagloop.errors import FlagloopError
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.events import migrations, pruning, reading, writing
from flagloop_server.store.events.batch import Ack, Batch
from flagloop_server.store.events.checkpoint import Checkpoints
from flagloop_server.store.events.health import Health
from flagloop_server.store.events.live import EventTotal, Live, LiveCounts
from flagloop_server.store.events.names import Names
from flagloop_server.store.events.reading import (
    EventRow,
    EventUsage,
    InstanceRow,
    Loss,
    RecordedContext,
    Usage,
)
from flagloop_server.store.events.room import Limits, Room
from flagloop_server.store.events.writing import HOUR, Job, Stored

_LOG = logging.getLogger(__name__)

GROUP_EVENTS = 5_000
"""About how many events are committed at once."""

LOCKED_MS = 3_000
"""How long a commit waits for another process that keeps the file locked."""

CACHE_KIB = 8 * 1024
"""Pages that the writer keeps in memory: of random ids each goes into another page of the index."""

_REBUILT_EVENTS = 100_000


class BusyError(FlagloopError):
    """Too much is waiting to be written; come again in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many events wait; try again in {retry_after:g} s")


class ClosedError(FlagloopError):
    """The event log is closed."""


class Waiting(NamedTuple):
    """A batch that waits for its commit, with the columns of its events."""

    job: Job
    columns: list[Any]
    public: bool
    future: Future[Ack]


@dataclass(frozen=True, slots=True)
class EventStats:
    """Counters since the start, what waits now, and why nothing is written, if so."""

    waiting_batches: int
    waiting_events: int
    waiting_bytes: int
    problem: str | None
    batches: int
    accepted: int
    duplicate: int
    rejected: int
    malformed: int
    refused: int
    commits: int
    failures: int


class EventLog:
    """events.db. Threads may share it; `submit` only queues, the writer thread commits.

    `flags` gives the flags that an environment's document has: their counts are always kept,
    those of other names only up to a limit.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int] | None = None,
        flags: Callable[[int], Collection[str]] = lambda environment: (),
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._clock = clock or (lambda: time.time_ns() // 1_000_000)
        self._file = SqliteFile(path, migrations.events)
        self._live = Live(self._clock())
        self.health = Health(path.name, self._clock)
        self._lock = threading.Lock()
        self._queue: deque[Waiting] = deque()
        self._room = Room(limits)
        self._public_room = Room(limits.quarter())
        self._refused = 0
        self._done = dict.fromkeys(
            ("batches", "accepted", "duplicate", "rejected", "malformed", "commits", "failures"), 0
        )
        self._names = Names(flags)
        self._pruned = 0
        self._closed = False
        self._follows = False
        self._checkpoints = Checkpoints(path)
        with self._file.write() as writer:
            self._checkpoints.prepare(writer)
            writer.execute(f"PRAGMA busy_timeout = {LOCKED_MS}")
            writer.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="flagloop-events")

    def follow(self) -> None:
        """Begin to read the newest events of earlier runs for the live counts.

        For a server at its start, so that the first page has them; the first `submit` or `live`
        does it where nobody did. Commands that need no counts do not pay for it.
        """
        with self._lock:
            self._follow()

    def _follow(self) -> None:
        if not self._follows and not self._closed:
            self._follows = True  # before any batch: the writer's queue keeps the order
            self._writer.submit(self._rebuild).add_done_callback(_log_failure)

    def submit(
        self,
        environment: int,
        key: int | None,
        received_ms: int,
        batch: Batch,
        *,
        public: bool = False,
    ) -> Future[Ack]:
        """Queue a batch; the future is done after its commit (or has the sqlite3.Error).

        Raises BusyError when too much is waiting, or too much of public keys if it is of one,
        and ClosedError.
        """
        job = Job(environment, key, received_ms, batch)
        waiting = Waiting(job, job.columns(), public, Future())
        with self._lock:
            if self._closed:
                raise ClosedError("the event log is closed")
            rooms = self._rooms(waiting)
            if not all(room.fits(batch) for room in rooms):
                self._refused += 1
                raise BusyError(2.0)
            for room in rooms:
                room.enter(batch)
            self._follow()
            self._queue.append(waiting)
            self._writer.submit(self._write_group).add_done_callback(_log_failure)
        return waiting.future

    def _rooms(self, waiting: Waiting) -> tuple[Room, ...]:
        return (self._room, self._public_room) if waiting.public else (self._room,)

    def close(self) -> None:
        """Commit what is queued, refuse the rest, close the file."""
        with self._lock:
            self._closed = True
        self._writer.shutdown(wait=True)
        self._checkpoints.close()
        self._file.close()

    def stats(self) -> EventStats:
        """Counters for monitoring."""
        with self._lock:
            return EventStats(
                waiting_batches=self._room.batches,
                waiting_events=self._room.events,
                waiting_bytes=self._room.size,
                problem=self.health.problem,
                refused=self._refused,
                **self._done,
            )

    def usage(self, environment: int, flag: str | None = None) -> dict[str, Usage]:
        """Flag -> evaluations of the last 24 hours, for every flag that was ever counted.

        With `flag` for that one alone, which is quick however many flags there are; for a list
        of flags `hours` and `last_seen` are.
        """
        with self._file.snapshot() as connection:
            return reading.usage(connection, environment, self._clock(), flag)

    def last_seen(self, environment: int) -> dict[str, int]:
        """Flag -> when it was last counted, for every flag that ever was."""
        with self._file.read() as connection:
            return reading.last_seen(connection, environment)

    def hours(self, environment: int, flags: Collection[str]) -> dict[str, tuple[int, ...]]:
        """Flag -> its evaluations in each of the last 24 hours, the oldest first."""
        with self._file.read() as connection:
            return reading.hours(connection, environment, self._clock(), flags)

    def given_by_rule(self, environment: int, flag: str, rule: str) -> dict[str, int]:
        """Variant -> how often the rule of the flag gave it in the last 24 hours."""
        with self._file.read() as connection:
            return reading.given_by_rule(connection, environment, self._clock(), flag, rule)

    def event_usage(self, environment: int, names: Collection[str]) -> dict[str, EventUsage]:
        """Name of an event -> how many came in each of the last 24 hours, and the last when."""
        with self._file.read() as connection:
            return reading.event_usage(connection, environment, self._clock(), names)

    def contexts(self, environment: int, limit: int = writing.RING) -> list[RecordedContext]:
        """Recorded contexts, the newest first; the last 10,000 are kept."""
        with self._file.read() as connection:
            return reading.contexts(connection, environment, limit)

    def live(self, environment: int, flag: str) -> LiveCounts:
        """Units and events per variant as they happen."""
        self.follow()
        return self._live.counts(environment, flag)

    def variant_counts(self, environment: int, flag: str) -> dict[str, int]:
        """Variant -> exposed units, of `live`."""
        return dict(self.live(environment, flag).units)

    def event_totals(self, environment: int, flag: str) -> dict[str, dict[str, EventTotal]]:
        """Event -> variant -> totals of units that were exposed before, of `live`."""
        return {event: dict(found) for event, found in self.live(environment, flag).events.items()}

    def losses(self, environment: int) -> list[Loss]:
        """What senders reported as lost, the most first."""
        with self._file.read() as connection:
            return reading.losses(connection, environment)

    def instances(self, environment: int, since: int = 0, most: int = -1) -> list[InstanceRow]:
        """The processes that sent something since then (epoch ms), the latest `most` of them."""
        with self._file.read() as connection:
            return reading.instances(connection, environment, since, most)

    def note_instances(
        self, environment: int, seen: Iterable[InstanceRow], left: Iterable[str] = ()
    ) -> None:
        """Write down which processes are there, and forget those that left, by id.

        Besides what batches say, since many send none for long. Raises sqlite3.Error and
        ClosedError.
        """
        rows = [(o.id, o.host, o.pid, o.sdk, o.revision, o.last_seen_ms) for o in seen]

        def note() -> None:
            with self._file.write() as connection:
                writing.note_instances(connection, environment, rows, left)
            # Where nothing but this is written, nothing else keeps the write-ahead log short.
            self._checkpoints.committed(connection, len(rows))

        with self._lock:
            if self._closed:
                raise ClosedError("the event log is closed")
            noted = self._writer.submit(note)
        noted.result()

    def events(self, after: int = 0, limit: int = 1000) -> list[EventRow]:
        """Events by `seq`, at most `limit` of those after `after`."""
        with self._file.read() as connection:
            return reading.events(connection, after, limit)

    def _take(self) -> list[Waiting]:
        group: list[Waiting] = []
        with self._lock:
            size = 0
            while self._queue and (not group or size < GROUP_EVENTS):
                group.append(self._queue.popleft())
                size += len(group[-1].job.batch.rows)
        return group

    def _write_group(self) -> None:
        """Write what waits; runs on the writer thread, once for each submit."""
        group = self._take()
        if not group:
            return  # an earlier run took it along
        try:
            self._write(group)
        finally:
            # the sender must never wait in vain, whatever went wrong
            for one in group:
                if not one.future.done():
                    one.future.set_exception(sqlite3.OperationalError("the batch was not written"))

    def _write(self, group: list[Waiting]) -> None:
        """Commit, give the room back, then tell the senders, who may have more to send."""
        failure: sqlite3.Error | None = None
        stored: list[Stored] = []
        try:
            stored = self._commit(group)
        except sqlite3.Error as error:
            failure = error
            # What came meanwhile would fail as well, and its senders wait.
            with self._lock:
                group += self._queue
                self._queue.clear()
        finally:
            with self._lock:
                for one in group:
                    for room in self._rooms(one):
                        room.leave(one.job.batch)
        if failure is None:
            self._finish(stored, group)
        else:
            self._fail(group, failure)

    def _commit(self, group: Sequence[Waiting]) -> list[Stored]:
        jobs = [(one.job, one.columns) for one in group]
        with self._file.write() as connection:
            now = self._clock()
            if now - self._pruned >= HOUR:
                pruning.prune(connection, now)
                self._names.forget()
                self._pruned = now
            stored = writing.write_batches(connection, jobs, self._names)
        self._checkpoints.committed(connection, sum(len(one.fresh) for one in stored))
        return stored

    def _finish(self, stored: Sequence[Stored], group: Sequence[Waiting]) -> None:
        self.health.works()
        self._live.follow(stored)
        with self._lock:
            self._done["commits"] += 1
            for one in stored:
                self._done["batches"] += 1
                self._done["accepted"] += one.ack.accepted
                self._done["duplicate"] += one.ack.duplicate
                self._done["rejected"] += len(one.ack.rejected)
                self._done["malformed"] += one.job.batch.malformed
        for one, waiting in zip(stored, group, strict=True):
            if waiting.future.set_running_or_notify_cancel():
                waiting.future.set_result(one.ack)

    def _fail(self, group: Sequence[Waiting], error: sqlite3.Error) -> None:
        self.health.fails(error)
        with self._lock:
            self._done["failures"] += len(group)
        for one in group:
            if not one.future.done() and one.future.set_running_or_notify_cancel():
                one.future.set_exception(error)

    def _rebuild(self) -> None:
        """Follow the newest events of earlier runs; the writer thread's first work."""
        with self._file.snapshot() as connection:
            self._live.rebuild(reading.followed(connection, _REBUILT_EVENTS))


def _log_failure(run: Future[None]) -> None:
    error = run.exception()
    if error is not None:
        _LOG.error("the event log's writer failed", exc_info=error)

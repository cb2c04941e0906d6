"""The append-only event log: one writer thread, groups of batches in one commit."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from flagloop.errors import FlagloopError
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.events import migrations, reading, writing
from flagloop_server.store.events.batch import Ack, Batch, Row
from flagloop_server.store.events.live import EventTotal, Live, LiveCounts
from flagloop_server.store.events.names import Names
from flagloop_server.store.events.reading import (
    EventRow,
    InstanceRow,
    Loss,
    RecordedContext,
    Usage,
)
from flagloop_server.store.events.writing import HOUR, Job, Stored

_LOG = logging.getLogger(__name__)

MOST_BATCHES = 512
MOST_EVENTS = 100_000
"""How much may wait for the writer; more is refused."""

GROUP_EVENTS = 5_000
"""About how many events are committed at once."""

_REBUILT_EVENTS = 100_000


class BusyError(FlagloopError):
    """Too much is waiting to be written; come again in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"the event log is busy; try again in {retry_after:g} s")


@dataclass(frozen=True, slots=True)
class EventStats:
    """Counters since the start, and what waits now."""

    waiting_batches: int
    waiting_events: int
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
    ) -> None:
        self._clock = clock or (lambda: time.time_ns() // 1_000_000)
        self._file = SqliteFile(path, migrations.events)
        self._live = Live(self._clock())
        self._lock = threading.Lock()
        self._queue: deque[tuple[Job, Future[Ack]]] = deque()
        self._waiting_events = 0
        self._refused = 0
        self._done = dict.fromkeys(
            ("batches", "accepted", "duplicate", "rejected", "malformed", "commits", "failures"), 0
        )
        self._names = Names(flags)
        self._pruned = 0
        self._closed = False
        self._follows = False
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
        self, environment: int, key: int | None, received_ms: int, batch: Batch
    ) -> Future[Ack]:
        """Queue a batch; the future is done after its commit (or has the sqlite3.Error).

        Raises BusyError when too much is waiting.
        """
        future: Future[Ack] = Future()
        job = Job(environment, key, received_ms, batch)
        with self._lock:
            waiting = self._waiting_events + len(batch.rows)
            full = len(self._queue) >= MOST_BATCHES
            if self._closed or full or (self._queue and waiting > MOST_EVENTS):
                self._refused += 1
                raise BusyError(2.0)
            self._follow()
            self._queue.append((job, future))
            self._waiting_events = waiting
            self._writer.submit(self._write_group).add_done_callback(_log_failure)
        return future

    def close(self) -> None:
        """Commit what is queued, refuse the rest, close the file."""
        with self._lock:
            self._closed = True
        self._writer.shutdown(wait=True)
        self._file.close()

    def stats(self) -> EventStats:
        """Counters for monitoring."""
        with self._lock:
            return EventStats(
                waiting_batches=len(self._queue),
                waiting_events=self._waiting_events,
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

    def instances(self, environment: int) -> list[InstanceRow]:
        """The processes that sent something lately, the latest first."""
        with self._file.read() as connection:
            return reading.instances(connection, environment)

    def events(self, after: int = 0, limit: int = 1000) -> list[EventRow]:
        """Events by `seq`, at most `limit` of those after `after`."""
        with self._file.read() as connection:
            return reading.events(connection, after, limit)

    def _take(self) -> list[tuple[Job, Future[Ack]]]:
        group: list[tuple[Job, Future[Ack]]] = []
        with self._lock:
            size = 0
            while self._queue and (not group or size < GROUP_EVENTS):
                group.append(self._queue.popleft())
                size += len(group[-1][0].batch.rows)
            self._waiting_events -= size
        return group

    def _write_group(self) -> None:
        """Commit what waits; runs on the writer thread, once for each submit."""
        group = self._take()
        if not group:
            return  # an earlier run took it along
        try:
            self._finish(self._commit([job for job, _ in group]), [future for _, future in group])
        except sqlite3.Error as error:
            _LOG.error("events were not written: %s", error)
            self._fail(group, error)
        finally:
            # the sender must never wait in vain, whatever went wrong
            for _, future in group:
                if not future.done():
                    future.set_exception(sqlite3.OperationalError("the batch was not written"))

    def _commit(self, jobs: list[Job]) -> list[Stored]:
        with self._file.write() as connection:
            now = self._clock()
            if now - self._pruned >= HOUR:
                writing.prune(connection, now)
                self._names.forget()
                self._pruned = now
            return [writing.write_batch(connection, job, self._names) for job in jobs]

    def _finish(self, stored: list[Stored], futures: list[Future[Ack]]) -> None:
        for one in stored:
            for row in one.fresh:
                _follow(self._live, one.job, row)
        with self._lock:
            self._done["commits"] += 1
            for one in stored:
                self._done["batches"] += 1
                self._done["accepted"] += one.ack.accepted
                self._done["duplicate"] += one.ack.duplicate
                self._done["rejected"] += len(one.ack.rejected)
                self._done["malformed"] += one.job.batch.malformed
        for one, future in zip(stored, futures, strict=True):
            if future.set_running_or_notify_cancel():
                future.set_result(one.ack)

    def _fail(self, group: list[tuple[Job, Future[Ack]]], error: sqlite3.Error) -> None:
        with self._lock:
            self._done["failures"] += len(group)
        for _, future in group:
            if not future.done() and future.set_running_or_notify_cancel():
                future.set_exception(error)

    def _rebuild(self) -> None:
        """Follow the newest events of earlier runs; the writer thread's first work."""
        with self._file.snapshot() as connection:
            last = connection.execute("SELECT max(seq) FROM event").fetchone()[0] or 0
            rows = reading.events(connection, last - _REBUILT_EVENTS, _REBUILT_EVENTS)
        if rows:
            self._live.since = rows[0].at
        for row in rows:
            _follow_row(self._live, row)


def _follow(live: Live, job: Job, row: Row) -> None:
    at = job.time(row)
    if row.kind == 1:
        live.happened(job.environment, row.units or {}, row.name, row.value, at)
    elif row.variant is not None:
        unit = (row.unit_by or "key", row.unit or "")
        live.exposed(job.environment, unit, row.name, row.variant, at)


def _follow_row(live: Live, row: EventRow) -> None:
    if row.kind == 1:
        live.happened(row.environment_id, row.units or {}, row.name, row.value, row.at)
    elif row.variant is not None:
        unit = (row.unit_by or "key", row.unit or "")
        live.exposed(row.environment_id, unit, row.name, row.variant, row.at)


def _log_failure(run: Future[None]) -> None:
    error = run.exception()
    if error is not None:
        _LOG.error("the event log's writer failed", exc_info=error)

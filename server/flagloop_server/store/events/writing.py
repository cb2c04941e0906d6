"""Batches into tables, inside an open transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flagloop_server.store.events.batch import Ack, Batch, Row
from flagloop_server.store.events.names import LOSS, Loss, Names
from flagloop_server.store.events.wire import Lost

RING = 10_000
"""Recorded contexts kept for each environment."""

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LATEST = 2 * DAY
"""A count that comes later than so counts as of now."""

MOST = 10**15
"""No sum of counts grows over this, whatever is sent: those of a day could not be added up."""

_COLUMNS = 20
_PLACES = ",(?,?,nullif(?,-1)," + "?," * 5 + ",".join(["nullif(?,'')"] * 12) + ")"
_INTO = (
    "INSERT OR IGNORE INTO event (id, environment_id, key_id, kind, at, skew, received, name,"
    " variant, unit, unit_by, rule, experiment, stage, holdout, held, revision, value, units,"
    " data) VALUES "
)
_AT_ONCE = 100
_EVENT, _EVENTS = (_INTO + (_PLACES * rows)[1:] for rows in (1, _AT_ONCE))
"""So many rows with one call of SQLite: with a call for each the writer would wait as often for
the interpreter's lock, behind threads that decode. And no None and no bytes among the columns:
sqlite3 looks for an adapter of each of those, which takes longer than the whole insert."""
_ADD = f"ON CONFLICT DO UPDATE SET n = min(n + excluded.n, {MOST})"
_COUNT = (
    "INSERT INTO count_{0} (environment_id, {0}, flag, variant, rule, reason, n)"  # noqa: S608
    " VALUES (?,?,?,?,?,?,?) " + _ADD
)
_COUNT_MINUTE, _COUNT_HOUR = _COUNT.format("minute"), _COUNT.format("hour")

_INSTANCE = (
    "INSERT INTO instance (environment_id, id, host, pid, sdk, revision, last_seen)"
    " VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET host = excluded.host, pid = excluded.pid,"
    " sdk = excluded.sdk, revision = excluded.revision,"
    " last_seen = max(last_seen, excluded.last_seen)"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A batch with where and when it came from; `received` is epoch milliseconds."""

    environment: int
    key: int | None
    received: int
    batch: Batch

    @property
    def skew(self) -> int:
        """What to add to the client's times."""
        return 0 if self.batch.sent is None else self.received - self.batch.sent

    def columns(self) -> list[Any]:
        """The columns of all its events, one after the other; "" stands for NULL."""
        environment, received, skew = self.environment, self.received, self.skew
        key = -1 if self.key is None else self.key
        columns: list[Any] = []
        for row in self.batch.rows:
            id_, kind, at, name, *seen, units, data = row
            columns += (
                bytearray(id_), environment, key, kind, received if at is None else at + skew,
                skew, received, name, *["" if value is None else value for value in seen],
                "" if units is None else json.dumps(units, ensure_ascii=False), data or "",
            )  # fmt: skip
        return columns


@dataclass(frozen=True, slots=True)
class Stored:
    """What a batch left behind: `fresh` are the events that were not known before."""

    job: Job
    ack: Ack
    fresh: Sequence[Row]


def write_batches(
    connection: sqlite3.Connection, jobs: Sequence[tuple[Job, list[Any]]], names: Names
) -> list[Stored]:
    """Write batches, each with its columns; a repeated one adds only events that are not there."""
    fresh = _write_events(connection, jobs)
    new = [_is_new(connection, job) for job, _ in jobs]
    for (job, _), is_new in zip(jobs, new, strict=True):
        if is_new:
            batch = job.batch
            named = {one.flag for one in batch.counts} | {
                one.flag for one in batch.lost if one.flag
            }
            kept = names.admit(connection, job.environment, named)
            lost = _write_counts(connection, job, kept, names)
            _write_losses(connection, job, _losses(job, kept, lost), names)
            _write_contexts(connection, job)
        _write_instance(connection, job)
    _write_event_hours(connection, jobs, fresh, names)
    return [
        Stored(job, _ack(job.batch, len(rows), repeated=not is_new), rows)
        for (job, _), rows, is_new in zip(jobs, fresh, new, strict=True)
    ]


def _ack(batch: Batch, accepted: int, *, repeated: bool) -> Ack:
    return Ack(accepted, len(batch.rows) - accepted, batch.rejected, repeated)


def _is_new(connection: sqlite3.Connection, job: Job) -> bool:
    if job.batch.id is None:
        return True
    sql = "INSERT OR IGNORE INTO batch (id, received) VALUES (?, ?)"
    return connection.execute(sql, (job.batch.id, job.received)).rowcount == 1


def _write_events(
    connection: sqlite3.Connection, jobs: Sequence[tuple[Job, list[Any]]]
) -> list[Sequence[Row]]:
    """Write the events of all batches; returns those of each that were not known before."""
    columns: list[Any] = []
    for _, more in jobs:
        columns += more
    number = len(columns) // _COLUMNS
    last = connection.execute("SELECT max(seq) FROM event").fetchone()[0] or 0
    step, cursor, written = _AT_ONCE * _COLUMNS, connection.cursor(), 0
    rest = number - number % _AT_ONCE
    for first in range(0, rest * _COLUMNS, step):
        written += cursor.execute(_EVENTS, columns[first : first + step]).rowcount
    for first in range(rest * _COLUMNS, len(columns), _COLUMNS):
        written += cursor.execute(_EVENT, columns[first : first + _COLUMNS]).rowcount
    if written == number:
        return [job.batch.rows for job, _ in jobs]
    sql = "SELECT id FROM event WHERE seq > ?"
    new = {row[0] for row in connection.execute(sql, (last,))}
    return [[row for row in job.batch.rows if _remove(new, row.id)] for job, _ in jobs]


def _remove(ids: set[bytes], one: bytes) -> bool:
    """Take one out of the set; whether it was there."""
    if one not in ids:
        return False
    ids.remove(one)
    return True


def _write_counts(
    connection: sqlite3.Connection, job: Job, kept: Container[str], names: Names
) -> int:
    """Write the counts of flags in `kept`; returns how many evaluations the others had."""
    minutes, hours, seen, left_out = [], [], {}, 0
    for count in job.batch.counts:
        if count.flag not in kept:
            left_out += count.n
            continue
        at = job.received if count.minute is None else count.minute * MINUTE + job.skew
        if not job.received - LATEST < at <= job.received + MINUTE:
            at = job.received  # a clock that is this wrong says nothing
        outcome = (count.variant or "", count.rule or "", count.reason)
        what = (count.flag, *names.admit_outcome(job.environment, count.flag, outcome), count.n)
        minutes.append((job.environment, at // MINUTE, *what))
        hours.append((job.environment, at // HOUR, *what))
        seen[count.flag] = job.received
    connection.executemany(_COUNT_MINUTE, minutes)
    connection.executemany(_COUNT_HOUR, hours)
    connection.executemany(
        "INSERT INTO flag_seen (environment_id, flag, at) VALUES (?,?,?)"
        " ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
        [(job.environment, flag, at) for flag, at in seen.items()],
    )
    return left_out


def _write_event_hours(
    connection: sqlite3.Connection,
    jobs: Sequence[tuple[Job, list[Any]]],
    fresh: Sequence[Sequence[Row]],
    names: Names,
) -> None:
    """Count the events by name and by the hour in which they came."""
    counted: Counter[tuple[int, str, int]] = Counter()
    for (job, _), rows in zip(jobs, fresh, strict=True):
        found = Counter([row[3] for row in rows if row[1]])
        for name, n in found.items():
            counted[job.environment, name, job.received] += n
    connection.executemany(
        "INSERT INTO event_hour (environment_id, name, hour, n, at) VALUES (?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET n = n + excluded.n, at = max(at, excluded.at)",
        [
            (env, names.admit_event(connection, env, name), at // HOUR, n, at)
            for (env, name, at), n in counted.items()
        ],
    )


def _losses(job: Job, kept: Container[str], left_out: int) -> list[tuple[Loss, int]]:
    """What the sender lost, and `left_out` evaluations that were not kept here."""
    lost = [*job.batch.lost, *([Lost(reason=LOSS, n=left_out)] if left_out else ())]
    return [
        ((one.reason, one.flag or "", one.variant or ""), one.n)
        if one.flag in kept
        else ((one.reason, "", ""), one.n)
        for one in lost
    ]


def _write_losses(
    connection: sqlite3.Connection, job: Job, lost: list[tuple[Loss, int]], names: Names
) -> None:
    # Not by instance, which nobody asks for: each start of a process would add rows.
    connection.executemany(
        "INSERT INTO loss (environment_id, instance, reason, flag, variant, n, at)"  # noqa: S608
        f" VALUES (?,'',?,?,?,?,?) {_ADD}, at = max(at, excluded.at)",
        [
            (job.environment, *names.admit_loss(connection, job.environment, loss), n, job.received)
            for loss, n in lost
        ],
    )


def _write_contexts(connection: sqlite3.Connection, job: Job) -> None:
    contexts = job.batch.contexts[-RING:]
    if not contexts:
        return
    last = connection.execute(
        "SELECT max(n) FROM context WHERE environment_id = ?", (job.environment,)
    ).fetchone()[0]
    first = 0 if last is None else last + 1
    connection.executemany(
        "INSERT OR REPLACE INTO context (environment_id, slot, n, at, revision, body)"
        " VALUES (?,?,?,?,?,?)",
        [
            (job.environment, n % RING, n, job.received, job.batch.revision, body)
            for n, body in enumerate(contexts, first)
        ],
    )


def _write_instance(connection: sqlite3.Connection, job: Job) -> None:
    batch = job.batch
    if batch.instance is None:
        return
    one = batch.instance
    row = (one.id, one.host, one.pid, batch.sdk, batch.revision, job.received)
    connection.execute(_INSTANCE, (job.environment, *row))


def note_instances(
    connection: sqlite3.Connection,
    environment: int,
    seen: Iterable[tuple[str, str, int, str, str | None, int]],
    left: Iterable[str],
) -> None:
    """Write down who is there (id, host, pid, sdk, revision, last seen), forget who left."""
    connection.executemany(_INSTANCE, [(environment, *row) for row in seen])
    connection.executemany(
        "DELETE FROM instance WHERE environment_id = ? AND id = ?",
        [(environment, name) for name in left],
    )

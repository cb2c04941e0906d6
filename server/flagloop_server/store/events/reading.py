"""What pages and reports ask the event log; every query is bounded by aggregates."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from flagloop.evaluation.decision import ErrorCode
from flagloop_server.store.events.live import Followed
from flagloop_server.store.events.writing import HOUR, RING

HOURS = 24

REMARK = str(ErrorCode.TYPE_MISMATCH)
"""Counts with this reason are of evaluations that are counted already, by what was decided."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Evaluations of one flag in the last 24 hours.

    `hours` are 24 sums, the oldest first, the last one is the hour that runs. `by_variant` has
    None for "no variant" and `by_rule` None for "no rule". `last_seen_ms` may be older.
    `by_reason` also has remarks on evaluations (TYPE_MISMATCH), so its sum may be greater.
    """

    today: int
    last_seen_ms: int | None
    hours: tuple[int, ...]
    by_variant: Mapping[str | None, int]
    by_rule: Mapping[str | None, int]
    by_reason: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RecordedContext:
    """One sampled context: `at` is when it came in, `revision` what its sender decided by."""

    at: int
    context: dict[str, Any]
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that never arrived, by reason, flag and variant (None: not said)."""

    reason: str
    flag: str | None
    variant: str | None
    n: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class EventUsage:
    """Events of one name: `hours` are the last 24, the oldest first, `last_ms` when the last came.

    `last_ms` is None where none came in the 90 days for which it is kept.
    """

    hours: tuple[int, ...] = (0,) * HOURS
    last_ms: int | None = None

    @property
    def today(self) -> int:
        """Their number in the last 24 hours."""
        return sum(self.hours)


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """A process that sends; `revision` is what it decides by."""

    id: str
    host: str
    pid: int
    sdk: str
    revision: str | None
    last_seen_ms: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """One exposure (`kind` 0) or event (1) as stored."""

    seq: int
    id: bytes
    environment_id: int
    key_id: int | None
    kind: int
    at: int
    skew: int
    received: int
    name: str
    variant: str | None
    unit: str | None
    unit_by: str | None
    rule: str | None
    experiment: str | None
    stage: int | None
    holdout: str | None
    held: int | None
    revision: str | None
    value: float | None
    units: dict[str, str] | None
    data: dict[str, Any] | None


_CONTEXT = msgspec.json.Decoder(dict[str, Any])


class _Tally:
    def __init__(self) -> None:
        self.hours = [0] * HOURS
        self.variants: dict[str | None, int] = {}
        self.rules: dict[str | None, int] = {}
        self.reasons: dict[str, int] = {}

    def add(self, hour: int, row: sqlite3.Row) -> None:
        n = row["n"]
        variant, rule, reason = row["variant"] or None, row["rule"] or None, row["reason"]
        self.reasons[reason] = self.reasons.get(reason, 0) + n
        if reason == REMARK:
            return
        self.hours[hour] += n
        self.variants[variant] = self.variants.get(variant, 0) + n
        self.rules[rule] = self.rules.get(rule, 0) + n

    def usage(self, last_seen: int | None) -> Usage:
        return Usage(
            today=sum(self.hours),
            last_seen_ms=last_seen,
            hours=tuple(self.hours),
            by_variant=self.variants,
            by_rule=self.rules,
            by_reason=self.reasons,
        )


def usage(
    connection: sqlite3.Connection, environment: int, now: int, flag: str | None = None
) -> dict[str, Usage]:
    """Every flag that was ever counted, as of now; with `flag` that one alone, by key lookups."""
    first = now // HOUR - HOURS + 1
    hours = range(first, first + HOURS)
    only, values = ("", ()) if flag is None else (" AND flag = ?", (flag,))
    tallies: dict[str, _Tally] = {}
    places = ",".join("?" * HOURS)
    for row in connection.execute(
        f"SELECT * FROM count_hour WHERE environment_id = ? AND hour IN ({places}){only}",  # noqa: S608 - own words
        (environment, *hours, *values),
    ):
        tallies.setdefault(row["flag"], _Tally()).add(row["hour"] - first, row)
    seen = dict(
        connection.execute(
            f"SELECT flag, at FROM flag_seen WHERE environment_id = ?{only}",  # noqa: S608
            (environment, *values),
        ).fetchall()
    )
    return {name: tallies.get(name, _Tally()).usage(seen.get(name)) for name in {**seen, **tallies}}


def last_seen(connection: sqlite3.Connection, environment: int) -> dict[str, int]:
    """When each flag was last counted, epoch milliseconds."""
    sql = "SELECT flag, at FROM flag_seen WHERE environment_id = ?"
    return dict(connection.execute(sql, (environment,)).fetchall())


def hours(
    connection: sqlite3.Connection, environment: int, now: int, flags: Collection[str]
) -> dict[str, tuple[int, ...]]:
    """The 24 hourly sums of each of these flags, the oldest first; by key lookups alone."""
    first = now // HOUR - HOURS + 1
    sums = {flag: [0] * HOURS for flag in flags}
    for hour, flag, n in connection.execute(
        "SELECT hour, flag, sum(n) FROM count_hour WHERE environment_id = ?"
        " AND hour IN (SELECT value FROM json_each(?))"
        " AND flag IN (SELECT value FROM json_each(?)) AND reason <> ? GROUP BY hour, flag",
        (environment, json.dumps([*range(first, first + HOURS)]), json.dumps([*sums]), REMARK),
    ):
        sums[flag][hour - first] = n
    return {flag: tuple(found) for flag, found in sums.items()}


def given_by_rule(
    connection: sqlite3.Connection, environment: int, now: int, flag: str, rule: str
) -> dict[str, int]:
    """Variant -> how often one rule gave it in the last 24 hours; by key lookups alone."""
    first = now // HOUR - HOURS + 1
    return dict(
        connection.execute(
            "SELECT variant, sum(n) FROM count_hour WHERE environment_id = ?"
            " AND hour IN (SELECT value FROM json_each(?)) AND flag = ? AND rule = ?"
            " AND reason <> ? GROUP BY variant",
            (environment, json.dumps([*range(first, first + HOURS)]), flag, rule, REMARK),
        ).fetchall()
    )


def event_usage(
    connection: sqlite3.Connection, environment: int, now: int, names: Collection[str]
) -> dict[str, EventUsage]:
    """What came of the events of these names; by key lookups alone."""
    first = now // HOUR - HOURS + 1
    found = {}
    for name in set(names):
        values = (environment, name)
        last = connection.execute(
            "SELECT at FROM event_hour WHERE environment_id = ? AND name = ?"
            " ORDER BY hour DESC LIMIT 1",
            values,
        ).fetchone()
        sums = [0] * HOURS
        for hour, n in connection.execute(
            "SELECT hour, n FROM event_hour WHERE environment_id = ? AND name = ?"
            " AND hour BETWEEN ? AND ?",
            (*values, first, first + HOURS - 1),
        ):
            sums[hour - first] = n
        found[name] = EventUsage(tuple(sums), last[0] if last else None)
    return found


def contexts(connection: sqlite3.Connection, environment: int, limit: int) -> list[RecordedContext]:
    """The newest recorded contexts, the newest first."""
    rows = connection.execute(
        "SELECT at, body, revision FROM context WHERE environment_id = ? ORDER BY n DESC LIMIT ?",
        (environment, min(limit, RING)),
    )
    return [RecordedContext(at, _CONTEXT.decode(body), revision) for at, body, revision in rows]


def losses(connection: sqlite3.Connection, environment: int) -> list[Loss]:
    """Everything that senders reported as lost in the last 30 days, the most first."""
    rows = connection.execute(
        "SELECT reason, flag, variant, sum(n) AS n, max(at) AS at FROM loss"
        " WHERE environment_id = ? GROUP BY reason, flag, variant ORDER BY n DESC",
        (environment,),
    )
    return [
        Loss(row["reason"], row["flag"] or None, row["variant"] or None, row["n"], row["at"])
        for row in rows
    ]


def instances(
    connection: sqlite3.Connection, environment: int, since: int = 0, most: int = -1
) -> list[InstanceRow]:
    """Processes that sent something since then, of the last 7 days, the latest `most` of them."""
    rows = connection.execute(
        "SELECT id, host, pid, sdk, revision, last_seen FROM instance"
        " WHERE environment_id = ? AND last_seen >= ? ORDER BY last_seen DESC LIMIT ?",
        (environment, since, most),
    )
    return [InstanceRow(*row) for row in rows]


def events(connection: sqlite3.Connection, after: int, limit: int) -> list[EventRow]:
    """Events by `seq`, those after one."""
    rows = connection.execute(
        "SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
    )
    return [event_row(row) for row in rows]


def followed(connection: sqlite3.Connection, most: int) -> Iterator[Followed]:
    """The newest `most` events, the oldest first, one at a time."""
    last = connection.execute("SELECT max(seq) FROM event").fetchone()[0] or 0
    rows = connection.execute(
        "SELECT environment_id, kind, at, received, name, variant, unit, unit_by, value, units"
        " FROM event WHERE seq > ? ORDER BY seq",
        (last - most,),
    )
    return map(Followed._make, rows)


def event_row(row: sqlite3.Row) -> EventRow:
    """The record of a row of table `event`."""
    values = dict(row)
    for name in ("units", "data"):
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return EventRow(**values)

"""What SDKs sent beside what is defined: who is stale, what was lost, which file is older."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence

from flagloop_server.commands.data import moment
from flagloop_server.commands.doctor.databases import AHEAD, DAY, clock_ahead
from flagloop_server.commands.doctor.finding import Finding, note, ok, problem, some, times
from flagloop_server.store import inspection
from flagloop_server.store.events import reading
from flagloop_server.store.records import Environment

SILENT = 10 * 60_000
"""After so long without a word a process counts as gone; milliseconds."""

LATE = 60_000
"""How long a living process may take to apply a revision."""

_ADVICE = {
    "queue_full": "raise the client's queue=, or look why the server took events so slowly",
    "spool_full": "raise the client's spool_mb=, or look why the server took events so slowly",
    "spool_damaged": "look at the disk of the application and at the .damaged file in its spool",
    "closed": "call client.close() with more time at the end of the program",
    "error": "look at the server's log: it refused these batches again and again",
    "too_large": "send smaller properties and contexts",
    "invalid": "track() was called without a user's key: look at the application's log",
    "unknown_flags": "the applications ask for flags that no document has: mend their names",
}


def clock(connection: sqlite3.Connection, now: int) -> Iterator[Finding]:
    """Whether the newest event is of a time that is still to come."""
    at = inspection.newest_event(connection)
    if at is not None and at > now + AHEAD:
        yield clock_ahead("the event log", at, now)


def examine(config: sqlite3.Connection, events: sqlite3.Connection, now: int) -> Iterator[Finding]:
    """What events.db says beside config.db."""
    places = inspection.environments_of(config)
    yield from _lineages(places, inspection.revisions_named(events))
    losses: Counter[str] = Counter()
    for place in places:
        if place.archived_at is None:
            yield from _instances(config, events, place, now)
        for loss in reading.losses(events, place.id):
            if now - loss.last_ms <= DAY:
                losses[loss.reason] += loss.n
    yield from _losses(losses)


def _lineages(places: Sequence[Environment], named: set[tuple[int, str]]) -> Iterator[Finding]:
    for place in places:
        numbers = [
            int(number)
            for environment, revision in named
            for lineage, _, number in [revision.rpartition(".")]
            if environment == place.id and lineage == place.lineage and number.isdecimal()
        ]
        highest = max(numbers, default=0)
        if highest > place.revision:
            yield problem(
                "lineage",
                f"SDKs had {place.lineage}.{highest} of {place.key}, config.db ends with"
                f" {place.name}: it is an older copy",
                "stop the server, then flagloop backup adopt: SDKs take the older revision then",
            )


def _instances(
    config: sqlite3.Connection, events: sqlite3.Connection, place: Environment, now: int
) -> Iterator[Finding]:
    rows = reading.instances(events, place.id)
    living = [row for row in rows if now - row.last_seen_ms <= SILENT]
    stale = []
    for row in living:
        since = inspection.revision_known_since(config, place, row.revision)
        if since is not None and row.last_seen_ms - since > LATE:
            seen = moment(row.last_seen_ms)
            stale.append(f"{row.host}:{row.pid} has {row.revision or 'none'} (seen {seen})")
    if stale:
        yield problem(
            "instances",
            f"{place.key} is at {place.name}, but {some(stale)}",
            "kills do not reach them: look at client.status()['problem'] there, or restart them",
        )
    elif living:
        yield ok("instances", f"{times(len(living), 'instance')} of {place.key}, up to date")
    gone = len(rows) - len(living)
    if gone:
        yield note("instances", f"{times(gone, 'instance')} of {place.key} silent for 10 minutes")


def _losses(losses: Counter[str]) -> Iterator[Finding]:
    for reason, n in losses.most_common(10):
        do = _ADVICE.get(reason, "look at client.status() and the log of the application")
        yield problem("losses", f"{times(n, 'record')} lost in the last day: {reason}", do)
    if not losses:
        yield ok("losses", "no SDK reported a loss in the last day")

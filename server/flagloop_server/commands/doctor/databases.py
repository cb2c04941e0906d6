"""Both files by themselves: integrity, schema, documents, audit log, keys, backups."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from flagloop_server.commands.data import moment
from flagloop_server.commands.doctor.finding import Finding, note, ok, problem, some, times
from flagloop_server.store import inspection, ledger
from flagloop_server.store.lineages import BACKED_UP

Look: TypeAlias = Callable[[sqlite3.Connection, str], Iterable[Finding]]

DAY = 24 * 3600 * 1000
KEYS_AHEAD = 14 * DAY
OLDEST_BACKUP = 7 * DAY
AHEAD = 60_000
"""How far the clock may be behind what was written; milliseconds."""

RESTORE = "stop the server and restore the last good backup: flagloop backup restore FILE --force"


def file_findings(connection: sqlite3.Connection, name: str) -> Iterator[Finding]:
    """SQLite's own check and the schema; a problem here means: look no further."""
    found = inspection.damage(connection, whole=False)
    if found:
        yield problem("integrity", f"{name} is damaged: {some(found)}", RESTORE)
        return
    applied, known = inspection.schema(connection, name), inspection.known_schema(name)
    if not applied:
        yield problem("integrity", f"{name} is empty", RESTORE)
        return
    yield ok("integrity", f"{name} is whole")
    newer = [one for one in applied if one not in known]
    older = [one for one in known if one not in applied]
    if newer:
        do = "use the flagloop that the server runs, or a later one"
        yield problem("schema", f"{name} is of a later flagloop ({some(newer)})", do)
    elif older:
        do = "restart the server with this flagloop; back up first: flagloop backup create FILE"
        yield problem("schema", f"{name} is of an earlier flagloop (lacks {some(older)})", do)
    else:
        yield ok("schema", f"{name} has all {len(known)} migrations")


def examine(connection: sqlite3.Connection, now: int) -> Iterator[Finding]:
    """What config.db holds."""
    yield from _documents(connection)
    yield from _ledger(connection, now)
    yield from _keys(connection, now)
    yield from _backup(connection, now)


def _documents(connection: sqlite3.Connection) -> Iterator[Finding]:
    found = inspection.missing_chunks(connection)
    if found:
        yield problem("documents", some(found), RESTORE)
    else:
        n = len(inspection.environments_of(connection))
        yield ok("documents", f"every revision of {times(n, 'environment')} is whole")


def _ledger(connection: sqlite3.Connection, now: int) -> Iterator[Finding]:
    checked = ledger.verify(connection)
    if checked.problems:
        do = "somebody or something wrote past flagloop: compare with the last backup's audit head"
        yield problem("audit", f"the chain is broken: {some(list(checked.problems))}", do)
    else:
        yield ok("audit", f"{times(checked.rows, 'row')} in one chain, head {checked.head}")
    said = inspection.ledger_times(connection)
    if said.latest is not None and said.latest > now + AHEAD:
        yield clock_ahead("the audit log", said.latest, now)
    if said.steps_back:
        back = times(said.steps_back, "time")
        yield note("clock", f"in the audit log the clock went back {back}", "run an NTP client")


def clock_ahead(what: str, at: int, now: int) -> Finding:
    """Something was written at a time that is still to come."""
    return problem(
        "clock",
        f"{what} has a row of {moment(at)} UTC, now it is {moment(now)}",
        "set the clock (run an NTP client): windows, stages and sessions go by it",
    )


def _keys(connection: sqlite3.Connection, now: int) -> Iterator[Finding]:
    found = inspection.ending_keys(connection, now - KEYS_AHEAD, now + KEYS_AHEAD)
    for key in found:
        over = key.expires_at <= now
        do = f"flagloop keys revoke {key.id}"
        if not over:
            do = f"make another with flagloop keys create, put it in place, then {do}"
        verb = "expired" if over else "expires"
        text = f"key {key.id} ({key.name}, {key.hint}...) {verb} {moment(key.expires_at)} UTC"
        yield problem("keys", text, do)
    if not found:
        yield ok("keys", "no key expires within 14 days")


def _backup(connection: sqlite3.Connection, now: int) -> Iterator[Finding]:
    at = inspection.last_entry(connection, BACKED_UP)
    do = "flagloop backup create FILE, each day by cron say, and copy FILE to another machine"
    if at is None:
        yield note("backup", "no backup by flagloop is known", do)
    elif now - at > OLDEST_BACKUP:
        yield problem("backup", f"the last backup is of {moment(at)} UTC", do)
    else:
        yield ok("backup", f"the last backup is of {moment(at)} UTC")

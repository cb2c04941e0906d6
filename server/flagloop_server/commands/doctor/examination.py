"""The whole examination of a folder, as a list of findings."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from flagloop_server.commands.doctor import databases, folder, traffic
from flagloop_server.commands.doctor.finding import Finding, problem
from flagloop_server.store.inspection import CONFIG, EVENTS, FILES, read_only


def examine(data: Path, now: int | None = None) -> list[Finding]:
    """Every finding on a folder, also while a server runs on it; `now` is epoch milliseconds.

    Raises OSError for a folder that may not be read.
    """
    at = time.time_ns() // 1_000_000 if now is None else now
    found = [*folder.examine(data)]
    sound = {}
    for name in FILES:
        told = list(_guarded(name, data, databases.file_findings))
        found += told
        sound[name] = all(one.level != "problem" for one in told)
    if sound[CONFIG]:
        found += _guarded(CONFIG, data, lambda connection, _: databases.examine(connection, at))
    if sound[EVENTS]:
        found += _guarded(EVENTS, data, lambda connection, _: traffic.clock(connection, at))
    if sound[CONFIG] and sound[EVENTS]:
        found += _both(data, at)
    return found


def _guarded(name: str, data: Path, look: databases.Look) -> list[Finding]:
    try:
        with read_only(data / name) as connection:
            return list(look(connection, name))
    except sqlite3.Error as trouble:
        return [_unreadable(name, trouble)]


def _both(data: Path, at: int) -> Iterator[Finding]:
    try:
        with read_only(data / CONFIG) as config, read_only(data / EVENTS) as events:
            yield from traffic.examine(config, events, at)
    except sqlite3.Error as trouble:
        yield _unreadable("the data", trouble)


def _unreadable(name: str, trouble: sqlite3.Error) -> Finding:
    return problem(
        "integrity",
        f"{name} cannot be read: {trouble}",
        "if the file is there and yours to read, restore a backup:"
        " flagloop backup restore FILE --force",
    )

"""Forgetting: all that is too old goes, and what is not is not even looked at."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop_server.store.database import connect
from flagloop_server.store.events import EventLog, pruning
from flagloop_server.store.events.writing import DAY, HOUR, MINUTE

NOW = 1_800_000_000_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The file of an empty log."""
    EventLog(tmp_path / "events.db").close()
    made = connect(tmp_path / "events.db")
    made.execute("BEGIN")
    yield made
    made.close()


def put(connection: sqlite3.Connection, number: int, at: int, *, random: bool = False) -> None:
    """Batches that came at a time."""
    stamp = at.to_bytes(6, "big")
    rows = [
        (uuid.uuid4().bytes if random else stamp + n.to_bytes(10, "big"), at) for n in range(number)
    ]
    connection.executemany("INSERT INTO batch (id, received) VALUES (?, ?)", rows)


def left(connection: sqlite3.Connection, table: str = "batch") -> int:
    """How many rows a table has."""
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_old_batches_of_sdks_go_at_once(connection: sqlite3.Connection) -> None:
    """Their ids begin with the time."""
    put(connection, 50, NOW - 8 * DAY)
    put(connection, 20, NOW - DAY)
    pruning.prune(connection, NOW)
    assert left(connection) == 20


def test_batches_with_random_ids_go_within_a_week(connection: sqlite3.Connection) -> None:
    """Each hour takes a part of the ids; those that came lately stay."""
    put(connection, 500, NOW - 8 * DAY, random=True)
    put(connection, 200, NOW - HOUR, random=True)
    for hour in range(7 * 24):
        assert left(connection) >= 200
        pruning.prune(connection, NOW + hour * HOUR - HOUR)
    assert left(connection) == 200


def test_the_work_is_that_of_what_goes(connection: sqlite3.Connection) -> None:
    """Whether 100 or 20,000 batches and minutes stay."""
    steps = []
    for first, number in ((0, 100), (100, 20_000)):
        put(connection, number, NOW - DAY + first)
        connection.executemany(
            "INSERT INTO count_minute (environment_id, minute, flag, variant, rule, reason, n)"
            " VALUES (?, ?, ?, 'a', '', '', 1)",
            [(1 + n % 3, NOW // MINUTE, f"f{n}") for n in range(first, first + number)],
        )
        ticks: list[int] = []
        connection.set_progress_handler(lambda ticks=ticks: ticks.append(1), 10)
        pruning.prune(connection, NOW)
        connection.set_progress_handler(None, 0)
        steps.append(len(ticks))
    assert (left(connection), left(connection, "count_minute")) == (20_100, 20_100)
    assert steps[1] <= steps[0] * 1.2


def test_old_counts_of_every_environment_go(connection: sqlite3.Connection) -> None:
    """Minutes after two days, hours after 90."""
    for unit, at in (("minute", (NOW - 3 * DAY) // MINUTE), ("hour", (NOW - 91 * DAY) // HOUR)):
        connection.executemany(
            f"INSERT INTO count_{unit} (environment_id, {unit}, flag, variant, rule, reason, n)"
            " VALUES (?, ?, 'f', 'a', '', '', 1)",
            [(place, at) for place in (1, 2, 9)],
        )
    pruning.prune(connection, NOW)
    assert left(connection, "count_minute") == left(connection, "count_hour") == 0

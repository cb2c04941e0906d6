"""An alert is one line when it begins and one when it ends."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from flagloop_server.store.events.health import Health


def refused(path: Path) -> sqlite3.Error:
    """What SQLite says of a file that may only be read."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE t (a)")
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    return caught.value


def test_a_cause_is_told_once_and_its_end_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However many commits fail between; the next failure is news again."""
    now = 5_000
    health = Health("events.db", lambda: now)
    error = refused(tmp_path / "a.db")
    with caplog.at_level(logging.INFO):
        health.works()
        for _ in range(3):
            health.fails(error)
        assert "events.db: the file or its disk is read-only" in (health.problem or "")
        now = 12_000
        health.works()
        assert health.problem is None
        health.works()
        health.fails(sqlite3.OperationalError("something else"))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "ERROR"]
    assert "after 7 s and 3 failed commits" in caplog.messages[1]
    assert "something else" in caplog.messages[2]

"""Looking into a database that others write to, and copying it."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from flagloop_server.changes import Changes, push
from flagloop_server.store import Actor, Store, inspection
from flagloop_server.store.database import connect
from flagloop_server.store.events import decode_batch

FLAGS = "version: 1\nflags:\n  a: {}\n"


def test_a_copy_is_of_one_moment_while_others_write(tmp_path: Path) -> None:
    """A writer commits between any two steps of the copy, which neither waits nor begins anew."""
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with closing(connect(source)) as writer:
        writer.execute("CREATE TABLE row (n INTEGER, filler BLOB)")
        writer.execute("INSERT INTO row VALUES (0, zeroblob(50000000))")
        stop, written = threading.Event(), threading.Semaphore(0)

        def write() -> None:
            n = 0
            while not stop.is_set():
                n += 1
                writer.execute("INSERT INTO row VALUES (?, NULL)", (n,))
                written.release()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            assert written.acquire(timeout=60)
            inspection.copy(source, target)
            assert written.acquire(timeout=60)
        finally:
            stop.set()
            thread.join(60)
    with inspection.read_only(target) as connection:
        assert inspection.damage(connection, whole=True) == []
        numbers = [row["n"] for row in connection.execute("SELECT n FROM row ORDER BY n")]
    assert numbers == list(range(len(numbers)))


def test_events_copied_first_name_revisions_copied_later(
    store: Store, ana: Actor, tmp_path: Path
) -> None:
    """However much is written in between."""
    place = store.create_environment("production", ana)
    changes = Changes(store)
    for n in range(30):
        done = changes.apply(push("production", f"{FLAGS}  n{n}: {{}}\n"), ana, "more")
        said = {
            "instance": {"id": f"i-{n}", "host": "h", "pid": 1},
            "revision": done.name,
            "events": [{"type": "event", "event": "e", "unit": "u"}],
        }
        batch = decode_batch(json.dumps(said).encode())
        store.events.submit(place.id, None, store.clock(), batch).result(60)
        if n in (10, 20):
            name = list(inspection.FILES)[n // 10 - 1]
            inspection.copy(store.folder / name, tmp_path / name)
    with inspection.read_only(tmp_path / "events.db") as connection:
        named = {revision for _, revision in inspection.revisions_named(connection)}
    with inspection.read_only(tmp_path / "config.db") as connection:
        known = {
            f"{place.lineage}.{r[0]}" for r in connection.execute("SELECT number FROM revision")
        }
    assert len(named) == 11
    assert named <= known
    assert len(known) == 22


def test_what_is_opened_for_reading_cannot_be_written(store: Store) -> None:
    """Whatever is executed on it."""
    with inspection.read_only(store.folder / "config.db") as connection:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM ledger")


def test_a_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    """SQLite would make an empty database of it."""
    with pytest.raises(sqlite3.OperationalError), inspection.read_only(tmp_path / "a.db"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_much_damage_is_told_line_by_line(tmp_path: Path) -> None:
    """SQLite tells of many pages in one row, under a heading of its own."""
    path = tmp_path / "some.db"
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
        connection.commit()
    raw = bytearray(path.read_bytes())
    pages = int.from_bytes(raw[28:32], "big") + 4
    raw[28:32] = pages.to_bytes(4, "big")
    path.write_bytes(raw + bytes(4 * 4096))  # four pages that nothing uses
    with closing(sqlite3.connect(path)) as connection:
        assert "\n" in connection.execute("PRAGMA quick_check(10)").fetchone()[0]
        found = inspection.damage(connection, whole=False)
    assert len(found) == 4
    assert not [line for line in found if "\n" in line or line.startswith("***")]

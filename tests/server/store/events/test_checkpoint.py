"""The write-ahead log stays short while events come without a pause."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from flagloop_server.store.events import (
    ClosedError,
    EventLog,
    InstanceRow,
    checkpoint,
    decode_batch,
)

EVENTS = [{"type": "event", "event": "sign_up", "unit": f"u-{n}"} for n in range(50)]


def test_a_long_log_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed moves into the file beside the writer, and its place is used again."""
    monkeypatch.setattr(checkpoint, "EVERY_EVENTS", 100)
    monkeypatch.setattr(checkpoint, "MOST_PAGES", 20)
    log = EventLog(tmp_path / "events.db")
    raw = json.dumps({"events": EVENTS}).encode()
    for _ in range(150):
        assert log.submit(1, 7, 1_790_000_000_000, decode_batch(raw)).result(30).accepted == 50
    grown = (tmp_path / "events.db-wal").stat().st_size
    moved = (tmp_path / "events.db").stat().st_size
    assert len(log.events(limit=100_000)) == 150 * 50
    log.close()
    assert grown < 700_000 < moved
    assert not (tmp_path / "events.db-wal").exists()


def test_a_log_stays_short_where_nothing_but_instances_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of idle processes writes them down every minute, for years."""
    monkeypatch.setattr(checkpoint, "EVERY_EVENTS", 100)
    monkeypatch.setattr(checkpoint, "MOST_PAGES", 20)
    log = EventLog(tmp_path / "events.db")
    for minute in range(300):
        seen = [InstanceRow(f"i-{n}", "web-7", n, "sdk/1", "k.1", minute) for n in range(200)]
        log.note_instances(1, seen)
    grown = (tmp_path / "events.db-wal").stat().st_size
    log.close()
    assert grown < 700_000
    with pytest.raises(ClosedError):
        log.note_instances(1, [])


def test_a_log_stays_short_on_a_machine_without_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer does it then, and nothing that was committed is refused."""

    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(checkpoint, "EVERY_EVENTS", 100)
    log = EventLog(tmp_path / "events.db")
    raw = json.dumps({"events": EVENTS}).encode()
    log.submit(1, 7, 1_790_000_000_000, decode_batch(raw)).result(30)  # its own thread runs
    monkeypatch.setattr(threading.Thread, "start", full)
    for _ in range(150):
        assert log.submit(1, 7, 1_790_000_000_000, decode_batch(raw)).result(30).accepted == 50
    assert (tmp_path / "events.db-wal").stat().st_size < 700_000
    monkeypatch.undo()
    log.close()

"""From a body to the event log, and every way to be sent back."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop_server.edge.answers import Refused
from flagloop_server.edge.keys import EdgeKey, KeyKind
from flagloop_server.store.events import EventLog
from flagloop_server.web.ingest import Ingest

KEY = EdgeKey(7, "client", 3)
EVENT = {"type": "event", "event": "sign_up", "unit": "u-1"}
BODY = json.dumps({"events": [EVENT, {"type": "event"}]}).encode()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """An event log on an empty folder."""
    made = EventLog(tmp_path / "events.db")
    yield made
    made.close()


def test_a_batch_is_answered_after_its_commit(log: EventLog) -> None:
    """Accepted and rejected are told, with environment and key of the row."""
    answer = Ingest(log)(KEY, BODY, 1_790_000_000_000).result(10)
    assert answer["accepted"] == 1
    assert [item["index"] for item in answer["rejected"]] == [1]  # type: ignore[attr-defined]
    (row,) = log.events()
    assert (row.environment_id, row.key_id) == (3, 7)


def test_the_clock_of_the_sender_is_corrected(log: EventLog) -> None:
    """An event an hour ago by a clock that is a day slow was an hour before it was received."""
    received, hour, day = 1_790_000_000_000, 3_600_000, 86_400_000
    body = {"sent": received - day, "events": [{**EVENT, "at": received - day - hour}]}
    Ingest(log)(KEY, json.dumps(body).encode(), received).result(10)
    (row,) = log.events()
    assert row.at == received - hour


@pytest.mark.parametrize(("kind", "kept"), [("server", 1), ("client", 0)])
def test_a_public_key_says_nothing_that_operators_steer_by(
    log: EventLog, kind: KeyKind, kept: int
) -> None:
    """Its events and counts are kept; its contexts and instances may be anybody's invention."""
    body = {
        "events": [EVENT],
        "counts": [{"flag": "a", "n": 2}],
        "contexts": [{"key": "u-1"}],
        "instance": {"id": "i-1"},
    }
    Ingest(log)(EdgeKey(7, kind, 3), json.dumps(body).encode(), int(time.time() * 1000)).result(10)
    assert (len(log.events()), log.usage(3)["a"].today) == (1, 2)
    assert (len(log.contexts(3)), len(log.instances(3))) == (kept, kept)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"events": 5}', b"\xff", b"[" * 100_000])
def test_what_is_no_batch_is_refused(log: EventLog, body: bytes) -> None:
    """400 with the reason."""
    with pytest.raises(Refused) as refused:
        Ingest(log)(KEY, body, 0)
    assert refused.value.answer.status == 400


def test_a_log_that_takes_no_more_says_when_to_come_again(log: EventLog) -> None:
    """503 with Retry-After, as when too much waits."""
    log.close()
    with pytest.raises(Refused) as refused:
        Ingest(log)(KEY, BODY, 0)
    answer = refused.value.answer
    assert answer.status == 503
    assert int(dict(answer.headers)[b"retry-after"]) >= 1


def test_a_failed_commit_is_not_acknowledged(log: EventLog, tmp_path: Path) -> None:
    """503: the sender keeps the batch and sends it again."""
    assert Ingest(log)(KEY, BODY, 0).result(10)["accepted"] == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as other:
        other.execute("DROP TABLE event")
        other.commit()
    with pytest.raises(Refused) as refused:
        Ingest(log)(KEY, BODY, 0).result(10)
    assert refused.value.answer.status == 503
    assert log.stats().failures == 1

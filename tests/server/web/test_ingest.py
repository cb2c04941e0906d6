"""From a body to the event log, and every way to be sent back."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop_server.edge.answers import Refused
from flagloop_server.edge.keys import EdgeKey, KeyKind
from flagloop_server.instances import Instances
from flagloop_server.store.events import EventLog
from flagloop_server.store.events.room import Limits
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
    answer = Ingest(log)(KEY, BODY, 1_790_000_000_000).result(60)
    assert answer["accepted"] == 1
    assert [item["index"] for item in answer["rejected"]] == [1]  # type: ignore[attr-defined]
    (row,) = log.events()
    assert (row.environment_id, row.key_id) == (3, 7)


def test_the_clock_of_the_sender_is_corrected(log: EventLog) -> None:
    """An event an hour ago by a clock that is a day slow was an hour before it was received."""
    received, hour, day = 1_790_000_000_000, 3_600_000, 86_400_000
    body = {"sent": received - day, "events": [{**EVENT, "at": received - day - hour}]}
    Ingest(log)(KEY, json.dumps(body).encode(), received).result(60)
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
    Ingest(log)(EdgeKey(7, kind, 3), json.dumps(body).encode(), int(time.time() * 1000)).result(60)
    assert (len(log.events()), log.usage(3)["a"].today) == (1, 2)
    assert (len(log.contexts(3)), len(log.instances(3))) == (kept, kept)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"events": 5}', b"\xff", b"[" * 100_000])
def test_what_is_no_batch_is_refused(log: EventLog, body: bytes) -> None:
    """400 with the reason."""
    with pytest.raises(Refused) as refused:
        Ingest(log)(KEY, body, 0)
    assert refused.value.answer.status == 400


def test_a_closed_log_says_when_to_come_again(log: EventLog) -> None:
    """503 with Retry-After: the server ends."""
    log.close()
    with pytest.raises(Refused) as refused:
        Ingest(log)(KEY, BODY, 0)
    answer = refused.value.answer
    assert answer.status == 503
    assert int(dict(answer.headers)[b"retry-after"]) >= 1


def test_more_than_may_wait_is_told_to_come_later(tmp_path: Path) -> None:
    """429 with Retry-After, and nothing of it is written."""
    small = EventLog(tmp_path / "small.db", limits=Limits(batches=1))
    ingest = Ingest(small)
    with small._file.write():
        first = ingest(KEY, BODY, 0)
        with pytest.raises(Refused) as refused:
            ingest(KEY, BODY, 0)
    answer = refused.value.answer
    assert answer.status == 429
    assert int(dict(answer.headers)[b"retry-after"]) >= 1
    assert first.result(60)["accepted"] == 1
    assert len(small.events()) == 1
    small.close()


def test_a_batch_of_too_many_events_is_too_large(log: EventLog) -> None:
    """413, at which SDKs halve their batches."""
    with pytest.raises(Refused) as refused:
        Ingest(log)(KEY, json.dumps({"events": [EVENT] * 10_001}).encode(), 0)
    assert refused.value.answer.status == 413


def test_a_failed_commit_is_not_acknowledged(log: EventLog, tmp_path: Path) -> None:
    """503: the sender keeps the batch and sends it again."""
    assert Ingest(log)(KEY, BODY, 0).result(60)["accepted"] == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as other:
        other.execute("DROP TABLE event")
        other.commit()
    with pytest.raises(Refused) as refused:
        Ingest(log)(KEY, BODY, 0).result(60)
    assert refused.value.answer.status == 503
    assert log.stats().failures == 1


class Presence:
    """The list of instances with a clock that stands still."""

    def __init__(self, log: EventLog) -> None:
        self.instances = Instances(lambda: 1_000)
        self.ingest = Ingest(log, self.instances)

    def post(self, said: bytes | None = None, kind: KeyKind = "server", **more: object) -> object:
        """One batch; the answer."""
        body = {"events": [], "instance": {"id": "i-1", "host": "web-1", "pid": 42}, **more}
        key = EdgeKey(7, kind, 3)
        return self.ingest(key, json.dumps(body).encode(), 1_000, said).result(60)


@pytest.fixture
def presence(log: EventLog) -> Presence:
    """An empty list."""
    return Presence(log)


def test_a_batch_says_who_sends_and_what_is_in_force_there(presence: Presence) -> None:
    """With what it lost, by reason."""
    lost = [{"reason": "queue_full", "n": 2}, {"reason": "queue_full", "flag": "a", "n": 3}]
    presence.post(b"i-1; host=web-1", sdk="sdk/1", revision="k.12", lost=lost)
    (one,) = presence.instances.all(3)
    assert (one.place, one.sdk, one.revision, one.key) == ("web-1:42", "sdk/1", "k.12", 7)
    assert one.lost == {"queue_full": 5}


def test_what_was_lost_counts_once_however_often_its_batch_comes(
    presence: Presence, log: EventLog
) -> None:
    """Not when it is refused, nor when it comes again since its answer got lost."""
    batch = {"batch": str(uuid.uuid4()), "lost": [{"reason": "queue_full", "n": 2}]}
    with log._file.write() as connection:
        connection.execute("ALTER TABLE loss RENAME TO away")
    with pytest.raises(Refused):
        presence.post(**batch)
    with log._file.write() as connection:
        connection.execute("ALTER TABLE away RENAME TO loss")
    presence.post(**batch)
    presence.post(**batch)
    (one,) = presence.instances.all(3)
    assert one.lost == {"queue_full": 2}


def test_what_only_says_who_is_there_costs_no_commit(presence: Presence, log: EventLog) -> None:
    """It is answered at once, also while the log takes nothing any more."""
    log.close()
    answer = presence.post(revision="k.12")
    assert answer == {"accepted": 0, "duplicate": 0, "rejected": []}
    assert log.stats().commits == 0
    assert presence.instances.all(3)[0].revision == "k.12"


def test_nobody_is_taken_for_the_one_whose_spool_he_sends(
    presence: Presence, log: EventLog
) -> None:
    """A dead process must not seem to live, and what a public key says is not believed."""
    presence.post(b"i-2; host=web-1", events=[EVENT])
    presence.post(b"i-1; host=web-1", kind="client", events=[EVENT])
    assert presence.instances.all(3) == []
    assert log.instances(3) == []
    assert len(log.events()) == 2

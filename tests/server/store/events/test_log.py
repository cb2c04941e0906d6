"""The event log: acknowledged means committed, repeated means ignored, reads are bounded."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flagloop_server.store.events import (
    Ack,
    Batch,
    BusyError,
    ClosedError,
    EventLog,
    decode_batch,
    writing,
)
from flagloop_server.store.events.names import MOST_OUTCOMES
from flagloop_server.store.events.room import Limits

NOW = 1_800_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE


class Clock:
    """Epoch milliseconds that only move by hand."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The log's clock; set `.now`."""
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[EventLog]:
    """An empty log."""
    made = EventLog(tmp_path / "events.db", clock=clock)
    yield made
    made.close()


def exposure(unit: str, variant: str = "treatment", **more: Any) -> dict[str, Any]:
    """An exposure's wire form."""
    return {
        "id": str(uuid.uuid4()),
        "type": "exposure",
        "at": NOW,
        "flag": "cta_color",
        "variant": variant,
        "unit": unit,
        **more,
    }


def event(unit: str, name: str = "sign_up", **more: Any) -> dict[str, Any]:
    """An event's wire form."""
    return {
        "id": str(uuid.uuid4()),
        "type": "event",
        "at": NOW,
        "event": name,
        "units": {"key": unit},
        **more,
    }


def batch(*events: Any, **more: Any) -> Batch:
    """A decoded batch."""
    return decode_batch(json.dumps({"events": events, **more}).encode())


def send(log: EventLog, *events: Any, env: int = 1, received: int = NOW, **more: Any) -> Ack:
    """Submit and wait for the commit."""
    return log.submit(env, 7, received, batch(*events, **more)).result(30)


def test_an_acknowledged_event_is_in_the_file(log: EventLog, tmp_path: Path) -> None:
    """Another connection sees it when the future is done."""
    one = exposure("u-1", rule="half", stage="5%", attributes={"country": "DE"})
    assert send(log, one, event("u-1", value=3)) == Ack(2, 0, ())
    other = sqlite3.connect(tmp_path / "events.db")
    rows = other.execute("SELECT id, unit, stage FROM event ORDER BY seq").fetchall()
    other.close()
    assert rows[0] == (uuid.UUID(one["id"]).bytes, "u-1", 5_000_000)
    stored = log.events()
    assert [(row.seq, row.name, row.kind, row.key_id) for row in stored] == [
        (1, "cta_color", 0, 7),
        (2, "sign_up", 1, 7),
    ]
    assert stored[0].data == {"country": "DE"}
    assert stored[1].units == {"key": "u-1"}
    assert [row.seq for row in log.events(after=1)] == [2]


def test_a_repeated_id_is_a_duplicate(log: EventLog) -> None:
    """Within a batch and across batches; the rest of the batch is taken."""
    one = exposure("u-1")
    assert send(log, one, one) == Ack(1, 1, ())
    assert send(log, one, exposure("u-2")) == Ack(1, 1, ())
    assert len(log.events()) == 2


def test_a_repeated_batch_counts_once(log: EventLog) -> None:
    """Counts, losses and contexts have no ids of their own: the batch's id guards them."""
    words = {
        "batch": str(uuid.uuid4()),
        "counts": [
            {"flag": "f", "variant": "a", "reason": "SPLIT", "minute": NOW // MINUTE, "n": 5}
        ],
        "lost": [{"reason": "full", "flag": "f", "variant": "a", "n": 3}],
        "contexts": [{"key": "u-1"}],
    }
    one = exposure("u-1")
    assert send(log, one, **words) == Ack(1, 0, ())
    assert send(log, one, **words) == Ack(0, 1, (), repeated=True)
    assert log.usage(1)["f"].today == 5
    assert [(loss.reason, loss.n) for loss in log.losses(1)] == [("full", 3)]
    assert len(log.contexts(1)) == 1
    send(log, **{**words, "batch": str(uuid.uuid4())})
    assert log.usage(1)["f"].today == 10


def test_bad_events_are_rejected_in_the_answer(log: EventLog) -> None:
    """The answer's form is that of the wire."""
    found = send(log, exposure("u-1"), {"type": "wish"})
    answer = found.to_mapping()
    assert (answer["accepted"], answer["duplicate"]) == (1, 0)
    assert answer["rejected"][0]["index"] == 1
    assert answer["rejected"][0]["problem"]


def test_times_are_corrected_by_the_skew_of_the_sender(log: EventLog) -> None:
    """A clock that is an hour late is put right; without `sent` the client's time stands."""
    send(log, exposure("u-1", at=NOW - HOUR - 10), sent=NOW - HOUR, received=NOW)
    send(log, exposure("u-2", at=NOW - 5))
    send(log, exposure("u-3", at=None), received=NOW + 9)
    assert [(row.at, row.skew) for row in log.events()] == [
        (NOW - 10, HOUR),
        (NOW - 5, 0),
        (NOW + 9, 0),
    ]


def count(flag: str, n: int, minute: int, **more: str) -> dict[str, Any]:
    """A count's wire form."""
    return {"flag": flag, "n": n, "minute": minute, "reason": "SPLIT", **more}


def test_usage_adds_up_the_last_24_hours(log: EventLog, clock: Clock) -> None:
    """By hour, variant, rule and reason; older hours drop out."""
    this = NOW // MINUTE
    send(
        log,
        counts=[
            count("f", 1, this, variant="a", rule="r"),
            count("f", 2, this, variant="b"),
            count("f", 4, this - 60, variant="a", rule="r"),
            count("f", 8, this - 23 * 60, reason="DISABLED"),
            count("f", 16, this - 30 * 60),
        ],
    )
    found = log.usage(1)["f"]
    assert found.today == 15
    assert len(found.hours) == 24
    assert (found.hours[-1], found.hours[-2], found.hours[0]) == (3, 4, 8)
    assert found.by_variant == {"a": 5, "b": 2, None: 8}
    assert found.by_rule == {"r": 5, None: 10}
    assert found.by_reason == {"SPLIT": 7, "DISABLED": 8}
    assert found.last_seen_ms == NOW
    clock.now += 24 * HOUR
    later = log.usage(1)["f"]
    assert (later.today, later.last_seen_ms) == (0, NOW)
    assert log.usage(2) == {}


def test_counts_with_an_impossible_time_count_as_now(log: EventLog) -> None:
    """A clock that is years off neither hides nor invents evaluations."""
    for minute in (0, NOW // MINUTE + 600):
        send(log, counts=[count("f", 1, minute)])
    assert log.usage(1)["f"].hours[-1] == 2


def test_contexts_are_a_ring_of_each_environment(log: EventLog, monkeypatch) -> None:
    """The newest stay, the newest first; other environments have their own."""
    monkeypatch.setattr(writing, "RING", 5)
    for n in range(4):
        send(log, contexts=[{"key": f"u-{n}-{i}", "plan": "pro"} for i in range(2)])
    send(log, contexts=[{"key": "other"}], env=2)
    found = log.contexts(1)
    keys = [one.context["key"] for one in found]
    assert keys == ["u-3-1", "u-3-0", "u-2-1", "u-2-0", "u-1-1"]
    assert [one.context for one in log.contexts(2)] == [{"key": "other"}]
    assert len(log.contexts(1, limit=2)) == 2
    send(log, contexts=[{"key": f"v-{n}"} for n in range(12)])
    assert [one.context["key"] for one in log.contexts(1)] == [f"v-{n}" for n in (11, 10, 9, 8, 7)]


def test_instances_and_their_losses(log: EventLog) -> None:
    """Who sends, what they decide by, what they lost."""
    for received, revision in ((NOW, "k.1"), (NOW + 5, "k.2")):
        send(
            log,
            instance={"id": "i-1", "host": "web", "pid": 3},
            sdk="python 0.1",
            revision=revision,
            received=received,
            lost=[{"reason": "full", "n": 2}],
        )
    send(log, instance={"id": "i-2"}, received=NOW + 1, lost=[{"reason": "full", "n": 1}])
    first, second = log.instances(1)
    assert (first.id, first.host, first.pid, first.sdk, first.revision, first.last_seen_ms) == (
        "i-1", "web", 3, "python 0.1", "k.2", NOW + 5,
    )  # fmt: skip
    assert second.id == "i-2"
    (loss,) = log.losses(1)
    assert (loss.reason, loss.flag, loss.variant, loss.n) == ("full", None, None, 5)


def test_live_counts_follow_exposed_units(log: EventLog) -> None:
    """An event counts for the variant that its unit saw before, and only once per unit."""
    send(log, event("u-1"), exposure("u-1"), exposure("u-2"), exposure("u-3", "control"))
    send(log, event("u-1", at=NOW + 1, value=2), event("u-1", at=NOW + 2, value=3))
    send(log, event("u-3", at=NOW + 1), event("stranger", at=NOW + 1), event("u-2", at=NOW - 9))
    assert log.variant_counts(1, "cta_color") == {"treatment": 2, "control": 1}
    totals = log.event_totals(1, "cta_color")["sign_up"]
    assert (totals["treatment"].units, totals["treatment"].events, totals["treatment"].value) == (
        1, 2, 5.0,
    )  # fmt: skip
    assert (totals["control"].units, totals["control"].events) == (1, 1)
    assert log.variant_counts(2, "cta_color") == {}
    assert log.live(1, "cta_color").complete


def test_live_counts_are_of_new_events_only(log: EventLog) -> None:
    """A re-sent exposure or event counts once."""
    one, two = exposure("u-1"), event("u-1")
    for _ in range(3):
        send(log, one, two)
    assert log.variant_counts(1, "cta_color") == {"treatment": 1}
    assert log.event_totals(1, "cta_color")["sign_up"]["treatment"].events == 1


def test_live_counts_come_back_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    """They are rebuilt from the newest events."""
    first = EventLog(tmp_path / "events.db", clock=clock)
    send(first, exposure("u-1"), event("u-1"))
    first.close()
    second = EventLog(tmp_path / "events.db", clock=clock)
    send(second, event("u-1", at=NOW + 1))  # behind the rebuilding in the writer's queue
    assert second.event_totals(1, "cta_color")["sign_up"]["treatment"].events == 2
    assert second.live(1, "cta_color").since == NOW
    second.close()


def test_a_full_queue_is_said_at_once(log: EventLog) -> None:
    """More than fits is refused with a time to come again; what was queued is written."""
    with log._file.write():  # the writer has to wait
        futures = []
        with pytest.raises(BusyError) as caught:
            for n in range(3 * Limits().batches):
                futures.append(log.submit(1, 7, NOW, batch(exposure(f"u-{n}"))))
    assert caught.value.retry_after > 0
    assert len(futures) == Limits().batches
    assert sum(future.result(60).accepted for future in futures) == len(futures)
    assert log.stats().refused == 1
    assert send(log, exposure("later")).accepted == 1


def test_who_has_his_answer_may_send_the_next_at_once(tmp_path: Path) -> None:
    """A batch of half the room is written, so it takes none when its sender hears of that."""
    log = EventLog(tmp_path / "small.db", limits=Limits(events=3))
    refused: list[BusyError] = []
    done = threading.Event()

    def next_one(future: Any) -> None:
        try:
            log.submit(1, 7, NOW, batch(*(event("u-2") for _ in range(3))))
        except BusyError as busy:
            refused.append(busy)
        done.set()

    first = log.submit(1, 7, NOW, batch(*(event("u-1") for _ in range(3))))
    first.add_done_callback(next_one)
    assert done.wait(60)
    log.close()
    assert refused == []


def test_no_count_is_too_large_for_the_sum_of_a_day(log: EventLog, tmp_path: Path) -> None:
    """SQLite gives up at 2**63: one public key could take the pages of a flag away."""
    row = {"flag": "f", "variant": "a", "n": 10**12}
    lost = {"reason": "full", "n": 10**12}
    send(log, counts=[row, {**row, "variant": "b"}], lost=[lost])
    with sqlite3.connect(tmp_path / "events.db") as other:
        for table in ("count_minute", "count_hour", "loss"):
            other.execute(f"UPDATE {table} SET n = ?", (writing.MOST - 1,))
    other.close()
    send(log, counts=[row, {**row, "variant": "b"}], lost=[lost])
    assert log.hours(1, ["f"])["f"][-1] == 2 * writing.MOST
    assert log.usage(1, "f")["f"].by_variant == {"a": writing.MOST, "b": writing.MOST}
    assert [loss.n for loss in log.losses(1)] == [writing.MOST]
    assert 24 * MOST_OUTCOMES * writing.MOST < 2**63


@pytest.mark.parametrize("limits", [Limits(events=3), Limits(size=100)])
def test_one_big_batch_is_taken_by_an_idle_log(tmp_path: Path, limits: Limits) -> None:
    """A batch over the limit of what waits is not refused for ever, a second one has to wait."""
    log = EventLog(tmp_path / "small.db", limits=limits)
    with log._file.write():
        first = log.submit(1, 7, NOW, batch(*(exposure(f"u-{n}") for n in range(5))))
        with pytest.raises(BusyError):
            log.submit(1, 7, NOW, batch(exposure("u-9")))
    assert first.result(30).accepted == 5
    assert send(log, exposure("u-9")).accepted == 1
    log.close()


def test_public_keys_fill_their_own_share_only(tmp_path: Path) -> None:
    """While theirs is full, a server key's batch is taken."""
    log = EventLog(tmp_path / "small.db", limits=Limits(batches=8))
    with log._file.write():
        futures = [
            log.submit(1, 7, NOW, batch(exposure(f"u-{n}")), public=True)
            for n in range(Limits(batches=8).quarter().batches)
        ]
        with pytest.raises(BusyError):
            log.submit(1, 7, NOW, batch(exposure("u-9")), public=True)
        futures.append(log.submit(1, 8, NOW, batch(exposure("u-10"))))
    assert [future.result(30).accepted for future in futures] == [1] * 3
    assert log.submit(1, 7, NOW, batch(exposure("u-9")), public=True).result(30).accepted == 1
    assert (log.stats().waiting_batches, log.stats().waiting_bytes) == (0, 0)
    log.close()


def test_many_threads_lose_nothing(log: EventLog) -> None:
    """Groups of batches share commits, and each gets its own answer."""

    def work(thread: int) -> int:
        return sum(send(log, exposure(f"u-{thread}-{n}")).accepted for n in range(25))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 200
    assert len(log.events()) == 200
    stats = log.stats()
    assert (stats.accepted, stats.batches, stats.waiting_events) == (200, 200, 0)
    assert stats.commits <= 200


def test_a_failed_commit_is_told_and_the_log_goes_on(log: EventLog, tmp_path: Path) -> None:
    """No acknowledgement without a commit; the next batch finds a working log."""
    send(log, exposure("u-0"))
    breaker = sqlite3.connect(tmp_path / "events.db")
    breaker.execute(
        "CREATE TRIGGER broken BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    failed = log.submit(1, 7, NOW, batch(exposure("u-1")))
    with pytest.raises(sqlite3.Error, match="disk full"):
        failed.result(30)
    breaker.execute("DROP TRIGGER broken")
    breaker.commit()
    breaker.close()
    assert send(log, exposure("u-2")).accepted == 1
    assert [row.unit for row in log.events()] == ["u-0", "u-2"]
    assert log.stats().failures == 1


def test_old_aggregates_are_forgotten(log: EventLog, clock: Clock) -> None:
    """Minutes after two days, batch ids and instances after a week; events stay."""
    words = {"batch": (NOW.to_bytes(6, "big") + bytes(10)).hex(), "instance": {"id": "i-1"}}
    send(log, exposure("u-1"), counts=[count("f", 1, NOW // MINUTE)], **words)
    clock.now += 8 * 24 * HOUR
    send(log, exposure("u-2"), received=clock.now)
    with log._file.read() as connection:
        left = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("count_minute", "count_hour", "batch", "instance", "event")
        }
    assert left == {"count_minute": 0, "count_hour": 1, "batch": 0, "instance": 0, "event": 2}


def test_a_closed_log_refuses(tmp_path: Path) -> None:
    """What was queued before is committed first."""
    log = EventLog(tmp_path / "events.db")
    future = log.submit(1, 7, NOW, batch(exposure("u-1")))
    log.close()
    assert future.result(0).accepted == 1
    with pytest.raises(ClosedError):
        log.submit(1, 7, NOW, batch(exposure("u-2")))


INGEST = """
import json, sys, uuid
from pathlib import Path
from flagloop_server.store.events import EventLog, decode_batch
log = EventLog(Path(sys.argv[1]))
waiting = []
while True:
    ids = [str(uuid.uuid4()) for _ in range(5)]
    events = [{"id": i, "type": "event", "event": "e", "unit": "u"} for i in ids]
    batch = decode_batch(json.dumps({"events": events}).encode())
    waiting.append((ids, log.submit(1, 1, 0, batch)))
    if len(waiting) == 4:
        ids, future = waiting.pop(0)
        future.result(30)
        print(*ids, flush=True)
"""


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    """Killed in the middle of ingest, every acknowledged id is there once."""
    path = tmp_path / "events.db"
    acknowledged: list[str] = []
    for _ in range(3):
        command = [sys.executable, "-c", INGEST, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged += [i for _ in range(10) for i in process.stdout.readline().split()]
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().splitlines()
            acknowledged += [i for line in rest for i in line.split() if len(i) == 36]
    log = EventLog(path)
    stored = [row.id for row in log.events(limit=100_000)]
    log.close()
    assert len(acknowledged) >= 150
    assert len(stored) == len(set(stored))
    assert {uuid.UUID(one).bytes for one in acknowledged} <= set(stored)


def test_what_nobody_counts_is_not_read(tmp_path: Path, log: EventLog) -> None:
    """Commands open the log on their way; only a server begins to read earlier events."""
    send(log, exposure("u-1"))
    second = EventLog(tmp_path / "events.db")
    assert not second._writer._threads  # who reads them
    second.follow()
    second.close()
    assert second.variant_counts(1, "cta_color") == {"treatment": 1}


def test_events_of_a_clock_that_is_years_off_are_put_right(log: EventLog) -> None:
    """The skew corrects it, however large."""
    far = 5_000_000_000_000
    send(log, exposure("u-1", at=far - 10), sent=far, counts=[count("f", 1, far // MINUTE - 60)])
    assert [(row.at, row.skew) for row in log.events()] == [(NOW - 10, NOW - far)]
    hours = log.usage(1)["f"].hours
    assert (hours[-1], sum(hours)) == (0, 1)

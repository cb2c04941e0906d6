"""What pages ask the event log: bounded by what they show, not by what was counted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flagloop_server.store.database import connect
from flagloop_server.store.events import (
    Ack,
    EventLog,
    RecordedContext,
    decode_batch,
    names,
    reading,
)

NOW = 1_800_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """An empty log of an environment 1 that has the flags `known` and `later`."""
    flags = {1: ["known", "later"]}
    made = EventLog(
        tmp_path / "events.db", clock=lambda: NOW, flags=lambda place: flags.get(place, [])
    )
    yield made
    made.close()


@pytest.fixture
def send(log: EventLog) -> Callable[..., Ack]:
    """Send a batch and wait for its commit."""

    def run(env: int = 1, **words: Any) -> Ack:
        raw = json.dumps({"events": [], "batch": str(uuid.uuid4()), **words}).encode()
        return log.submit(env, 7, NOW, decode_batch(raw)).result(30)

    return run


def count(flag: str, n: int = 1, hours_ago: int = 0, **more: str) -> dict[str, Any]:
    """A count's wire form."""
    return {"flag": flag, "n": n, "minute": NOW // MINUTE - 60 * hours_ago, **more}


def test_hours_of_a_few_flags(log: EventLog, send: Callable[..., Ack]) -> None:
    """24 sums each, over variants and rules; nothing of others or of before."""
    counts = [count("known", 1, variant="a"), count("known", 2, variant="b", rule="r")]
    counts += [count("known", 4, 23), count("known", 8, 24), count("later", 16)]
    send(counts=counts)
    send(env=2, counts=[count("known", 32)])
    found = log.hours(1, ["known", "never"])
    assert found == {"known": (4, *[0] * 22, 3), "never": (0,) * 24}
    assert found["known"] == log.usage(1)["known"].hours
    assert log.hours(1, []) == {}


def test_last_seen_is_of_each_flag_ever_counted(log: EventLog, send: Callable[..., Ack]) -> None:
    """By environment; flags that nobody asked for are missing."""
    send(counts=[count("known")])
    send(env=2, counts=[count("later")])
    assert log.last_seen(1) == {"known": NOW}
    assert log.last_seen(3) == {}


def test_hours_read_only_the_flags_that_are_asked_for(tmp_path: Path, log: EventLog) -> None:
    """The work is that of 5 flags, whether 50 or 1,000 were counted."""
    connection = connect(tmp_path / "events.db")
    steps = []
    for first, last in ((0, 50), (50, 1000)):
        connection.execute("BEGIN")  # one commit: each waits for the disk
        connection.executemany(
            "INSERT INTO count_hour (environment_id, hour, flag, variant, rule, reason, n)"
            " VALUES (1, ?, ?, 'a', '', '', 1)",
            [(NOW // HOUR - h, f"f{n}") for n in range(first, last) for h in range(24)],
        )
        connection.execute("COMMIT")
        ticks: list[int] = []
        connection.set_progress_handler(lambda ticks=ticks: ticks.append(1), 100)
        found = reading.hours(connection, 1, NOW, [f"f{n}" for n in range(5)])
        connection.set_progress_handler(None, 0)
        assert set(found.values()) == {(1,) * 24}
        steps.append(len(ticks))
    connection.close()
    assert steps[1] <= steps[0] * 1.2


def test_a_context_remembers_what_its_sender_decided_by(
    log: EventLog, send: Callable[..., Ack]
) -> None:
    """A number alone is taken for a revision too."""
    send(contexts=[{"key": "a"}], revision="l.7")
    send(contexts=[{"key": "b"}], revision=7)
    send(contexts=[{"key": "c"}])
    assert log.contexts(1) == [
        RecordedContext(NOW, {"key": "c"}, None),
        RecordedContext(NOW, {"key": "b"}, "7"),
        RecordedContext(NOW, {"key": "a"}, "l.7"),
    ]


def test_names_that_are_no_flags_are_bounded_and_their_evaluations_a_loss(
    log: EventLog, send: Callable[..., Ack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key cannot fill the disk with names; flags of the document always count."""
    monkeypatch.setattr(names, "MOST_STRANGERS", 3)
    send(counts=[count("known"), *(count(f"s{n}", 2) for n in range(5))])
    assert set(log.last_seen(1)) == {"known", "s0", "s1", "s2"}
    send(counts=[count("later"), count("s0"), count("s9", 10)])
    assert set(log.last_seen(1)) == {"known", "later", "s0", "s1", "s2"}
    assert [(one.reason, one.flag, one.n) for one in log.losses(1)] == [(names.LOSS, None, 14)]
    send(env=2, counts=[count("s9")])
    assert set(log.last_seen(2)) == {"s9"}


def test_the_bound_holds_after_a_restart_and_for_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are those in the file; what a sender lost is kept, its odd names are not."""
    monkeypatch.setattr(names, "MOST_STRANGERS", 2)
    for flag in ("s0", "s1", "s2"):
        log = EventLog(tmp_path / "events.db", clock=lambda: NOW)
        lost = [{"reason": "full", "flag": flag, "variant": "a", "n": 1}]
        raw = json.dumps({"events": [], "counts": [count(flag)], "lost": lost}).encode()
        log.submit(1, 7, NOW, decode_batch(raw)).result(30)
        seen, losses = set(log.last_seen(1)), log.losses(1)
        log.close()
    assert seen == {"s0", "s1"}
    assert {(one.reason, one.flag, one.variant) for one in losses} == {
        ("full", "s0", "a"),
        ("full", "s1", "a"),
        ("full", None, None),
        (names.LOSS, None, None),
    }


def test_outcomes_of_a_flag_are_bounded(log: EventLog, send: Callable[..., Ack]) -> None:
    """A sender that makes up variants, rules or reasons is summed up, and no evaluation lost."""
    most = names.MOST_OUTCOMES
    for word in ("variant", "rule", "reason"):
        counts = [{"flag": "known", "n": 1, word: f"{word}-{n}"} for n in range(most)]
        send(counts=counts)
    found = log.usage(1)["known"]
    assert found.today == 3 * most
    assert found.by_variant[names.OTHER] == found.by_rule[names.OTHER] == 2 * most
    assert len(found.by_reason) <= most


def test_losses_that_are_told_apart_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reasons come from senders: beyond the bound only the sum grows, also after a restart."""
    monkeypatch.setattr(names, "MOST_LOSSES", 3)
    path = tmp_path / "events.db"
    for start in range(2):
        log = EventLog(path, clock=lambda: NOW)
        lost = [{"reason": f"r{n}", "n": 1} for n in range(5)]
        for instance in ("i-1", "i-2"):
            raw = json.dumps({"events": [], "lost": lost, "instance": {"id": instance}}).encode()
            log.submit(1, 7, NOW, decode_batch(raw)).result(30)
        other = log.submit(
            2, 7, NOW, decode_batch(b'{"events": [], "lost": [{"reason": "r4", "n": 1}]}')
        )
        other.result(30)
        found = {one.reason: one.n for one in log.losses(1)}
        assert found == dict.fromkeys(("r0", "r1", "r2"), 2 * (start + 1)) | {
            names.OTHER: 4 * (start + 1)
        }
        assert [one.reason for one in log.losses(2)] == ["r4"]
        log.close()
    connection = connect(path)
    assert connection.execute("SELECT count(*) FROM loss").fetchone()[0] == 5
    connection.close()


def test_remarks_are_no_evaluations(log: EventLog, send: Callable[..., Ack]) -> None:
    """`enabled` of a flag that is no boolean is counted by its decision and remarked on."""
    send(counts=[count("known", 3, variant="a", rule="r", reason="SPLIT")])
    send(counts=[count("known", 2, reason="TYPE_MISMATCH"), count("known", reason="PARSE_ERROR")])
    found = log.usage(1)["known"]
    assert (found.today, found.hours[-1], log.hours(1, ["known"])["known"][-1]) == (4, 4, 4)
    assert found.by_variant == {"a": 3, None: 1}
    assert found.by_rule == {"r": 3, None: 1}
    assert found.by_reason == {"SPLIT": 3, "TYPE_MISMATCH": 2, "PARSE_ERROR": 1}


def event(name: str) -> dict[str, Any]:
    """An event's wire form, new each time."""
    made = {"id": str(uuid.uuid4()), "type": "event", "event": name}
    return {**made, "at": NOW, "units": {"key": "u-1"}}


def test_events_are_counted_by_name_and_hour(log: EventLog, send: Callable[..., Ack]) -> None:
    """Each once, however often it is sent; by environment; exposures are no events."""
    repeated = event("sign_up")
    seen = {"id": str(uuid.uuid4()), "type": "exposure", "at": NOW, "flag": "known"}
    exposure = {**seen, "variant": "a", "unit": "u-1", "unit_by": "key"}
    send(events=[repeated, event("sign_up"), event("purchase"), exposure])
    send(events=[repeated])
    send(env=2, events=[event("sign_up")])
    found = log.event_usage(1, ["sign_up", "purchase", "known", "never"])
    assert {name: one.today for name, one in found.items()} == {
        "sign_up": 2,
        "purchase": 1,
        "known": 0,
        "never": 0,
    }
    assert found["sign_up"].hours[-1] == 2
    assert found["sign_up"].last_ms == NOW
    assert found["never"].last_ms is None


def test_names_of_events_cannot_fill_the_disk(
    log: EventLog, send: Callable[..., Ack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit they are summed up; a name that is known is counted on."""
    monkeypatch.setattr(names, "MOST_EVENTS", 2)
    send(events=[event(name) for name in ("a", "b", "c", "d", "a")])
    found = log.event_usage(1, ["a", "b", "c", names.OTHER])
    assert {name: one.today for name, one in found.items()} == {
        "a": 2,
        "b": 1,
        "c": 0,
        names.OTHER: 2,
    }


def test_what_one_rule_gave(log: EventLog, send: Callable[..., Ack]) -> None:
    """By variant, over the last 24 hours; other rules, flags and remarks do not count."""
    own = [count("known", 1, variant="a", rule="r"), count("known", 2, 23, variant="a", rule="r")]
    others = [
        count("known", 4, 24, variant="a", rule="r"),
        count("known", 8, variant="a", rule="s"),
    ]
    remark = count("known", 16, variant="a", rule="r", reason="TYPE_MISMATCH")
    send(counts=[*own, *others, remark, count("known", 32, variant="b", rule="r")])
    assert log.given_by_rule(1, "known", "r") == {"a": 3, "b": 32}

"""What is sent when, and what an answer means."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop.errors import TransportError

KINDS = ("counts", "lost", "contexts", "events")


def expose(world: Any, n: int, start: int = 0) -> None:
    """`n` exposures of new units."""
    for i in range(start, start + n):
        world.decide("color", {"key": f"u{i}"})


def test_a_batch_has_the_wire_form_of_the_design(world: Any) -> None:
    """The envelope of DESIGN: batch, sent, sdk, instance, revision and the four lists."""
    expose(world, 1)
    world.now += 1
    world.flush()
    (batch,) = world.batches
    assert set(batch) == {
        "batch",
        "sent",
        "sdk",
        "instance",
        "revision",
        "lost",
        "counts",
        "contexts",
        "events",
    }
    assert batch["sent"] == int(world.now * 1000)
    assert (batch["sdk"], batch["revision"]) == ("test/1", "abc.1")
    assert batch["events"][0]["at"] == batch["sent"] - 1000


def test_what_waits_goes_out_each_interval(world: Any) -> None:
    """No record waits longer than the interval, and an idle process sends nothing."""
    world.run(30)
    assert world.tries == []
    expose(world, 3)
    world.run(5)
    assert len(world.units) == 3
    sent = len(world.tries)
    world.run(50)
    assert len(world.tries) == sent


def test_a_half_full_inbox_is_sent_at_once(make_world: Any) -> None:
    """A burst does not wait for the interval."""
    world = make_world(queue=100, events=20)
    world.run(1)
    expose(world, 49)
    world.outbox.step()
    assert world.units == []
    expose(world, 1, start=49)
    world.outbox.step()
    assert len(world.units) == 20


def test_batches_are_bounded_in_number_and_size(make_world: Any) -> None:
    """No batch has more events or bytes than its limits."""
    world = make_world(queue=10_000, events=100, size=20_000)
    expose(world, 1000)
    for i in range(1000):
        world.decide("logged", {"key": f"v{i}", "country": "x" * (i % 300)})
    world.flush()
    assert len(world.units) == len(set(world.units)) == 2000
    assert max(len(batch["events"]) for batch in world.batches) <= 100
    assert max(len(json.dumps(b, separators=(",", ":"))) for b in world.tries) <= 20_000


def test_an_event_over_the_size_is_lost_alone(make_world: Any) -> None:
    """One enormous event does not keep the others from being sent."""
    world = make_world(size=5000)
    world.decide("logged", {"key": "big", "country": "x" * 10_000})
    expose(world, 2)
    world.flush()
    world.flush()
    assert world.units == ["u0", "u1"]
    assert sum(world.reported.values()) == 1
    assert [reason for reason, _, _ in world.reported] == ["too_large"]


def test_a_failed_batch_is_sent_again_as_it_was(world: Any, down: Any) -> None:
    """The same batch id, the same event ids; only `sent` is new."""
    world.answers = [down, down]
    expose(world, 5)
    world.run(60)
    first, second, third = world.tries[:3]
    for other in (second, third):
        assert {**other, "sent": 0} == {**first, "sent": 0}
        assert other["sent"] > first["sent"]
    assert world.units == [f"u{i}" for i in range(5)]
    assert world.outbox.failures == 0
    assert world.outbox.last_error is None


def test_waits_grow_and_are_random_and_bounded(world: Any, down: Any) -> None:
    """Full jitter: a random part of a doubling wait, never over a minute."""
    world.default = down
    expose(world, 1)
    world.outbox.begin_flush()
    ceilings = []
    for _ in range(10):
        world.outbox.step()
        wait = world.outbox.retry_in
        ceilings.append(wait / world.jitter)
        world.now += wait
    assert ceilings == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60, 60])


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_also_by_a_flush(world: Any, status: int) -> None:
    """The server names the time: nothing is sent before, not even when the process flushes."""
    world.answers = [TransportError("busy", status, retry_after=30.0)]
    expose(world, 1)
    world.outbox.begin_flush()
    world.outbox.step()
    asked = world.now
    assert 30 <= world.outbox.retry_in <= 35
    world.run(29)
    world.outbox.begin_flush()
    world.outbox.step()
    assert len(world.tries) == 1
    world.run(10)
    assert len(world.tries) >= 2
    assert world.tries[1]["sent"] >= (asked + 30) * 1000
    assert world.units == ["u0"]


def test_a_flush_does_not_wait_for_an_own_backoff(world: Any, down: Any) -> None:
    """Our own waiting is cut short when somebody flushes."""
    world.answers = [down] * 5
    expose(world, 1)
    world.run(12)
    tries = len(world.tries)
    world.outbox.begin_flush()
    world.outbox.step()
    assert len(world.tries) == tries + 1


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_what_a_person_must_mend_is_kept_and_tried_slowly(world: Any, status: int) -> None:
    """A revoked key loses nothing at once: about one try a minute, then all is delivered."""
    world.default = TransportError("key revoked", status)
    expose(world, 10)
    world.run(300)
    assert 4 <= len(world.tries) <= 12
    assert world.losses.totals == {}
    assert world.outbox.last_error == "key revoked"
    world.default = None
    world.run(61)
    assert len(world.units) == 10


def test_a_batch_that_the_server_cannot_read_is_lost_and_told(world: Any) -> None:
    """400: events are counted as rejected by flag and variant; counts are tried on their own."""
    world.answers = [TransportError("bad", 400), TransportError("bad", 400)]
    for i in range(10):
        world.decide("color", {"key": f"u{i}"})
    variants = Counter(
        world.ruleset.evaluate("color", {"key": f"u{i}"}, 0).variant for i in range(10)
    )
    assert world.flush()
    assert world.units == []
    assert sum(world.counted.values()) == 10
    world.flush()
    assert world.reported == {("rejected", "color", variant): n for variant, n in variants.items()}


def test_counts_that_the_server_refuses_are_told(world: Any) -> None:
    """400 for rows on their own: how many evaluations and contexts never arrived is known."""
    world.default = TransportError("bad", 400)
    expose(world, 3)
    assert world.flush()
    assert [sorted(kind for kind in KINDS if batch[kind]) for batch in world.tries] == [
        ["contexts", "counts", "events"],
        ["events"],
        ["contexts", "counts"],
        ["counts"],
        ["contexts"],
    ]
    assert world.tries[3]["batch"] == world.tries[2]["batch"] == world.tries[0]["batch"]
    assert world.losses.totals == {"rejected": 3}
    assert world.outbox.lost_rows == {"counts": 3, "contexts": 1}


def test_loss_rows_of_a_refused_batch_travel_with_a_later_one(world: Any) -> None:
    """What a proxy refused for a while is reported as lost once it lets the batches pass."""
    world.default = TransportError("bad", 400)
    expose(world, 3)
    assert world.flush()
    assert world.flush()
    assert [bool(batch["lost"]) for batch in world.tries[-2:]] == [False, True]
    world.default = None
    expose(world, 1, start=3)
    world.run(5)
    assert world.units == ["u3"]
    assert not world.reported
    world.run(60)
    assert {reason for reason, _, _ in world.reported} == {"rejected"}
    assert sum(world.reported.values()) == 3
    sent = len(world.tries)
    world.run(120)
    assert len(world.tries) == sent


def test_loss_rows_that_the_server_minds_take_no_counts_along(world: Any) -> None:
    """A server that refuses one loss row still gets every event and every count, once."""

    def server(body: bytes) -> None:
        batch = json.loads(body)
        world.tries.append(batch)
        if batch["lost"]:
            raise TransportError("bad", 400)
        world.batches.append(batch)

    world.outbox._send = server
    world.losses.add("invalid", None, None)
    for i in range(100):
        expose(world, 1, start=i)
        world.run(5)
    assert world.flush()
    assert world.units == [f"u{i}" for i in range(100)]
    assert sum(world.counted.values()) == 100
    assert "counts" not in world.outbox.lost_rows
    assert 8 <= sum(1 for batch in world.tries if batch["lost"] and not batch["counts"]) <= 12


def test_a_batch_that_is_too_large_is_split(world: Any) -> None:
    """413: smaller batches, event ids kept, until the server takes them."""
    taken: list[Any] = []

    def server(body: bytes) -> None:
        batch = json.loads(body)
        world.tries.append(batch)
        if len(batch["events"]) > 3 or any(event["unit"] == "u7" for event in batch["events"]):
            raise TransportError("too large", 413)
        taken.append(batch)

    world.outbox._send = server
    expose(world, 20)
    assert world.flush()
    units = [event["unit"] for batch in taken for event in batch["events"]]
    assert sorted(units) == sorted(f"u{i}" for i in range(20) if i != 7)
    assert sum(row["n"] for batch in taken for row in batch["counts"]) == 20
    assert world.losses.totals == {"too_large": 1}
    ids = {event["unit"]: event["id"] for event in world.tries[0]["events"]}
    assert all(ids[event["unit"]] == event["id"] for batch in taken for event in batch["events"])
    assert len({batch["batch"] for batch in taken}) == len(taken)


def test_rows_are_counted_once_although_a_batch_arrived_and_is_split(world: Any) -> None:
    """The answer got lost, then a proxy refused the size: the rows travel under the same id."""
    world.answers = [TransportError("answer lost"), TransportError("too large", 413)]
    expose(world, 4)
    assert world.flush()
    first, again, *parts = world.tries
    assert first["batch"] == again["batch"]
    assert [part["batch"] == first["batch"] for part in parts] == [True, False]
    assert [bool(part["counts"]) for part in parts] == [True, False]


def test_rejected_events_are_counted_as_lost(world: Any) -> None:
    """The server names events by index; an answer that makes no sense harms nothing."""
    expose(world, 5)
    world.answers = [
        {"accepted": 3, "rejected": [{"index": 1, "problem": "x"}, {"index": 4, "problem": "x"}]}
    ]
    world.flush()
    assert world.outbox.sent == 3
    assert world.losses.totals == {"rejected": 2}
    for strange in ({"rejected": 7}, {"rejected": [None, {"index": "a"}, {"index": 99}]}, [], 5):
        expose(world, 1, start=world.outbox.sent + 100)
        world.answers = [strange]
        assert world.flush()
    assert world.losses.totals == {"rejected": 2}


def test_losses_travel_with_the_next_batch(make_world: Any, down: Any) -> None:
    """What a full queue lost during an outage is reported when the server is back."""
    world = make_world(queue=10, events=10)
    world.default = down
    for _ in range(6):
        expose(world, 10, start=len(world.tries) * 100)
        world.run(20)
    lost = sum(world.losses.totals.values())
    assert lost > 0
    world.default = None
    world.flush()
    world.flush()
    assert sum(world.reported.values()) == lost
    assert {(reason, flag) for reason, flag, _ in world.reported} == {("queue_full", "color")}


def test_a_send_that_raises_anything_else_is_given_up_in_the_end(world: Any) -> None:
    """A bug in `send` costs that batch after a few tries, not all later ones."""
    world.answers = [KeyError("bug")] * 5
    expose(world, 3)
    world.outbox.begin_flush()
    for _ in range(5):
        with pytest.raises(KeyError):
            world.outbox.step()
        world.now += world.outbox.stumble(KeyError("bug"))
    expose(world, 1, start=10)
    assert world.flush()
    assert world.units == ["u10"]
    assert world.losses.totals == {"error": 3}


def test_what_another_error_says_is_kept_out_of_the_log(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its text may hold what an application knows of a user: only `status` tells it."""
    problem = ValueError("no column for ada@example.com")
    world.outbox.stumble(problem)
    assert "ValueError" in caplog.text
    assert "ada@" not in caplog.text
    assert world.outbox.last_error == "ValueError: no column for ada@example.com"


def test_abandoning_counts_all_that_is_left(make_world: Any, down: Any) -> None:
    """At the end every record is sent, lost or counted as closed."""
    world = make_world(queue=1000, events=50)
    world.default = down
    expose(world, 400)
    world.run(10)
    expose(world, 100, start=400)
    world.outbox.abandon()
    assert world.losses.totals == {"closed": 500}
    assert world.outbox.lost_rows["counts"] == 500
    assert world.outbox.queued == 0


def test_memory_stays_bounded_through_an_outage(make_world: Any, down: Any) -> None:
    """Hours without a server: what waits never exceeds the queue and what was taken of it."""
    world = make_world(queue=200, memory=100, events=20)
    world.default = down
    for i in range(3000):
        world.decide("color", {"key": f"u{i}"})
        if i % 10 == 0:
            world.run(1)
    assert world.outbox.queued <= 200 + 200
    world.default = None
    assert world.flush()
    assert len(world.units) == len(set(world.units))


answers = st.sampled_from(["ok", "down", "lost answer", "429", "413", "400", "401", "bug"])
happenings = st.lists(
    st.tuples(st.just("expose"), st.integers(1, 30))
    | st.tuples(st.just("track"), st.integers(1, 5))
    | st.tuples(st.just("run"), st.sampled_from([0.5, 5.0, 70.0]))
    | st.tuples(st.just("answer"), answers)
    | st.tuples(st.just("flush"), st.integers(1, 3)),
    max_size=40,
)


@settings(max_examples=200)
@given(happenings, st.floats(0, 0.999))
def test_nothing_is_lost_or_doubled(
    make_world: Any, happenings: list[tuple[str, Any]], jitter: float
) -> None:
    """Over any failures: every record is stored once or counted as lost once, all counts agree.

    The server stores by id and ignores the rest of a batch that it has seen, as DESIGN says.
    """
    world = make_world(queue=40, memory=100_000, events=7)
    world.jitter = jitter
    stored, rows, batches, mode = {}, Counter(), set(), ["ok"]

    def server(body: bytes) -> Any:
        batch = json.loads(body)
        kind, mode[0] = mode[0], "ok"
        if kind in ("413", "400") and batch["batch"] in batches:
            kind = "ok"  # no server takes a body and calls it unreadable when it comes again
        if kind == "down":
            raise TransportError("no connection")
        if kind == "bug":
            raise ZeroDivisionError
        if kind in ("429", "413", "400", "401"):
            raise TransportError(kind, int(kind), 3.0 if kind == "429" else None)
        stored.update({event["id"]: event for event in batch["events"]})
        if batch["batch"] not in batches:
            batches.add(batch["batch"])
            for row in batch["counts"]:
                rows["counted"] += row["n"]
            for row in batch["lost"]:
                rows["lost"] += row["n"]
        if kind == "lost answer":
            raise TransportError("answer lost")
        return {"accepted": len(batch["events"]), "duplicate": 0, "rejected": []}

    world.outbox._send = server
    made = evaluated = 0

    def step() -> float:
        try:
            return world.outbox.step()
        except ZeroDivisionError as problem:
            return world.outbox.stumble(problem)

    for what, arg in happenings:
        if what == "expose":
            expose(world, arg, start=evaluated)
            evaluated += arg
        elif what == "track":
            for _ in range(arg):
                world.track("sign_up", "u")
            made += arg
        elif what == "answer":
            mode[0] = arg
        elif what == "flush":
            world.outbox.begin_flush()
            for _ in range(arg):
                step()
        else:
            end = world.now + arg
            while world.now < end:
                world.now += min(max(step(), 0.01), end - world.now)
    mode[0] = "ok"
    for _ in range(2):
        world.outbox.begin_flush()
        while not world.outbox.flushed:
            world.now += step()
    lost = world.losses.totals
    assert len(stored) + sum(lost.values()) == made + evaluated
    units = [event["unit"] for event in stored.values() if event["type"] == "exposure"]
    assert len(units) == len(set(units))
    assert rows["counted"] + world.outbox.lost_rows.get("counts", 0) == evaluated
    assert rows["lost"] == sum(lost.values())

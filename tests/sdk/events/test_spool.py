"""Batches on disk: nothing lost or doubled over failures, crashes, restarts and adoption."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop.errors import TransportError
from flagloop.events.batch import Batch

SCAN, RETRY = 5.0, 5.0


def test_what_cannot_be_sent_comes_with_the_next_process(machine: Any) -> None:
    """Batch and event ids stay, the oldest go first, and the empty file goes away."""
    machine.down = True
    first = machine.process()
    names = machine.track(first, 0, 10)
    first.run(2)
    names += machine.track(first, 10, 20)
    first.run(2)
    assert first.spool.status()["batches"] == 2
    assert first.outbox.queued == 20
    [tried] = set(machine.tries)
    machine.kill(first)
    machine.down = False
    machine.tries.clear()
    second = machine.process()
    second.run(1)
    assert machine.tries[0] == tried
    assert len(machine.tries) == 2
    assert machine.units == names
    assert [one["units"]["key"] for one in machine.stored.values()] == names
    second.outbox.abandon()
    assert list(machine.folder.iterdir()) == []


def test_a_batch_is_on_disk_before_it_is_sent(machine: Any) -> None:
    """A process that dies within `send` loses nothing, and an arrived batch counts once."""
    world = machine.process()
    world.decide("plain", {"key": "a"})
    names = machine.track(world, 0, 5)

    def die(body: bytes) -> None:
        machine.store(json.loads(body))
        raise machine.Death

    world.outbox._send = die
    with pytest.raises(machine.Death):
        world.run(2)
    assert machine.kill(world) == 0
    after = machine.process()
    after.run(1)
    assert len(machine.tries) == 1
    assert machine.units == names
    assert machine.rows["counted"] == 1


def test_a_sound_process_leaves_no_trace(machine: Any) -> None:
    """While the server takes everything the file stays small, and goes at the end."""
    world = machine.process()
    for n in range(50):
        machine.track(world, n * 20, n * 20 + 20)
        world.run(1)
    [file] = machine.files()
    assert world.spool.status() == {
        "batches": 0, "events": 0, "bytes": 0, "oldest": None, "problem": None,
        "stranded": [],
    }  # fmt: skip
    assert file.stat().st_size < 200_000
    assert len(machine.units) == 1000
    machine.kill(world)
    tries = len(machine.tries)
    later = machine.process()
    later.run(10)
    later.outbox.abandon()
    assert len(machine.tries) == tries
    assert list(machine.folder.iterdir()) == []


def test_status_tells_how_much_waits_and_how_old(machine: Any) -> None:
    """Batches, events, bytes on disk, and the age of the oldest in seconds."""
    machine.down = True
    world = machine.process()
    for n in range(10):
        machine.track(world, n * 100, n * 100 + 100)
        world.run(1)
    status = world.spool.status()
    assert (status["batches"], status["events"]) == (10, 1000)
    assert 8 <= status["oldest"] <= 10
    assert 10_000 < status["bytes"] < 200_000
    assert status["problem"] is None


def test_the_oldest_is_lost_over_the_limit_and_told(machine: Any) -> None:
    """The folder stays bounded; what was dropped is counted by reason, flag and variant."""
    machine.down = True
    world = machine.process(limit=1, events=100)
    sizes = []
    for n in range(300):
        for i in range(100):
            noise = os.urandom(60).hex()
            world.decide("color", {"key": f"{n}-{i}-{noise}"})
        world.run(1)
        sizes.append(sum(path.stat().st_size for path in machine.folder.iterdir()))
    assert max(sizes) < 1_200_000
    status = world.spool.status()
    assert status["bytes"] < 1_000_000
    assert status["events"] + world.losses.totals["spool_full"] == 30_000
    machine.down = False
    assert world.flush()
    units = [event["unit"] for event in machine.stored.values()]
    # The batch that tells of the losses may have made one more.
    assert len(units) == len(set(units)) == 30_000 - world.losses.totals["spool_full"]
    assert "299-99-" in "".join(units[-1:])
    # The first was being sent all the time, so it is not dropped.
    assert units[0].startswith("0-0-")
    assert world.flush()
    assert machine.rows["spool_full"] == 30_000 - len(units)
    assert machine.rows["counted"] + world.outbox.lost_rows["counts"] == 30_000
    assert machine.files()[0].stat().st_size < 1_000_000


def test_processes_that_die_one_after_the_other_use_one_file(machine: Any) -> None:
    """Each goes on with what the last one left, also one that ends before it looked around."""
    machine.down = True
    names = []
    for n in range(5):
        world = machine.process()
        names += machine.track(world, n * 10, n * 10 + 10)
        world.outbox.seal(1)
        assert world.spool.status()["events"] == len(names)
        assert world.spool.status()["problem"] is None
        machine.kill(world)
        assert len(machine.files()) == 1
    machine.down = False
    machine.process().run(1)
    assert [one["units"]["key"] for one in machine.stored.values()] == names


def test_each_living_process_has_a_file_of_its_own(machine: Any) -> None:
    """Nobody takes what belongs to a process that lives."""
    machine.down = True
    worlds = [machine.process() for _ in range(3)]
    for n, world in enumerate(worlds):
        machine.track(world, n * 10, n * 10 + 10)
        world.run(2)
    assert len(machine.files()) == 3
    assert [world.spool.status()["events"] for world in worlds] == [10, 10, 10]


def test_a_living_process_takes_over_from_dead_ones(machine: Any) -> None:
    """Whoever has sent its own looks for more, one file after the other."""
    machine.down = True
    worlds = [machine.process() for _ in range(4)]
    names = []
    for n, world in enumerate(worlds):
        names += machine.track(world, n * 10, n * 10 + 10)
        world.run(2)
    for world in worlds[1:]:
        machine.kill(world)
    machine.down = False
    worlds[0].run(SCAN * 2 + 60)
    assert machine.units == names
    worlds[0].outbox.abandon()
    assert list(machine.folder.iterdir()) == []


def test_files_of_another_server_are_left_alone(machine: Any) -> None:
    """What was meant for one server and key never goes to another."""
    machine.down = True
    world = machine.process(identity="production")
    machine.track(world, 0, 10)
    world.run(2)
    machine.kill(world)
    machine.down = False
    other = machine.process(identity="staging")
    other.run(60)
    assert machine.stored == {}
    assert len(machine.files()) == 1
    same = machine.process(identity="production")
    same.run(2)
    assert len(machine.units) == 10


def test_a_disk_that_takes_nothing_leaves_the_memory_queue(machine: Any, tmp_path: Path) -> None:
    """Told in `status`, bounded by the inbox, and on disk again once that works."""
    machine.folder.write_text("no folder")
    machine.down = True
    world = machine.process(queue=50, events=10)
    names = machine.track(world, 0, 20)
    world.run(5)
    status = world.spool.status()
    assert "events wait in memory" in status["problem"]
    assert status["batches"] == 0
    assert world.outbox.queued == 20
    machine.folder.unlink()
    names += machine.track(world, 20, 40)
    world.run(RETRY + 1)
    status = world.spool.status()
    assert (status["events"], status["problem"]) == (40, None)
    machine.kill(world)
    machine.down = False
    later = machine.process()
    later.run(5)
    assert machine.units == names


def test_events_go_out_although_the_disk_takes_nothing(machine: Any) -> None:
    """From memory, each once; the folder is not waited for."""
    machine.folder.write_text("no folder")
    world = machine.process(events=10)
    names = machine.track(world, 0, 25)
    assert world.flush()
    assert machine.units == names
    assert len(machine.tries) == 3
    assert world.outbox.queued == 0
    world.run(60)
    assert len(machine.tries) == 3


def test_what_is_left_in_memory_at_the_end_is_a_counted_loss(machine: Any) -> None:
    """Where neither server nor disk takes it."""
    machine.folder.write_text("no folder")
    machine.down = True
    world = machine.process(events=10)
    machine.track(world, 0, 25)
    world.run(2)
    world.outbox.abandon()
    assert world.losses.totals == {"closed": 25}


def test_an_end_puts_everything_on_disk(machine: Any) -> None:
    """Also what was in no batch yet, and counts."""
    machine.down = True
    world = machine.process(events=10)
    names = machine.track(world, 0, 25)
    world.decide("plain", {"key": "a"})
    world.outbox.abandon()
    assert world.losses.totals == {}
    machine.down = False
    later = machine.process()
    later.run(1)
    assert machine.units == names
    assert machine.rows["counted"] == 1


def test_a_flush_ends_although_events_keep_coming(machine: Any) -> None:
    """It waits for what was there when it began, also behind a long backlog."""
    machine.down = True
    world = machine.process(events=5)
    for n in range(100):
        machine.track(world, n * 5, n * 5 + 5)
        world.run(1)
    machine.down = False
    world.outbox.begin_flush()
    steps = 0
    while not world.outbox.flushed:
        machine.track(world, 1000 + steps, 1001 + steps)
        world.now += world.outbox.step()
        steps += 1
        assert steps < 300
    assert {f"u{n:06d}" for n in range(500)} <= set(machine.units)


def test_a_batch_that_is_split_stays_whole_on_disk(machine: Any) -> None:
    """A crash between the parts sends the whole again, and no event is stored twice."""
    world = machine.process(events=8)
    names = machine.track(world, 0, 8)
    seen: list[int] = []

    def small(body: bytes) -> Any:
        batch = json.loads(body)
        seen.append(len(batch["events"]))
        if len(batch["events"]) > 2:
            raise TransportError("too large", 413)
        if len(seen) == 6:
            raise machine.Death
        return machine.receive(body)

    world.outbox._send = small
    with pytest.raises(machine.Death):
        world.run(3)
    assert world.outbox.queued < 8
    machine.kill(world)
    after = machine.process()
    after.outbox._send = small
    after.run(3)
    assert machine.units == names
    assert after.losses.totals == {}


@given(st.lists(st.text(max_size=20), max_size=5), st.lists(st.integers(), max_size=3))
def test_a_batch_comes_back_as_it_was_put(texts: list[str], numbers: list[int]) -> None:
    """Ids, head, events and rows survive the way to the disk and back."""
    events = [json.dumps({"flag": text}) for text in texts]
    batch = Batch({"sdk": "x"}, events, counts=[{"n": n} for n in numbers], lost=[{"n": 1}])
    back = Batch.unpack(batch.pack())
    assert back.encode(5) == batch.encode(5)
    assert [back.about(n)[0] for n in range(len(texts))] == texts


ANSWERS = ["ok", "down", "down", "lost answer", "dies", "dies after", "429", "413"]
happenings = st.lists(
    st.tuples(st.just("track"), st.integers(1, 30))
    | st.tuples(st.just("run"), st.sampled_from([0.5, 3.0, 70.0]))
    | st.tuples(st.just("answer"), st.sampled_from(ANSWERS))
    | st.tuples(st.sampled_from(["kill", "end", "begin", "fork", "switch"]), st.just(0)),
    max_size=40,
)


@settings(max_examples=100)
@given(happenings)
def test_nothing_is_lost_or_doubled(
    machine: Any, tmp_path_factory: pytest.TempPathFactory, happenings: list[tuple[str, Any]]
) -> None:
    """Over failures, crashes, restarts and adoption each event is stored exactly once.

    All but what a crash finds in no batch yet. No evaluation is counted twice, and without a
    crash none is missing.
    """
    machine = machine.__class__(tmp_path_factory.mktemp("spool"))
    mode = ["ok"]

    def server(body: bytes) -> Any:
        kind, mode[0] = mode[0], "ok"
        batch = json.loads(body)
        if kind == "413" and batch["batch"] in machine.batches:
            kind = "ok"
        if kind == "down":
            raise TransportError("no connection")
        if kind in ("429", "413"):
            raise TransportError(kind, int(kind), 3.0 if kind == "429" else None)
        if kind == "dies":
            raise machine.Death
        machine.store(batch)
        if kind == "dies after":
            raise machine.Death
        if kind == "lost answer":
            raise TransportError("no answer")
        return None

    def begin() -> Any:
        world = machine.process(queue=100_000, events=7)
        world.outbox._send = server
        return world

    living, tracked, forgotten, evaluated, crashes = [begin()], 0, 0, 0, 0

    def act(world: Any, work: Callable[[], Any]) -> None:
        nonlocal forgotten, crashes
        try:
            work()
        except machine.Death:
            forgotten += machine.kill(world)
            crashes += 1
            living.remove(world)
            living.append(begin())

    for what, value in happenings:
        world = living[-1]
        if what == "track":
            machine.track(world, tracked, tracked + value)
            world.decide("plain", {"key": "u"})
            evaluated += 1
            tracked += value
        elif what == "run":
            act(world, lambda world=world, value=value: world.run(value))
        elif what == "answer":
            mode[0] = value
        elif what == "kill":
            forgotten += machine.kill(world)
            crashes += 1
            living[-1] = begin()
        elif what == "end":
            world.outbox.abandon()
            living[-1] = begin()
        elif what == "fork":
            world.spool.before_fork()
        elif what == "begin" and len(living) < 3:
            living.append(begin())
        elif what == "switch":
            living.insert(0, living.pop())
    mode[0] = "ok"
    for world in living:
        world.run(SCAN + 140)
        assert world.flush()
        assert world.losses.totals == {}
    for world in living:
        world.outbox.abandon()
    assert len(machine.units) == len(set(machine.units)) == tracked - forgotten
    assert machine.rows["counted"] <= evaluated
    assert machine.rows["counted"] == evaluated or crashes
    assert list(machine.folder.iterdir()) == []

"""Counts, losses and recorded contexts."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flagloop.evaluation.decision import Decision, ErrorCode, Reason
from flagloop.events import recording
from flagloop.events.recording import GRACE, NAMES, OTHER, ROWS, Counts, Losses, Tallies


def test_tallies_are_exact_under_threads() -> None:
    """Eight threads add while another drains: nothing is lost or counted twice."""
    tallies: Tallies[str] = Tallies()
    total: Counter[str] = Counter()
    gate = threading.Barrier(9)
    done = threading.Event()

    def add() -> None:
        gate.wait()
        for i in range(5000):
            tallies.add("ab"[i % 2])

    def drain() -> None:
        gate.wait()
        while not done.is_set():
            total.update(dict(tallies.drain()))

    threads = [threading.Thread(target=add) for _ in range(8)]
    reader = threading.Thread(target=drain)
    for thread in [*threads, reader]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    total.update(dict(tallies.drain()))
    assert total == {"a": 20_000, "b": 20_000}
    assert tallies.drain() == []


def test_every_evaluation_is_counted_by_its_outcome(world: Any) -> None:
    """Counts name flag, variant, rule, reason and minute; errors and missing units are told."""
    minute = int(world.now // 60)
    for i in range(40):
        world.decide("color", {"key": f"u{i}"})
    world.decide("color", {"email": "no key"})
    world.decide("nowhere", {"key": "u"})
    world.counts.error("plain", ErrorCode.TYPE_MISMATCH)
    world.flush()
    rows = [row for batch in world.batches for row in batch["counts"]]
    assert all(set(row) == {"flag", "variant", "rule", "reason", "minute", "n"} for row in rows)
    assert {row["minute"] for row in rows} == {minute}
    got = world.counted
    assert got["color", "blue", "SPLIT"] + got["color", "green", "SPLIT"] == 40
    assert got["color", "blue", "MISSING_UNIT"] == 1
    assert got["nowhere", None, "FLAG_NOT_FOUND"] == 1
    assert got["plain", None, "TYPE_MISMATCH"] == 1
    assert sum(got.values()) == 43
    assert {row["rule"] for row in rows if row["reason"] == "SPLIT"} == {"test"}


def test_counts_belong_to_their_minute(world: Any) -> None:
    """The worker comes at the minute's edge, so no evaluation is put into the next minute."""
    first = int(world.now // 60)
    for _ in range(3):
        world.decide("plain", {"key": "u"})
        world.run(20)
        world.decide("plain", {"key": "u"})
        world.run(40)
    world.flush()
    per_minute: Counter[int] = Counter()
    for batch in world.batches:
        for row in batch["counts"]:
            per_minute[row["minute"]] += row["n"]
    assert per_minute == {first: 2, first + 1: 2, first + 2: 2}


def test_counts_of_the_last_second_belong_to_the_minute_that_ends() -> None:
    """What is read at the edge was evaluated before it; what is read late, at most a minute ago."""
    now = [119.0]
    counts = Counts(lambda: None, lambda: now[0])
    for at, minute in ((120.0, 1), (300.0, 4)):
        counts.error("nowhere", ErrorCode.FLAG_NOT_FOUND)
        now[0] = at
        counts.drain()
        assert [(row["minute"], row["n"]) for row in counts.take(9)] == [(minute, 1)]


def test_a_replaced_ruleset_is_read_once_more(world: Any) -> None:
    """A thread that still serves from the old ruleset is counted; later the old one is dropped."""
    old = world.ruleset
    decision = world.decide("plain", {"key": "u"})
    world.adopt({"version": 1, "flags": {"plain": {"default": "off"}}}, "abc.2")
    world.flush()
    decision.count += 1
    world.decide("plain", {"key": "u"})
    world.flush()
    assert world.counted == {("plain", "on", "STATIC"): 2, ("plain", "off", "STATIC"): 1}
    world.now += GRACE
    world.counts.drain()
    assert [source for source, _ in world.counts._sources] == [world.ruleset]
    assert old is not world.ruleset
    assert set(world.counts._read) <= set(world.ruleset.counted())


def test_a_ruleset_that_comes_back_is_not_counted_again(world: Any) -> None:
    """What was reported before it went (an `override` of a test, undone) stays reported once."""
    first = world.ruleset
    world.decide("plain", {"key": "u"})
    world.adopt({"version": 1, "flags": {"plain": {"default": "off"}}}, "abc.2")
    world.now += GRACE
    world.flush()
    assert [source for source, _ in world.counts._sources] == [world.ruleset]
    world.counts.adopt(first)
    world.flush()
    assert world.counted == {("plain", "on", "STATIC"): 1}


def test_many_swaps_without_a_worker_lose_no_count(world: Any) -> None:
    """A process that adopts often before anything is sent keeps few rulesets and all counts."""
    for n in range(100):
        world.adopt({"version": 1, "flags": {"plain": {"default": "on"}}}, f"abc.{n}")
        world.decide("plain", {"key": "u"})
        world.now += 1
    assert len(world.counts._sources) < 15
    world.flush()
    assert sum(world.counted.values()) == 100


def test_unknown_names_are_bounded() -> None:
    """Names beyond the bound share one row, and long ones are cut; no evaluation is lost."""
    started: list[int] = []
    counts = Counts(lambda: started.append(1), lambda: 0.0)
    for i in range(NAMES + 50):
        counts.error(f"nope{i}", ErrorCode.FLAG_NOT_FOUND)
    counts.error("x" * 5000, ErrorCode.GENERAL)
    counts.drain()
    rows = counts.take(10_000)
    assert sum(row["n"] for row in rows) == NAMES + 51
    by_flag = {row["flag"]: row["n"] for row in rows if row["reason"] == "FLAG_NOT_FOUND"}
    assert len(by_flag) == NAMES + 1
    assert by_flag[OTHER] == 50
    assert max(len(row["flag"]) for row in rows) <= 100
    assert started


def test_rows_are_bounded_while_the_server_is_away(world: Any, down: Any) -> None:
    """Over hours without a server the oldest minutes are added together, sums stay exact."""
    flags = {f"f{i}": {"default": "on"} for i in range(400)}
    world.adopt({"version": 1, "flags": flags}, "abc.2")
    world.default = down
    for _ in range(60):
        for name in flags:
            world.decide(name, {"key": "u"})
        world.now += 60
        world.counts.drain()
    assert len(world.counts) <= ROWS
    world.default = None
    world.flush()
    assert sum(world.counted.values()) == 60 * 400
    assert all(len(batch["counts"]) <= 2000 for batch in world.batches)


@given(st.lists(st.sampled_from(["eval", "swap", "drain", "straggle", "tick"]), max_size=80))
def test_counts_reconcile_over_any_interleaving(make_world: Any, steps: list[str]) -> None:
    """Evaluations equal counts whatever is drained, swapped or served late in between."""
    world = make_world()
    served = 0
    stale = world.decide("plain", {"key": "u"})
    served += 1
    for n, step in enumerate(steps):
        if step == "eval":
            latest = world.decide("plain", {"key": "u"})
            served += 1
            stale = stale if n % 3 else latest
        elif step == "swap":
            stale = world.decide("plain", {"key": "u"})
            served += 1
            world.adopt({"version": 1, "flags": {"plain": {"default": "on"}}}, f"abc.{n}")
        elif step == "drain":
            world.counts.drain()
        elif step == "straggle" and stale in set(world.ruleset.counted()):
            stale.count += 1
            served += 1
        elif step == "tick":
            world.now += 1
    world.flush()
    assert sum(world.counted.values()) == served


def test_losses_are_reported_by_reason_flag_and_variant() -> None:
    """Rows are handed out once; totals by reason stay."""
    losses = Losses()
    for _ in range(3):
        losses.add("queue_full", "f", "a")
    losses.add("rejected", "f", "b")
    losses.add("invalid", None, None)
    assert losses.take(10) == [
        {"reason": "queue_full", "flag": "f", "variant": "a", "n": 3},
        {"reason": "rejected", "flag": "f", "variant": "b", "n": 1},
        {"reason": "invalid", "flag": None, "variant": None, "n": 1},
    ]
    assert losses.take(10) == []
    assert losses.totals == {"queue_full": 3, "rejected": 1, "invalid": 1}


def test_a_signal_handler_may_come_at_any_line() -> None:
    """It counts, sends and looks as its own thread just does: nobody waits, all is exact."""
    counts, losses = Counts(lambda: None), Losses()
    decision = Decision("f", "v", True, Reason.STATIC)
    ruleset = SimpleNamespace(counted=lambda: [decision])
    rows: list[dict[str, Any]] = []

    def handle() -> None:
        counts.drain()
        rows.extend(counts.take(10))
        assert set(losses.totals) <= {"closed"}
        rows.extend(losses.take(10))

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != recording.__file__:
            return None
        handle()
        return trace

    def work() -> None:
        sys.settrace(trace)
        for _ in range(3):
            counts.adopt(ruleset)
            decision.count += 1
            losses.add("closed", "f", "v")
            handle()
        sys.settrace(None)
        handle()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert sum(row["n"] for row in rows if "rule" in row) == 3
    assert sum(row["n"] for row in rows if "rule" not in row) == 3
    assert losses.totals == {"closed": 3}


def test_a_signal_handler_that_raises_leaves_no_lock_behind() -> None:
    """Whatever call Ctrl-C comes into while the first thread looks, the worker goes on."""
    left = 0

    def look(counts: Counts, losses: Losses) -> None:
        counts.drain()
        counts.take(10)
        assert set(losses.totals) == {"closed"}
        losses.give_back(losses.take(10))

    def trace(frame: Any, event: str, _: Any) -> None:
        nonlocal left
        left -= frame.f_code.co_filename == recording.__file__
        if left == 0:
            raise KeyboardInterrupt

    interrupted = 0
    while left == 0:
        parts = Counts(lambda: None), Losses()
        parts[1].add("closed", None, None)
        left = interrupted + 1
        sys.settrace(trace)
        try:
            look(*parts)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        worker = threading.Thread(target=look, args=parts, daemon=True)
        worker.start()
        worker.join(60)
        assert not worker.is_alive()
    assert interrupted > 5


def test_recorded_contexts_hold_what_they_may_and_nothing_else(world: Any) -> None:
    """The key, the attributes used as unit and those in `recording`, nothing else."""
    world.decide("plain", {"key": 42, "org": "o1", "plan": "pro", "email": "secret@example.com"})
    world.flush()
    assert [batch["contexts"] for batch in world.batches] == [
        [{"key": "42", "org": "o1", "plan": "pro"}]
    ]


def test_at_most_sixty_contexts_a_minute(world: Any) -> None:
    """One a second while the application evaluates, whatever its rate."""
    for i in range(120_0):
        world.decide("plain", {"key": f"u{i}"})
        world.run(0.1)
    world.flush()
    contexts = [context for batch in world.batches for context in batch["contexts"]]
    assert 100 <= len(contexts) <= 121
    assert len({context["key"] for context in contexts}) == len(contexts)


def test_contexts_do_not_pile_up_while_the_server_is_away(world: Any, down: Any) -> None:
    """A server that is away costs the memory of a minute's sample at most, twice."""
    world.default = down
    for i in range(400):
        world.decide("plain", {"key": f"u{i}"})
        world.run(1)
    assert len(world.reservoir) <= 60


def test_a_huge_context_is_left_out(world: Any) -> None:
    """An attribute of megabytes neither travels nor hurts the evaluation."""
    assert world.decide("plain", {"key": "u", "plan": "x" * 1_000_000}).variant == "on"
    world.flush()
    assert [batch["contexts"] for batch in world.batches] == [[]]


def test_two_threads_give_one_sample(world: Any) -> None:
    """Armed once, taken once."""
    gate = threading.Barrier(8)

    def take(n: int) -> None:
        gate.wait()
        for _ in range(100):
            if world.reservoir.armed:
                world.reservoir.take({"key": f"u{n}"})

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.reservoir.drain()) == 1

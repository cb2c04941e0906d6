"""An exposure once for each unit, and again when it changes."""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "flags": {
        "color": {
            "variants": {"blue": "b", "green": "g"},
            "default": "blue",
            "rules": [{"name": "test", "split": {"blue": "50%", "green": "50%"}}],
        },
    },
}


def with_split(blue: int, **words: Any) -> dict[str, Any]:
    """The document with another split."""
    document = copy.deepcopy(DOCUMENT)
    flag = document["flags"]["color"]
    flag["rules"][0]["split"] = {"blue": f"{blue}%", "green": f"{100 - blue}%"}
    flag.update(words)
    return document


def test_a_unit_is_exposed_once(world: Any) -> None:
    """The same unit with the same outcome makes one exposure, however often it is asked about."""
    for _ in range(5):
        for i in range(20):
            world.decide("color", {"key": f"u{i}"})
    assert world.flush()
    assert world.units == [f"u{i}" for i in range(20)]
    assert {event["flag"] for event in world.events} == {"color"}


def test_exposures_say_what_the_decision_said(world: Any) -> None:
    """Variant, rule, stage, unit, holdout and revision of an exposure are those of its decision."""
    decision = world.decide("rolling", {"key": "u1", "org": 7})
    for i in range(30):
        world.decide("held", {"key": f"u{i}"})
    assert world.flush()
    rolling, *held = world.events
    assert (rolling["variant"], rolling["rule"], rolling["stage"]) == (
        decision.variant,
        "canary",
        "2.5%",
    )
    assert (rolling["unit"], rolling["unit_by"], rolling["revision"]) == ("7", "org", "abc.1")
    assert rolling["at"] == int(world.now * 1000)
    assert {event["holdout"]["held"] for event in held} == {True, False}
    for event in held:
        assert event["variant"] == ("blue" if event["holdout"]["held"] else "green")


def test_a_number_and_its_text_are_one_unit(world: Any) -> None:
    """7 and "7" are the same unit, so they are exposed once."""
    for org in (7, "7", 7, "7"):
        world.decide("rolling", {"key": "u", "org": org})
    world.flush()
    assert world.units == ["7"]


def test_decisions_without_exposure_make_none(world: Any) -> None:
    """A flag without split, share, rollout or holdout is counted only."""
    world.decide("plain", {"key": "u"})
    world.flush()
    assert world.events == []
    assert world.counted["plain", "on", "STATIC"] == 1


def test_logged_attributes_are_copied_at_the_call(world: Any) -> None:
    """`log` keeps those attributes that the unit has, as they were when it was asked about."""
    user: dict[str, Any] = {"key": "u", "country": "NZ", "secret": "s"}
    world.decide("logged", user)
    user["country"] = "XX"
    world.flush()
    assert [event["attributes"] for event in world.events] == [{"country": "NZ"}]


def test_a_new_ruleset_with_the_same_outcome_exposes_nobody_again(world: Any) -> None:
    """A change elsewhere swaps the ruleset; equal outcomes of known units stay known."""
    for i in range(20):
        world.decide("color", {"key": f"u{i}"})
    world.adopt(with_split(50), "abc.2")
    for i in range(25):
        world.decide("color", {"key": f"u{i}"})
    world.flush()
    assert world.units == [f"u{i}" for i in range(25)]
    assert [event["revision"] for event in world.events] == ["abc.1"] * 20 + ["abc.2"] * 5


def test_what_is_logged_is_no_part_of_the_outcome(world: Any) -> None:
    """To log one more attribute exposes nobody again."""
    world.adopt(with_split(50), "abc.2")
    world.decide("color", {"key": "u"})
    world.adopt(with_split(50, log=["plan"]), "abc.3")
    world.decide("color", {"key": "u", "plan": "pro"})
    world.flush()
    assert len(world.events) == 1


def test_each_change_of_a_unit_is_exposed(world: Any) -> None:
    """Blue, green, blue again: three exposures, the latest last."""
    for n, blue in enumerate((100, 0, 100)):
        world.adopt(with_split(blue), f"abc.{n}")
        world.decide("color", {"key": "u"})
        world.decide("color", {"key": "u"})
    world.flush()
    assert [event["variant"] for event in world.events] == ["blue", "green", "blue"]


def test_a_ruleset_that_comes_back_works_again(world: Any) -> None:
    """After an override is undone the former ruleset's decisions are watched anew."""
    former = world.ruleset
    world.decide("color", {"key": "u"})
    world.adopt(with_split(0), "abc.2")
    world.ruleset = former
    world.exposures.adopt("abc.1")
    world.counts.adopt(former)
    world.decide("color", {"key": "v"})
    world.flush()
    assert world.units == ["u", "v"]
    assert sum(world.counted.values()) == 2


def test_memory_is_bounded_and_forgets_the_oldest(make_world: Any) -> None:
    """Two generations: a recent unit is known, one from long ago is exposed again."""
    world = make_world(queue=100_000, memory=100)
    for i in range(1000):
        world.decide("color", {"key": f"u{i}"})
        world.decide("color", {"key": f"u{i}"})
    for i in range(970, 1000):
        world.decide("color", {"key": f"u{i}"})
    assert len(world.inbox) == 1000
    world.decide("color", {"key": "u0"})
    assert len(world.inbox) == 1001
    kept = [*world.exposures._marks.values(), *world.exposures._older.values()]
    assert sum(len(marks) for marks in kept) <= 2 * 100


def test_a_unit_lost_to_a_full_queue_is_exposed_later(make_world: Any) -> None:
    """What had no room is not remembered: the next evaluation exposes the unit after all."""
    world = make_world(queue=5)
    for i in range(8):
        world.decide("color", {"key": f"u{i}"})
    world.flush()
    for i in range(8):
        world.decide("color", {"key": f"u{i}"})
    world.flush()
    assert sorted(world.units) == [f"u{i}" for i in range(8)]
    assert sum(world.losses.totals.values()) == 3


keys = st.sampled_from([f"u{i}" for i in range(6)])
steps = st.lists(
    st.tuples(st.just("see"), keys) | st.tuples(st.just("split"), st.sampled_from([0, 50, 100])),
    max_size=60,
)


@given(steps)
def test_exposures_are_exactly_the_changes(make_world: Any, steps: list[tuple[str, Any]]) -> None:
    """Over any swaps and evaluations, a unit's exposures are its variants without repeats."""
    world = make_world()
    expected: dict[str, list[str | None]] = {}
    for n, (what, arg) in enumerate(steps):
        if what == "split":
            world.adopt(with_split(arg), f"abc.{n}")
            continue
        variant = world.decide("color", {"key": arg}).variant
        seen = expected.setdefault(arg, [])
        if not seen or seen[-1] != variant:
            seen.append(variant)
    world.flush()
    got: dict[str, list[str | None]] = {}
    for event in world.events:
        got.setdefault(event["unit"], []).append(event["variant"])
    assert got == expected


def test_threads_expose_each_unit(make_world: Any) -> None:
    """Eight threads with the same units: each unit comes, with one and the same variant."""
    world = make_world(queue=100_000, memory=100_000)
    gate = threading.Barrier(8)

    def evaluate() -> None:
        gate.wait()
        for i in range(1000):
            world.decide("color", {"key": f"u{i}"})

    threads = [threading.Thread(target=evaluate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.flush()
    assert set(world.units) == {f"u{i}" for i in range(1000)}
    variants = {(event["unit"], event["variant"]) for event in world.events}
    assert len(variants) == 1000
    assert sum(world.counted.values()) == 8000


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_may_evaluate(world: Any) -> None:
    """A handler that evaluates inside of an evaluation of its own thread never deadlocks."""
    calls = 0

    def handler(number: int, frame: Any) -> None:
        nonlocal calls
        calls += 1
        world.adopt(DOCUMENT, f"abc.{calls}") if calls % 5 == 0 else None
        world.decide("color", {"key": f"signal{calls}"})

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        n = 0
        while calls < 50:
            n += 1
            world.exposures.adopt("abc.x")
            world.decide("color", {"key": f"u{n}"})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert world.inbox.items


def test_contexts_may_be_any_mapping(world: Any) -> None:
    """A mapping that is no dict is read by its keys alone."""

    class Lazy(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            return {"key": "u", "country": "NZ"}[name]

        def __iter__(self) -> Any:
            return iter(("key", "country"))

        def __len__(self) -> int:
            return 2

    world.decide("logged", Lazy())
    world.flush()
    assert world.events[0]["attributes"] == {"country": "NZ"}

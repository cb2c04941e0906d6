"""Exposures: which decisions make one, what it says, and when there is another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flagloop import Client
from flagloop.testing import FakeClock, MemorySink, document, flag

STAFF = {"plan": "staff"}


def exposed(client: Client, sink: MemorySink) -> list[dict[str, Any]]:
    """What was exposed, without ids and times."""
    assert client.flush(60)
    return [
        {name: value for name, value in one.items() if name not in ("id", "at", "type")}
        for one in sink.exposures
    ]


@pytest.mark.parametrize(
    ("name", "wanted", "extra"),
    [
        ("static", {}, {}),
        ("targeted", {"rule": None}, {}),
        ("targeted", {}, STAFF),
        ("share", {"rule": None}, {}),
        ("killed", {}, {}),
        ("gone", {}, {}),
        ("broken", {}, {}),
        ("nowhere", {}, {}),
        ("requiring", {"prerequisite": "split"}, {}),
        ("by_org", {}, {"org": None}),
    ],
)
def test_these_decisions_make_none(
    client: Client, sink: MemorySink, find: Any, name: str, wanted: Any, extra: Any
) -> None:
    """Nothing was drawn for this unit, so there is nothing to compare it with."""
    user = {"key": find(name, **wanted), **extra}
    client.variant(name, user)
    client.decide(name, user)
    assert exposed(client, sink) == []


@pytest.mark.parametrize(
    ("name", "wanted", "extra", "said"),
    [
        ("split", {"variant": "control"}, {}, {"rule": "halves"}),
        ("split", {"variant": "treatment"}, {}, {"rule": "halves"}),
        ("share", {"variant": "treatment"}, {}, {"rule": "some"}),
        ("rollout", {"variant": "treatment"}, {}, {"rule": "canary", "stage": "50%"}),
        ("rollout", {"variant": "control"}, {}, {"rule": "canary", "stage": "50%"}),
        ("experiment", {"variant": "control"}, {}, {"rule": "test", "experiment": "trial"}),
        (
            "holdout",
            {"holdout": "growth", "variant": "control"},
            STAFF,
            {"holdout": {"key": "growth", "held": True}},
        ),
        (
            "holdout",
            {"holdout": None, "variant": "control"},
            {},
            {"holdout": {"key": "growth", "held": False}},
        ),
        (
            "holdout_split",
            {"holdout": None, "variant": "treatment"},
            {},
            {"rule": "halves", "holdout": {"key": "growth", "held": False}},
        ),
        ("logged", {"variant": "control"}, {"plan": "pro"}, {"rule": "halves",
                                                             "attributes": {"plan": "pro"}}),
        ("everyone", {"variant": "treatment"}, {}, {"rule": "all"}),
    ],
)  # fmt: skip
def test_these_decisions_make_one(
    client: Client, sink: MemorySink, find: Any, name: str, wanted: Any, extra: Any, said: Any
) -> None:
    """A split, share or rollout drew, or the flag has a holdout: one exposure, said once."""
    key = find(name, **wanted)
    for _ in range(3):
        client.variant(name, {"key": key, **extra})
        client.decide(name, {"key": key, **extra})
    assert exposed(client, sink) == [
        {
            "flag": name,
            "variant": wanted["variant"],
            "unit": key,
            "unit_by": "key",
            "revision": "document",
            **said,
        }
    ]


def test_a_rule_that_serves_exposes_where_there_is_a_holdout(
    client: Client, sink: MemorySink, find: Any
) -> None:
    """Those not held are compared with those held, whatever served them."""
    key = find("holdout", holdout=None)
    assert client.variant("holdout", {"key": key, **STAFF}) == "treatment"
    (one,) = exposed(client, sink)
    assert (one["rule"], one["holdout"]) == ("staff", {"key": "growth", "held": False})


def test_the_unit_of_a_rule_is_the_unit_of_its_exposure(client: Client, sink: MemorySink) -> None:
    """Two people of one organisation are one unit of a flag by organisation."""
    client.variant("by_org", {"key": "u-1", "org": 7})
    client.variant("by_org", {"key": "u-2", "org": "7"})
    assert [(one["unit_by"], one["unit"]) for one in exposed(client, sink)] == [("org", "7")]


def test_prerequisites_make_no_exposure_of_their_own(
    client: Client, sink: MemorySink, find: Any
) -> None:
    """Only the flag that was asked about is exposed."""
    key = find("requiring", prerequisite=None, holdout=None)
    client.variant("requiring", key)
    assert [one["flag"] for one in exposed(client, sink)] == ["requiring"]


def test_looking_makes_no_exposure(client: Client, sink: MemorySink) -> None:
    """`peek`, `explain` and `decide_all` are for looking."""
    for n in range(20):
        client.peek("split", f"u-{n}")
        client.explain("split", f"u-{n}")
        client.decide_all(f"u-{n}")
    assert exposed(client, sink) == []


@pytest.mark.parametrize("verb", ["variant", "decide", "value", "enabled", "observe"])
def test_serving_makes_one_exposure(client: Client, sink: MemorySink, verb: str) -> None:
    """Each verb that an application acts upon."""
    if verb == "observe":
        with client.observe("split", "u-1"):
            pass
    elif verb == "value":
        client.value("split", "u-1", None)
    else:
        getattr(client, verb)("split", "u-1")
    assert len(exposed(client, sink)) == 1


def test_exposures_can_be_left_out(
    make: Callable[..., Client], mapping: Any, sink: MemorySink, counted: Any
) -> None:
    """`exposures=False`: counted, not exposed, and no context is recorded."""
    client = make(mapping, exposures=False)
    client.variant("split", {"key": "u-1", "plan": "pro"})
    assert sum(counted(client).values()) == 1
    assert exposed(client, sink) == []
    assert [one for batch in sink.batches for one in batch["contexts"]] == []


def test_what_a_unit_sees_anew_is_exposed_again(
    client: Client, mapping: Any, sink: MemorySink
) -> None:
    """A new variant is another exposure, going back is a third; equal definitions make none."""
    share = {**mapping, "flags": {**mapping["flags"]}}
    all_treated = {"name": "halves", "split": {"control": "0%", "treatment": "100%"}}
    share["flags"]["split"] = {**mapping["flags"]["split"], "rules": [all_treated]}
    with Client.from_document(mapping) as other:
        key = next(f"u-{n}" for n in range(100) if other.variant("split", f"u-{n}") == "control")
    client.variant("split", key)
    undo = client.override(share)
    client.variant("split", key)
    undo()
    client.variant("split", key)
    again = client.override({**mapping})
    client.variant("split", key)
    again()
    assert [one["variant"] for one in exposed(client, sink)] == ["control", "treatment", "control"]


def test_another_stage_or_rule_is_exposed_again(
    make: Callable[..., Client], sink: MemorySink
) -> None:
    """The same variant by another stage is news: stages are compared one by one."""

    def at(stage: str, rule: str = "canary") -> dict[str, Any]:
        rollout = {"to": "b", "stage": stage, "stages": ["50%", "100%"]}
        return document(x=flag({"a": 1, "b": 2}, rules=[{"name": rule, "rollout": rollout}]))

    client = make(at("100%"))
    client.variant("x", "u-1")
    client.override(at("100%", "other"))
    client.variant("x", "u-1")
    client.override(at("50%", "other"))
    client.variant("x", "u-1")
    said = [(one["rule"], one["stage"]) for one in exposed(client, sink)]
    assert said == [("canary", "100%"), ("other", "100%"), ("other", "50%")]


def test_threads_expose_each_unit(client: Client, sink: MemorySink) -> None:
    """Eight threads see the same thousand units: each is exposed with its one variant."""
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(60)
        for n in range(1000):
            client.variant("split", f"u-{n}")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = {(one["unit"], one["variant"]) for one in exposed(client, sink)}
    assert found == {(f"u-{n}", client.peek("split", f"u-{n}").variant) for n in range(1000)}


def test_times_come_from_the_clients_clock(
    make: Callable[..., Client], mapping: Any, sink: MemorySink, clock: FakeClock
) -> None:
    """So a test knows when its events happened."""
    client = make(mapping, clock=clock)
    client.variant("split", "u-1")
    clock.advance(60)
    client.track("click", "u-1")
    assert client.flush(60)
    (first,), (second,) = sink.exposures, sink.events
    assert (second["at"] - first["at"], first["at"]) == (60_000, 1_767_225_600_000)


def test_contexts_hold_what_the_document_records(client: Client, sink: MemorySink) -> None:
    """The key, units and `recording.attributes`; no other attribute leaves the process."""
    client.variant("split", {"key": "u-1", "org": "o-1", "plan": "pro", "email": "a@b.example"})
    assert client.flush(60)
    contexts = [one for batch in sink.batches for one in batch["contexts"]]
    assert contexts == [{"key": "u-1", "org": "o-1", "plan": "pro"}]


class Detached:
    """An attribute that its owner reads when it is used, as an ORM does, and cannot any more."""

    class GoneError(Exception):
        """Of a kind of its own."""

    def __float__(self) -> float:
        raise self.GoneError


@pytest.mark.parametrize("verb", ["variant", "decide"])
def test_an_attribute_that_raises_when_it_is_kept_is_left_out(
    client: Client, sink: MemorySink, verb: str
) -> None:
    """What was decided is served and exposed, however `log` or `recording` stumble on a value."""
    wanted = client.peek("logged", "u-1").variant
    for key in ("u-0", "u-1", "u-1"):
        served = getattr(client, verb)("logged", {"key": key, "plan": Detached()})
    assert (served if verb == "variant" else served.variant) == wanted
    client.track("click", "u-1", plan=Detached())
    assert [one["unit"] for one in exposed(client, sink)] == ["u-0", "u-1"]
    status = client.status()
    assert (status["failures"], status["delivery"]["lost"]) == ({}, {"invalid": 1})

"""Wire forms, plain values and ids."""

from __future__ import annotations

import json
import math
import sys
import threading
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.evaluation.decision import Exposed
from flagloop.events.event import (
    DEPTH,
    Event,
    Exposure,
    Instance,
    attributes,
    plain,
    tracked,
    uuid7,
    uuids,
)


def exposure(exposed: Exposed, payload: Any = "u-1", revision: str | None = "abc.7") -> Any:
    """The wire form, read back."""
    return json.loads(Exposure(exposed, revision).text("an-id", payload, 1_700_000_000.25))


def test_an_exposure_has_the_wire_form_of_the_design() -> None:
    """Every part of an exposure has its name on the wire; a percentage is text."""
    full = Exposed("f", "v", "org", "r", "x", 2_500_000, "growth", True, ("plan",))
    assert exposure(full, ("u-1", {"plan": "pro"})) == {
        "id": "an-id",
        "type": "exposure",
        "at": 1_700_000_000_250,
        "flag": "f",
        "variant": "v",
        "unit": "u-1",
        "unit_by": "org",
        "rule": "r",
        "experiment": "x",
        "stage": "2.5%",
        "holdout": {"key": "growth", "held": True},
        "revision": "abc.7",
        "attributes": {"plan": "pro"},
    }


def test_what_an_exposure_has_not_is_left_out() -> None:
    """Parts that are None take no bytes."""
    assert exposure(Exposed("f", None, "key"), revision=None) == {
        "id": "an-id",
        "type": "exposure",
        "at": 1_700_000_000_250,
        "flag": "f",
        "variant": None,
        "unit": "u-1",
        "unit_by": "key",
    }


@given(st.text().filter(lambda text: text.isprintable() or True))
def test_any_unit_survives_the_wire(unit: str) -> None:
    """Quotes, control characters and other scripts come back as they were, in ASCII."""
    text = Exposure(Exposed("f", "v", "key"), "a.1").text("an-id", unit, 0.0)
    assert text.isascii()
    assert json.loads(text)["unit"] == unit


def test_an_event_has_the_wire_form_of_the_design() -> None:
    """An event carries every unit that the ruleset uses, its value and its properties."""
    origin = tracked(
        "purchase", {"key": 42, "org": "o-1", "plan": "pro"}, ["key", "org"], 9.5, {"sku": "a"}
    )
    assert json.loads(origin.text("an-id", None, 1_700_000_000.0)) == {
        "id": "an-id",
        "type": "event",
        "at": 1_700_000_000_000,
        "event": "purchase",
        "units": {"key": "42", "org": "o-1"},
        "value": 9.5,
        "properties": {"sku": "a"},
    }


def test_value_and_properties_may_be_absent() -> None:
    """The shortest event is a name and a unit."""
    origin = tracked("seen", {"key": "u"}, ["key", "org"])
    assert set(json.loads(origin.text("i", None, 0))) == {"id", "type", "at", "event", "units"}


@pytest.mark.parametrize(
    ("name", "context", "value", "properties", "said"),
    [
        ("", {"key": "u"}, None, {}, "name"),
        (7, {"key": "u"}, None, {}, "name"),
        ("x" * 201, {"key": "u"}, None, {}, "name"),
        ("e", {}, None, {}, "no key"),
        ("e", {"key": ""}, None, {}, "no key"),
        ("e", {"key": "u"}, "9", {}, "number, not str"),
        ("e", {"key": "u"}, True, {}, "number, not bool"),
        ("e", {"key": "u"}, math.nan, {}, "nan"),
        ("e", {"key": "u"}, math.inf, {}, "inf"),
        ("e", {"key": "u"}, None, {"a": object()}, "type object"),
        ("e", {"key": "u"}, None, {"a": {1: 2}}, "names are text"),
    ],
)
def test_an_event_that_cannot_be_sent_says_why(
    name: Any, context: dict[str, Any], value: Any, properties: dict[str, Any], said: str
) -> None:
    """A wrong event is refused with a reason that does not show the user's attributes."""
    with pytest.raises(ValueError, match=said):
        tracked(name, context, ["key"], value, properties)


def test_properties_are_copied_when_the_event_is_made() -> None:
    """Changing a list afterwards does not change the event."""
    basket = ["a"]
    origin = tracked("e", {"key": "u"}, ["key"], None, {"basket": basket})
    basket.append("b")
    assert json.loads(origin.text("i", None, 0))["properties"] == {"basket": ["a"]}


class Plan(StrEnum):
    """A text with a name."""

    PRO = "pro"


class Mixed(str, Enum):  # noqa: UP042 - this is the case that is tested
    """A text whose str() is its name."""

    PRO = "pro"


class Level(IntEnum):
    """A number with a name."""

    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Plan.PRO, "pro"),
        (Mixed.PRO, "pro"),
        (Level.HIGH, 3),
        (True, True),
        ((1, 2), [1, 2]),
        ({"a"}, ["a"]),
        (Decimal("1.5"), 1.5),
        (2**63, float(2**63)),
        (-(2**63), -(2**63)),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        ("\ud800x", "?x"),
    ],
)
def test_values_become_plain_json(value: Any, expected: Any) -> None:
    """Subclasses count as their base, times are text, what JSON lacks is brought near."""
    made = plain(value)
    assert made == expected
    assert type(made) is type(expected)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(json_values)
def test_json_stays_as_it_is(value: Any) -> None:
    """What JSON can hold is copied without a change."""
    assert plain(value) == value


def test_deep_values_are_refused_not_recursed() -> None:
    """Depth is bounded, so a value that holds itself ends too."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=str(DEPTH)):
        plain(endless)


def test_attributes_that_json_lacks_are_left_out() -> None:
    """A recorded or logged attribute of an odd type costs that attribute alone."""

    class Odd:
        def __index__(self) -> int:
            raise LookupError("not here")

    context = {"plan": "pro", "odd": Odd(), "raw": b"x", "age": 3, "secret": "s", "none": None}
    assert attributes(context, ["plan", "odd", "raw", "age", "none", "absent"]) == {
        "plan": "pro",
        "age": 3,
    }


@given(st.integers(0, 3000), st.floats(0, 4e9))
def test_ids_are_distinct_version_7_and_ascend(n: int, at: float) -> None:
    """Every id is a well-formed UUIDv7 of its time, and none comes twice."""
    ids = uuids(n, lambda: at)
    assert len(set(ids)) == n
    for one in ids[:3] + ids[-3:]:
        parsed = uuid.UUID(one)
        assert str(parsed) == one
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == int(at * 1000)


def test_ids_of_the_same_instant_differ() -> None:
    """Two processes, or two draws, at one millisecond do not collide."""
    assert len({uuid7(lambda: 1.0) for _ in range(2000)}) == 2000


def test_an_instance_is_one_id_for_one_process() -> None:
    """The id stays for the life of the process and is on the wire with host and pid."""
    instance = Instance()
    assert instance.mapping() == instance.mapping()
    assert set(instance.mapping()) == {"id", "host", "pid"}
    assert instance.id != Instance().id


def test_origins_name_what_a_loss_is_about() -> None:
    """A lost exposure is known by flag and variant, a lost event by neither."""
    assert Exposure(Exposed("f", "v", "key"), None).flag == "f"
    event = tracked("e", {"key": "u"}, ["key"])
    assert isinstance(event, Event)
    assert event.flag is None


def test_threads_that_ask_at_once_get_one_instance() -> None:
    """Polls and reports begin at the same moment, and are to be known as the same process."""
    barrier = threading.Barrier(4)
    told: list[list[str]] = [[] for _ in range(4)]
    instances = [Instance() for _ in range(300)]

    def ask(answers: list[str]) -> None:
        for instance in instances:
            barrier.wait(10)
            answers.append(instance.id)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(answers,)) for answers in told]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(before)
    assert len(told[0]) == len(set(told[0])) == 300
    assert told[1:] == [told[0]] * 3

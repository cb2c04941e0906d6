"""Who uses an item, and as what."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.document.definition import Document
from flagloop.document.schema import namers
from flagloop_server.sections import Use, deciding, uses


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (
            ("segments", "staff"),
            (
                Use("segments", "insiders", "condition"),
                Use("flags", "checkout", "rule staff", "staff"),
            ),
        ),
        (("segments", "insiders"), (Use("flags", "cta", "rule team", "team"),)),
        (("holdouts", "growth"), (Use("flags", "cta", "holdout"),)),
        (("layers", "landing"), None),
        (("experiments", "colour"), (Use("flags", "cta", "rule test", "test"),)),
        (
            ("metrics", "errors"),
            (
                Use("experiments", "colour", "guardrail"),
                Use("flags", "checkout", "guardrail of rollout canary", "canary"),
            ),
        ),
        (("metrics", "sign_up"), (Use("experiments", "colour", "primary metric"),)),
        (("metrics", "revenue"), (Use("experiments", "colour", "secondary metric"),)),
        (("flags", "cta"), (Use("flags", "checkout", "requires treatment"),)),
    ],
)
def test_each_place_that_names_an_item(
    shop: Document, ref: tuple[str, str], expected: tuple[Use, ...] | None
) -> None:
    """With what it is there, and in which rule; a layer's holders with their ranges."""
    found = uses(shop)[ref]
    if expected is None:
        assert [one.role for one in found] == [
            "holds 0% to 50%",
            "holds 60% to 70%",
            "holds 65% to 95%",
        ]
    else:
        assert found == expected


def test_users_are_those_that_stand_in_the_way_of_a_removal(
    shop: Document, mapping: dict[str, Any]
) -> None:
    """The same items that the schema says name it: what is refused is what is shown."""
    shown = {ref: {(one.section, one.key) for one in named} for ref, named in uses(shop).items()}
    assert shown == {ref: set(named) for ref, named in namers(mapping).items()}


def test_flags_decide_by_a_segment_also_through_others(shop: Document) -> None:
    """Staff are part of the insiders, by which cta decides; a segment of a circle ends."""
    used = uses(shop)
    assert deciding(used, ("segments", "staff")) == {"checkout", "cta"}
    assert deciding(used, ("segments", "nobody")) == set()
    circle = {
        ("segments", "a"): (Use("segments", "b", "condition"),),
        ("segments", "b"): (Use("segments", "a", "condition"), Use("flags", "f", "rule r", "r")),
    }
    assert deciding(circle, ("segments", "a")) == {"f"}

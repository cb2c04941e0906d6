"""Rows of the flag list and of a flag's page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flagloop.document.definition import Document
from flagloop.document.schema import read_document
from flagloop_server import overview
from flagloop_server.store.events import EventTotal, LiveCounts, Usage

NOW = 1_800_000_000_000  # 2027-01-15
DAY = 86_400_000
COLOURS = {"variants": {"control": "blue", "treatment": "green"}, "default": "control"}


def document(flags: dict[str, Any], **sections: Any) -> Document:
    """A document without problems."""
    parsed, problems = read_document({"version": 1, "flags": flags, **sections})
    assert problems == []
    return parsed


def used(today: int = 0, seen: int | None = None, **parts: Any) -> Usage:
    """Counts of one flag."""
    rules, variants = parts.get("rules", {}), parts.get("variants", {})
    return Usage(today, seen, (0,) * 24, variants, rules, parts.get("reasons", {}))


def rollout(**words: Any) -> dict[str, Any]:
    """A flag with one rollout."""
    rule = {"name": "r", "rollout": {"to": "treatment", "stages": ["5%", "100%"], **words}}
    return {**COLOURS, "rules": [rule]}


@pytest.mark.parametrize(
    ("flag", "state"),
    [
        ({}, "off"),
        ({"rules": [{"name": "a", "serve": "on"}]}, "live"),
        ({"rules": [{"name": "a", "share": "0%", "serve": "on"}]}, "off"),
        ({"rules": [{"name": "a", "share": "1%", "serve": "on"}]}, "live"),
        (COLOURS, "live"),
        ({**COLOURS, "off": "control"}, "off"),
        ({**COLOURS, "off": "treatment"}, "live"),
        (rollout(), "live"),
        (rollout(stage="5%"), "canary"),
        (rollout(stage="100%"), "live"),
        (rollout(stage="5%", paused=True), "paused"),
        ({"killed": True, "rules": [{"name": "a", "serve": "on"}]}, "killed"),
    ],
)
def test_one_word_tells_the_state(flag: dict[str, Any], state: str) -> None:
    """Off means that everyone gets what a kill would serve; canary that a rollout is on its way."""
    parsed = document({"f": flag})
    assert overview.state_of(parsed.flags["f"], parsed) == state


def rows() -> list[overview.FlagRow]:
    """Four flags in different states."""
    flags = {
        "cta_color": {**COLOURS, "description": "Sign-up button", "tags": ["landing"]},
        "new_checkout": {"owner": "payments", "rules": [{"name": "a", "serve": "on"}]},
        "dead": {"killed": {"reason": "INC-1"}},
        "old": {"expires": "2020-01-01", "owner": "payments", "tags": ["landing", "x"]},
    }
    return overview.flag_rows(document(flags), {"old": NOW}, NOW)


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({}, ["cta_color", "new_checkout", "dead", "old"]),
        ({"text": "BUTTON sign"}, ["cta_color"]),
        ({"text": "treatment"}, ["cta_color"]),
        ({"text": "button checkout"}, []),
        ({"state": "killed"}, ["dead"]),
        ({"state": "stale"}, ["old"]),
        ({"owner": "payments"}, ["new_checkout", "old"]),
        ({"tag": "landing", "owner": "payments"}, ["old"]),
        ({"type": "string"}, ["cta_color"]),
        ({"stale": "yes"}, ["old"]),
        ({"stale": "no", "owner": "payments"}, ["new_checkout"]),
        ({"stale": "expired"}, ["old"]),
        ({"stale": "unused"}, []),
    ],
)
def test_the_filter_selects(wanted: dict[str, str], keys: list[str]) -> None:
    """All words of the search and every chosen value must fit; the order stays."""
    found = overview.select(rows(), overview.Filter(**wanted))
    assert [row.key for row in found] == keys


@pytest.mark.parametrize(
    ("order", "keys"),
    [
        ("document", ["cta_color", "new_checkout", "dead", "old"]),
        ("key", ["cta_color", "dead", "new_checkout", "old"]),
        ("state", ["dead", "cta_color", "new_checkout", "old"]),
        ("owner", ["new_checkout", "old", "cta_color", "dead"]),
        ("seen", ["old", "cta_color", "new_checkout", "dead"]),
        ("changed", ["dead", "old", "cta_color", "new_checkout"]),
    ],
)
def test_the_list_can_be_ordered(order: overview.Order, keys: list[str]) -> None:
    """By urgency those come first that need a person; equal ones stay as in the document."""
    changed = {"dead": 9, "old": 7, "cta_color": 2, "new_checkout": 2}
    found = [replace(row, revision=changed[row.key]) for row in rows()]
    assert [row.key for row in overview.ordered(found, order)] == keys


def test_the_summary_counts_states() -> None:
    """States that no flag has are left out."""
    assert overview.summary(rows()) == "2 live, 1 off, 1 killed, 1 stale"


def test_rules_show_what_they_took() -> None:
    """Each rule has its part of the evaluations, what it gives and what bounds it."""
    flag = {
        **COLOURS,
        "rules": [
            {"name": "staff", "when": {"plan": "staff"}, "serve": "treatment"},
            {"name": "some", "share": "10%", "serve": "treatment", "unit": "org"},
            {"name": "all", "serve": "control"},
            {"name": "never", "serve": "treatment"},
        ],
    }
    parsed = document({"f": flag})
    usage = used(rules={"staff": 10, "some": 30, None: 60})
    staff, some, every, never = overview.rule_rows(parsed.flags["f"], parsed, usage)
    assert (staff.who, staff.outcome, staff.took, staff.part) == (
        "those where plan is staff",
        (("treatment", "100%"),),
        10,
        0.1,
    )
    assert (some.share, some.notes) == (
        "10%",
        ("takes 10% of them, the others fall through", "unit org"),
    )
    assert every.serves
    assert (never.serves, never.notes) == (
        False,
        ("never reached: a rule above serves everyone",),
    )


def test_parts_without_data_are_not_zero() -> None:
    """Without evaluations the part is unknown."""
    parsed = document({"f": {"rules": [{"name": "a", "serve": "on"}]}})
    assert overview.rule_rows(parsed.flags["f"], parsed, overview.NO_USAGE)[0].part is None
    assert overview.unserved_parts(overview.NO_USAGE) == (None, None)


def test_what_no_rule_served_is_split_into_default_and_off() -> None:
    """Evaluations while killed are not called default."""
    usage = used(rules={"a": 50, None: 50}, reasons={"DISABLED": 20, "DEFAULT": 30, "SPLIT": 50})
    assert overview.unserved_parts(usage) == (0.3, 0.2)


def test_variants_show_value_units_and_events() -> None:
    """Each variant in the written order, also those that nobody got."""
    parsed = document({"f": COLOURS})
    events = {"sign_up": {"treatment": EventTotal(4, 9, 0.0)}}
    counts = LiveCounts(NOW, {"treatment": 20}, 0, events, complete=True)
    usage = used(variants={"treatment": 30, None: 10})
    control, treatment = overview.variant_rows(parsed.flags["f"], usage, counts)
    assert (control.name, control.value, control.evaluations, control.events) == (
        "control",
        "blue",
        0,
        {},
    )
    assert (treatment.part, treatment.units, treatment.events) == (0.75, 20, {"sign_up": 4})


def test_dependents_are_named() -> None:
    """Flags that require another hang on it."""
    flags = {"base": {}, "leaf": {"requires": {"base": "on"}}, "twig": {"requires": {"leaf": "on"}}}
    assert overview.dependents(document(flags), "base") == ["leaf"]
    assert overview.dependents(document(flags), "twig") == []


def test_flags_that_require_one_through_others_are_named_too() -> None:
    """Once each, in the document's order, and not those that require it themselves."""
    flags = {
        "far": {"requires": {"late": "on"}},
        "late": {"requires": {"near": "on", "also": "on"}},
        "base": {},
        "near": {"requires": {"base": "on"}},
        "also": {"requires": {"base": "off", "near": "on"}},
        "alone": {},
    }
    parsed = document(flags)
    assert overview.dependents(parsed, "base") == ["near", "also"]
    assert overview.dependents_of_dependents(parsed, "base") == ["far", "late"]
    assert overview.dependents_of_dependents(parsed, "far") == []


def test_the_sparkline_is_scaled_to_its_highest_hour() -> None:
    """The highest hour touches the top, an empty one the bottom; no data is no line."""
    assert overview.sparkline((0, 10, 5), width=10, height=20) == "0.0,19.0 5.0,1.0 10.0,10.0"
    assert overview.sparkline((0, 0)) == ""

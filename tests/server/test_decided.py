"""Decisions in words and beside each other."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.evaluation.ruleset import Ruleset
from flagloop_server.decided import Line, because, kind, lines, select, served

FLAGS: dict[str, Any] = {
    "killed": {"killed": True},
    "broken": {"rules": 1},
    "needs": {"requires": {"killed": "on"}},
    "plain": {},
    "ruled": {"rules": [{"name": "all", "serve": "on"}]},
    "unserved": {"rules": [{"name": "staff", "when": {"plan": "staff"}, "serve": "on"}]},
    "no_unit": {"rules": [{"name": "half", "share": "50%", "serve": "on"}]},
    "held": {"holdout": "all", "rules": [{"name": "all", "serve": "on"}]},
}


def decide(flags: dict[str, Any], context: dict[str, Any]) -> list[Any]:
    """The decisions of all flags."""
    rules = Ruleset({"version": 1, "holdouts": {"all": {"share": "100%"}}, "flags": flags})
    return [rules.evaluate(name, context, 0.0) for name in rules.names()]


@pytest.mark.parametrize(
    ("flag", "what", "why"),
    [
        ("killed", "off", "off: killed"),
        ("needs", "off", "off: prerequisite killed is not met"),
        ("plain", "default", "it has no rules"),
        ("ruled", "rule", "rule all"),
        ("unserved", "default", "its default, no rule served"),
        ("no_unit", "default", "its default: the context lacks a unit"),
        ("held", "default", "held by all"),
    ],
)
def test_each_reason_has_its_words(flag: str, what: str, why: str) -> None:
    """Also what kind of answer it is."""
    found = {one.flag: one for one in decide(FLAGS, {"plan": "free"})}[flag]
    assert because(found).startswith(why)
    assert kind(Line(flag, found)) == what


def test_an_error_says_what_is_wrong() -> None:
    """A broken flag serves nothing."""
    found = {one.flag: one for one in decide(FLAGS, {})}["broken"]
    assert kind(Line("broken", found)) == "error"
    assert "rules" in because(found)
    assert served(found) == "the caller's default"


def test_two_times_beside_each_other() -> None:
    """What is new, what is gone, what answers differently, and what is the same."""
    before = decide({"same": {}, "gone": {}, "other": {}}, {"key": "u"})
    after = decide({"same": {}, "other": FLAGS["ruled"], "new": {}}, {"key": "u"})
    found = {one.flag: one for one in lines(before, after)}
    assert [name for name, one in found.items() if one.changed] == ["gone", "other", "new"]
    assert served(found["new"].then) == served(found["gone"].now) == "no such flag"
    assert not any(one.changed for one in lines(before))


def test_lists_are_narrowed_by_kind_and_by_words() -> None:
    """Every word must occur in the flag, its variant or its reason; unknown kinds are all."""
    found = lines(decide(FLAGS, {"key": "u", "plan": "free"}))
    assert [one.flag for one in select(found, "off", "")] == ["killed", "needs"]
    assert [one.flag for one in select(found, "", "RULED all")] == ["ruled"]
    assert len(select(found, "nonsense", "")) == len(FLAGS)
    assert select(found, "changed", "") == []

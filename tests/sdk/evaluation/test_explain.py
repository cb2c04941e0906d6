"""Explanations: every step is named, with its reason and its positions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagloop.evaluation.bucketing import SPACE, position
from flagloop.evaluation.explain import Explanation, explain
from flagloop.evaluation.ruleset import Ruleset

HALF = {"control": "50%", "treatment": "50%"}
DOCUMENT: dict[str, Any] = {
    "segments": {
        "staff": {"when": {"email": {"ends_with": "@example.com"}}},
        "friends": {"when": {"any": [{"segment": "staff"}, {"plan": ["pro", "team"]}]}},
    },
    "layers": {"page": {}},
    "holdouts": {"growth": {"share": "2%"}, "all": {"share": "100%"}},
    "experiments": {
        "draft": {"primary": "m", "status": "draft"},
        "half": {"primary": "m", "layer": {"name": "page", "range": ["0%", "50%"]}},
    },
    "flags": {},
}


def say(*rules: dict[str, Any], context: dict[str, Any], now: float = 0.0, **words: Any) -> Any:
    """The explanation of a flag of two variants with these rules."""
    named = [{"name": f"r{i}", **rule} for i, rule in enumerate(rules)]
    variants = {"control": "blue", "treatment": "green"}
    flag = {"variants": variants, "default": "control", "rules": named, **words}
    ruleset = Ruleset({**DOCUMENT, "flags": {"f": flag, "on": {"default": "on"}, "bad": 3}})
    explanation = explain(ruleset, "f", context, now)
    assert explanation.decision is ruleset.evaluate("f", context, now)
    assert json.loads(json.dumps(explanation.to_mapping()))["flag"] == "f"
    return explanation


def lines(explanation: Explanation) -> list[str]:
    return explanation.render().splitlines()


def test_each_rule_says_why_not() -> None:
    """The failing test is named with the value it saw; later rules are not reached."""
    explanation = say(
        {"when": {"segment": "friends"}, "serve": "treatment"},
        {"when": {"plan": "pro", "age": {"gt": 30}}, "serve": "treatment"},
        {"when": {"not": {"plan": "free"}}, "serve": "treatment"},
        {"from": "2024-06-01", "serve": "treatment"},
        {"until": "1970-01-01", "serve": "treatment"},
        {"experiment": "draft", "split": HALF},
        {"share": "0%", "serve": "treatment"},
        {"serve": "treatment"},
        {"serve": "control"},
        context={"key": "u-1", "email": "x@mail.test", "plan": "free"},
    )
    assert lines(explanation) == [
        "- rule r0: its condition fails: not in segment friends: none of: not in segment staff: "
        'email ends_with "@example.com", but it is "x@mail.test"; '
        'plan in ["pro", "team"], but it is "free"',
        '- rule r1: its condition fails: plan eq "pro", but it is "free"',
        '- rule r2: its condition fails: not (plan eq "free") is false',
        "- rule r3: it opens at 2024-06-01T00:00:00Z",
        "- rule r4: it ended at 1970-01-01T00:00:00Z",
        "- rule r5: experiment draft is a draft",
        "- rule r6: its share is 0%",
        "* rule r7: serves treatment",
        "  rule r8: already decided",
        'f serves treatment ("green"), TARGETING_MATCH',
    ]


def test_positions_are_shown_with_their_range() -> None:
    """Holdout, layer, share and split each show where the unit fell and what it was held to."""
    unit = next(f"u-{i}" for i in range(1000) if position("layer:page", f"u-{i}") < SPACE // 2)
    explanation = say(
        {"share": "0.000001%", "serve": "treatment"},
        {"experiment": "half", "share": "100%", "split": HALF},
        context={"key": unit},
        holdout="growth",
    )
    found = {
        (step.name, at.by): at.to_mapping() for step in explanation.steps for at in step.positions
    }
    part = position("experiment:half", unit)
    low, high = (0, SPACE // 2) if part < SPACE // 2 else (SPACE // 2, SPACE)
    assert found == {
        ("growth", "holdout"): {
            "by": "holdout",
            "at": position("holdout:growth", unit),
            "low": 0,
            "high": 85899346,
        },
        ("r0", "share"): {"by": "share", "at": position("share:f:r0", unit), "low": 0, "high": 43},
        ("r1", "layer"): {
            "by": "layer",
            "at": position("layer:page", unit),
            "low": 0,
            "high": SPACE // 2,
        },
        ("r1", "share"): {
            "by": "share",
            "at": position("share:f:r1", unit),
            "low": 0,
            "high": SPACE,
        },
        ("r1", "split"): {"by": "split", "at": part, "low": low, "high": high},
    }
    assert [step.outcome for step in explanation.steps] == ["passed", "passed", "served"]


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ({"killed": True}, "* killed: killed"),
        ({"killed": {"reason": "5xx"}, "holdout": "all"}, "* killed: killed: 5xx"),
        ({"requires": {"on": "off"}}, "* requires on: serves on, not off: not met"),
        (
            {"requires": {"bad": "on"}},
            "* requires bad: serves none, PARSE_ERROR, not on: not met",
        ),
        (
            {"requires": {"on": "on"}, "holdout": "all"},
            "* holdout all: held: before every rule, the default; holdout in [0%, 100%)",
        ),
    ],
)
def test_what_comes_before_the_rules(words: dict[str, Any], last: str) -> None:
    """Killed, a prerequisite not met and the holdout end it; the rules are not reached."""
    explanation = say({"serve": "treatment"}, context={}, **words)
    assert lines(explanation)[-3:-1] == [last, "  rule r0: already decided"]


def test_a_missing_unit_is_named() -> None:
    """The attribute that is missing is named at each rule that needs it, and at the default."""
    explanation = say(
        {"unit": "org", "split": HALF},
        {"share": "5%", "serve": "treatment"},
        {"share": "100%", "split": HALF},
        context={},
        holdout="growth",
    )
    assert [step.why for step in explanation.steps] == [
        "the context has no unit 'key'",
        "the context has no unit 'org'",
        "the context has no unit 'key'",
        "the context has no unit 'key'",
        "no rule served, and a unit was missing",
    ]
    assert explanation.decision.missing_unit


def test_flags_that_cannot_decide_say_what_is_wrong() -> None:
    """An unknown flag and a broken one are explained by their error."""
    ruleset = Ruleset({"flags": {"bad": {"variants": {"a": 1}}}})
    assert "no flag 'nope'" in explain(ruleset, "nope", {}).render()
    explanation = explain(ruleset, "bad", {})
    assert "`default` is missing" in explanation.render()
    assert explanation.to_mapping()["error"] == "PARSE_ERROR"


def test_values_that_are_no_json_are_shown_too() -> None:
    """Whatever stands in the context, the explanation has a line for it."""
    loop: list[Any] = []
    loop.append(loop)
    for value in (10**5000, loop, object(), {1, 2}, "x" * 500):
        rule = {"when": {"plan": "pro"}, "serve": "treatment"}
        explanation = say(rule, context={"key": "u", "plan": value})
        assert "plan eq" in explanation.steps[0].why
        assert len(explanation.steps[0].why) < 200

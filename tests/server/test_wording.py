"""Conditions, rules and flags in words."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.document.definition import Document
from flagloop.document.schema import read_document
from flagloop_server import wording


def document(flag: dict[str, Any], **sections: Any) -> Document:
    """A document with one flag `f`, which must be without problems."""
    parsed, problems = read_document({"version": 1, "flags": {"f": flag}, **sections})
    assert problems == []
    return parsed


def sentence(flag: dict[str, Any], **sections: Any) -> str:
    parsed = document(flag, **sections)
    return wording.who_gets_what(parsed.flags["f"], parsed)


COLOURS = {"variants": {"control": "blue", "treatment": "green"}, "default": "control"}
STAFF = {"staff": {"when": {"email": {"ends_with": "@example.com"}}}}


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"plan": "pro"}, "plan is pro"),
        ({"plan": ["pro", "team"]}, "plan is pro or team"),
        ({"plan": {"not_in": ["a", "b", "c", "d", "e", "f"]}}, "plan is not a, b, c, d or 2 more"),
        ({"age": {"gte": 18, "lt": 65}}, "age ≥ 18 and age < 65"),
        ({"beta": True}, "beta is true"),
        ({"email": {"ends_with_ci": "@x.com"}}, "email ends with @x.com (in any case)"),
        ({"vat": {"exists": False}}, "vat is missing"),
        ({"app": {"semver_gte": "2.3.0"}}, "app is at least version 2.3.0"),
        ({"any": [{"a": 1}, {"b": 2, "c": 3}]}, "a is 1 or (b is 2 and c is 3)"),
        ({"not": {"country": "DE"}}, "not (country is DE)"),
        ({"segment": "staff", "plan": "pro"}, "plan is pro and in segment staff"),
    ],
)
def test_conditions_read_as_they_would_be_said(when: dict[str, Any], words: str) -> None:
    """Each kind of condition has its own plain words."""
    flag = {**COLOURS, "rules": [{"name": "r", "when": when, "serve": "treatment"}]}
    condition = document(flag, segments=STAFF).flags["f"].rules[0].when
    assert condition is not None
    said = wording.condition_words(condition)
    assert sorted(said.split(" and ")) == sorted(words.split(" and "))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ({}, "everyone gets off"),
        ({"rules": [{"name": "a", "serve": "on"}]}, "everyone gets on"),
        (
            {"rules": [{"name": "a", "share": "5%", "serve": "on"}]},
            "5% of everyone gets on; all others get off",
        ),
        (
            {"rules": [{"name": "a", "when": {"segment": "staff"}, "serve": "on"}]},
            "staff get on; all others get off",
        ),
        (
            {
                **COLOURS,
                "rules": [{"name": "a", "split": {"control": "90%", "treatment": "10%"}}],
            },
            "everyone is split 90% control, 10% treatment",
        ),
        (
            {
                **COLOURS,
                "rules": [{"name": "a", "rollout": {"to": "treatment", "stages": ["5%", "50%"]}}],
            },
            "0% of everyone gets treatment, the others control (next stage 5%)",
        ),
        ({"killed": {"reason": "INC-77"}}, "everyone gets off (INC-77)"),
        ({**COLOURS, "killed": True}, "everyone gets the caller's default"),
    ],
)
def test_who_gets_what(flag: dict[str, Any], expected: str) -> None:
    """The sentence tells each rule that can serve, and whom the default is left for."""
    assert sentence(flag, segments=STAFF) == expected


def test_rules_behind_one_that_takes_everyone_are_not_told() -> None:
    """A rule that can never be reached is not in the sentence, nor is the default."""
    rules = [
        {"name": "a", "serve": "on"},
        {"name": "b", "when": {"plan": "pro"}, "serve": "off"},
    ]
    assert sentence({"rules": rules}) == "everyone gets on"


def test_an_experiment_in_a_layer_takes_only_the_part_that_it_holds() -> None:
    """Half of a layer is told as half of everyone, and a share as a part of that half."""
    rule = {"name": "a", "experiment": "e", "split": {"on": "50%", "off": "50%"}}
    experiment = {
        "primary": "m",
        "hypothesis": "More.",
        "layer": {"name": "l", "range": ["0%", "50%"]},
    }
    sections: dict[str, Any] = {
        "layers": {"l": {}},
        "metrics": {"m": {"event": "sign_up", "better": "higher"}},
        "experiments": {"e": experiment},
    }
    told = "50% of everyone is split 50% on, 50% off (layer l); all others get off"
    assert sentence({"rules": [rule]}, **sections) == told
    assert sentence({"rules": [{**rule, "share": "20%"}]}, **sections) == f"20% of {told}"


def test_a_rule_by_another_unit_leaves_the_default_reachable() -> None:
    """Contexts without the unit fall through such a rule, so the default is still told."""
    rules = [{"name": "a", "unit": "org", "split": {"on": "50%", "off": "50%"}}]
    assert sentence({"rules": rules}) == "everyone is split 50% on, 50% off; all others get off"


def test_draft_experiments_and_zero_shares_serve_nobody() -> None:
    """Rules that cannot serve are left out of the sentence."""
    flag = {
        **COLOURS,
        "rules": [
            {"name": "a", "experiment": "e", "split": {"control": "50%", "treatment": "50%"}},
            {"name": "b", "share": "0%", "serve": "treatment"},
        ],
    }
    experiments = {"e": {"status": "draft"}}
    assert sentence(flag, experiments=experiments) == "everyone gets control"


def test_holdout_and_prerequisites_are_said() -> None:
    """What stands before the rules is part of who gets what."""
    flag = {"holdout": "h", "requires": {"g": "on"}, "rules": [{"name": "a", "serve": "on"}]}
    parsed, problems = read_document(
        {"version": 1, "holdouts": {"h": {"share": "2%"}}, "flags": {"g": {}, "f": flag}}
    )
    assert problems == []
    assert wording.who_gets_what(parsed.flags["f"], parsed) == (
        "everyone gets on; holdout h gets off; only while g = on"
    )

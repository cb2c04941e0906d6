"""The wire view of items, and the words that operation writes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.schema import (
    runtime_words,
    runtime_words_for,
    wire,
    wire_item,
    with_runtime,
    without_runtime,
)

FLAG: dict[str, Any] = {
    "description": "d",
    "killed": {"reason": "r", "by": "b", "at": "2027-01-01"},
    "owner": "o",
    "tags": ["t"],
    "expires": "2027-03-01",
    "variants": {"a": 1, "b": 2},
    "default": "a",
    "rules": [
        {"name": "s", "split": {"b": "50%", "a": "50%"}},
        {
            "name": "c",
            "rollout": {
                "stage": "5%",
                "to": "b",
                "stages": ["5%", "50%"],
                "guardrails": ["m"],
                "dwell": {"min": "1m"},
                "harm_budget": "1%",
                "on_harm": "pause",
                "paused": True,
            },
        },
    ],
}
WORDS = {
    ("killed",): {"reason": "r", "by": "b", "at": "2027-01-01"},
    ("rules", "c", "rollout", "stage"): "5%",
    ("rules", "c", "rollout", "paused"): True,
}


def test_only_what_evaluation_reads_travels() -> None:
    """Texts for people, plans and guardrails stay; splits become pairs in their order."""
    rollout = {"stage": "5%", "to": "b", "stages": ["5%", "50%"], "paused": True}
    assert wire_item("flags", FLAG) == {
        "killed": True,
        "variants": {"a": 1, "b": 2},
        "default": "a",
        "rules": [
            {"name": "s", "split": [["b", "50%"], ["a", "50%"]]},
            {"name": "c", "rollout": rollout},
        ],
    }
    assert wire_item("segments", {"when": {}, "description": "d"}) == {"when": {}}
    layer = {"name": "l", "range": ["0%", "1%"]}
    experiment = {"layer": layer, "primary": "m", "status": "draft", "owner": "o", "plan": {}}
    assert wire_item("experiments", experiment) == {"layer": layer, "status": "draft"}
    assert wire_item("metrics", {"event": "e", "better": "lower"}) is None


def test_a_snapshot_has_the_sections_that_the_document_has() -> None:
    """Metrics never travel, nothing is made up, `recording` is kept."""
    recording = {"attributes": ["plan"]}
    document = {
        "version": 1,
        "environment": "production",
        "recording": recording,
        "metrics": {"m": {"event": "e", "better": "lower"}},
        "layers": {"l": {"description": "d"}},
        "flags": {"f": {}},
    }
    assert wire(document) == {"recording": recording, "layers": {"l": {}}, "flags": {"f": {}}}
    assert wire({"version": 1}) == {}


def test_the_wire_does_not_touch_the_document() -> None:
    """Views are copies."""
    before = copy.deepcopy(FLAG)
    wire_item("flags", FLAG)
    without_runtime("flags", FLAG)
    with_runtime("flags", FLAG, {("killed",): True})
    assert before == FLAG


def test_runtime_words_are_found_and_taken_out() -> None:
    """Killed, stage and paused of a flag, status of an experiment."""
    assert runtime_words("flags", FLAG) == WORDS
    bare = without_runtime("flags", FLAG)
    assert runtime_words("flags", bare) == {}
    assert set(FLAG) - set(bare) == {"killed"}
    assert "stage" not in bare["rules"][1]["rollout"]
    assert runtime_words("experiments", {"status": "draft"}) == {("status",): "draft"}
    assert without_runtime("experiments", {"status": "draft", "owner": "o"}) == {"owner": "o"}
    assert runtime_words("layers", {"status": "draft"}) == {}


def test_runtime_words_of_one_item_are_put_into_another() -> None:
    """Rules are found by name wherever they stand now; what is gone is passed over."""
    target = {
        "rules": [
            {"name": "c", "rollout": {"to": "b", "stages": ["1%"], "stage": "1%"}},
            {"name": "s", "serve": "on"},
        ]
    }
    assert with_runtime("flags", target, WORDS) == {
        "rules": [
            {
                "name": "c",
                "rollout": {"to": "b", "stages": ["1%"], "stage": "5%", "paused": True},
            },
            {"name": "s", "serve": "on"},
        ],
        "killed": WORDS["killed",],
    }
    assert with_runtime("flags", {"default": "on"}, WORDS) == {
        "default": "on",
        "killed": WORDS["killed",],
    }


def test_words_keep_their_place() -> None:
    """What is there already is replaced where it stands, so that a text edit stays one line."""
    again = with_runtime("flags", FLAG, {**WORDS, ("killed",): True})
    assert list(again) == list(FLAG)
    assert again["killed"] is True
    assert list(again["rules"][1]["rollout"]) == list(FLAG["rules"][1]["rollout"])


def rolling(*rules: tuple[str, str | None, str | None]) -> dict[str, Any]:
    """A flag of rollout rules: (name, salt, stage)."""
    return {
        "rules": [
            {
                "name": name,
                **({"salt": salt} if salt else {}),
                "rollout": {"to": "on", **({"stage": stage} if stage else {})},
            }
            for name, salt, stage in rules
        ]
    }


@pytest.mark.parametrize(
    ("there", "here", "stages"),
    [
        ([("a", None, "5%")], [("b", "a", None)], ["5%"]),
        ([("b", "a", "5%")], [("c", "a", None)], ["5%"]),
        ([("b", "a", "5%")], [("a", None, None)], ["5%"]),
        ([("b", "x", "5%")], [("x", None, None)], ["5%"]),
        ([("a", None, "5%")], [("b", None, None)], [None]),
        ([("a", "x", "5%")], [("b", "y", None)], [None]),
        ([("a", "x", "5%")], [("a", "y", None)], ["5%"]),
        ([("a", None, "5%"), ("b", None, "1%")], [("b", None, None), ("c", "a", None)],
         ["1%", "5%"]),
        ([("a", None, "5%"), ("b", "a", "1%")], [("a", None, None), ("b", "a", None)],
         ["5%", "1%"]),
        ([("a", None, "5%")], [("a", None, None), ("b", "a", None)], ["5%", None]),
    ],
)  # fmt: skip
def test_a_renamed_rule_is_known_by_its_salt(there: Any, here: Any, stages: Any) -> None:
    """Its name on either side may be the salt of the other; a rule of the same name comes first."""
    source, target = rolling(*there), rolling(*here)
    words = runtime_words_for("flags", target, source)
    found = with_runtime("flags", target, words)
    assert [rule["rollout"].get("stage") for rule in found["rules"]] == stages
    assert without_runtime("flags", found) == target


values = st.sampled_from([True, False, "5%", "draft"])
rollouts = st.fixed_dictionaries(
    {}, optional={"to": values, "stage": values, "paused": values, "stages": values}
)
rules = st.lists(
    st.fixed_dictionaries(
        {}, optional={"name": st.sampled_from("abc"), "rollout": rollouts, "serve": values}
    )
    | st.none(),
    max_size=3,
    unique_by=lambda rule: (rule or {}).get("name", id(rule)),
)
flags = st.fixed_dictionaries({}, optional={"killed": values, "rules": rules, "default": values})


@given(flags)
def test_words_taken_out_and_put_back_are_the_item(flag: dict[str, Any]) -> None:
    """Nothing but runtime words leaves, and all of them come back."""
    words = runtime_words("flags", flag)
    assert with_runtime("flags", without_runtime("flags", flag), words) == flag
    assert with_runtime("flags", flag, words) == flag
    assert with_runtime("flags", flag, {}) == without_runtime("flags", flag)


@given(flags, flags)
def test_an_item_gets_only_words_that_it_has_a_place_for(
    mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """What is put in is what comes out, without the words of rules that are not there."""
    words = runtime_words("flags", theirs)
    found = runtime_words("flags", with_runtime("flags", mine, words))
    assert found.items() <= words.items()
    assert without_runtime("flags", with_runtime("flags", mine, words)) == without_runtime(
        "flags", mine
    )

"""Items as cards, whatever their text says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop.document.definition import Document
from flagloop.document.problem import Problem
from flagloop.document.schema import FLAG_WORDS, RULE_WORDS, read_document, read_item
from flagloop_server.web.pages.visual import Known, flag_cards, known_in, segment_card
from flagloop_server.web.pages.visual.board import TERMS
from flagloop_server.web.pages.visual.rules import remaining
from flagloop_server.web.pages.words import GLOSSARY

json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["a", "50%", "", "on"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["a", "b", "any", "all", "not", "segment", "name", "to", "eq", ""]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)
odd_rules = st.dictionaries(st.sampled_from(RULE_WORDS), json_values, max_size=5)
odd_flags = st.fixed_dictionaries(
    {"rules": st.lists(st.one_of(odd_rules, json_values), max_size=3)},
    optional={word: json_values for word in FLAG_WORDS if word != "rules"},
)


def located(mapping: dict[str, Any]) -> list[Problem]:
    """What the validator says of a flag, as it comes to the cards."""
    return [one.under("flags", "f") for one in read_item("flags", "f", mapping)[1]]


@settings(max_examples=150, deadline=None)
@given(mapping=st.one_of(odd_flags, st.fixed_dictionaries({"rules": json_values})))
def test_any_mapping_has_cards(mapping: dict[str, Any]) -> None:
    """Wrong shapes are left to the text, and no problem is lost or told twice."""
    problems = located(mapping)
    cards = flag_cards("f", mapping, problems, Known(), Document())
    assert sorted(map(str, told(cards))) == sorted(map(str, dict.fromkeys(problems)))


@settings(max_examples=60, deadline=None)
@given(when=json_values)
def test_any_condition_of_a_segment_has_a_card(when: Any) -> None:
    """The same for a segment."""
    problems = [one.under("segments", "s") for one in read_item("segments", "s", {"when": when})[1]]
    card = segment_card({"when": when}, problems, Known())
    assert sorted(map(str, told(card))) == sorted(map(str, dict.fromkeys(problems)))


def told(cards: Any) -> list[Problem]:
    """Every problem on some cards."""
    if isinstance(cards, Problem):
        return [cards]
    if isinstance(cards, tuple):
        return [problem for one in cards for problem in told(one)]
    slots = getattr(cards, "__slots__", ())
    return [problem for name in slots for problem in told(getattr(cards, name))]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (["50%", "50%"], ("sums to 100%", True)),
        (["33.333333%", "33.333333%"], ("33.333334% left", False)),
        (["60%", "60%"], ("20% too much", False)),
        (["60", "40%"], ("a weight is no percentage", False)),
        ([None], ("a weight is no percentage", False)),
        ([], ("100% left", False)),
    ],
)
def test_what_is_missing_of_a_split_is_told(weights: list[Any], words: tuple[str, bool]) -> None:
    """Exactly, to the last decimal."""
    assert remaining(weights) == words


def test_a_rule_that_serves_nobody_says_why() -> None:
    """Below one that takes everyone."""
    rules = [{"name": "all", "serve": "on"}, {"name": "late", "serve": "off"}]
    cards = flag_cards("f", {"rules": rules}, [], Known(), Document())
    assert [one.idle for one in cards.rules] == ["", "never reached: a rule above serves everyone"]
    assert cards.rules[0].sentence == "everyone gets on"


def test_fields_offer_what_the_document_and_contexts_have() -> None:
    """Attributes that are tested or recorded, and their commonest values as YAML writes them."""
    document, problems = read_document(
        {
            "version": 1,
            "recording": {"attributes": ["plan"]},
            "segments": {"s": {"when": {"any": [{"mail": "x"}, {"not": {"age": {"gt": 5}}}]}}},
            "layers": {"page": {}},
            "experiments": {
                "e": {"layer": {"name": "page", "range": ["0%", "50%"]}, "status": "draft"}
            },
            "flags": {"f": {"rules": [{"name": "r", "when": {"segment": "s"}, "serve": "on"}]}},
        }
    )
    assert [one for one in problems if one.severity == "error"] == []
    found = known_in(document, [{"key": "u", "n": 1}, {"key": "v", "n": "1"}, {"n": "1"}])
    assert set(found.attributes) == {"key", "plan", "n", "mail", "age"}
    assert found.values == {"n": ('"1"', "1")}
    assert found.flags == {"f": ("on", "off")}
    assert found.layers == {"e": "draft; it holds 0% to 50% of layer page"}


def test_labels_are_explained_by_terms_of_the_glossary() -> None:
    """By its own words, so each is there."""
    assert set(TERMS.values()) <= set(GLOSSARY)

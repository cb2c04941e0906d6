"""Generated functions: written-out tests equal the called ones, and sources hold no user text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.definition import Test as Leaf
from flagloop.evaluation import generate
from flagloop.evaluation.conditions import Leaf as MadeLeaf
from flagloop.evaluation.conditions import make_tests
from flagloop.evaluation.generate import Generator
from flagloop.evaluation.inline import inline
from flagloop.evaluation.ruleset import Ruleset

scalars = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-0.0, 0.5, 1.0, 2.5, 3.0]),
    st.sampled_from(["", "a", "ab", "ba", "1", "True", "1.0.0", "1.0.0-a", "2.0.0"]),
)
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.5]))
texts = st.sampled_from(["", "a", "b", "ab", "1"])
CONSTANTS = {
    **dict.fromkeys(["eq", "ne"], scalars),
    **dict.fromkeys(["in", "not_in"], st.lists(scalars, max_size=3).map(tuple)),
    **dict.fromkeys(["gt", "gte", "lt", "lte"], numbers),
    "contains": st.one_of(scalars, st.lists(scalars, max_size=2).map(tuple)),
    **dict.fromkeys(
        ["starts_with", "ends_with"], st.one_of(texts, st.lists(texts, max_size=2).map(tuple))
    ),
    **dict.fromkeys(["semver_eq", "semver_gte", "semver_lt"], st.just("1.0.0")),
    "exists": st.booleans(),
}
values = st.one_of(scalars, st.none(), st.lists(scalars, max_size=2), st.just(float("nan")))


@pytest.mark.parametrize("operator", sorted(CONSTANTS))
@given(data=st.data())
def test_written_out_tests_equal_the_called_ones(operator: str, data: st.DataObject) -> None:
    """What stands in the source for a test gives what the test gives, for values of any class."""
    leaf = make_tests(Leaf("x", operator, data.draw(CONSTANTS[operator])), lambda key: leaf)
    assert isinstance(leaf, MadeLeaf)
    holds = Generator().holds(leaf)
    for value in data.draw(st.lists(values, min_size=1, max_size=5)):
        assert holds({"x": value}) is leaf.test(value)
    assert holds({}) is leaf.test(None)


def test_the_usual_tests_are_written_out() -> None:
    """Otherwise nothing would be gained, and the test above would compare calls with calls."""
    usual = {
        "eq": "a",
        "ne": "a",
        "in": ("a", "b"),
        "not_in": ("a",),
        "gt": 3,
        "lte": 2.5,
        "starts_with": "a",
        "ends_with": ("a", "b"),
        "contains": "a",
        "semver_gte": "1.0.0",
    }
    for operator, constant in usual.items():
        assert inline(MadeLeaf(Leaf("x", operator, constant))) is not None, operator


def test_no_text_of_the_document_reaches_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources hold names made by the generator only, so no document can inject code."""
    sources: list[str] = []
    real = generate._compiled

    def spy(source: str) -> Any:
        sources.append(source)
        return real(source)

    monkeypatch.setattr(generate, "_compiled", spy)
    evil = "'); raise SystemExit #"
    rules = [
        {"name": "r", "when": {evil: {"starts_with": evil}}, "unit": evil, "share": "7%"},
        {"name": "s", "when": {"segment": "s"}},
    ]
    document = {
        "segments": {"s": {"when": {"any": [{evil: i, "n": {"gt": 1234567}} for i in range(5)]}}},
        "flags": {"f": {"rules": [{**rule, "serve": "on"} for rule in rules]}},
    }
    ruleset = Ruleset(document)
    assert ruleset.evaluate("f", {evil: 3, "n": 1234568}).rule == "s"
    assert len(sources) == 2
    for source in sources:
        assert "SystemExit" not in source
        assert "1234567" not in source


def test_flags_of_one_shape_share_their_source() -> None:
    """A thousand flags alike are one compilation, so that the first use of each is cheap."""
    half = {"a": "50%", "b": "50%"}
    flags = {
        f"f{i}": {
            "variants": {"a": 1, "b": 2},
            "default": "a",
            "rules": [{"name": f"r{i}", "split": half}],
        }
        for i in range(50)
    }
    generate._compiled.cache_clear()
    ruleset = Ruleset({"flags": flags})
    for name in ruleset.names():
        ruleset.evaluate(name, {"key": "u"})
    assert generate._compiled.cache_info().misses == 1

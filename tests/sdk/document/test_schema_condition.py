"""Conditions: structure, operators and the constants they take."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.document.definition import All, AnyOf, InSegment, Not
from flagloop.document.definition import Test as Leaf
from flagloop.document.problem import path_text
from flagloop.document.schema import OPERATOR_NAMES, constants_of, read_item
from flagloop.document.schema_condition import segments_of
from flagloop.evaluation.operators import OPERATORS


def when(condition: Any) -> Any:
    """The condition as definitions; it must be good."""
    segment, problems = read_item("segments", "s", {"when": condition})
    assert not problems, problems
    return segment.when  # type: ignore[union-attr]


def wrong(condition: Any) -> list[str]:
    """Each problem of a condition as one line."""
    segment, problems = read_item("segments", "s", {"when": condition})
    assert segment is None
    return [problem.render() for problem in problems]


def test_schema_and_evaluation_know_the_same_operators() -> None:
    """Names are spelled in the schema; the evaluation has a factory for each."""
    assert set(OPERATOR_NAMES) == set(OPERATORS)


@pytest.mark.parametrize(
    ("condition", "parts"),
    [
        ({}, All(())),
        ({"plan": "pro"}, Leaf("plan", "eq", "pro")),
        ({"n": 1}, Leaf("n", "eq", 1)),
        ({"b": True}, Leaf("b", "eq", True)),
        ({"plan": ["a", 1, True]}, Leaf("plan", "in", ("a", 1, True))),
        ({"plan": []}, Leaf("plan", "in", ())),
        ({"n": {"gt": 1, "lte": 2.5}}, All((Leaf("n", "gt", 1), Leaf("n", "lte", 2.5)))),
        ({"a": "x", "b": "y"}, All((Leaf("a", "eq", "x"), Leaf("b", "eq", "y")))),
        ({"all": [{"a": 1}]}, All((Leaf("a", "eq", 1),))),
        ({"any": [{"a": 1}, {}]}, AnyOf((Leaf("a", "eq", 1), All(())))),
        ({"not": {"a": 1}}, Not(Leaf("a", "eq", 1))),
        ({"segment": "x"}, InSegment(("x",))),
        ({"segment": ["x", "y"]}, InSegment(("x", "y"))),
        ({"context.segment": "x"}, Leaf("segment", "eq", "x")),
        ({"context.flag": {"exists": True}}, Leaf("flag", "exists", True)),
        ({"context.plan": "x"}, Leaf("context.plan", "eq", "x")),
        ({"a.b": "x"}, Leaf("a.b", "eq", "x")),
        ({"e": {"ends_with": ["a", "b"]}}, Leaf("e", "ends_with", ("a", "b"))),
        ({"tags": {"contains": 7}}, Leaf("tags", "contains", 7)),
    ],
)
def test_what_a_condition_means(condition: Any, parts: Any) -> None:
    """A mapping is AND, a list is one of, a mapping of operators is AND."""
    assert when(condition) == parts


GOOD: dict[str, list[Any]] = {
    "eq": ["x", 1, 2.5, True],
    "eq_ci": ["x"],
    "ne": ["x", 1, False],
    "in": [["x", 1, True], []],
    "in_ci": [["x", "y"]],
    "not_in": [["x", 1]],
    **{name: [1, 2.5, -3] for name in ("gt", "gte", "lt", "lte")},
    "contains": ["x", 1, ["x", 1]],
    **{
        name: ["x", ["x", "y"]]
        for name in ("contains_ci", "starts_with", "starts_with_ci", "ends_with", "ends_with_ci")
    },
    "matches": ["^x+$", ["a", "b"]],
    "exists": [True, False],
    **{name: ["1.2.3"] for name in OPERATOR_NAMES if name.startswith("semver_")},
    "before": ["2027-01-01", "2027-01-01T00:00:00Z"],
    "after": ["2027-01-01"],
    "in_cidr": ["10.0.0.0/8", ["10.0.0.0/8", "::1/128"]],
}


@pytest.mark.parametrize("operator", OPERATOR_NAMES)
def test_constants_that_an_operator_takes_can_be_compiled(operator: str) -> None:
    """What the schema lets through, the operator's factory takes (lists arrive as tuples)."""
    if operator == "matches":
        pytest.importorskip("re2")
    for constant in GOOD[operator]:
        test = when({"a": {operator: constant}})
        assert test == Leaf(
            "a", operator, tuple(constant) if constant.__class__ is list else constant
        )
        OPERATORS[operator](test.constant)


@pytest.mark.parametrize("operator", OPERATOR_NAMES)
@pytest.mark.parametrize("constant", [None, {"x": 1}, float("inf"), [["x"]], [None]])
def test_constants_that_no_operator_takes(operator: str, constant: Any) -> None:
    """Null, a mapping, infinity and lists in lists are problems at their place."""
    found = wrong({"a": {operator: constant}})
    assert len(found) == 1
    assert found[0].startswith(f"when.a.{operator}")
    if constant is None and operator not in ("in", "in_ci", "not_in", "exists"):
        assert "{exists: false}" in found[0]


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        ("x", "when: a condition is a mapping, not 'x'"),
        ({"a": None}, "when.a: null is no constant (use {exists: false} for a missing attribute)"),
        ({"a": {}}, "when.a: no operator for attribute 'a' (write {exists: true}"),
        ({"a": {"equals": 1}}, "when.a.equals: unknown operator 'equals'"),
        ({"a": {"end_with": "x"}}, "when.a.end_with: unknown operator 'end_with' (did you mean"),
        ({"a": {"in": "x"}}, "when.a.in: this is a list, not 'x' (write [x])"),
        (
            {"a": {"eq": ["x"]}},
            "when.a.eq: this is text, a number or a boolean, not a list (use `in`",
        ),
        ({"a": {"gt": "2027-01-01"}}, "use before / after for times, semver_gt / semver_lt"),
        ({"a": {"gt": True}}, "when.a.gt: this operator compares numbers, not true"),
        (
            {"a": {"semver_gte": 2.3}},
            'a version is text, not 2.3 (quote it, with all three parts, like "2.3.0")',
        ),
        ({"a": {"before": 1767225600}}, "when.a.before: a time is text, not 1767225600"),
        ({"a": {"starts_with": 1}}, 'compares text, not 1 (quote it: "1")'),
        ({"a": {"in_ci": ["x", 1]}}, "when.a.in_ci[1]: this operator compares text, not 1"),
        ({"a": {"exists": "yes"}}, "when.a.exists: this is true or false, not 'yes'"),
        ({"a": ["x", None]}, "when.a[1]: null is no constant"),
        ({"a": ["x", ["y"]]}, "when.a[1]: a list holds no lists"),
        ({"a": ["x"] * 10_001}, "when.a: the list has 10,001 entries"),
        ({"": "x"}, "this must not be empty"),
        ({"/a": "x"}, "'/a' cannot name an attribute"),
        ({1: "x"}, "when.1: this is text, not 1"),
        ({"flag": "x"}, "when.flag: `flag` is reserved in conditions (use the flag's `requires`"),
        ({"any": {"a": 1}}, "when.any: `any` takes a list of conditions, not a mapping"),
        ({"all": ["x"]}, "when.all[0]: a condition is a mapping, not 'x'"),
        ({"not": [{"a": 1}]}, "when.not: a condition is a mapping, not a list"),
        ({"segment": 1}, "when.segment: a key is text, not 1"),
        ({"segment": ["a b"]}, "when.segment[0]: 'a b' is no key"),
    ],
)
def test_a_mistake_is_answered_with_its_mend(condition: Any, line: str) -> None:
    """Place, problem and mend stand in one line, and nothing else is complained about."""
    found = wrong(condition)
    assert len(found) == 1
    assert line in found[0]


def test_conditions_nest_up_to_a_limit() -> None:
    """Depth is refused with a problem, not with an exception of the interpreter."""
    condition: Any = {"a": 1}
    for _ in range(30):
        condition = {"not": condition}
    when(condition)
    for _ in range(5000):
        condition = {"any": [condition]}
    assert "nested too deeply" in wrong(condition)[0]


def test_places_of_constants_and_segments() -> None:
    """Each constant that is written with an operator, and each segment named, has its place."""
    condition = {
        "a": {"semver_gte": "1.0.0"},
        "b": ["x"],
        "any": [{"segment": ["s", "t"]}, {"not": {"c": {"lt": 1}, "segment": "u"}}],
        "all": "nonsense",
        "context.segment": {"eq": "v"},
    }
    constants = {path_text(path): value for path, _, value in constants_of(condition)}
    assert constants == {
        "a.semver_gte": "1.0.0",
        "any[1].not.c.lt": 1,
        "context.segment.eq": "v",
    }
    segments = {path_text(path): name for path, name in segments_of(condition)}
    assert segments == {
        "any[0].segment[0]": "s",
        "any[0].segment[1]": "t",
        "any[1].not.segment": "u",
    }

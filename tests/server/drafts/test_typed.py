"""What people type, and what it means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.schema import OPERATOR_NAMES
from flagloop_server.drafts import typed
from flagloop_server.drafts.conditions import fitting, read_constant
from flagloop_server.web.pages.visual.conditions import OPERATORS, shown

scalars = st.one_of(
    st.text(max_size=8).filter(lambda text: text.isprintable()),
    st.integers(-(10**20), 10**20),
    st.booleans(),
    st.sampled_from([0.5, -2.25, 1e30]),
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", " a b ", "a b"),
        ("text", "", None),
        ("texts", "a, b,\n c", ["a", "b", "c"]),
        ("percent", "5", "5%"),
        ("percent", "2,5 %", "2.5%"),
        ("percents", "1, 5, 25%", ["1%", "5%", "25%"]),
        ("weight", "", "0%"),
        ("constant", "99", 99),
        ("constant", '"99"', "99"),
        ("constant", "@x: y", "@x: y"),
        ("constant", "null", "null"),
        ("constants", 'DE, FR, 1, "a, b"', ["DE", "FR", 1, "a, b"]),
        ("value", "{a: [1, 2]}", {"a": [1, 2]}),
        ("value", "@no yaml", "@no yaml"),
        ("value", "#ff8800", "#ff8800"),
        ("value", "Buy 2 # now", "Buy 2 # now"),
        ("value", '{a: "b # c"}', {"a": "b # c"}),
        ("constant", "it's # not", "it's # not"),
        ("constants", "#1, a #2", ["#1", "a #2"]),
        ("boolean", "false", False),
    ],
)
def test_a_field_is_read_as_people_mean_it(kind: str, text: str, value: Any) -> None:
    """Each kind of field."""
    assert typed.read(kind, text) == value


@given(value=scalars)
def test_a_constant_shown_is_the_constant_read(value: Any) -> None:
    """With its type: `99` is not `"99"`."""
    for operator in ("eq", "ne"):
        again = read_constant(operator, shown(operator, value), value)
        assert (again, type(again)) == (value, type(value))


@given(values=st.lists(scalars, max_size=4))
def test_a_list_shown_is_the_list_read(values: list[Any]) -> None:
    """Commas inside of entries too."""
    again = read_constant("in", shown("in", values), values)
    assert [(one, type(one)) for one in again] == [(one, type(one)) for one in values]


def test_every_operator_of_the_document_can_be_chosen() -> None:
    """None is missing and none is made up."""
    assert sorted(name for name, _ in OPERATORS) == sorted(OPERATOR_NAMES)


@pytest.mark.parametrize("operator", OPERATOR_NAMES)
@pytest.mark.parametrize("constant", ["x", 5, True, ["a", "b"], []])
def test_another_operator_gets_a_constant_of_its_shape(operator: str, constant: Any) -> None:
    """A list where it takes one, else a single value."""
    found = fitting(operator, constant)
    if operator in ("in", "in_ci", "not_in"):
        assert isinstance(found, list)
    elif operator == "exists":
        assert found is True
    elif operator in ("eq", "ne", "gt", "before", "semver_gte"):
        assert not isinstance(found, list)


def test_versions_stay_as_they_are_typed() -> None:
    """`2.10` is no number for an operator that compares text."""
    assert read_constant("semver_gte", "2.10") == "2.10"
    assert read_constant("ends_with", "1, 2", "x") == ["1", "2"]
    assert read_constant("gt", "2.5") == 2.5


patterns = st.lists(
    st.one_of(st.text(max_size=8), st.sampled_from(["^/a{1,2}$", '"quoted"', "a # b", "x, y"])),
    min_size=1,
    max_size=3,
)


@given(values=patterns)
def test_a_comma_is_a_part_of_a_regular_expression(values: list[str]) -> None:
    """One pattern a line, as it is; what a line cannot hold is quoted."""
    assert read_constant("matches", "^/a{1,2}, [x]") == "^/a{1,2}, [x]"
    assert read_constant("matches", shown("matches", values), values) == values

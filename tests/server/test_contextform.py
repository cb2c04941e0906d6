"""A context as fields and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.errors import ConfigError
from flagloop_server.contextform import (
    MOST_FIELDS,
    from_fields,
    in_words,
    read_value,
    to_fields,
    to_json,
    write_value,
)

SCALARS = (
    st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=4)


@given(VALUES)
def test_a_value_reads_back_as_it_was(value: Any) -> None:
    """Whatever its text looks like: numbers stay numbers and texts stay texts."""
    again = read_value(write_value(value))
    assert json.dumps(again) == json.dumps(value)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_fields_hold_a_context_or_say_that_they_cannot(context: dict[str, Any]) -> None:
    """What `to_fields` gives is read back as the same context."""
    fields = to_fields(context)
    if fields is not None:
        assert to_json(from_fields(*fields)) == to_json(context)


def test_deep_json_is_not_for_fields() -> None:
    """JSON that Python reads, but that is too deep to be written as YAML, stays JSON."""
    assert to_fields(json.loads('{"a": ' + "[" * 900 + "]" * 900 + "}")) is None


def test_empty_rows_and_nulls_are_missing_attributes() -> None:
    """A name without a value, a value without a name, an explicit null."""
    assert from_fields(" u ", [("a", ""), ("", "b"), ("c", "null"), ("d", '""')]) == {
        "key": "u",
        "d": "",
    }
    assert from_fields("", []) == {}


def test_a_number_sign_begins_no_comment() -> None:
    """`#1 fan` is a value that people type."""
    assert read_value("#1 fan") == "#1 fan"
    assert read_value('"a # b"') == "a # b"


@pytest.mark.parametrize(
    "pairs",
    [
        [("key", "u")],
        [("a", "1"), ("a", "2")],
        [(f"a{number}", "1") for number in range(MOST_FIELDS + 1)],
    ],
)
def test_what_a_form_cannot_mean_is_refused(pairs: list[tuple[str, str]]) -> None:
    """The key among the attributes, an attribute twice, and too many."""
    with pytest.raises(ConfigError):
        from_fields("u", pairs)


def test_a_line_of_words() -> None:
    """The first attributes, and how many more."""
    context = {"key": "u", "plan": "pro", "n": 1, "c": True, "d": "x", "e": 2}
    assert in_words(context) == "plan pro, n 1, c true, d x and 1 more"
    assert in_words({"key": "u"}) == ""

"""Operators beyond the vectors: Python's own types, and what JSON cannot write."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.schema_condition import OPERATORS as SPELLED
from flagloop.evaluation.operators import OPERATORS


class Plan(StrEnum):
    """As applications name their plans."""

    PRO = "pro"


class Level(IntEnum):
    """An int subclass."""

    THREE = 3


class Odd(str):
    """A str subclass that lies about everything; only the text beneath counts."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise AssertionError("not to be asked")

    def casefold(self) -> str:
        raise AssertionError("not to be asked")


def holds(operator: str, constant: Any, value: Any) -> bool:
    return OPERATORS[operator](constant)(value)


def test_names_are_those_of_the_schema() -> None:
    """Every operator that the schema spells is implemented, and no other."""
    assert set(OPERATORS) == set(SPELLED)


CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(SPELLED, "pro"),
    **dict.fromkeys(["gt", "gte", "lt", "lte"], 3),
    **dict.fromkeys(["in", "not_in", "in_ci"], ("pro", "x")),
    **dict.fromkeys([name for name in SPELLED if name.startswith("semver")], "1.2.3"),
    **dict.fromkeys(["before", "after"], "2024-06-01"),
    "exists": True,
    "in_cidr": "10.0.0.0/8",
}
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from([Plan.PRO, Level.THREE, Odd("pro"), Decimal(3), b"pro", object(), date.min]),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.lists(st.one_of(st.none(), st.text(), st.integers(), st.lists(st.integers())), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from(["\ud800", 10**5000, -(10**5000), datetime.max, datetime.min, {"pro"}, ("x",)]),
)


@pytest.mark.parametrize("operator", sorted(SPELLED))
@given(value=values)
def test_no_value_raises(operator: str, value: Any) -> None:
    """Whatever an application puts into a context, a test answers true or false."""
    assert OPERATORS[operator](CONSTANTS[operator])(value) in (True, False)


@pytest.mark.parametrize("operator", sorted(SPELLED))
def test_a_missing_attribute_fails_every_test(operator: str) -> None:
    """None fails all, `ne` and `not_in` too; only `exists: false` holds."""
    assert not holds(operator, CONSTANTS[operator], None)
    assert holds("exists", False, None)


@pytest.mark.parametrize(
    ("operator", "constant", "value"),
    [
        ("eq", "pro", Plan.PRO),
        ("in", ["pro"], Plan.PRO),
        ("starts_with", "pr", Plan.PRO),
        ("contains", "ro", Plan.PRO),
        ("eq_ci", "PRO", Plan.PRO),
        ("eq", 3, Level.THREE),
        ("gt", 2, Level.THREE),
        ("contains", "pro", [Plan.PRO]),
        ("contains", 3, (Level.THREE,)),
        ("eq", "pro", Odd("pro")),
        ("eq_ci", "PRO", Odd("pro")),
        ("ends_with", "o", Odd("pro")),
        ("semver_gte", "1.0.0", Odd("1.0.0")),
        ("in_cidr", "10.0.0.0/8", Odd("10.1.1.1")),
        ("after", "2024-06-01", Odd("2024-06-02")),
    ],
)
def test_subclasses_count_as_their_base(operator: str, constant: Any, value: Any) -> None:
    """An enum's member equals its text or number, whatever its class overrides."""
    assert holds(operator, constant, value)


@pytest.mark.parametrize("value", [Decimal("3"), 3 + 0j, b"pro", ["pro"], {"pro": 1}, object()])
def test_other_types_equal_nothing(value: Any) -> None:
    """What is no text, number or boolean equals no constant, and differs from each."""
    assert not holds("eq", 3, value)
    assert not holds("in", ["pro", 3], value)
    assert holds("ne", "pro", value)
    assert holds("not_in", ["pro", 3], value)


def test_numbers_compare_exactly() -> None:
    """No float stands between large integers, and NaN compares with nothing."""
    assert not holds("eq", 2**53, 2**53 + 1)
    assert holds("gt", 2**53, 2**53 + 1)
    assert not holds("eq", float(2**53), 2**53 + 1)
    assert holds("lt", 1.5, -(10**400))
    assert not any(holds(name, 1, float("nan")) for name in ("eq", "gt", "gte", "lt", "lte"))


@pytest.mark.parametrize("constant", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("operator", ["eq", "gt"])
def test_constants_are_finite(operator: str, constant: float) -> None:
    """A number that JSON cannot carry is no constant."""
    with pytest.raises(ValueError, match="finite"):
        OPERATORS[operator](constant)


def test_aware_datetimes_are_times_and_naive_ones_are_not() -> None:
    """A datetime with an offset is the moment it names; without one it names none."""
    moment = datetime(2024, 6, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert holds("after", "2024-05-31T23:59:59Z", moment)
    assert holds("before", "2024-06-01T00:00:01Z", moment)
    assert not holds("after", "2024-06-01", moment)
    assert not holds("after", "2000-01-01", datetime(2024, 6, 1))
    assert not holds("after", "2000-01-01", date(2024, 6, 1))
    assert not holds("after", "2000-01-01", datetime(2024, 6, 1, tzinfo=tzinfo()))


def test_an_address_mapped_into_ipv6_is_the_ipv4_address() -> None:
    """A dual-stack socket's `::ffff:10.1.2.3` is in 10.0.0.0/8."""
    assert holds("in_cidr", "10.0.0.0/8", "::ffff:10.1.2.3")
    assert holds("in_cidr", "::ffff:0:0/96", "::ffff:10.1.2.3")
    assert not holds("in_cidr", "10.0.0.0/8", "::ffff:11.1.2.3")


def test_matches_is_linear_in_the_text() -> None:
    """A pattern that hangs a backtracking engine answers at once."""
    pytest.importorskip("re2", reason="matches needs the extra 'regex'")
    assert not holds("matches", "^(a+)+$", "a" * 20_000 + "!")
    assert not holds("matches", "a", "\ud800a")


def test_matches_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without google-re2 the constant is refused with the command that mends it."""
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ValueError, match=r"flagloop\[regex\]"):
        OPERATORS["matches"]("a")

"""Positions, edges and units: exact, stable and independent."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.definition import WHOLE
from flagloop.document.percent import format_percent
from flagloop.evaluation.bucketing import SPACE, edge, place, position, seed, unit_of
from flagloop.evaluation.ruleset import Ruleset

shares = st.integers(0, WHOLE)
unit_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


class Colour(StrEnum):
    """A str subclass."""

    RED = "red"


class Size(IntEnum):
    """An int subclass."""

    BIG = 12


class Shouting(str):
    """A str subclass that shows itself otherwise."""

    def __str__(self) -> str:
        return self.upper()


@given(unit_texts, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_position_is_the_published_hash(reference_position: Any, unit: str, salt: str) -> None:
    """Any text falls where murmur3 written in pure Python says."""
    assert position(salt, unit) == reference_position(salt, unit)
    assert place(seed(salt), unit) == position(salt, unit)
    assert 0 <= position(salt, unit) < SPACE


@given(shares, shares)
def test_edges_keep_order(one: int, other: int) -> None:
    """A larger share never has a smaller edge, and the ends are exact."""
    low, high = sorted((one, other))
    assert edge(0) == 0 <= edge(low) <= edge(high) <= edge(WHOLE) == SPACE


@given(shares)
def test_edge_is_the_nearest_integer(share: int) -> None:
    """The edge is at most half a position from the exact fraction."""
    assert abs(edge(share) * WHOLE - share * SPACE) * 2 <= WHOLE


def test_units_of_subclasses_count_as_their_base() -> None:
    """An enum's member or another subclass is the text or number that it is made of."""
    assert unit_of(Colour.RED) == "red"
    assert unit_of(Size.BIG) == "12"
    assert unit_of(Shouting("ab")) == "ab"
    assert type(unit_of(Shouting("ab"))) is str


@pytest.mark.parametrize(
    "value",
    [None, "", True, False, 1.0, b"u-1", ["u-1"], {}, object(), "\ud800", "a\udfff"],
)
def test_everything_else_is_missing(value: Any) -> None:
    """What is no non-empty text or int, or cannot be hashed as UTF-8, is no unit."""
    assert unit_of(value) is None


def test_a_number_beyond_pythons_digits_is_missing() -> None:
    """An int with more digits than Python converts raises nothing."""
    assert unit_of(10**5000) is None


def ruleset_of(rule: dict[str, Any]) -> Ruleset:
    flag = {"variants": {"a": 1, "b": 2, "c": 3}, "default": "a", "rules": [{"name": "r", **rule}]}
    return Ruleset({"flags": {"f": flag}})


USERS = [{"key": f"user-{i}"} for i in range(400)]


@given(shares, shares)
def test_shares_only_grow(one: int, other: int) -> None:
    """Who is in a share stays in every larger share of the same rule."""
    low, high = sorted((one, other))
    small = ruleset_of({"share": format_percent(low), "serve": "b"})
    large = ruleset_of({"share": format_percent(high), "serve": "b"})
    for user in USERS:
        if small.evaluate("f", user).variant == "b":
            assert large.evaluate("f", user).variant == "b"


@given(shares, shares)
def test_a_growing_share_moves_nobody_between_variants(one: int, other: int) -> None:
    """Units already in keep their variant of the split when more units come in."""
    low, high = sorted((one, other))
    split = {"b": "40%", "c": "60%"}
    small = ruleset_of({"share": format_percent(low), "split": split})
    large = ruleset_of({"share": format_percent(high), "split": split})
    for user in USERS:
        before = small.evaluate("f", user)
        if before.rule == "r":
            assert large.evaluate("f", user).variant == before.variant


@given(st.sampled_from(["0%", "100%"]), st.sampled_from(["share", "rollout", "split"]))
def test_nothing_and_everything_are_exact(percent: str, kind: str) -> None:
    """0% takes nobody and 100% everybody, also those without a unit."""
    rule: dict[str, Any] = {
        "share": {"share": percent, "serve": "b"},
        "rollout": {"rollout": {"to": "b", "stages": ["100%"], "stage": percent}},
        "split": {"split": {"a": "100%", "b": "0%"} if percent == "0%" else {"b": "100%"}},
    }[kind]
    ruleset = ruleset_of(rule)
    expected = "a" if percent == "0%" else "b"
    for user in [*USERS, {}, {"key": ""}, {"key": "\ud800"}]:
        decision = ruleset.evaluate("f", user)
        assert (decision.variant, decision.missing_unit) == (expected, False)


STYLES = {
    "counter": "u-{}",
    "digits": "{:09d}",
    "mail": "user.{}@mail.example.com",
}
SALTS = [
    ("split:cta_color", "share:cta_color:canary"),
    ("split:cta_color", "split:cta_colour"),
    ("experiment:a", "experiment:b"),
    ("layer:landing_page", "experiment:cta_color_2026"),
    ("holdout:growth_2026", "split:cta_color"),
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("salts", SALTS, ids=" ".join)
def test_salts_are_independent(salts: tuple[str, str], style: str) -> None:
    """The decile under one salt says nothing of the decile under another.

    With 20,000 fixed ids a table of 10 x 10 independent deciles has a chi-square of 81 degrees
    of freedom: over 140 comes once in 20,000 tables.
    """
    n = 20_000
    one, other = seed(salts[0]), seed(salts[1])
    table = [[0] * 10 for _ in range(10)]
    for i in range(n):
        unit = STYLES[style].format(i)
        table[place(one, unit) * 10 // SPACE][place(other, unit) * 10 // SPACE] += 1
    rows = [sum(row) for row in table]
    columns = [sum(column) for column in zip(*table, strict=True)]
    chi = sum(
        (table[i][j] - rows[i] * columns[j] / n) ** 2 / (rows[i] * columns[j] / n)
        for i in range(10)
        for j in range(10)
    )
    assert 40 < chi < 140
    assert all(abs(count - n / 10) < 200 for count in [*rows, *columns])


def test_split_follows_its_weights_in_written_order() -> None:
    """The first variant has the lowest positions, the next those above it, and so on."""
    ruleset = ruleset_of({"split": [["c", "20%"], ["a", "30%"], ["b", "50%"]]})
    order = sorted(USERS, key=lambda user: position("split:f", user["key"]))
    served = [ruleset.evaluate("f", user).variant for user in order]
    assert [variant for variant, after in pairwise([*served, None]) if variant != after] == [
        "c",
        "a",
        "b",
    ]

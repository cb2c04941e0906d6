"""Percentages are exact, and wrong ones say how to write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.definition import WHOLE
from flagloop.document.percent import format_percent, parse_percent


@given(st.integers(0, 50 * WHOLE))
def test_what_is_printed_reads_back(millionths: int) -> None:
    """Every amount has one text, and that text is the amount again."""
    assert parse_percent(format_percent(millionths)) == millionths


@given(st.integers(0, 10_000), st.integers(0, 999_999), st.integers(1, 6))
def test_decimals_are_exact(whole: int, decimals: int, width: int) -> None:
    """The text as a fraction times a million, without a float in between."""
    text = f"{whole}.{str(decimals)[:width]:0>{width}}"
    assert parse_percent(text + "%") == Fraction(text) * 1_000_000


@pytest.mark.parametrize(
    ("text", "millionths"),
    [
        ("0%", 0),
        ("25%", 25_000_000),
        ("2.5%", 2_500_000),
        ("2.50%", 2_500_000),
        ("0.000001%", 1),
        ("33.333333%", 33_333_333),
        ("100%", WHOLE),
        ("150%", 150_000_000),
    ],
)
def test_known_percentages(text: str, millionths: int) -> None:
    """The unit is a millionth of a percent."""
    assert parse_percent(text) == millionths


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("25", "write 25%"),
        ("25 %", "write 25%"),
        (25, "for example 25%"),
        (0.5, "for example 0.5%"),
        (True, "for example 25%"),
        (None, "for example 25%"),
        ("-1%", "at least 0%"),
        ("1.1234567%", "write 1.123456%"),
        ("", "like 25%"),
        ("%", "like 25%"),
        (".5%", "like 25%"),
        ("1.%", "write 1%"),
        ("1e2%", "like 25%"),
        ("٣%", "like 25%"),
        ("9" * 5000 + "%", "too long"),
        ("a lot", "like 25%"),
    ],
)
def test_a_wrong_percentage_says_how_to_write_it(text: object, mend: str) -> None:
    """The message holds the mend."""
    with pytest.raises(ValueError) as caught:
        parse_percent(text)  # type: ignore[arg-type]
    assert mend in str(caught.value)


@pytest.mark.parametrize(
    ("millionths", "text"),
    [(0, "0%"), (1, "0.000001%"), (2_500_000, "2.5%"), (WHOLE, "100%"), (10_000_000, "10%")],
)
def test_the_shortest_text_is_printed(millionths: int, text: str) -> None:
    """No trailing zeros, no point without decimals."""
    assert format_percent(millionths) == text


def test_nothing_is_less_than_0_percent() -> None:
    """A negative amount has no text."""
    with pytest.raises(ValueError):
        format_percent(-1)

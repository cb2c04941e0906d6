"""Durations and times of a document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.times import parse_date, parse_duration, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("6h", 21_600), ("14d", 1_209_600), ("0s", 0), ("90m", 5400)],
)
def test_known_durations(text: str, seconds: float) -> None:
    """Seconds, minutes, hours, days."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["10", "m", "", "1.5h", "-1s", "1w", "10 m", 10, None, "٣m", [1]])
def test_a_wrong_duration_is_refused(text: object) -> None:
    """The message shows the four units."""
    with pytest.raises(ValueError, match="30s, 10m, 6h or 14d"):
        parse_duration(text)  # type: ignore[arg-type]


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
)
def test_times_with_any_offset_are_the_same_instant(naive: datetime, minutes: int) -> None:
    """What `datetime` prints with an offset is that instant in epoch seconds."""
    instant = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_time(instant.isoformat()) == instant.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2027-03-01T00:00:00Z",
        "2027-03-01t00:00:00z",
        "2027-03-01 00:00:00.000Z",
        "2027-03-01T02:00:00+02:00",
        "2027-02-28T22:30:00.000000-01:30",
        "2027-03-01",
    ],
)
def test_ways_to_write_one_instant(text: str) -> None:
    """RFC 3339 in all its forms, and a date as its midnight in UTC."""
    assert parse_time(text) == datetime(2027, 3, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("2027-03-01T09:00:00", "needs seconds and an offset"),
        ("2027-03-01T09:00Z", "needs seconds and an offset"),
        ("2027-02-30", "not in the calendar"),
        ("2027-13-01T00:00:00Z", "not in the calendar"),
        ("20270301", "write it like"),
        ("2027-W09-1", "write it like"),
        ("tomorrow", "write it like"),
        ("x" * 1000, "..."),
        (1803859200, "write it like"),
        (datetime(2027, 3, 1), "write it like"),
        (None, "write it like"),
        ("", "write it like"),
    ],
)
def test_a_wrong_time_says_how_to_write_it(text: object, mend: str) -> None:
    """No guess is made about a time without offset, or in another notation."""
    with pytest.raises(ValueError) as caught:
        parse_time(text)  # type: ignore[arg-type]
    assert mend in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_date_stays_text() -> None:
    """A date is only checked; a time or a day that does not exist is none."""
    assert parse_date("2028-02-29") == "2028-02-29"
    for wrong in ("2027-02-29", "2027-03-01T00:00:00Z", 20270301, "soon"):
        with pytest.raises(ValueError):
            parse_date(wrong)  # type: ignore[arg-type]

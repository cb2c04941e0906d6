"""Times in forms and addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.errors import ConfigError
from flagloop_server.web.pages.moments import address_text, field_text, read_moment

FIRST, LAST = -62_135_596_800_000, 253_402_300_799_000


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None),
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:01", 60_000),
        ("1970-01-01 00:01:02", 62_000),
        ("1970-01-01T00:00:00.500", 500),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_times_are_read_in_utc(text: str, at: int | None) -> None:
    """As a field sends them, as a date, and with an offset."""
    assert read_moment(text) == at


@pytest.mark.parametrize(
    "text", ["now", "12", "2026-13-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+01:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Also what an offset moves out of the years that there are."""
    with pytest.raises(ConfigError):
        read_moment(text)


@given(st.integers(FIRST, LAST))
def test_a_time_survives_its_address_and_its_field(at: int) -> None:
    """The address to the millisecond, the field to the second."""
    assert read_moment(address_text(at)) == at
    assert read_moment(field_text(at)) == at - at % 1000

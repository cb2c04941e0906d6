"""Durations (`10m`) and times (RFC 3339, or a date) of a document."""

from __future__ import annotations

import re
from functools import cache

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_DURATION = 12
_MIDNIGHT = "T00:00:00+00:00"


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """A date, a time with offset, a time without; compiled when the first time is read."""
    date = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    clock = r"[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    offset = r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
    return (
        re.compile(date),
        re.compile(date + clock + offset),
        re.compile(date + r"[Tt ][0-9:.]+(?:[Zz]|[+-][0-9]{1,2}:?[0-9]{0,2})?"),
    )


def parse_duration(text: str) -> float:
    """`"30s"`, `"10m"`, `"6h"`, `"14d"` -> seconds; ValueError with the mend for anything else."""
    if isinstance(text, str) and 2 <= len(text) <= _LONGEST_DURATION:
        number, unit = text[:-1], text[-1]
        if unit in _SECONDS and number.isascii() and number.isdigit():
            return float(int(number) * _SECONDS[unit])
    raise ValueError(f"{_show(text)} is no duration; write it like 30s, 10m, 6h or 14d")


def parse_time(text: str) -> float:
    """RFC 3339 with offset or `Z`, or `YYYY-MM-DD` (00:00Z) -> epoch seconds.

    Raises ValueError with the mend for anything else, a time without offset too.
    """
    if isinstance(text, str):
        date, exact, loose = _patterns()
        if date.fullmatch(text):
            return _seconds(text + _MIDNIGHT, text)
        if exact.fullmatch(text):
            return _seconds(text, text)
        if loose.fullmatch(text):
            raise ValueError(
                f"{_show(text)} needs seconds and an offset; write it like 2027-03-01T09:00:00Z"
            )
    raise ValueError(f"{_show(text)} is no time; write it like 2027-03-01 or 2027-03-01T09:00:00Z")


def parse_date(text: str) -> str:
    """`"2027-03-01"` as it is; ValueError with the mend for anything else."""
    if isinstance(text, str) and _patterns()[0].fullmatch(text):
        _seconds(text + _MIDNIGHT, text)
        return text
    raise ValueError(f"{_show(text)} is no date; write it like 2027-03-01")


def _seconds(text: str, written: str) -> float:
    from datetime import datetime  # 2 ms that most applications never need

    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except ValueError as error:
        raise ValueError(f"'{written}' is not in the calendar: {error}; write a real day") from None


def _show(value: object) -> str:
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:60]}...'"
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 64):
        return str(value)
    return "this"

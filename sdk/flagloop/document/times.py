"""Durations (`10m`) and times (RFC 3339, or a date) of a document."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_DURATION = 12

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]"
    r"(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_NAIVE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+").fullmatch


def parse_duration(text: str) -> float:
    """`"30s"`, `"10m"`, `"6h"`, `"14d"` -> seconds; ValueError with the mend for anything else."""
    if isinstance(text, str) and 2 <= len(text) <= _LONGEST_DURATION:
        number, unit = text[:-1], text[-1]
        if unit in _SECONDS and number.isascii() and number.isdigit():
            return float(int(number) * _SECONDS[unit])
    shown = f"'{text}'" if isinstance(text, str) else f"{text}"
    raise ValueError(f"{shown} is no duration; write it like 30s, 10m, 6h or 14d")


def format_duration(seconds: float) -> str:
    """600.0 -> `"10m"`: the largest unit that divides it; rounded to whole seconds.

    Raises ValueError for a negative number.
    """
    if seconds < 0:
        raise ValueError(f"a duration is at least 0s, not {seconds}s")
    whole = round(seconds)
    for unit in "dhm":
        if whole and whole % _SECONDS[unit] == 0:
            return f"{whole // _SECONDS[unit]}{unit}"
    return f"{whole}s"


def parse_time(text: str) -> float:
    """RFC 3339 with offset or `Z`, or `YYYY-MM-DD` (00:00Z) -> epoch seconds.

    Raises ValueError with the mend for anything else, a time without offset too.
    """
    if isinstance(text, str):
        if _DATE(text):
            return _read(text).replace(tzinfo=UTC).timestamp()
        if _TIME(text):
            return _read(text).timestamp()
        if _NAIVE(text):
            raise ValueError(
                f"'{text}' needs seconds and an offset; write it like 2027-03-01T09:00:00Z"
            )
    shown = f"'{text}'" if isinstance(text, str) else f"{text}"
    raise ValueError(f"{shown} is no time; write it like 2027-03-01 or 2027-03-01T09:00:00Z")


def parse_date(text: str) -> str:
    """`"2027-03-01"` as it is; ValueError with the mend for anything else."""
    if isinstance(text, str) and _DATE(text):
        _read(text)
        return text
    shown = f"'{text}'" if isinstance(text, str) else f"{text}"
    raise ValueError(f"{shown} is no date; write it like 2027-03-01")


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not in the calendar; {error}") from None

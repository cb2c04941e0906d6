"""Percentages as exact integers: millionths of a percent, so `25%` is 25_000_000.

No float stands between the text and the integer, hence `split` weights can be summed exactly.
"""

from __future__ import annotations

from functools import lru_cache

from flagloop.document.definition import WHOLE

_UNIT = WHOLE // 100  # one percent
_DIGITS = 6
_LONGEST = 24  # no honest percentage is longer; int() of a huge text would be slow


@lru_cache(maxsize=4096)
def parse_percent(text: str) -> int:
    """`"2.5%"` -> 2_500_000; at least 0%, at most six decimals, no upper bound.

    Raises ValueError with the mend for anything else (also for a value that is no text).
    """
    if not isinstance(text, str):
        raise ValueError(_not_text(text))
    body = text[:-1] if text.endswith("%") else ""
    whole, point, decimals = body.partition(".")
    if (
        len(text) <= _LONGEST
        and whole.isascii()
        and whole.isdigit()
        and (not point or (decimals.isascii() and decimals.isdigit() and len(decimals) <= _DIGITS))
    ):
        return int(whole) * _UNIT + int(decimals.ljust(_DIGITS, "0"))
    raise ValueError(_not_percent(text))


def format_percent(millionths: int) -> str:
    """2_500_000 -> `"2.5%"`: the shortest text that `parse_percent` reads back exactly.

    Raises ValueError for a negative number.
    """
    if millionths < 0:
        raise ValueError(f"a percentage is at least 0%, not {millionths} millionths of a percent")
    whole, rest = divmod(millionths, _UNIT)
    if not rest:
        return f"{whole}%"
    return f"{whole}.{rest:0{_DIGITS}d}".rstrip("0") + "%"


def _not_text(value: object) -> str:
    if isinstance(value, float) or (type(value) is int and value.bit_length() < 64):
        return f"{value} is a number; write a percentage with its sign, for example {value}%"
    return "a percentage is text with its sign, for example 25%"


def _not_percent(text: str) -> str:
    if len(text) > _LONGEST:
        return "this is too long for a percentage; write it like 25%"
    body = text.rstrip("% ").strip().rstrip(".")
    if body.startswith("-"):
        return f"'{text}' is negative; a percentage is at least 0%"
    whole, point, decimals = body.partition(".")
    if body.isascii() and whole.isdigit() and (decimals.isdigit() or not point):
        if len(decimals) > _DIGITS:
            return f"'{text}' has more than six decimals; write {whole}.{decimals[:_DIGITS]}%"
        return f"'{text}' is no percentage; write {body}%"
    return f"'{text}' is no percentage; write it like 25% or 2.5%"

"""Times that people type into a form: in UTC, to the second."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from flagloop.document.times import parse_time
from flagloop.errors import ConfigError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?")


def read_moment(text: str) -> int | None:
    """Epoch milliseconds of `2026-11-23T08:00` (in UTC), of a date, or of a time with an offset.

    None for nothing; raises ConfigError for what is no time.
    """
    text = text.strip()
    if not text:
        return None
    found = _LOCAL.fullmatch(text)
    try:
        whole = f"{found[1]}T{found[2]}{found[3] or ':00'}Z" if found else text
        at = round(parse_time(whole) * 1000)
        _EPOCH + timedelta(milliseconds=at)  # an offset may lead out of the years that there are
    except (ValueError, OverflowError) as error:
        raise ConfigError(str(error)) from None
    return at


def field_text(at: int | None) -> str:
    """The value of a field `datetime-local`, in UTC; nothing for none."""
    if at is None:
        return ""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="seconds")[:19]


def address_text(at: int) -> str:
    """A time for an address, to the millisecond: `2026-11-23T08:00:00.123Z`."""
    text = (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")
    return text.replace(".000", "").replace("+00:00", "Z")

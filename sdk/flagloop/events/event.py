"""Exposures and events in their wire form, and the ids that make a re-send harmless."""

from __future__ import annotations

import json
import math
import operator
import os
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Protocol

from flagloop.document.percent import format_percent
from flagloop.evaluation.bucketing import unit_of
from flagloop.evaluation.decision import Exposed

JSON = dict[str, Any]

dump = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

DEPTH = 16
"""How deep a property may nest."""
NAME_LIMIT = 200
"""Characters of an event's name."""
UNFIT = Exception
"""What an application's own types raise while they are made plain: anything, as those of an ORM."""
BLOCK = 1024
"""Ids that share one random draw."""


class Origin(Protocol):
    """What records have in common: the worker turns (origin, payload, time) into one event."""

    flag: str | None
    variant: str | None

    def text(self, identity: str, payload: Any, at: float) -> str:
        """The event's wire form: ASCII JSON."""


class Exposure:
    """What all exposures of one decision share; `payload` is the unit, or (unit, attributes).

    Only id, time and unit differ from one to the next, so the rest is written once: that makes
    one in a fifth of the time of a mapping and its `json.dumps`.
    """

    __slots__ = ("_front", "flag", "variant")

    def __init__(self, exposed: Exposed, revision: str | None) -> None:
        self.flag: str | None = exposed.flag
        self.variant = exposed.variant
        shared = dump(_shared(exposed, revision))
        self._front = f'{shared[:-1]},"id":"'

    def text(self, identity: str, payload: str | tuple[str, JSON], at: float) -> str:
        """The exposure's wire form."""
        front = f'{self._front}{identity}","at":{int(at * 1000)},"unit":'
        if isinstance(payload, str):
            return f"{front}{quoted(payload)}}}"
        unit, kept = payload
        return f'{front}{quoted(unit)},"attributes":{dump(kept)}}}'


class Event:
    """One thing that a unit did; `payload` is not used."""

    __slots__ = ("_rest", "flag", "variant")

    def __init__(
        self, event: str, units: Mapping[str, str], value: float | None, properties: JSON
    ) -> None:
        self.flag: str | None = None
        self.variant: str | None = None
        rest: JSON = {"event": event, "units": units}
        if value is not None:
            rest["value"] = value
        if properties:
            rest["properties"] = properties
        self._rest = rest

    def text(self, identity: str, payload: None, at: float) -> str:
        """The event's wire form."""
        return dump({"type": "event", "id": identity, "at": int(at * 1000), **self._rest})


def _shared(exposed: Exposed, revision: str | None) -> JSON:
    event: JSON = {
        "type": "exposure",
        "flag": exposed.flag,
        "variant": exposed.variant,
        "unit_by": exposed.unit_by,
    }
    if exposed.rule is not None:
        event["rule"] = exposed.rule
    if exposed.experiment is not None:
        event["experiment"] = exposed.experiment
    if exposed.stage is not None:
        event["stage"] = format_percent(exposed.stage)
    if exposed.holdout is not None:
        event["holdout"] = {"key": exposed.holdout, "held": exposed.held}
    if revision is not None:
        event["revision"] = revision
    return event


def tracked(
    name: Any,
    context: Mapping[str, Any],
    units: Iterable[str],
    value: Any = None,
    properties: Mapping[str, Any] | None = None,
) -> Event:
    """The event `name` of `context`; `units` names the attributes that are sent as units.

    ValueError says what is wrong: no usable name, no unit at all, a value that is no finite
    number, a property that JSON cannot hold. The caller may change all arguments afterwards.
    """
    if not isinstance(name, str) or not name or len(name) > NAME_LIMIT:
        raise ValueError(f"an event's name is a text of 1 to {NAME_LIMIT} characters")
    found = {by: unit for by in units if (unit := unit_of(context.get(by))) is not None}
    if not found:
        raise ValueError("the user has no key, so the event would belong to nobody")
    if value is not None:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"an event's value is a number, not {type(value).__name__}")
    return Event(plain(name), found, value, plain(dict(properties)) if properties else {})


def plain(value: Any, depth: int = DEPTH) -> Any:
    """A copy of `value` made of JSON's types only; ValueError names a type that has none.

    Sets and tuples become lists, times their ISO 8601 text, other numbers int or float, and
    what is not valid UTF-8 loses the bad characters.
    """
    if value is None or value.__class__ is bool:
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        return text if text.isascii() else text.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_name(name): plain(one, _deeper(depth)) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one, _deeper(depth)) for one in value]
    return _scalar(value)


def _scalar(value: Any) -> int | float | str:
    if hasattr(value, "__index__"):
        number = operator.index(value)
        # What is no 64-bit integer is refused by strict readers of JSON.
        return number if -(2**63) <= number < 2**63 else float(number)
    if hasattr(value, "__float__"):
        decimal = float(value)
        if math.isfinite(decimal):
            return decimal
        raise ValueError(f"{decimal} is no number that JSON has")
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise ValueError(f"a value of type {type(value).__name__} has no JSON form")


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"names are text, not {type(name).__name__}")
    return str(plain(name))


def _deeper(depth: int) -> int:
    if depth <= 1:
        raise ValueError(f"values nest deeper than {DEPTH}")
    return depth - 1


def attributes(context: Mapping[str, Any], names: Iterable[str]) -> JSON:
    """A copy of those named attributes that `context` has and JSON can hold."""
    kept: JSON = {}
    for name in names:
        value = context.get(name)
        if value is not None:
            try:
                kept[name] = plain(value)
            except UNFIT:
                continue
    return kept


def uuid7(clock: Callable[[], float] = time.time) -> str:
    """A new UUID, version 7 (RFC 9562): time in front, 74 random bits."""
    return next(iter(uuids(1, clock)))


def uuids(n: int, clock: Callable[[], float] = time.time) -> list[str]:
    """`n` new ids of version 7; those of one call differ for certain.

    Each block shares its time and 64 random bits, the last ten bits count: to draw for each
    single id costs ten times as much.
    """
    found: list[str] = []
    stamp = f"{int(clock() * 1000) & 0xFFFFFFFFFFFF:012x}"
    for start in range(0, n, BLOCK):
        noise = os.urandom(8)
        # version and variant take six bits, the last hex digit is left for the counter
        first, second = 0x7000 | noise[0] << 4 | noise[1] >> 4, 0x8000 | noise[2] << 6 | noise[3]
        front = f"{stamp[:8]}-{stamp[8:]}-{first:04x}-{second:04x}-{noise[3:].hex()[:9]}"
        found += [front + digits for digits in _digits()[: n - start]]
    return found


@cache
def _digits() -> list[str]:
    return [f"{one:03x}" for one in range(BLOCK)]


class Instance:
    """This process: `mapping()` is its wire form; a forked child gets an id of its own."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}

    @property
    def id(self) -> str:
        """A random id for the life of this process."""
        return str(self.mapping()["id"])

    def mapping(self) -> JSON:
        """`{"id", "host", "pid"}`."""
        pid = os.getpid()
        # The refreshing and the delivering thread may ask at once: both get the same.
        known = self._ids.get(pid) or self._ids.setdefault(pid, uuid7())
        return {"id": known, "host": _host(), "pid": pid}


def _host() -> str:
    # socket.gethostname() would say the same after an import of several milliseconds
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")

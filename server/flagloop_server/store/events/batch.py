"""A batch as it comes over the wire: JSON in, checked records out."""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from flagloop.document.percent import parse_percent

LONGEST_DATA = 32 * 1024
"""Bytes of the JSON of one event's properties, attributes or of one context."""
MOST_UNITS = 20
FARTHEST = 2**53
"""Milliseconds from the epoch, in both directions."""

_T = TypeVar("_T")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=200)]
Unit = Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
"""The SDK decides for longer ones too; their events are rejected, and counted by the sender."""
Many = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Revision = Text | Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""`<lineage>.<n>`; a sender that knows only one lineage may say the number alone."""


class Holdout(msgspec.Struct, frozen=True):
    """The flag's holdout, and whether the unit is in it."""

    key: Name
    held: bool = False


class Exposure(msgspec.Struct, frozen=True, tag_field="type", tag="exposure"):
    """This unit saw this variant."""

    flag: Name
    unit: Unit
    variant: Name | None = None
    id: str | None = None
    at: float | None = None
    unit_by: Name = "key"
    rule: Name | None = None
    experiment: Name | None = None
    stage: Text | None = None
    holdout: Holdout | None = None
    revision: Revision | None = None
    attributes: msgspec.Raw = msgspec.Raw()


class Event(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    """Something that a unit did; `unit` alone means the unit by `key`."""

    event: Name
    units: dict[Name, Unit] = {}
    unit: Unit | None = None
    id: str | None = None
    at: float | None = None
    value: float | None = None
    properties: msgspec.Raw = msgspec.Raw()


class Count(msgspec.Struct, frozen=True):
    """So many evaluations in a minute (since the epoch) had this outcome."""

    flag: Name
    n: Many
    minute: Annotated[int, msgspec.Meta(ge=-(2**40), le=2**40)] | None = None
    variant: Text | None = None
    rule: Text | None = None
    reason: Text = ""


class Lost(msgspec.Struct, frozen=True):
    """So many records never left the process."""

    reason: Name
    n: Many
    flag: Text | None = None
    variant: Text | None = None


class Instance(msgspec.Struct, frozen=True):
    """The process that sends."""

    id: Name
    host: Text = ""
    pid: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class _Envelope(msgspec.Struct, frozen=True):
    events: list[msgspec.Raw]
    batch: str | None = None
    sent: float | None = None
    sdk: Text = ""
    revision: Revision | None = None
    instance: Instance | None = None
    lost: list[msgspec.Raw] = []
    counts: list[msgspec.Raw] = []
    contexts: list[msgspec.Raw] = []


class Row(NamedTuple):
    """One event before it has a place: `at` by the client's clock, None for "now"."""

    id: bytes
    kind: int
    at: int | None
    name: str
    variant: str | None = None
    unit: str | None = None
    unit_by: str | None = None
    rule: str | None = None
    experiment: str | None = None
    stage: int | None = None
    holdout: str | None = None
    held: bool | None = None
    revision: str | None = None
    value: float | None = None
    units: dict[str, str] | None = None
    data: str | None = None


class Batch(NamedTuple):
    """A checked batch; `malformed` counts rows of counts, losses and contexts left out."""

    rows: tuple[Row, ...]
    rejected: tuple[tuple[int, str], ...]
    id: bytes | None
    sent: int | None
    sdk: str
    revision: str | None
    instance: Instance | None
    lost: tuple[Lost, ...]
    counts: tuple[Count, ...]
    contexts: tuple[str, ...]
    malformed: int


class Ack(NamedTuple):
    """What became of a batch; `rejected` has the index of an event and what is wrong with it."""

    accepted: int
    duplicate: int
    rejected: tuple[tuple[int, str], ...]

    def to_mapping(self) -> dict[str, Any]:
        """The answer's JSON form."""
        return {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "rejected": [{"index": i, "problem": text} for i, text in self.rejected],
        }


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_EVENT: msgspec.json.Decoder[Exposure | Event] = msgspec.json.Decoder(Exposure | Event)
_COUNT = msgspec.json.Decoder(Count)
_LOST = msgspec.json.Decoder(Lost)
_OBJECT: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def decode_batch(raw: bytes) -> Batch:
    """Read a batch's JSON. A bad event is listed in `rejected`; ValueError for no batch at all."""
    try:
        envelope = _ENVELOPE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("the JSON nests too deep") from None
    rows, rejected = _events(envelope.events)
    counts, lost = _each(envelope.counts, _COUNT.decode), _each(envelope.lost, _LOST.decode)
    contexts = _each(envelope.contexts, _object)
    given = len(envelope.counts) + len(envelope.lost) + len(envelope.contexts)
    return Batch(
        rows=rows,
        rejected=rejected,
        id=None if envelope.batch is None else _uuid(envelope.batch),
        sent=_time(envelope.sent),
        sdk=envelope.sdk,
        revision=_revision(envelope.revision),
        instance=envelope.instance,
        lost=lost,
        counts=counts,
        contexts=contexts,
        malformed=given - len(counts) - len(lost) - len(contexts),
    )


def _events(given: list[msgspec.Raw]) -> tuple[tuple[Row, ...], tuple[tuple[int, str], ...]]:
    rows: list[Row] = []
    rejected: list[tuple[int, str]] = []
    for index, raw in enumerate(given):
        try:
            event = _EVENT.decode(raw)
            rows.append(_exposure(event) if isinstance(event, Exposure) else _event(event))
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            rejected.append((index, str(error)))
    return tuple(rows), tuple(rejected)


def _each(given: list[msgspec.Raw], decode: Callable[[msgspec.Raw], _T]) -> tuple[_T, ...]:
    good = []
    for raw in given:
        try:
            good.append(decode(raw))
        except (ValueError, RecursionError):
            continue  # counted as malformed by the caller
    return tuple(good)


def _exposure(event: Exposure) -> Row:
    holdout = event.holdout
    return Row(
        id=_id(event.id),
        kind=0,
        at=_time(event.at),
        name=event.flag,
        variant=event.variant,
        unit=event.unit,
        unit_by=event.unit_by,
        rule=event.rule,
        experiment=event.experiment,
        stage=None if event.stage is None else _stage(event.stage),
        holdout=holdout.key if holdout else None,
        held=holdout.held if holdout else None,
        revision=_revision(event.revision),
        data=_object(event.attributes) if event.attributes else None,
    )


def _time(given: float | None) -> int | None:
    """A sender's time as a number that SQLite can add to: a wrong clock must not lose events."""
    return None if given is None else int(max(-FARTHEST, min(given, FARTHEST)))


def _revision(given: str | int | None) -> str | None:
    return None if given is None else str(given)


def _event(event: Event) -> Row:
    units = dict(event.units)
    if event.unit is not None:
        units.setdefault("key", event.unit)
    if not units:
        raise ValueError("an event needs `units` or `unit`")
    if len(units) > MOST_UNITS:
        raise ValueError(f"an event has at most {MOST_UNITS} units")
    if event.value is not None and not math.isfinite(event.value):
        raise ValueError("`value` is no finite number")
    return Row(
        id=_id(event.id),
        kind=1,
        at=_time(event.at),
        name=event.event,
        value=event.value,
        units=units,
        data=_object(event.properties) if event.properties else None,
    )


def _object(raw: msgspec.Raw) -> str:
    """The JSON text of an object, as it came."""
    data = bytes(raw)
    if len(data) > LONGEST_DATA:
        raise ValueError(f"{len(data):,} bytes of JSON, at most {LONGEST_DATA:,} are kept")
    _OBJECT.decode(data)
    return data.decode()


def _id(text: str | None) -> bytes:
    return _new_id() if text is None else _uuid(text)


def _uuid(text: str) -> bytes:
    plain = text.replace("-", "")
    if len(plain) == 32:
        try:
            return bytes.fromhex(plain)
        except ValueError:
            pass
    raise ValueError(f"'{text[:60]}' is no UUID")


def _new_id() -> bytes:
    """A UUIDv7 for an event that came without an id (it cannot be sent again safely)."""
    stamp = (time.time_ns() // 1_000_000).to_bytes(6, "big")
    noise = bytearray(os.urandom(10))
    noise[0] = 0x70 | noise[0] & 0x0F
    noise[2] = 0x80 | noise[2] & 0x3F
    return uuid.UUID(bytes=stamp + bytes(noise)).bytes


@lru_cache(maxsize=1024)
def _stage(text: str) -> int:
    return parse_percent(text)

"""A batch as it comes over the wire: JSON in, checked records out."""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from flagloop.document.percent import parse_percent
from flagloop_server.store.events.wire import (
    Count,
    Event,
    Exposure,
    Good,
    Instance,
    Lost,
    Mixed,
)

MOST_EVENTS = 10_000
"""Events, counts, losses and contexts in one batch, each."""
MOST_VALUES = 500_000
"""About how many JSON values a batch may have: read, each can take a hundred times its bytes."""
LONGEST_DATA = 32 * 1024
"""Bytes of the JSON of one event's properties, attributes or of one context."""
MOST_UNITS = 20
FARTHEST = 2**53
"""Milliseconds from the epoch, in both directions."""
ROW_BYTES = 1_000
"""About what an event takes in memory beside its JSON, until it is committed."""

_SHORT = 300
"""Bytes of attributes that are remembered: most events of a batch have the same few."""

_T = TypeVar("_T")


class TooLargeError(ValueError):
    """More than one batch may hold; a part of it is welcome."""


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
    held: int | None = None
    revision: str | None = None
    value: float | None = None
    units: dict[str, str] | None = None
    data: str | None = None


_row: Callable[[Iterable[object]], Row] = partial(tuple.__new__, Row)
"""Row(...) without a call in Python."""


class Batch(NamedTuple):
    """A checked batch; `malformed` counts rows of counts, losses and contexts left out.

    `size` is about how many bytes of memory it takes.
    """

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
    size: int


class Ack(NamedTuple):
    """What became of a batch; `rejected` has the index of an event and what is wrong with it.

    `repeated` is whether the batch had come before, so that nothing but new events was taken.
    """

    accepted: int
    duplicate: int
    rejected: tuple[tuple[int, str], ...]
    repeated: bool = False

    def to_mapping(self) -> dict[str, Any]:
        """The answer's JSON form."""
        return {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "rejected": [{"index": i, "problem": text} for i, text in self.rejected],
        }


_GOOD = msgspec.json.Decoder(Good)
_MIXED = msgspec.json.Decoder(Mixed)
_EVENT: msgspec.json.Decoder[Exposure | Event] = msgspec.json.Decoder(Exposure | Event)
_COUNT = msgspec.json.Decoder(Count)
_LOST = msgspec.json.Decoder(Lost)
_OBJECT: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def decode_batch(raw: bytes) -> Batch:
    """Read a batch's JSON. A bad event is listed in `rejected`; ValueError for no batch at all.

    TooLargeError (a ValueError) for one of more than MOST_EVENTS events.
    """
    if raw.count(b",") >= MOST_VALUES:
        raise TooLargeError(f"a batch has at most {MOST_VALUES:,} values")
    try:
        envelope, make = _read(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("the JSON nests too deep") from None
    lists = (envelope.counts, envelope.lost, envelope.contexts)
    if max(len(envelope.events), *map(len, lists)) > MOST_EVENTS:
        raise TooLargeError(f"a batch has at most {MOST_EVENTS:,} events")
    rows, rejected = _rows(envelope.events, make)
    counts, lost = _each(envelope.counts, _COUNT.decode), _each(envelope.lost, _LOST.decode)
    contexts = _each(envelope.contexts, _object)
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
        malformed=sum(map(len, lists)) - len(counts) - len(lost) - len(contexts),
        size=len(raw) + ROW_BYTES * (len(rows) + sum(map(len, lists))),
    )


def _read(raw: bytes) -> tuple[Good | Mixed, Callable[[Any], Row]]:
    """The envelope, and how its events are made rows; what that raises is wrong with the event."""
    try:
        return _GOOD.decode(raw), _made
    except msgspec.ValidationError:  # one event or the envelope itself
        return _MIXED.decode(raw), _separate


def _rows(
    events: Iterable[object], make: Callable[[Any], Row]
) -> tuple[tuple[Row, ...], tuple[tuple[int, str], ...]]:
    rows: list[Row] = []
    rejected: list[tuple[int, str]] = []
    for index, event in enumerate(events):
        try:
            rows.append(make(event))
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            rejected.append((index, str(error)))
    return tuple(rows), tuple(rejected)


def _separate(raw: msgspec.Raw) -> Row:
    return _made(_EVENT.decode(raw))


def _made(event: Exposure | Event) -> Row:
    return _exposure(event) if isinstance(event, Exposure) else _event(event)


def _each(given: list[msgspec.Raw], decode: Callable[[msgspec.Raw], _T]) -> tuple[_T, ...]:
    good = []
    for raw in given:
        try:
            good.append(decode(raw))
        except (ValueError, RecursionError):
            continue  # counted as malformed by the caller
    return tuple(good)


def _exposure(event: Exposure) -> Row:
    id_, at, stage, holdout = event.id, event.at, event.stage, event.holdout
    revision = event.revision
    return _row(
        (
            _new_id() if id_ is None else _uuid(id_),
            0,
            None if at is None else int(at) if -FARTHEST < at < FARTHEST else _time(at),
            event.flag,
            event.variant,
            event.unit,
            event.unit_by,
            event.rule,
            event.experiment,
            None if stage is None else _stage(stage),
            holdout.key if holdout else None,
            int(holdout.held) if holdout else None,
            None if revision is None else str(revision),
            None,
            None,
            _object(event.attributes) if event.attributes else None,
        )
    )


def _time(given: float | None) -> int | None:
    """A sender's time as a number that SQLite can add to: a wrong clock must not lose events."""
    return None if given is None else int(max(-FARTHEST, min(given, FARTHEST)))


def _revision(given: str | int | None) -> str | None:
    return None if given is None else str(given)


def _event(event: Event) -> Row:
    units = event.units
    if event.unit is not None:
        units = {"key": event.unit, **units}
    if not units:
        raise ValueError("an event needs `units` or `unit`")
    if len(units) > MOST_UNITS:
        raise ValueError(f"an event has at most {MOST_UNITS} units")
    if event.value is not None and not math.isfinite(event.value):
        raise ValueError("`value` is no finite number")
    return Row(
        id=_new_id() if event.id is None else _uuid(event.id),
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
    return _known(data) if len(data) <= _SHORT else _checked(data)


def _checked(data: bytes) -> str:
    if len(data) > LONGEST_DATA:
        raise ValueError(f"{len(data):,} bytes of JSON, at most {LONGEST_DATA:,} are kept")
    _OBJECT.decode(data)
    return data.decode()


_known = lru_cache(maxsize=4096)(_checked)


def _uuid(text: str) -> bytes:
    plain = text.replace("-", "")
    if len(plain) == 32:
        try:
            number = bytes.fromhex(plain)
        except ValueError:
            number = b""
        if len(number) == 16:  # fromhex passes over spaces
            return number
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

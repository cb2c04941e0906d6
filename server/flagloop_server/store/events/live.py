"""Counts per variant as they happen, in memory and bounded: for pages and demos to watch.

Not the statistics of experiments: those read every event. Here a unit belongs to the first
variant that it was seen in, and an event counts for a flag when the unit was exposed before.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flagloop_server.store.events.writing import Stored

UNITS = 200_000
"""Pairs of unit and flag that are followed at once, over all environments: about 20 MB."""

FLAGS = 20_000
"""Flags that are followed at once, over all environments."""

VARIANTS = 200
"""Variants that are followed for each flag."""

FLAGS_OF_UNIT = 100
"""Flags that one unit is followed in."""

EVENT_NAMES = 63
"""Names of events that are followed for each flag: a unit has a bit for each."""

_MIXED = 1 << EVENT_NAMES
_NONE = -1


class Followed(NamedTuple):
    """Of a stored event what is needed to follow it; `kind` is 0 for an exposure, `units` JSON.

    `at` is by the sender's clock, which may be anything, `received` by ours.
    """

    environment: int
    kind: int
    at: int
    received: int
    name: str
    variant: str | None
    unit: str | None
    unit_by: str | None
    value: float | None
    units: str | None


@dataclass(frozen=True, slots=True)
class EventTotal:
    """Of one event and one variant: distinct units, events, and the sum of their values."""

    units: int
    events: int
    value: float


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """What was seen of a flag since `since` (epoch milliseconds).

    `units` counts exposed units by variant, `mixed` those of them that were also seen in another
    variant. `complete` is False when the limit of followed units was reached: then the counts
    are of the first units only.
    """

    since: int
    units: Mapping[str, int]
    mixed: int
    events: Mapping[str, Mapping[str, EventTotal]]
    complete: bool


class _Total:
    """An EventTotal that grows."""

    __slots__ = ("events", "units", "value")

    def __init__(self) -> None:
        self.units = self.events = 0
        self.value = 0.0


@dataclass(slots=True)
class _Flag:
    """`variants` gives each its number, and `units` has its count in that place."""

    number: int
    variants: dict[str, int] = field(default_factory=dict)
    units: list[int] = field(default_factory=list)
    mixed: int = 0
    events: dict[str, tuple[int, dict[int, _Total]]] = field(default_factory=dict)
    complete: bool = True


class Live:
    """Follows units. Written by the log's writer, read by any thread.

    A unit is known by its 64-bit hash, and what is known of a pair of unit and flag lies in
    arrays: as objects the pairs took 110 MB.
    """

    def __init__(self, since: int, limit: int = UNITS) -> None:
        self.since = since
        self._limit = limit
        self._lock = threading.Lock()
        self._flags: dict[tuple[int, str], _Flag] = {}
        self._numbered: list[_Flag] = []
        self._overflow = _Flag(_NONE, complete=False)
        self._first: dict[int, int] = {}
        """Unit -> the place of its first pair, from which the others follow."""
        self._next = array("i")
        self._flag = array("i")
        self._variant = array("h")
        self._at = array("q")
        self._marks = array("Q")

    def follow(self, stored: Sequence[Stored]) -> None:
        """Follow the fresh events of batches."""
        with self._lock:
            for one in stored:
                job = one.job
                environment, received, skew = job.environment, job.received, job.skew
                for row in one.fresh:
                    kind, at, name, variant, unit, by = row[1:7]
                    at = received if at is None else at + skew
                    if kind == 1:
                        self._happened(environment, row.units or {}, name, row.value, at)
                    elif variant is not None:
                        self._exposed(environment, (by or "key", unit or ""), name, variant, at)

    def rebuild(self, rows: Iterable[Followed]) -> None:
        """Follow events that were stored before, the oldest first."""
        first = True
        for row in rows:
            if first:
                self.since, first = row.received, False
            if row.kind == 1:
                units = json.loads(row.units or "{}")
                self.happened(row.environment, units, row.name, row.value, row.at)
            elif row.variant is not None:
                unit = (row.unit_by or "key", row.unit or "")
                self.exposed(row.environment, unit, row.name, row.variant, row.at)

    def exposed(
        self, environment: int, unit: tuple[str, str], flag: str, variant: str, at: int
    ) -> None:
        """`unit` (attribute, value) saw a variant of a flag."""
        with self._lock:
            self._exposed(environment, unit, flag, variant, at)

    def _exposed(
        self, environment: int, unit: tuple[str, str], flag: str, variant: str, at: int
    ) -> None:
        totals = self._flags.get((environment, flag)) or self._new_flag(environment, flag)
        number = totals.variants.get(variant, _NONE)
        if number == _NONE and (number := self._new_variant(totals, variant)) == _NONE:
            return
        name = hash((environment, unit))
        place = first = self._first.get(name, _NONE)
        met = 0
        while place != _NONE and self._flag[place] != totals.number:
            place = self._next[place]
            met += 1
        if place == _NONE:
            if met < FLAGS_OF_UNIT:
                self._new_pair(name, first, totals, number, at)
            else:
                totals.complete = False
            return
        if self._variant[place] != number and not self._marks[place] & _MIXED:
            self._marks[place] |= _MIXED
            totals.mixed += 1
        self._at[place] = min(self._at[place], at)

    def happened(
        self, environment: int, units: Mapping[str, str], event: str, value: float | None, at: int
    ) -> None:
        """`units` did something: it counts for every flag that one of them was exposed to."""
        with self._lock:
            self._happened(environment, units, event, value, at)

    def _happened(
        self, environment: int, units: Mapping[str, str], event: str, value: float | None, at: int
    ) -> None:
        for unit in units.items():
            place = self._first.get(hash((environment, unit)), _NONE)
            while place != _NONE:
                if self._at[place] <= at:
                    self._count(place, event, value)
                place = self._next[place]

    def counts(self, environment: int, flag: str) -> LiveCounts:
        """What was seen of a flag."""
        with self._lock:
            totals = self._flags.get((environment, flag))
            if totals is None:
                return LiveCounts(self.since, {}, 0, {}, not self._full())
            names = [*totals.variants]
            return LiveCounts(
                since=self.since,
                units={name: totals.units[number] for name, number in totals.variants.items()},
                mixed=totals.mixed,
                events={
                    event: {
                        names[variant]: EventTotal(one.units, one.events, one.value)
                        for variant, one in found.items()
                    }
                    for event, (_, found) in totals.events.items()
                },
                complete=totals.complete,
            )

    def _full(self) -> bool:
        """Whether no other flag can be followed."""
        return len(self._flags) >= FLAGS or len(self._at) >= self._limit

    def _new_flag(self, environment: int, flag: str) -> _Flag:
        if self._full():
            return self._overflow
        made = self._flags[environment, flag] = _Flag(len(self._numbered))
        self._numbered.append(made)
        return made

    def _new_variant(self, totals: _Flag, variant: str) -> int:
        full = len(totals.units) >= VARIANTS or len(self._at) >= self._limit
        if full or totals is self._overflow:
            totals.complete = False
            return _NONE
        number = totals.variants[variant] = len(totals.units)
        totals.units.append(0)
        return number

    def _new_pair(self, name: int, first: int, totals: _Flag, variant: int, at: int) -> None:
        place = len(self._at)
        if place >= self._limit:
            totals.complete = False
            return
        self._first[name] = place
        self._next.append(first)
        self._flag.append(totals.number)
        self._variant.append(variant)
        self._at.append(at)
        self._marks.append(0)
        totals.units[variant] += 1

    def _count(self, place: int, event: str, value: float | None) -> None:
        totals = self._numbered[self._flag[place]]
        known = totals.events.get(event)
        if known is None:
            if len(totals.events) >= EVENT_NAMES:
                totals.complete = False
                return
            known = totals.events[event] = (1 << len(totals.events), {})
        bit, found = known
        total = found.setdefault(self._variant[place], _Total())
        if not self._marks[place] & bit:
            self._marks[place] |= bit
            total.units += 1
        total.events += 1
        total.value += value or 0.0

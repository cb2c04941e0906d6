"""Counts per variant as they happen, in memory and bounded: for pages and demos to watch.

Not the statistics of experiments: those read every event. Here a unit belongs to the first
variant that it was seen in, and an event counts for a flag when the unit was exposed before.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

UNITS = 200_000
"""Pairs of unit and flag that are followed at once, over all environments."""

LONGEST_UNIT = 100
"""Characters of attribute and value that are kept as they are."""

EVENT_NAMES = 100
"""Names of events that are followed for each flag."""


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


class _Seen:
    """One unit's part in one flag."""

    __slots__ = ("at", "events", "mixed", "variant")

    def __init__(self, variant: str, at: int) -> None:
        self.variant = variant
        self.at = at
        self.mixed = False
        self.events: set[str] | None = None


@dataclass(slots=True)
class _Flag:
    units: dict[str, int] = field(default_factory=dict)
    mixed: int = 0
    events: dict[str, dict[str, EventTotal]] = field(default_factory=dict)
    complete: bool = True


def _name(unit: tuple[str, str]) -> tuple[str, str]:
    """A unit as it is followed: of a long value its digest, so that the limit bounds memory."""
    by, value = unit
    if len(by) + len(value) <= LONGEST_UNIT:
        return unit
    return "", blake2b(f"{by}\0{value}".encode(), digest_size=16).hexdigest()


class Live:
    """Follows units. Written by the log's writer, read by any thread."""

    def __init__(self, since: int, limit: int = UNITS) -> None:
        self.since = since
        self._limit = limit
        self._followed = 0
        self._lock = threading.Lock()
        self._flags: dict[tuple[int, str], _Flag] = {}
        self._units: dict[tuple[int, str, str], dict[str, _Seen]] = {}

    def exposed(
        self, environment: int, unit: tuple[str, str], flag: str, variant: str, at: int
    ) -> None:
        """`unit` (attribute, value) saw a variant of a flag."""
        unit = _name(unit)
        with self._lock:
            totals = self._flags.setdefault((environment, flag), _Flag())
            seen = self._units.get((environment, *unit), {}).get(flag)
            if seen is not None:
                if seen.variant != variant and not seen.mixed:
                    seen.mixed = True
                    totals.mixed += 1
                seen.at = min(seen.at, at)
            elif self._followed >= self._limit:
                totals.complete = False
            else:
                self._followed += 1
                self._units.setdefault((environment, *unit), {})[flag] = _Seen(variant, at)
                totals.units[variant] = totals.units.get(variant, 0) + 1

    def happened(
        self, environment: int, units: Mapping[str, str], event: str, value: float | None, at: int
    ) -> None:
        """`units` did something: it counts for every flag that one of them was exposed to."""
        with self._lock:
            for unit in map(_name, units.items()):
                for flag, seen in self._units.get((environment, *unit), {}).items():
                    if seen.at <= at:
                        self._count(self._flags[environment, flag], seen, event, value)

    def counts(self, environment: int, flag: str) -> LiveCounts:
        """What was seen of a flag."""
        with self._lock:
            totals = self._flags.get((environment, flag)) or _Flag()
            return LiveCounts(
                since=self.since,
                units=dict(totals.units),
                mixed=totals.mixed,
                events={event: dict(found) for event, found in totals.events.items()},
                complete=totals.complete,
            )

    @staticmethod
    def _count(totals: _Flag, seen: _Seen, event: str, value: float | None) -> None:
        if event not in totals.events and len(totals.events) >= EVENT_NAMES:
            totals.complete = False
            return
        found = totals.events.setdefault(event, {})
        before = found.get(seen.variant, EventTotal(0, 0, 0.0))
        if seen.events is None:
            seen.events = set()
        found[seen.variant] = EventTotal(
            before.units + (event not in seen.events),
            before.events + 1,
            before.value + (value or 0.0),
        )
        seen.events.add(event)

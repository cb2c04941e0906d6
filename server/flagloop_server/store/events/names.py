"""Which names are kept: keys of applications, also public ones, must not fill the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import TypeAlias

MOST_STRANGERS = 1_000
"""Names in an environment that are no flags of its document; evaluations of more are a loss."""

LOSS = "unknown_flags"
"""The reason under which such evaluations are counted as lost."""


MOST_LOSSES = 2_000
"""Losses of an environment that are told apart; more are summed up under `OTHER`."""

MOST_OUTCOMES = 100
"""Outcomes of a flag (variant, rule, reason) that are told apart in an hour; more are `OTHER`."""

MOST_EVENTS = 1_000
"""Names of events of an environment that are told apart; more are summed up under `OTHER`."""

OTHER = "(other)"

Loss: TypeAlias = tuple[str, str, str]
"""Reason, flag and variant; empty texts for none."""

Outcome: TypeAlias = tuple[str, str, str]
"""Variant, rule and reason; empty texts for none."""


class Names:
    """The names that each environment has counts and losses of; for the writer thread alone.

    `flags` gives the flags that an environment's document has: those are always kept.
    """

    def __init__(self, flags: Callable[[int], Collection[str]]) -> None:
        self._flags = flags
        self._kept: dict[int, set[str]] = {}
        self._losses: dict[int, set[Loss]] = {}
        self._outcomes: dict[tuple[int, str], set[Outcome]] = {}
        self._events: dict[int, set[str]] = {}

    def forget(self) -> None:
        """Read the names anew when they are needed again (old ones were deleted)."""
        self._kept.clear()
        self._losses.clear()
        self._outcomes.clear()
        self._events.clear()

    def admit(
        self, connection: sqlite3.Connection, environment: int, names: Collection[str]
    ) -> set[str]:
        """Those of `names` whose counts are to be kept."""
        kept = self._kept.get(environment)
        if kept is None:
            sql = "SELECT flag FROM flag_seen WHERE environment_id = ?"
            kept = {row[0] for row in connection.execute(sql, (environment,))}
            self._kept[environment] = kept
        wanted = set(names)
        fresh = wanted - kept
        if fresh:
            flags = set(self._flags(environment))
            strangers = sorted(fresh - flags)
            room = max(0, MOST_STRANGERS - len(kept - flags))
            kept |= fresh & flags
            kept.update(strangers[:room])
        return wanted & kept

    def admit_loss(self, connection: sqlite3.Connection, environment: int, loss: Loss) -> Loss:
        """`loss` where it is known or there is room for one more, else what stands for others."""
        kept = self._losses.get(environment)
        if kept is None:
            sql = "SELECT DISTINCT reason, flag, variant FROM loss WHERE environment_id = ?"
            kept = {tuple(row) for row in connection.execute(sql, (environment,))}
            self._losses[environment] = kept
        if loss not in kept:
            if len(kept) >= MOST_LOSSES:
                return OTHER, "", ""
            kept.add(loss)
        return loss

    def admit_event(self, connection: sqlite3.Connection, environment: int, name: str) -> str:
        """`name` of an event where it is known or there is room for one more, else `OTHER`."""
        kept = self._events.get(environment)
        if kept is None:
            sql = "SELECT DISTINCT name FROM event_hour WHERE environment_id = ?"
            kept = {row[0] for row in connection.execute(sql, (environment,))}
            self._events[environment] = kept
        if name not in kept:
            if len(kept) >= MOST_EVENTS:
                return OTHER
            kept.add(name)
        return name

    def admit_outcome(self, environment: int, flag: str, outcome: Outcome) -> Outcome:
        """`outcome` of a flag that is kept, or what stands for those that are too many."""
        kept = self._outcomes.setdefault((environment, flag), set())
        if outcome not in kept:
            if len(kept) >= MOST_OUTCOMES:
                return OTHER, OTHER, OTHER
            kept.add(outcome)
        return outcome

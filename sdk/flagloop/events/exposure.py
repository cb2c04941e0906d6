"""From a decision to its exposure, once for each unit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any, TypeAlias

from flagloop.evaluation.bucketing import unit_of
from flagloop.evaluation.decision import Decision, Exposed
from flagloop.events.event import Exposure, attributes
from flagloop.events.inbox import Inbox

Marks: TypeAlias = dict[str | None, Exposed]
"""Unit -> what it saw last. The key None is there for speed alone: a dict with any key but
text keeps the hashes beside its keys, which saves a look at each colliding key (12% of all)."""
Record: TypeAlias = Callable[[Any, Mapping[str, Any], Exposed | None], None]
Watch: TypeAlias = tuple[Callable[[Any], Exposed | None], str, Record]


class Exposures:
    """Remembers which unit saw what, so that an exposure is sent once and again when it changes.

    The memory is (flag, unit_by, unit) -> what was exposed, `limit` at most, in two
    generations: when one is full the older is forgotten and a new one begun. So a unit is
    exposed again only after `limit / 2` others or more.

    The client's hot path does, for a decision with `exposed`:

        last, unit_by, record = decision.watch or exposures.watch(decision)
        unit = user[unit_by]
        if (was := last(unit)) is not decision.exposed:
            record(unit, user, was)

    Two threads that see a new unit at the same instant may both record it: each exposure has
    its own id and says the same, and the first one of a unit is the one that counts.
    """

    def __init__(
        self, inbox: Inbox, clock: Callable[[], float] = time.time, limit: int = 50_000
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._limit = limit
        self._begun = 0
        self._revision: str | None = None
        self._marks: dict[tuple[str, str], Marks] = {}
        self._older: dict[tuple[str, str], Marks] = {}
        self._watched: list[Decision] = []
        inbox.on_mark = self.turn
        self.reset()

    def reset(self) -> None:
        """For a forked child: the memory stays, since the parent sends what it remembers."""
        # Reentrant, because a signal handler may evaluate while its own thread is in here.
        self._lock = RLock()

    def adopt(self, revision: str | None) -> None:
        """Decisions watched from now on belong to `revision`; the memory stays."""
        with self._lock:
            self._revision = revision
            self._unwatch()

    def watch(self, decision: Decision) -> Watch:
        """How the client asks about `decision`, kept in `decision.watch`.

        A lookup unit -> what it saw last, the attribute that names the unit, and what to call
        with (unit, context, what it saw last) when that is not `decision.exposed`.
        """
        exposed = decision.exposed
        assert exposed is not None
        key = (exposed.flag, exposed.unit_by)
        with self._lock:
            marks = self._marks.setdefault(key, {None: exposed})
            record = self._recorder(exposed, marks, self._older.get(key, {}))
            found: Watch = (marks.get, exposed.unit_by, record)
            decision.watch = found
            self._watched.append(decision)
        return found

    def turn(self, records: int) -> None:
        """Told by the inbox how many records there were so far: begin a generation if due."""
        if records - self._begun >= self._limit // 2:
            self._begun = records
            with self._lock:
                self._older, self._marks = self._marks, {}
                self._unwatch()

    def _unwatch(self) -> None:
        for decision in self._watched:
            decision.watch = None
        self._watched = []

    def _recorder(self, exposed: Exposed, marks: Marks, older: Marks) -> Record:
        """The function that records an exposure of `exposed`, with all it needs bound."""
        inbox, now, log = self._inbox, self._clock, exposed.log
        items, extend = inbox.items, inbox.items.extend
        origin = Exposure(exposed, self._revision)
        once_seen = older.get

        def record(unit: Any, context: Mapping[str, Any], was: Exposed | None) -> None:
            # A bad text comes here from rules that serve everybody without looking at the unit.
            if unit.__class__ is not str or not unit or not unit.isascii():
                unit = unit_of(unit)
                if unit is None:
                    return
                was = marks.get(unit)
            if was is None:
                was = once_seen(unit)
            if was is not None and same(was, exposed):
                marks[unit] = exposed
                return
            if len(items) >= inbox.mark and not inbox.admit(origin):
                return
            marks[unit] = exposed
            if log:
                extend((origin, (unit, attributes(context, log)), now()))
            else:
                extend((origin, unit, now()))

        return record


def same(one: Exposed, other: Exposed) -> bool:
    """Whether two exposures of a unit say the same; what is logged with them is none of it."""
    # Those of a ruleset that was only swapped are equal, not identical.
    return one is other or one[:-1] == other[:-1]

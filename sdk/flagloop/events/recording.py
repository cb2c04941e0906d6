"""What is counted rather than sent one by one: evaluations, losses, and a sample of contexts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from threading import Lock, RLock
from typing import Any, Generic, Protocol, TypeVar

from flagloop.evaluation.bucketing import unit_of
from flagloop.evaluation.decision import Decision, ErrorCode, Reason
from flagloop.events.event import attributes, dump, plain

JSON = dict[str, Any]
K = TypeVar("K")

OTHER = "(other)"
"""Stands for the names of unknown flags beyond `NAMES`; it cannot be a flag's key."""
NAMES = 500
NAME_LENGTH = 100
ROWS = 10_000
"""Rows of counts kept for a server that is away; then the oldest minutes are put together."""
CONTEXT = 4_096
"""Bytes of one recorded context's JSON; a larger one is left out."""
GRACE = 2.0
"""Seconds in which a thread may still serve from a ruleset that was replaced."""


class Tallies(Generic[K]):
    """Counters by key: `add` is exact under threads without a lock."""

    def __init__(self) -> None:
        # next() of itertools.count is one call into C, so nothing gets between read and write.
        self._next: dict[K, Callable[[], int]] = {}
        self._read: dict[K, int] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._next

    def __len__(self) -> int:
        return len(self._next)

    def add(self, key: K) -> None:
        """Count one."""
        tally = self._next.get(key)
        if tally is None:
            tally = self._next.setdefault(key, count().__next__)
        tally()

    def drain(self) -> list[tuple[K, int]]:
        """What was counted since the last drain. Only one thread drains at a time."""
        found = []
        for key, tally in list(self._next.items()):
            value = tally()
            if n := value - self._read.get(key, -1) - 1:
                found.append((key, n))
            self._read[key] = value  # the reading itself was one more step
        return found


def _outermost(lock: Any) -> bool:
    """Whether this thread does not have the reentrant `lock` yet.

    A signal handler may come while it has: what is half done must not be done again. Asked of the
    lock, since a class around it could be left by a handler that raises before it is released.
    """
    return not lock._is_owned()


class Counted(Protocol):
    """A ruleset, as far as counting goes."""

    def counted(self) -> Iterable[Decision]:
        """Every decision that may have been served so far."""


class Counts:
    """How often each decision was served, by flag, variant, rule, reason and minute.

    The client increases `decision.count`; here the increases are read and added up. Exact: a
    replaced ruleset is read again for a while, since a thread may still be inside of it.
    `start` is called when there is something that only the worker can send, `clock` gives
    epoch seconds, `names` bounds the unknown names that are told apart.
    """

    def __init__(
        self,
        start: Callable[[], None],
        clock: Callable[[], float] = time.time,
        names: int = NAMES,
    ) -> None:
        self._start = start
        self._clock = clock
        self._names = names
        self.reset()

    def reset(self) -> None:
        """Forget everything but the ruleset's present counts, for a forked child."""
        self._lock = RLock()
        sources = getattr(self, "_sources", [])[-1:]
        self._sources: list[tuple[Counted, float]] = sources
        self._errors: Tallies[tuple[str, str]] = Tallies()
        self._rows: dict[tuple[str, str | None, str | None, str, int], int] = {}
        self._read = {
            decision: decision.count for source, _ in sources for decision in source.counted()
        }
        self._since = self._clock()

    def adopt(self, ruleset: Counted) -> None:
        """Count `ruleset` from now on; its predecessor is read until nobody can be inside."""
        now = self._clock()
        first = _outermost(self._lock)
        with self._lock:
            if first:
                # Also here, since no worker runs before the first evaluation.
                self._drain(now)
            if ruleset not in [source for source, _ in self._sources]:
                # One that comes back brings counts that were reported before it went.
                self._read.update((one, one.count) for one in ruleset.counted())
            if self._sources:
                self._sources[-1] = (self._sources[-1][0], now)
            self._sources.append((ruleset, now))

    def error(self, flag: str, code: ErrorCode) -> None:
        """Count one evaluation of `flag` that no decision stands for."""
        name = plain(flag[:NAME_LENGTH]) if isinstance(flag, str) else OTHER
        key = (name or OTHER, code.value)
        if key not in self._errors:
            self._start()
            if len(self._errors) >= self._names:
                key = (OTHER, code.value)
        self._errors.add(key)

    def drain(self) -> None:
        """Read all counters; what was counted belongs to the minute that now ends."""
        if _outermost(self._lock):
            with self._lock:
                self._drain(self._clock())

    def _drain(self, now: float) -> None:
        # The worker comes at each minute's edge; if it could not, at most one minute is off.
        minute = int(max(self._since, now - 60) // 60)
        self._since = now
        for source, _ in self._sources:
            self._read_source(source, minute)
        for (flag, code), n in self._errors.drain():
            self._add((flag, None, None, code, minute), n)
        self._retire(now)
        self._fold()

    def take(self, most: int) -> list[JSON]:
        """At most that many rows in their wire form; they are forgotten here."""
        if not _outermost(self._lock):
            return []
        with self._lock:
            return [
                {
                    "flag": flag,
                    "variant": variant,
                    "rule": rule,
                    "reason": reason,
                    "minute": minute,
                    "n": self._rows.pop((flag, variant, rule, reason, minute)),
                }
                for flag, variant, rule, reason, minute in list(self._rows)[:most]
            ]

    def __len__(self) -> int:
        return len(self._rows)

    def _read_source(self, source: Counted, minute: int) -> None:
        read = self._read
        for decision in source.counted():
            value = decision.count
            n = value - read.get(decision, 0)
            if n:
                read[decision] = value
                self._add(_row(decision, minute), n)

    def _add(self, row: tuple[str, str | None, str | None, str, int], n: int) -> None:
        self._rows[row] = self._rows.get(row, 0) + n

    def _retire(self, now: float) -> None:
        """Drop rulesets that were replaced long enough ago, and what was read of them."""
        kept = [one for one in self._sources[:-1] if now < one[1] + GRACE] + self._sources[-1:]
        if len(kept) < len(self._sources):
            self._sources = kept
            live = {decision for source, _ in kept for decision in source.counted()}
            self._read = {one: n for one, n in self._read.items() if one in live}

    def _fold(self) -> None:
        """Over `ROWS`, add the oldest minute to the next: the sums stay exact."""
        while len(self._rows) > ROWS:
            minutes = sorted({row[-1] for row in self._rows})
            if len(minutes) < 2:
                return
            for row in [row for row in self._rows if row[-1] == minutes[0]]:
                self._add((*row[:-1], minutes[1]), self._rows.pop(row))


def _row(decision: Decision, minute: int) -> tuple[str, str | None, str | None, str, int]:
    reason = decision.reason.value
    if decision.reason is Reason.ERROR and decision.error is not None:
        reason = decision.error.value
    elif decision.missing_unit:
        reason = "MISSING_UNIT"
    return (decision.flag, decision.variant, decision.rule, reason, minute)


class Losses:
    """What never reached the server, by reason, flag and variant; reported until it is known."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, for a forked child: its parent reports."""
        self._lock = RLock()
        self._seen: Tallies[tuple[str, str | None, str | None]] = Tallies()
        self._rows: dict[tuple[str, str | None, str | None], int] = {}
        self._totals: dict[str, int] = {}

    def add(self, reason: str, flag: str | None, variant: str | None) -> None:
        """Count one loss, from any thread."""
        self._seen.add((reason, flag, variant))

    @property
    def totals(self) -> dict[str, int]:
        """All losses of this process by reason, also the reported ones."""
        first = _outermost(self._lock)
        with self._lock:
            if first:
                self._drain()
            return dict(self._totals)

    def take(self, most: int) -> list[JSON]:
        """At most that many rows in their wire form; they are forgotten here."""
        if not _outermost(self._lock):
            return []
        with self._lock:
            self._drain()
            return [
                {"reason": key[0], "flag": key[1], "variant": key[2], "n": self._rows.pop(key)}
                for key in list(self._rows)[:most]
            ]

    def give_back(self, rows: Iterable[JSON]) -> None:
        """Rows that were taken and did not arrive: they are to be taken again."""
        with self._lock:
            for row in rows:
                key = (row["reason"], row["flag"], row["variant"])
                self._rows[key] = self._rows.get(key, 0) + row["n"]

    def _drain(self) -> None:
        for key, n in self._seen.drain():
            self._rows[key] = self._rows.get(key, 0) + n
            self._totals[key[0]] = self._totals.get(key[0], 0) + n


class Reservoir:
    """A sample of the contexts that were asked about: at most `limit` a minute.

    The worker arms, the next evaluation that sees `armed` gives its context to `take`. Kept
    are the units and the attributes that the document's `recording` names, nothing else.
    `start` is called after each sample: the very first one may have to start the worker.
    """

    def __init__(
        self,
        start: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        limit: int = 60,
    ) -> None:
        self._start = start
        self._clock = clock
        self._limit = limit
        self._units: tuple[str, ...] = ("key",)
        self._recording: tuple[str, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Forget all samples. Armed at once: the first evaluation also starts the worker."""
        self._lock = Lock()
        self._kept: list[JSON] = []
        self._armed_at = float("-inf")
        self.armed = True

    def adopt(self, units: Iterable[str], recording: Iterable[str]) -> None:
        """Which attributes are units, and which others are kept."""
        self._units = tuple(sorted(units))
        self._recording = tuple(recording)

    def arm(self) -> bool:
        """Ask for one more sample, unless the last one is a second young; True if taken since."""
        now = self._clock()
        if self.armed:
            return False
        if now - self._armed_at >= 60 / self._limit and len(self._kept) < self._limit:
            self._armed_at = now
            self.armed = True
        return True

    def take(self, context: Mapping[str, Any]) -> None:
        """Keep a copy of what may be kept of `context`."""
        if not self._lock.acquire(blocking=False):
            return  # another thread is giving its sample
        try:
            if not self.armed:
                return
            self.armed = False
            kept = attributes(context, self._recording)
            for name in self._units:
                unit = unit_of(context.get(name))
                if unit is not None:
                    kept[name] = unit
            if kept and len(dump(kept)) <= CONTEXT:
                self._kept.append(kept)
        finally:
            self._lock.release()
        self._start()

    def drain(self) -> list[JSON]:
        """The samples since the last drain, in their wire form."""
        kept = self._kept[:]
        del self._kept[: len(kept)]
        return kept

    def __len__(self) -> int:
        return len(self._kept)

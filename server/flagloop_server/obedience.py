"""Who obeys a revision: the answer to "is it off everywhere", as records and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flagloop_server.instances import Instances, Seen, parted
from flagloop_server.store import Environment, RevisionRow, Store, now_ms

State: TypeAlias = Literal["current", "sent", "late", "stale", "own rules"]
"""What an instance is by a revision:

current: it said to have it; sent: its stream was sent it, and nothing has asked it to say so yet;
late: it may still say so; stale: it should have said so; own rules: it decides by a file of its
own, so no change reaches it.
"""

PATIENCE = 15_000
"""How long an instance may take to say that it has a revision: a poll and a bit; milliseconds."""
POLL_TAKES = 5_000
"""That bit, of one that pauses for longer between two polls."""
NAMED = 5
MISSING = 100
"""How many a sentence and its JSON form name of those who are missing."""
TOGGLES = ("kill", "restore")
"""The actions after which every SDK says at once that it has the revision."""
EFFECTS = {"kill": "off", "restore": "restored"}
RECENT = 20
"""How many changes of a flag are looked through for one that undid a kill or restore."""


@dataclass(frozen=True, slots=True)
class Target:
    """A revision to be obeyed; `at` is when it was made, `toggled` the last one up to it that
    every SDK confirms at once: (number, at), None without any. `undone` is the number of a later
    one that restored what it killed, or killed what it restored.
    """

    environment: Environment
    number: int
    at: int
    action: str
    toggled: tuple[int, int] | None = None
    undone: int | None = None


@dataclass(frozen=True, slots=True)
class Obedience:
    """Who has the revision of `target`, as of `now`; times are epoch milliseconds.

    `seconds` is how long the slowest took of those who were there before and have it. `unlisted`
    are instances for whom there is no room in the list, so nobody knows of those. `returning` is
    since when those of an earlier run of this server come back, as long as they may.
    """

    target: Target
    now: int
    states: tuple[tuple[Seen, State], ...]
    seconds: float | None
    unlisted: int = 0
    returning: int | None = None

    @property
    def total(self) -> int:
        """How many instances there are."""
        return len(self.states)

    @property
    def reached(self) -> int:
        """How many of them have it."""
        return self.count("current")

    @property
    def complete(self) -> bool:
        """Whether there is somebody, and nobody is missing who should have said so.

        Just after a start nobody can tell: who was silent for long is not on the list yet.
        """
        missing = self.count("late") + self.count("stale") + self.unlisted
        return bool(self.states) and not missing and self.returning is None

    @property
    def settled(self) -> bool:
        """Whether waiting longer would tell nothing new."""
        return not self.count("late") and self.returning is None

    @property
    def beginning(self) -> str:
        """`this server started 12 s ago, so more may come back`; empty when all are back."""
        if self.returning is None:
            return ""
        ago = max(0, self.now - self.returning) // 1000
        return f"this server started {ago} s ago, so more may come back"

    def count(self, state: State) -> int:
        """How many are in that state."""
        return sum(one == state for _, one in self.states)

    def of(self, *wanted: State) -> list[Seen]:
        """Those in one of these states."""
        return [seen for seen, state in self.states if state in wanted]

    def sentence(self) -> str:
        """`off on 97 of 100 instances in 0.3 s; 3 stale: web-7:4711 (revision 12, ...), ...`."""
        parts = [self._reach()]
        for state, words in (
            ("late", "not yet"),
            ("stale", "stale"),
            ("sent", "sent, and will say so with the next events"),
            ("own rules", "by a file of their own, which no change here reaches"),
        ):
            found = self.of(state)  # type: ignore[arg-type]
            if found:
                parts.append(f"{len(found):,} {words}: {self._names(found)}")
        if self.unlisted:
            parts.append(f"{self.unlisted:,} or more not known, for whom the list has no room")
        parts += [self.beginning] if self.beginning else []
        if self.target.undone is not None:
            parts.append(f"but revision {self.target.undone} has undone it since")
        return "; ".join(parts)

    def _reach(self) -> str:
        if not self.total:
            return "no instance is known that decides by this server, so nobody can say who has it"
        effect = EFFECTS.get(self.target.action, "in force")
        took = f" in {duration(self.seconds)}" if self.seconds is not None else ""
        noun = "instance" if self.total == 1 else "instances"
        return f"{effect} on {self.reached:,} of {self.total:,} {noun}{took}"

    def _names(self, found: Sequence[Seen]) -> str:
        named = [f"{one.place} ({self.about(one)})" for one in found[:NAMED]]
        more = len(found) - len(named)
        return ", ".join(named) + (f" and {more:,} more" if more else "")

    def about(self, one: Seen) -> str:
        """`revision 12, last seen 4 min ago`; of who pauses long between polls also how long."""
        told = f"{revision_words(one, self.target.environment)}, last seen {since(one, self.now)}"
        rare = not one.streams and one.interval + POLL_TAKES > PATIENCE
        return f"{told}, asks every {one.interval / 1000:g} s" if rare else told

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form."""
        target = self.target
        return {
            "environment": target.environment.key,
            "lineage": target.environment.lineage,
            "revision": target.number,
            "action": target.action,
            "at": target.at,
            "instances": self.total,
            "reached": self.reached,
            "seconds": self.seconds,
            "unlisted": self.unlisted,
            "complete": self.complete,
            "settled": self.settled,
            "sentence": self.sentence(),
            "missing": [
                instance_mapping(seen, target.environment, state)
                for seen, state in self.states
                if state != "current"
            ][:MISSING],
        }


def obedience(
    instances: Sequence[Seen],
    target: Target,
    now: int,
    *,
    unlisted: int = 0,
    returning: int | None = None,
) -> Obedience:
    """How the instances of an environment stand to a revision of it."""
    lineage = target.environment.lineage
    took = [
        at - target.at
        for one in instances
        if one.first_seen <= target.at
        and (at := one.reached(lineage, target.number)) is not None
        and at >= target.at
    ]
    seconds = max(took) / 1000 if took else None
    states = tuple((one, state_of(one, target, now)) for one in instances)
    return Obedience(target, now, states, seconds, unlisted, returning)


def state_of(one: Seen, target: Target, now: int) -> State:
    """What one instance is by the revision."""
    lineage = target.environment.lineage
    if one.has(lineage, target.number):
        return "current"
    if one.revision is not None and parted(one.revision) is None and not one.streams:
        return "own rules"
    due, patience = max(target.at, one.first_seen), PATIENCE
    if one.streams:
        # The stream has sent it; only what every SDK confirms at once can be missed.
        if target.toggled is None or one.has(lineage, target.toggled[0]):
            return "sent"
        due = max(target.toggled[1], one.opened)
    else:
        patience = max(patience, one.interval * 11 // 10 + POLL_TAKES)  # SDKs vary it by a tenth
    return "late" if now - due < patience else "stale"


def look(store: Store, instances: Instances, key: str, number: int | None = None) -> Obedience:
    """Who has revision `number` of an environment (the present one if None).

    Raises NotFoundError for an environment or a revision that is not there.
    """
    environment = store.environment(key)
    number = environment.revision if number is None else number
    row = store.revision(key, number)
    toggle = store.last_of(key, TOGGLES, number)
    toggled = None if toggle is None else (toggle.number, toggle.at)
    target = Target(environment, number, row.at, row.action, toggled, _undone(store, row))
    return obedience(
        instances.all(environment.id),
        target,
        now_ms(),
        unlisted=instances.unlisted(environment.id),
        returning=instances.returning(environment.id),
    )


def _undone(store: Store, row: RevisionRow) -> int | None:
    """The revision that took a kill or restore back, if that is what `row` is."""
    if row.action not in TOGGLES:
        return None
    for section, key in row.changed:
        changes = store.revisions(row.environment, section=section, key=key, limit=RECENT)
        for later in changes:
            if later.number > row.number and later.action in TOGGLES:
                return later.number if later.action != row.action else None
    return None


def instance_mapping(one: Seen, environment: Environment, state: State) -> dict[str, Any]:
    """One instance as JSON."""
    return {
        "id": one.id,
        "host": one.host,
        "pid": one.pid,
        "sdk": one.sdk,
        "key": one.key,
        "revision": one.revision,
        "behind": behind(one, environment),
        "state": state,
        "stream": one.streams > 0,
        "first_seen": one.first_seen,
        "last_seen": one.last_seen,
        "lost": dict(one.lost),
    }


def behind(one: Seen, environment: Environment) -> int | None:
    """How many revisions it lacks; None where it has none of this lineage."""
    own = parted(one.revision)
    if own is None or own[0] != environment.lineage:
        return None
    return max(0, environment.revision - own[1])


def revision_words(one: Seen, environment: Environment) -> str:
    """`revision 12`, or what else it decides by."""
    own = parted(one.revision)
    if own is not None and own[0] == environment.lineage:
        return f"revision {own[1]}"
    return f"revision {one.revision}" if one.revision else "no revision yet"


def duration(seconds: float) -> str:
    """`42 ms`, `0.3 s`, `2 min`."""
    if seconds < 0.1:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def since(one: Seen, now: int) -> str:
    """`4 min ago`, when it last said anything."""
    seconds = max(0, now - one.last_seen) // 1000
    return f"{seconds} s ago" if seconds < 60 else f"{seconds // 60} min ago"

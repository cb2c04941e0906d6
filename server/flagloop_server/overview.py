"""What the flag list and a flag's page show: state, who gets what, usage.

Pure: frozen definitions and counts in, frozen rows out. Times are epoch milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from flagloop.document.definition import WHOLE, Document, Flag, Rule
from flagloop.document.percent import format_percent
from flagloop_server import wording
from flagloop_server.perrevision import PerRevision
from flagloop_server.staleness import Settled, Stale, stale_reasons
from flagloop_server.store import StoredDocument
from flagloop_server.store.events import LiveCounts, Usage

NO_USAGE = Usage(0, None, (0,) * 24, {}, {}, {})
"""Of a flag that nobody asked for in the last 24 hours."""

State: TypeAlias = Literal["live", "canary", "paused", "off", "killed"]


STATES: tuple[State, ...] = get_args(State)

Order: TypeAlias = Literal["document", "key", "state", "owner", "seen", "changed"]
ORDERS: tuple[Order, ...] = get_args(Order)
"""Orders of the flag list; by state those come first that need a person."""

IS: dict[State, str] = {
    "live": "is live",
    "canary": "is a canary",
    "paused": "has a paused rollout",
    "off": "is off",
    "killed": "is killed",
}
"""The states as the verb of a sentence."""


_STATES: PerRevision[dict[str, State]] = PerRevision()


@dataclass(frozen=True, slots=True)
class FlagRow:
    """One line of the flag list; `revision` is the one that changed it last."""

    key: str
    flag: Flag
    state: State
    document: Document
    last_seen_ms: int | None = None
    stale: tuple[Stale, ...] = ()
    revision: int = 0

    @property
    def sentence(self) -> str:
        """Who gets what; made when asked for, since a list shows few of its rows."""
        return wording.who_gets_what(self.flag, self.document)

    @property
    def state_words(self) -> str:
        """`is live`: the state as the verb of a sentence."""
        return IS[self.state]


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list's address asks for; an empty text asks for nothing.

    `stale` is `yes`, `no` or one of its kinds, `type` that of the variants' values.
    """

    text: str = ""
    state: str = ""
    owner: str = ""
    tag: str = ""
    type: str = ""
    stale: str = ""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule as a card: `took` evaluations today, `part` of all of them (None: no data)."""

    number: int
    name: str
    who: str
    outcome: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    share: str
    serves: bool
    took: int
    part: float | None
    is_rollout: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant: its value, evaluations today, units exposed and their events."""

    name: str
    value: Any
    evaluations: int = 0
    part: float | None = None
    units: int = 0
    events: Mapping[str, int] = field(default_factory=dict)


_URGENCY = {"killed": 0, "paused": 1, "canary": 2, "live": 3, "off": 4}
_ORDERS: dict[str, Callable[[FlagRow], Any]] = {
    "key": lambda row: row.key.casefold(),
    "state": lambda row: _URGENCY[row.state],
    "owner": lambda row: (not row.flag.owner, row.flag.owner.casefold()),
    "seen": lambda row: -(row.last_seen_ms or 0),
    "changed": lambda row: -row.revision,
}


def state_of(flag: Flag, document: Document) -> State:
    """The one word for a flag's state.

    `off` says that everyone gets the variant that a kill would serve; `canary` that a rollout
    is on its way.
    """
    if flag.killed is not None:
        return "killed"
    rules, _ = wording.reachable_rules(flag, document)
    rollouts = [rule.rollout for rule in rules if rule.rollout is not None]
    if any(rollout.paused for rollout in rollouts):
        return "paused"
    if any(0 < rollout.stage < WHOLE for rollout in rollouts):
        return "canary"
    if wording.reachable_variants(flag, document) == {flag.off}:
        return "off"
    return "live"


def flag_row(
    flag: Flag,
    document: Document,
    last_seen: int | None,
    now: int,
    settled: Settled | None = None,
    *,
    revision: int = 0,
    state: State | None = None,
) -> FlagRow:
    """The row of one flag; `last_seen` is when it was last evaluated, `state` where it is known."""
    return FlagRow(
        key=flag.key,
        flag=flag,
        state=state or state_of(flag, document),
        document=document,
        last_seen_ms=last_seen,
        stale=stale_reasons(flag, last_seen, now, settled),
        revision=revision,
    )


def flag_rows(
    document: Document,
    last_seen: Mapping[str, int],
    now: int,
    settled: Mapping[str, Settled] | None = None,
    *,
    stored: StoredDocument | None = None,
) -> list[FlagRow]:
    """A row for each flag, in the document's order; `settled` as `staleness` finds them.

    With the document as it is `stored`, rows know their revision, and states are found only once
    for each revision of the document.
    """
    since = settled or {}
    changed = stored.item_revisions if stored is not None else {}
    states = _STATES.of(stored, lambda: _states(document)) if stored is not None else {}
    return [
        flag_row(
            flag,
            document,
            last_seen.get(key),
            now,
            since.get(key),
            revision=changed.get(("flags", key), 0),
            state=states.get(key),
        )
        for key, flag in document.flags.items()
    ]


def _states(document: Document) -> dict[str, State]:
    return {key: state_of(flag, document) for key, flag in document.flags.items()}


def select(rows: Iterable[FlagRow], wanted: Filter) -> list[FlagRow]:
    """The rows that the filter asks for; every word of its text must occur somewhere."""
    words = wanted.text.casefold().split()
    found = [row for row in rows if _matches(row, wanted)]
    return [row for row in found if _contains(row, words)] if words else found


def ordered(rows: Sequence[FlagRow], order: Order) -> list[FlagRow]:
    """The rows in another order; equal ones stay in the document's."""
    return list(rows) if order == "document" else sorted(rows, key=_ORDERS[order])


def _matches(row: FlagRow, wanted: Filter) -> bool:
    if wanted.state and wanted.state != row.state and not (wanted.state == "stale" and row.stale):
        return False
    if wanted.stale and not _stale_as(row, wanted.stale):
        return False
    if wanted.type and row.flag.type != wanted.type:
        return False
    if wanted.owner and row.flag.owner != wanted.owner:
        return False
    return not wanted.tag or wanted.tag in row.flag.tags


def _stale_as(row: FlagRow, wanted: str) -> bool:
    if wanted in ("yes", "no"):
        return bool(row.stale) is (wanted == "yes")
    return any(one.kind == wanted for one in row.stale)


def _contains(row: FlagRow, words: Sequence[str]) -> bool:
    flag = row.flag
    text = " ".join((flag.key, flag.description, flag.owner, *flag.tags, *flag.variants))
    text = text.casefold()
    return all(word in text for word in words)


def summary(rows: Sequence[FlagRow]) -> str:
    """`42 live, 1 canary, 3 off, 1 killed, 5 stale`; states that none has are left out."""
    states = Counter(row.state for row in rows)
    parts = [f"{states[state]:,} {state}" for state in STATES if states[state]]
    stale = sum(bool(row.stale) for row in rows)
    if stale:
        parts.append(f"{stale:,} stale")
    return ", ".join(parts)


def rule_rows(flag: Flag, document: Document, usage: Usage) -> list[RuleRow]:
    """The rules in order, each with the evaluations that it took."""
    total = sum(usage.by_rule.values())
    reachable = {rule.name for rule in wording.reachable_rules(flag, document)[0]}
    rows = []
    for number, rule in enumerate(flag.rules, 1):
        took = usage.by_rule.get(rule.name, 0)
        rows.append(
            RuleRow(
                number=number,
                name=rule.name,
                who=wording.who_words(rule.when),
                outcome=wording.portions(rule),
                notes=_notes(rule, document, reachable),
                share=share_of(rule),
                serves=rule.name in reachable and flag.killed is None,
                took=took,
                part=took / total if total else None,
                is_rollout=rule.rollout is not None,
                paused=rule.rollout is not None and rule.rollout.paused,
            )
        )
    return rows


def unserved_parts(usage: Usage) -> tuple[float | None, float | None]:
    """The parts of the evaluations without a rule: (default, off); None without data.

    `off` are those of a killed flag or of a prerequisite that was not met.
    """
    total = sum(usage.by_rule.values())
    if not total:
        return None, None
    off = usage.by_reason.get("DISABLED", 0)
    return (usage.by_rule.get(None, 0) - off) / total, off / total


def variant_rows(
    flag: Flag,
    usage: Usage,
    counts: LiveCounts,
) -> list[VariantRow]:
    """A row for each variant, in the written order."""
    total = sum(usage.by_variant.values())
    rows = []
    for name, value in flag.variants.items():
        served = usage.by_variant.get(name, 0)
        rows.append(
            VariantRow(
                name=name,
                value=value,
                evaluations=served,
                part=served / total if total else None,
                units=counts.units.get(name, 0),
                events={
                    event: by_variant[name].units
                    for event, by_variant in counts.events.items()
                    if name in by_variant
                },
            )
        )
    return rows


def _notes(rule: Rule, document: Document, reachable: set[str]) -> tuple[str, ...]:
    notes = []
    if rule.rollout is None and rule.share is not None:
        notes.append(f"takes {format_percent(rule.share)} of them, the others fall through")
    if rule.unit != "key":
        notes.append(f"unit {rule.unit}")
    if window := wording.window_words(rule):
        notes.append(window)
    if rule.experiment is not None:
        experiment = document.experiments.get(rule.experiment)
        notes.append(f"experiment {rule.experiment}, {experiment.status if experiment else '?'}")
        if experiment is not None and experiment.layer is not None:
            place = experiment.layer
            low, high = format_percent(place.low), format_percent(place.high)
            notes.append(f"layer {place.layer} from {low} to {high}")
    if rule.rollout is not None:
        stages = ", ".join(format_percent(stage) for stage in rule.rollout.stages)
        notes.append(f"stages {stages}" + (", paused" if rule.rollout.paused else ""))
    if rule.name not in reachable:
        notes.append(_why_idle(rule, document))
    return tuple(notes)


def _why_idle(rule: Rule, document: Document) -> str:
    if wording.serves(rule, document):
        return "never reached: a rule above serves everyone"
    return "serves nobody: share 0%" if rule.share == 0 else "serves nobody: draft experiment"


def share_of(rule: Rule) -> str:
    """The percentage that the share control of a rule moves."""
    if rule.rollout is not None:
        return format_percent(rule.rollout.stage)
    return format_percent(WHOLE if rule.share is None else rule.share)


def sparkline(hours: Sequence[int], width: int = 96, height: int = 20) -> str:
    """The points of an SVG polyline over the hours, scaled to the highest."""
    if not hours or not any(hours):
        return ""
    top = max(hours)
    step = width / max(len(hours) - 1, 1)
    return " ".join(
        f"{index * step:.1f},{1 + (height - 2) * (1 - n / top):.1f}"
        for index, n in enumerate(hours)
    )


def dependents(document: Document, key: str) -> list[str]:
    """The flags that require a flag, in the document's order."""
    return _requiring(document).get(key, [])


def dependents_of_dependents(document: Document, key: str) -> list[str]:
    """The flags that require a flag only through others, in the document's order."""
    requiring = _requiring(document)
    reached, waiting = {key}, [key]
    while waiting:
        found = [name for name in requiring.get(waiting.pop(), ()) if name not in reached]
        reached.update(found)
        waiting += found
    further = reached - {key, *requiring.get(key, ())}
    return [name for name in document.flags if name in further]


def _requiring(document: Document) -> dict[str, list[str]]:
    """Flag -> those that require it."""
    found: dict[str, list[str]] = {}
    for name, flag in document.flags.items():
        for need, _ in flag.requires:
            found.setdefault(need, []).append(name)
    return found

"""A rule as a card: who, what they get, and what bounds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flagloop.document.definition import WHOLE
from flagloop.document.percent import format_percent, parse_percent
from flagloop.document.problem import Path, Problem
from flagloop.document.schema import read_flag
from flagloop_server import wording
from flagloop_server.web.pages.visual.board import Board, Field, identity, same
from flagloop_server.web.pages.visual.conditions import ConditionCard, condition_card

OUTCOMES = (
    ("serve", "one variant"),
    ("split", "a split"),
    ("rollout", "a rollout"),
)


@dataclass(frozen=True, slots=True)
class PartRow:
    """One variant's weight in a split."""

    variant: str
    weight: Field


@dataclass(frozen=True, slots=True)
class SplitCard:
    """The weights; `rest` is what is missing to 100% (or too much), in words."""

    address: str
    parts: tuple[PartRow, ...]
    rest: str
    whole: bool
    free: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class RuleCard:
    """One rule; `sentence` says it in words where it can be read."""

    place: int
    path: Path
    name: Field
    name_text: str
    sentence: str
    when: ConditionCard
    outcome: str
    serve: Field
    split: SplitCard | None
    rollout: tuple[Field, ...]
    runtime: str
    share: Field | None
    bounds: tuple[Field, ...]
    experiment: Field | None
    layer: str
    problems: tuple[Problem, ...]
    idle: str = ""

    @property
    def id(self) -> str:
        """What nothing else on the page is called."""
        return identity(self.path)

    @property
    def address(self) -> str:
        """The path as JSON."""
        return json.dumps(self.path)

    @property
    def bounded(self) -> bool:
        """Whether something bounds it that is worth to be seen at once."""
        return any(field.text or field.problems for field in self.bounds)

    def with_idle(self, reason: str) -> RuleCard:
        """The same with the reason why it serves nobody."""
        return replace(self, idle=reason)


def rule_card(
    board: Board, item: Mapping[str, Any], variants: Sequence[str], place: int
) -> RuleCard:
    """The card of one rule of a flag's mapping, whatever is wrong with it."""
    raw = item["rules"][place]
    rule = raw if isinstance(raw, dict) else {}
    path: Path = ("rules", place)
    outcome = next((word for word, _ in OUTCOMES if word in rule), "")
    name = board.text(rule, (*path, "name"), "name")
    when = condition_card(board, rule.get("when"), (*path, "when"))
    split = (
        split_card(board, rule["split"], (*path, "split"), variants) if "split" in rule else None
    )
    experiment = str(rule.get("experiment", ""))
    return RuleCard(
        place=place,
        path=path,
        name=replace(name, path=path, do="name", kind=""),
        name_text=name.text,
        sentence=sentence(item, raw),
        when=when,
        outcome=outcome,
        serve=board.choice(rule, (*path, "serve"), "Variant", same(variants)),
        split=split,
        rollout=rollout_fields(board, rule.get("rollout"), (*path, "rollout"), variants),
        runtime=runtime(rule.get("rollout")),
        share=_share(board, rule, path) if outcome != "rollout" or "share" in rule else None,
        bounds=_bounds(board, rule, path),
        experiment=_experiment(board, rule, path) if "split" in rule or experiment else None,
        layer=board.known.layers.get(experiment, ""),
        problems=board.take(path),
    )


def sentence(item: Mapping[str, Any], raw: Any) -> str:
    """What a rule says, as a clause; empty where it cannot be read alone."""
    words = ("type", "variants", "default", "off", "unit")
    alone = {word: item[word] for word in words if word in item}
    flag, _ = read_flag("flag", {**alone, "rules": [raw]})
    return wording.rule_words(flag.rules[0]) if flag is not None else ""


def split_card(board: Board, raw: Any, path: Path, variants: Sequence[str]) -> SplitCard:
    """The weights of a split, a mapping or (on the wire) a list of pairs."""
    parts = []
    pairs: list[tuple[str, Any, Path]] = []
    if isinstance(raw, dict):
        pairs = [(name, weight, (*path, name)) for name, weight in raw.items()]
    elif isinstance(raw, list):
        listed = [pair for pair in raw if isinstance(pair, list) and len(pair) == 2]
        pairs = [(str(n), w, (*path, place, 1)) for place, (n, w) in enumerate(listed)]
    for name, weight, place in pairs:
        shown = board.shown(weight, "percent")
        found = Field(place, f"weight of {name}", shown, "weight", problems=board.take(place))
        parts.append(PartRow(name, found))
    free = tuple(name for name in variants if name not in {name for name, _, _ in pairs})
    rest, whole = remaining([weight for _, weight, _ in pairs])
    return SplitCard(json.dumps(path), tuple(parts), rest, whole, free, board.take(path))


def remaining(weights: Sequence[Any]) -> tuple[str, bool]:
    """`10% left`, and whether the weights sum to 100%."""
    try:
        total = sum(parse_percent(weight) for weight in weights)
    except (TypeError, ValueError):
        return "a weight is no percentage", False
    if total == WHOLE:
        return "sums to 100%", True
    over = format_percent(abs(total - WHOLE))
    return (f"{over} too much" if total > WHOLE else f"{over} left"), False


def rollout_fields(
    board: Board, rollout: Any, path: Path, variants: Sequence[str]
) -> tuple[Field, ...]:
    """The words of a rollout that are written by review; none where there is no rollout."""
    if not isinstance(rollout, dict):
        return ()
    dwell = rollout.get("dwell")
    default = [("", "the flag's default"), *same(variants)]
    harms = [("", "roll back"), ("rollback", "roll back"), ("pause", "pause")]
    if "on_harm" in rollout:
        harms = harms[1:]
    commas = "separated by commas"
    return (
        board.choice(rollout, (*path, "to"), "To", same(variants)),
        board.choice(rollout, (*path, "from"), "From", default),
        board.text(rollout, (*path, "stages"), "Stages", "percents", hint="rising, with commas"),
        board.text(
            rollout, (*path, "guardrails"), "Guardrails", "texts", suggest="metrics", hint=commas
        ),
        board.text(dwell, (*path, "dwell", "min"), "Stay at least", hint="like 10m"),
        board.text(dwell, (*path, "dwell", "max"), "Stay at most", hint="like 6h"),
        board.text(rollout, (*path, "harm_budget"), "Harm budget", "percent", hint="1%"),
        board.choice(rollout, (*path, "on_harm"), "On harm", harms),
    )


def runtime(rollout: Any) -> str:
    """Where a rollout stands; its page moves it."""
    if not isinstance(rollout, dict):
        return ""
    stage = rollout.get("stage", "0%")
    return f"Stands at {stage}{', paused' if rollout.get('paused') else ''}"


def _share(board: Board, rule: Mapping[str, Any], path: Path) -> Field:
    hint = "100%"
    return board.text(rule, (*path, "share"), "Share of them", "percent", hint=hint)


def _bounds(board: Board, rule: Mapping[str, Any], path: Path) -> tuple[Field, ...]:
    time = "like 2027-03-01T09:00:00Z"
    return (
        board.text(rule, (*path, "from"), "From", hint=time),
        board.text(rule, (*path, "until"), "Until", hint=time),
        board.text(rule, (*path, "unit"), "Unit", suggest="attributes", hint="the flag's"),
        board.text(rule, (*path, "salt"), "Salt", hint="the rule's name"),
    )


def _experiment(board: Board, rule: Mapping[str, Any], path: Path) -> Field:
    names = [("", "none"), *same(board.known.experiments)]
    return board.choice(rule, (*path, "experiment"), "Experiment", names)

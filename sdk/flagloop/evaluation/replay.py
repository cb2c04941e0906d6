"""Recorded contexts through two rulesets: who keeps the variant, who moves, from where to where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flagloop.evaluation.conditions import attributes
from flagloop.evaluation.plan import Plan
from flagloop.evaluation.ruleset import Ruleset

Move: TypeAlias = tuple[str | None, str | None]
"""(variant before, variant after); None is the caller's default."""

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A rule that tests attributes which no context records, so nobody is known to match.

    `flag` is the prerequisite, direct or not, that has the rule; None: the flag itself.
    """

    rule: str
    attributes: tuple[str, ...]
    flag: str | None = None

    @property
    def name(self) -> str:
        """The rule, with its flag if it is a prerequisite's."""
        return self.rule if self.flag is None else f"{self.rule} of required flag {self.flag}"


@dataclass(slots=True)
class FlagReplay:
    """One flag: how many contexts `stay`, how many make each move, some of their keys.

    `before` and `after` say whether the flag is there at all; `movers` are the places, from 0, of
    the contexts that move; `unjudged` names the rules of either ruleset, and of the flags
    required there, that the contexts cannot judge.
    """

    flag: str
    before: bool
    after: bool
    stay: int = 0
    moves: dict[Move, int] = field(default_factory=dict)
    examples: dict[Move, list[str]] = field(default_factory=dict)
    movers: list[int] = field(default_factory=list)
    unjudged: tuple[Unjudged, ...] = ()

    @property
    def moved(self) -> int:
        """How many contexts get another variant."""
        return sum(self.moves.values())

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form; null is the caller's default."""
        return {
            "before": self.before,
            "after": self.after,
            "stay": self.stay,
            "moved": self.moved,
            "moves": [
                {"from": old, "to": new, "n": n, "examples": self.examples[old, new]}
                for (old, new), n in self._by_size()
            ],
            "unjudged": [
                {"rule": one.rule, "attributes": list(one.attributes), "flag": one.flag}
                for one in self.unjudged
            ],
        }

    def render(self) -> str:
        """Lines for the terminal."""
        lines = [f"{self.flag}: {self.stay} stay, {self.moved} move"]
        for (old, new), n in self._by_size():
            names = f"{_name(old, self.before)} -> {_name(new, self.after)}"
            lines.append(f"  {n} {names} ({', '.join(self.examples[old, new])})")
        for one in self.unjudged:
            absent = ", ".join(one.attributes)
            lines.append(f"  rule {one.name} cannot be judged; not recorded: {absent}")
        return "\n".join(lines)

    def _by_size(self) -> list[tuple[Move, int]]:
        return sorted(self.moves.items(), key=lambda move: -move[1])


@dataclass(frozen=True, slots=True)
class Replay:
    """The outcome of `contexts` contexts for each flag."""

    contexts: int
    flags: Mapping[str, FlagReplay]

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form."""
        flags = {name: flag.to_mapping() for name, flag in self.flags.items()}
        return {"contexts": self.contexts, "flags": flags}

    def render(self) -> str:
        """Lines for the terminal: the flags that change or cannot be judged, then a summary."""
        told = [flag for flag in self.flags.values() if flag.moves or flag.unjudged]
        moved = sum(1 for flag in told if flag.moves)
        counts = f"contexts: {self.contexts}, flags: {len(self.flags)}"
        last = f"{counts}, flags with moves: {moved}"
        return "\n".join([*[flag.render() for flag in told], last])


def replay(
    old: Ruleset,
    new: Ruleset,
    contexts: Iterable[Mapping[str, Any]],
    flags: Iterable[str] | None = None,
    now: float | None = None,
    *,
    recorded: Iterable[str] | None = None,
) -> Replay:
    """What the contexts get from `old` and from `new`, flag by flag.

    `flags` are all of both rulesets unless given. `now` is epoch seconds, for both; ValueError
    where a rule has a window and `now` is None. `recorded` are the attributes that a context
    would have if its user had them; left out, those that any of the contexts has.
    """
    everyone = list(contexts)
    kept = frozenset(recorded) if recorded is not None else frozenset().union(*everyone)
    names = dict.fromkeys(flags if flags is not None else (*old.names(), *new.names()))
    known = (frozenset(old.names()), frozenset(new.names()))
    results: dict[str, FlagReplay] = {}
    for name in names:
        result = FlagReplay(name, name in known[0], name in known[1])
        result.unjudged = _unjudged((old, new), name, kept) if everyone else ()
        for place, context in enumerate(everyone):
            before = old.evaluate(name, context, now).variant
            after = new.evaluate(name, context, now).variant
            if before == after:
                result.stay += 1
            else:
                result.movers.append(place)
                _note(result, (before, after), context)
        results[name] = result
    return Replay(len(everyone), results)


def _note(result: FlagReplay, move: Move, context: Mapping[str, Any]) -> None:
    result.moves[move] = result.moves.get(move, 0) + 1
    examples = result.examples.setdefault(move, [])
    if len(examples) < _EXAMPLES:
        examples.append(str(context.get("key")))


def _unjudged(
    rulesets: Iterable[Ruleset], flag: str, recorded: frozenset[str]
) -> tuple[Unjudged, ...]:
    found: dict[tuple[str, str | None], set[str]] = {}
    for ruleset in rulesets:
        for plan in _asked(ruleset, flag):
            owner = plan.flag.key if plan.flag.key != flag else None
            for rule, absent in _absent(plan, recorded):
                found.setdefault((rule, owner), set()).update(absent)
    return tuple(
        [Unjudged(rule, tuple(sorted(names)), owner) for (rule, owner), names in found.items()]
    )


def _asked(ruleset: Ruleset, flag: str) -> Iterator[Plan]:
    """The flag and all that it requires, as far as their rules are asked at all."""
    names, seen = [flag], {flag}
    for name in names:
        plan = ruleset.plan(name)
        if plan is not None and plan.killed is None:
            yield plan
            names += [other for other, _, _ in plan.requires if other not in seen]
            seen.update(names)


def _absent(plan: Plan, recorded: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """The rules that test what is not recorded, with those attributes."""
    for step in plan.steps:
        tested = attributes(step.when) if step.when is not None else frozenset()
        if step.needs_unit:
            tested |= {step.rule.unit}
        if not step.dead and not tested <= recorded:
            yield step.rule.name, tested - recorded


def _name(variant: str | None, there: bool) -> str:
    if variant is not None:
        return variant
    return "the caller's default" if there else "unknown flag"

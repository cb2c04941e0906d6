"""What items of a document say about each other: references, cycles, overlaps, units.

`Links` reads items only when asked, so a change of one flag costs what that flag and its
neighbours cost, however large the document is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

from flagloop.document.cycles import Cycles
from flagloop.document.definition import Experiment, Flag, Rule
from flagloop.document.percent import format_percent
from flagloop.document.problem import Path, Problem, path_text
from flagloop.document.schema_condition import segments_of
from flagloop.document.schema_experiment import (
    read_experiment,
    read_holdout,
    read_layer,
    read_metric,
    read_segment,
)
from flagloop.document.schema_flag import read_flag
from flagloop.document.schema_words import Problems, refuse, show, unknown

Ref: TypeAlias = tuple[str, str]
"""(section, key) of an item."""

MAX_ITEM = 256 * 1024

READERS: Mapping[str, Callable[[str, Any], tuple[Any, list[Problem]]]] = {
    "segments": read_segment,
    "layers": read_layer,
    "holdouts": read_holdout,
    "metrics": read_metric,
    "experiments": read_experiment,
    "flags": read_flag,
}
_KINDS = {section: section[:-1] for section in READERS}


_ANYTHING: dict[str, Any] = {}
"""Stands for a section that is no mapping: that is one problem, not one for each reference."""


def mentions(section: str, mapping: Any) -> Iterator[tuple[Path, Ref]]:
    """Each item that an item names, with the place; wrong shapes are passed over."""
    if not isinstance(mapping, dict):
        return
    if section == "flags":
        yield from _flag_mentions(mapping)
    elif section == "segments":
        for path, name in segments_of(mapping.get("when"), ("when",)):
            yield path, ("segments", name)
    elif section == "experiments":
        yield from _one(mapping, "primary", "metrics", ())
        yield from _many(mapping, "secondary", "metrics", ())
        yield from _many(mapping, "guardrails", "metrics", ())
        yield from _one(mapping.get("layer"), "name", "layers", ("layer",))


def references(section: str, mapping: Any) -> set[Ref]:
    """The (section, key) of each item that this item names, whether it exists or not."""
    return {ref for _, ref in mentions(section, mapping)}


def _flag_mentions(mapping: dict[Any, Any]) -> Iterator[tuple[Path, Ref]]:
    yield from _one(mapping, "holdout", "holdouts", ())
    requires = mapping.get("requires")
    if isinstance(requires, dict):
        for name in requires:
            if isinstance(name, str):
                yield ("requires", name), ("flags", name)
    rules = mapping.get("rules")
    for i, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
        if not isinstance(rule, dict):
            continue
        path = ("rules", i)
        if "when" in rule:
            for place, name in segments_of(rule["when"], (*path, "when")):
                yield place, ("segments", name)
        yield from _one(rule, "experiment", "experiments", path)
        yield from _many(rule.get("rollout"), "guardrails", "metrics", (*path, "rollout"))


def _one(mapping: Any, word: str, section: str, path: Path) -> Iterator[tuple[Path, Ref]]:
    name = mapping.get(word) if isinstance(mapping, dict) else None
    if isinstance(name, str):
        yield (*path, word), (section, name)


def _many(mapping: Any, word: str, section: str, path: Path) -> Iterator[tuple[Path, Ref]]:
    names = mapping.get(word) if isinstance(mapping, dict) else None
    for i, name in enumerate(names if isinstance(names, (list, tuple)) else ()):
        if isinstance(name, str):
            yield (*path, word, i), (section, name)


class Links:
    """The items of a document, read when first asked for, and what is wrong with each.

    `namers` maps an item to those that name it (it may hold more than the document does).
    """

    def __init__(self, mapping: Mapping[str, Any], namers: Mapping[Ref, Collection[Ref]]) -> None:
        self._sections: dict[str, dict[str, Any]] = {}
        for section in READERS:
            items = mapping.get(section, {})
            self._sections[section] = items if isinstance(items, dict) else _ANYTHING
        self._namers = namers
        self._read: dict[Ref, tuple[Any, list[Problem]]] = {}
        self.requires_cycles = Cycles(self.required)
        self.segment_cycles = Cycles(self.inner)

    def __contains__(self, ref: Ref) -> bool:
        return ref[1] in self._sections.get(ref[0], {})

    def read(self, section: str, name: str) -> tuple[Any, list[Problem]]:
        """`read_item`, once for each item; an absent item is (None, [])."""
        ref = (section, name)
        if ref not in self._read:
            items = self._sections[section]
            self._read[ref] = READERS[section](name, items[name]) if name in items else (None, [])
        return self._read[ref]

    def problems(self, section: str, name: str) -> list[Problem]:
        """All that is wrong with one item, its references included; paths start at the root."""
        if (section, name) not in self:
            return []
        mapping = self._sections[section][name]
        item, own = self.read(section, name)
        out = [*own]
        _check_size(mapping, out)
        for path, (target, other) in mentions(section, mapping):
            known = self._sections[target]
            if other not in known and known is not _ANYTHING:
                unknown(out, path, _KINDS[target], other, known)
        if item is not None:
            check = _CHECKS.get(section)
            if check is not None:
                check(self, item, out)
        return [problem.under(section, str(name)) for problem in out]

    def flag(self, name: str) -> Flag | None:
        """A good flag, else None."""
        flag: Flag | None = self.read("flags", name)[0]
        return flag

    def experiment(self, name: str) -> Experiment | None:
        """A good experiment, else None."""
        experiment: Experiment | None = self.read("experiments", name)[0]
        return experiment

    def rules_of(self, experiment: str) -> list[tuple[Flag, int, Rule]]:
        """The rules that name an experiment, in the document's order."""
        names = [
            name
            for section, name in self._namers.get(("experiments", experiment), ())
            if section == "flags"
        ]
        found = []
        for name in self._in_order("flags", names):
            flag = self.flag(name)
            for i, rule in enumerate(flag.rules if flag else ()):
                if flag and rule.experiment == experiment:
                    found.append((flag, i, rule))
        return found

    def layer_mates(self, experiment: Experiment) -> list[Experiment]:
        """Running experiments of the same layer that stand before this one."""
        if experiment.layer is None:
            return []
        namers = self._namers.get(("layers", experiment.layer.layer), ())
        mates = []
        for name in self._in_order("experiments", [name for _, name in namers]):
            if name == experiment.key:
                break
            mate = self.experiment(name)
            if mate and mate.layer and mate.status == "running":
                mates.append(mate)
        return mates

    def _in_order(self, section: str, names: list[str]) -> list[str]:
        if len(names) < 2:
            return names
        wanted = set(names)
        return [name for name in self._sections[section] if name in wanted]

    def required(self, flag: str) -> tuple[str, ...]:
        """The flags that a flag requires."""
        found = self.flag(flag)
        return tuple([name for name, _ in found.requires]) if found else ()

    def inner(self, segment: str) -> tuple[str, ...]:
        """The segments that a segment names."""
        mapping = self._sections["segments"].get(segment)
        return tuple([name for _, (_, name) in mentions("segments", mapping)])


def _check_size(mapping: Any, out: Problems) -> None:
    try:
        size = len(json.dumps(mapping))
    except (TypeError, ValueError, RecursionError):
        return  # no JSON: the reader has said so
    if size > MAX_ITEM:  # escapes make that text longer than UTF-8 is
        size = len(json.dumps(mapping, ensure_ascii=False).encode("utf-8", "replace"))
    if size > MAX_ITEM:
        hint = f"at most {MAX_ITEM // 1024} KB; move long lists into attributes or segments"
        refuse(out, (), f"the item is {size // 1024} KB large", hint)


def _check_flag(links: Links, flag: Flag, out: Problems) -> None:
    for name, variant in flag.requires:
        other = links.flag(name)
        if other is not None and variant not in other.variants:
            unknown(out, ("requires", name), f"variant of flag '{name}':", variant, other.variants)
    cycle = links.requires_cycles.of(flag.key) if flag.requires else []
    if cycle:
        place = next(name for name, _ in flag.requires if name in cycle)
        message = _cycle_text(flag.key, cycle, "require")
        refuse(out, ("requires", place), message, "remove `requires` from one of them")
    for i, rule in enumerate(flag.rules):
        if rule.experiment is not None:
            _check_experiment_rule(links, flag, i, rule, out)


def _check_experiment_rule(links: Links, flag: Flag, i: int, rule: Rule, out: Problems) -> None:
    path = ("rules", i, "experiment")
    for first, place, _ in links.rules_of(rule.experiment or "")[:1]:
        if (first.key, place) != (flag.key, i):
            where = path_text(("flags", first.key, "rules", place))
            hint = "an experiment belongs to one rule; make another experiment"
            refuse(out, path, f"experiment {show(rule.experiment)} is already in {where}", hint)
    experiment = links.experiment(rule.experiment or "")
    layer = experiment.layer.layer if experiment and experiment.layer else None
    for section, name in (("layers", layer), ("holdouts", flag.holdout)):
        other = links.read(section, name)[0] if name else None
        if other is not None and other.unit != rule.unit:
            kind = _KINDS[section]
            message = (
                f"the rule's unit is '{rule.unit}', but {kind} {show(name)} has '{other.unit}'"
            )
            refuse(out, path, message, f"give rule and {kind} the same `unit`")


def _check_experiment(links: Links, experiment: Experiment, out: Problems) -> None:
    rules = links.rules_of(experiment.key)
    if not rules and experiment.status == "running":
        message = "no rule of a flag names this experiment"
        hint = f"add experiment: {experiment.key} to a rule with `split`, or write status: draft"
        out.append(Problem(message, (), hint=hint, severity="warning"))
    for flag, i, rule in rules[:1]:
        control = experiment.control or flag.default
        variants = [name for name, _ in rule.split or ()]
        if control not in variants:
            where = path_text(("flags", flag.key, "rules", i, "split"))
            if experiment.control is None:
                message = f"the flag's default {show(control)} is not in {where}"
                refuse(out, (), message, f"add control: {variants[0]}, or another variant of it")
            else:
                unknown(out, ("control",), f"variant in {where}:", control, variants)
    if experiment.layer is None or experiment.status != "running":
        return
    for mate in links.layer_mates(experiment):
        held = mate.layer
        if held and held.low < experiment.layer.high and experiment.layer.low < held.high:
            theirs = f"[{format_percent(held.low)}, {format_percent(held.high)}]"
            message = f"the range overlaps with {theirs} of experiment '{mate.key}'"
            refuse(out, ("layer", "range"), message, "running experiments hold disjoint ranges")


def _check_segment(links: Links, segment: Any, out: Problems) -> None:
    cycle = links.segment_cycles.of(segment.key)
    if cycle:
        message = _cycle_text(segment.key, cycle, "name")
        refuse(out, ("when",), message, "remove `segment` from one of them")


_CHECKS: Mapping[str, Callable[[Links, Any, Problems], None]] = {
    "flags": _check_flag,
    "experiments": _check_experiment,
    "segments": _check_segment,
}


def _cycle_text(name: str, members: list[str], verb: str) -> str:
    if len(members) == 1:
        return f"'{name}' {verb}s itself"
    shown = ", ".join(f"'{member}'" for member in members[:5])
    more = f" and {len(members) - 5} more" if len(members) > 5 else ""
    return f"{shown}{more} {verb} each other in a cycle"

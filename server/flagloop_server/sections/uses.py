"""Who uses an item, and as what: the other end of every reference of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flagloop.document.definition import (
    All,
    AnyOf,
    Condition,
    Document,
    Experiment,
    Flag,
    InSegment,
    Not,
    Rule,
)
from flagloop.document.percent import format_percent
from flagloop_server.store import Ref


@dataclass(frozen=True, slots=True)
class Use:
    """One place that names an item: `role` says as what, `rule` in which rule of a flag."""

    section: str
    key: str
    role: str
    rule: str | None = None


def uses(document: Document) -> Mapping[Ref, tuple[Use, ...]]:
    """For each item that is named anywhere, the places that name it, in the document's order."""
    found: dict[Ref, dict[Use, None]] = {}
    for ref, use in _all(document):
        found.setdefault(ref, {})[use] = None
    return {ref: tuple(named) for ref, named in found.items()}


def deciding(used: Mapping[Ref, tuple[Use, ...]], ref: Ref) -> set[str]:
    """The flags that decide by an item: those that name it, also through segments."""
    flags: set[str] = set()
    waiting, seen = [ref], {ref}
    while waiting:
        for use in used.get(waiting.pop(), ()):
            if use.section == "flags":
                flags.add(use.key)
            elif use.section == "segments" and ("segments", use.key) not in seen:
                seen.add(("segments", use.key))
                waiting.append(("segments", use.key))
    return flags


def segments_in(condition: Condition | None) -> Iterator[str]:
    """The segments that a condition names, as often as it names them."""
    match condition:
        case InSegment(segments):
            yield from segments
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from segments_in(part)
        case Not(part):
            yield from segments_in(part)


def _all(document: Document) -> Iterator[tuple[Ref, Use]]:
    for key, segment in document.segments.items():
        for name in segments_in(segment.when):
            yield ("segments", name), Use("segments", key, "condition")
    for experiment in document.experiments.values():
        yield from _of_experiment(experiment)
    for flag in document.flags.values():
        yield from _of_flag(flag)


def _of_experiment(experiment: Experiment) -> Iterator[tuple[Ref, Use]]:
    def used(role: str) -> Use:
        return Use("experiments", experiment.key, role)

    if experiment.primary:
        yield ("metrics", experiment.primary), used("primary metric")
    for name in experiment.secondary:
        yield ("metrics", name), used("secondary metric")
    for name in experiment.guardrails:
        yield ("metrics", name), used("guardrail")
    if experiment.layer:
        low, high = format_percent(experiment.layer.low), format_percent(experiment.layer.high)
        yield ("layers", experiment.layer.layer), used(f"holds {low} to {high}")


def _of_flag(flag: Flag) -> Iterator[tuple[Ref, Use]]:
    for name, variant in flag.requires:
        yield ("flags", name), Use("flags", flag.key, f"requires {variant}")
    if flag.holdout:
        yield ("holdouts", flag.holdout), Use("flags", flag.key, "holdout")
    for rule in flag.rules:
        yield from _of_rule(flag.key, rule)


def _of_rule(flag: str, rule: Rule) -> Iterator[tuple[Ref, Use]]:
    for name in segments_in(rule.when):
        yield ("segments", name), Use("flags", flag, f"rule {rule.name}", rule.name)
    if rule.experiment:
        yield ("experiments", rule.experiment), Use("flags", flag, f"rule {rule.name}", rule.name)
    if rule.rollout:
        for name in rule.rollout.guardrails:
            role = f"guardrail of rollout {rule.name}"
            yield ("metrics", name), Use("flags", flag, role, rule.name)

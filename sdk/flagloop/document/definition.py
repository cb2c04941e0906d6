"""The frozen types of one environment's document (flags, segments, experiments, ...).

Percentages are exact integers: millionths of a percent, so 25% is 25_000_000 and `WHOLE`
is 100%. Durations are seconds, times are epoch seconds (float, UTC). Nothing here parses,
hashes or evaluates.

They are named tuples, not dataclasses: as immutable, but made in a third of the time, and twenty
frozen dataclasses would cost each start of an application 10 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

WHOLE = 100_000_000
"""100%, in millionths of a percent."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})

VariantType: TypeAlias = Literal["boolean", "string", "integer", "number", "json"]


class Test(NamedTuple):
    """One leaf condition: `attribute operator constant` (a list constant is a tuple)."""

    attribute: str
    operator: str
    constant: Any


class All(NamedTuple):
    """Every part holds (an empty one is true)."""

    parts: tuple[Condition, ...]


class AnyOf(NamedTuple):
    """At least one part holds (an empty one is false)."""

    parts: tuple[Condition, ...]


class Not(NamedTuple):
    """The part does not hold."""

    part: Condition


class InSegment(NamedTuple):
    """The context is in any of the segments."""

    segments: tuple[str, ...]


Condition: TypeAlias = Test | All | AnyOf | Not | InSegment


class Rollout(NamedTuple):
    """A share that climbs by stages from variant `from_` to variant `to`."""

    to: str
    from_: str
    stages: tuple[int, ...]
    guardrails: tuple[str, ...] = ()
    dwell_min: float = 0.0
    dwell_max: float | None = None
    harm_budget: int = 1_000_000
    on_harm: Literal["rollback", "pause"] = "rollback"
    stage: int = 0
    paused: bool = False


class Rule(NamedTuple):
    """Condition -> serve, split or rollout (exactly one of the three is set)."""

    name: str
    salt: str
    unit: str
    when: Condition | None = None
    from_: float | None = None
    until: float | None = None
    share: int | None = None
    serve: str | None = None
    split: tuple[tuple[str, int], ...] | None = None
    rollout: Rollout | None = None
    experiment: str | None = None


class Killed(NamedTuple):
    """Why, by whom and when a flag was killed (all None for the bare `killed: true`)."""

    reason: str | None = None
    by: str | None = None
    at: str | None = None


class Flag(NamedTuple):
    """One flag. `variants` keeps the written order; `off` None means the caller's default."""

    key: str
    type: VariantType
    variants: Mapping[str, Any]
    default: str
    off: str | None
    unit: str = "key"
    salt: str = ""
    rules: tuple[Rule, ...] = ()
    requires: tuple[tuple[str, str], ...] = ()
    holdout: str | None = None
    log: tuple[str, ...] = ()
    killed: Killed | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    expires: str | None = None


class Segment(NamedTuple):
    """A named condition."""

    key: str
    when: Condition
    description: str = ""


class Layer(NamedTuple):
    """Experiments of one layer hold disjoint ranges of its units."""

    key: str
    unit: str = "key"
    description: str = ""


class Holdout(NamedTuple):
    """Units that get the default of every flag that names this holdout."""

    key: str
    share: int
    unit: str = "key"
    description: str = ""


class Exceeds(NamedTuple):
    """An event counts when its property is over the limit."""

    property: str
    limit: float


class Metric(NamedTuple):
    """How events become one number per unit (neither sum nor exceeds: conversion)."""

    key: str
    event: str
    better: Literal["higher", "lower"]
    sum: str | None = None
    exceeds: Exceeds | None = None
    cap: str | None = None
    description: str = ""


class LayerRange(NamedTuple):
    """The half-open range of a layer that an experiment holds."""

    layer: str
    low: int
    high: int


class Plan(NamedTuple):
    """How an experiment will be judged; percentages as everywhere, `days` whole days."""

    method: str = "sequential"
    baseline: int | None = None
    mde: int | None = None
    power: int | None = None
    days: int | None = None


class Experiment(NamedTuple):
    """A split with a plan."""

    key: str
    primary: str | None = None
    secondary: tuple[str, ...] = ()
    guardrails: tuple[str, ...] = ()
    control: str | None = None
    layer: LayerRange | None = None
    plan: Plan | None = None
    status: Literal["draft", "running", "decided"] = "running"
    hypothesis: str = ""
    owner: str = ""
    description: str = ""


class Document(NamedTuple):
    """All definitions of one environment."""

    version: int = 1
    environment: str | None = None
    recording: tuple[str, ...] = ()
    segments: Mapping[str, Segment] = _NOTHING
    layers: Mapping[str, Layer] = _NOTHING
    holdouts: Mapping[str, Holdout] = _NOTHING
    metrics: Mapping[str, Metric] = _NOTHING
    experiments: Mapping[str, Experiment] = _NOTHING
    flags: Mapping[str, Flag] = _NOTHING

"""The frozen types of one environment's document (flags, segments, experiments, ...).

Percentages are exact integers: millionths of a percent, so 25% is 25_000_000 and `WHOLE`
is 100%. Durations are seconds, times are epoch seconds (float, UTC). Nothing here parses,
hashes or evaluates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

WHOLE = 100_000_000
"""100%, in millionths of a percent."""

VariantType: TypeAlias = Literal["boolean", "string", "integer", "number", "json"]


@dataclass(frozen=True, slots=True)
class Test:
    """One leaf condition: `attribute operator constant` (a list constant is a tuple)."""

    attribute: str
    operator: str
    constant: Any


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds (an empty one is true)."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds (an empty one is false)."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition


@dataclass(frozen=True, slots=True)
class InSegment:
    """The context is in any of the segments."""

    segments: tuple[str, ...]


Condition: TypeAlias = Test | All | AnyOf | Not | InSegment


@dataclass(frozen=True, slots=True)
class Rollout:
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


@dataclass(frozen=True, slots=True)
class Rule:
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


@dataclass(frozen=True, slots=True)
class Killed:
    """Why, by whom and when a flag was killed (all None for the bare `killed: true`)."""

    reason: str | None = None
    by: str | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Flag:
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


@dataclass(frozen=True, slots=True)
class Segment:
    """A named condition."""

    key: str
    when: Condition
    description: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """Experiments of one layer hold disjoint ranges of its units."""

    key: str
    unit: str = "key"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Holdout:
    """Units that get the default of every flag that names this holdout."""

    key: str
    share: int
    unit: str = "key"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Exceeds:
    """An event counts when its property is over the limit."""

    property: str
    limit: float


@dataclass(frozen=True, slots=True)
class Metric:
    """How events become one number per unit (neither sum nor exceeds: conversion)."""

    key: str
    event: str
    better: Literal["higher", "lower"]
    sum: str | None = None
    exceeds: Exceeds | None = None
    cap: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class LayerRange:
    """The half-open range of a layer that an experiment holds."""

    layer: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How an experiment will be judged; percentages as everywhere, `days` whole days."""

    method: str = "sequential"
    baseline: int | None = None
    mde: int | None = None
    power: int | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
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


@dataclass(frozen=True, slots=True)
class Document:
    """All definitions of one environment."""

    version: int = 1
    environment: str | None = None
    recording: tuple[str, ...] = ()
    segments: Mapping[str, Segment] = field(default_factory=dict)
    layers: Mapping[str, Layer] = field(default_factory=dict)
    holdouts: Mapping[str, Holdout] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    flags: Mapping[str, Flag] = field(default_factory=dict)

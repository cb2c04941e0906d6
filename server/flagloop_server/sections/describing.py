"""What an item says, in a sentence: whom a segment means, how a metric is computed, ..."""

from __future__ import annotations

from flagloop.document.definition import (
    Document,
    Experiment,
    Holdout,
    Layer,
    Metric,
    Plan,
    Segment,
)
from flagloop.document.percent import format_percent
from flagloop_server.sections.layers import layer_map, range_words
from flagloop_server.wording import condition_words

_METHODS = {"sequential": "may be looked at at any time"}


def item_words(item: Segment | Metric | Layer | Holdout | Experiment, document: Document) -> str:
    """The sentence of the lists, without a full stop."""
    match item:
        case Segment():
            return f"those where {condition_words(item.when)}"
        case Metric():
            return metric_words(item)
        case Layer():
            return layer_words(item, document)
        case Holdout():
            by = "" if item.unit == "key" else f" (by {item.unit})"
            return f"{format_percent(item.share)} of all units{by} always get the default"
        case Experiment():
            return item.hypothesis or item.description or "no hypothesis is written down"


def metric_words(metric: Metric) -> str:
    """How it becomes a number: `the part of units that sent sign_up; higher is better`."""
    better = f"{metric.better} is better"
    if metric.sum is not None:
        text = f"for each unit the sum of {metric.sum} over its {metric.event} events"
        if metric.cap:
            text += f", capped at percentile {metric.cap.removeprefix('p')}"
    elif metric.exceeds is not None:
        over = f"{metric.exceeds.property} > {metric.exceeds.limit:,.15g}"
        text = f"the part of units that sent {metric.event} with {over}"
    else:
        text = f"the part of units that sent {metric.event}"
    return f"{text}; {better}"


def layer_words(layer: Layer, document: Document) -> str:
    """`2 experiments run in it, 40% is free (60% to 100%)`."""
    found = layer_map(document, layer.key)
    running = found.count("running")
    parts = [f"{running:,} {'experiment runs' if running == 1 else 'experiments run'} in it"]
    for status in ("decided", "draft"):
        if number := found.count(status):
            parts.append(f"{number:,} {status}")
    free = f"{format_percent(found.unused)} is free"
    if found.free and found.holders:
        free += f" ({range_words(found.free)})"
    return ", ".join([*parts, free])


def plan_words(plan: Plan) -> str:
    """`sequential (may be looked at at any time); baseline 5%; smallest effect 10%; ...`."""
    method = plan.method
    parts = [f"{method} ({_METHODS[method]})" if method in _METHODS else method]
    if plan.baseline is not None:
        parts.append(f"baseline {format_percent(plan.baseline)}")
    if plan.mde is not None:
        parts.append(f"smallest effect worth finding {format_percent(plan.mde)}")
    if plan.power is not None:
        parts.append(f"found with a chance of {format_percent(plan.power)}")
    if plan.days is not None:
        parts.append(f"{plan.days} {'day' if plan.days == 1 else 'days'}")
    return "; ".join(parts)


def measured(experiment: Experiment, document: Document) -> list[tuple[str, Metric]]:
    """What an experiment looks at: (primary, secondary or guardrail; metric), in this order."""
    named = [("primary", experiment.primary)] if experiment.primary else []
    named += [("secondary", name) for name in experiment.secondary]
    named += [("guardrail", name) for name in experiment.guardrails]
    metrics = document.metrics
    return [(role, metrics[name]) for role, name in named if name in metrics]

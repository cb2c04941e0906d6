"""What fields can offer, from the document and from recorded contexts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from flagloop.document.definition import (
    All,
    AnyOf,
    Condition,
    Document,
    Experiment,
    InSegment,
    Not,
    Test,
)
from flagloop.document.percent import format_percent
from flagloop.document.yamlwrite import scalar_text
from flagloop_server.web.pages.visual.board import Known

MOST_VALUES = 20
LONGEST = 60


def known_in(document: Document, contexts: Iterable[Mapping[str, Any]] = ()) -> Known:
    """What the items of a document can name; values of an attribute, the commonest first."""
    values: dict[str, Counter[str]] = {}
    attributes = dict.fromkeys(("key", *document.recording))
    for context in contexts:
        for name, value in context.items():
            attributes.setdefault(name)
            if name != "key" and isinstance(value, str | bool | int | float):
                values.setdefault(name, Counter())[scalar_text(value)[:LONGEST]] += 1
    attributes.update(dict.fromkeys(_tested(document)))
    return Known(
        segments=tuple(document.segments),
        experiments=tuple(document.experiments),
        holdouts=tuple(document.holdouts),
        metrics=tuple(document.metrics),
        flags={key: tuple(flag.variants) for key, flag in document.flags.items()},
        attributes=tuple(attributes),
        values={
            name: tuple(value for value, _ in found.most_common(MOST_VALUES))
            for name, found in values.items()
        },
        layers={key: _layer_words(experiment) for key, experiment in document.experiments.items()},
    )


def _layer_words(experiment: Experiment) -> str:
    running = ": a change of who gets what disturbs its result"
    text = experiment.status + (running if experiment.status == "running" else "")
    if experiment.layer is None:
        return text
    place = experiment.layer
    low, high = format_percent(place.low), format_percent(place.high)
    return f"{text}; it holds {low} to {high} of layer {place.layer}"


def _tested(document: Document) -> Iterable[str]:
    for segment in document.segments.values():
        yield from attributes_of(segment.when)
    for flag in document.flags.values():
        for rule in flag.rules:
            yield rule.unit
            if rule.when is not None:
                yield from attributes_of(rule.when)


def attributes_of(condition: Condition) -> Iterable[str]:
    """The attributes that a condition tests itself."""
    match condition:
        case Test():
            yield condition.attribute
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from attributes_of(part)
        case Not(part):
            yield from attributes_of(part)
        case InSegment():
            return

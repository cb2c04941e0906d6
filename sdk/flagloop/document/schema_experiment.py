"""Segments, layers, holdouts, metrics and experiments: mapping -> definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from flagloop.document.definition import (
    WHOLE,
    Exceeds,
    Experiment,
    Holdout,
    Layer,
    LayerRange,
    Metric,
    Plan,
    Segment,
)
from flagloop.document.problem import Path, Problem
from flagloop.document.schema_condition import read_condition
from flagloop.document.schema_words import (
    Fields,
    Problems,
    any_percent,
    attribute,
    inner_percent,
    is_list,
    key,
    keys,
    number,
    one_of,
    percent,
    read_fields,
    refuse,
    require,
    show,
    some_text,
    text,
    whole_number,
)

Read: TypeAlias = tuple[Any, list[Problem]]


def _item(
    make: Callable[..., Any], kind: str, fields: Fields, required: Iterable[str] = ()
) -> Callable[[str, Any], Read]:
    """A reader of one item: (key, mapping) -> (definition or None, problems)."""

    def read(name: str, mapping: Any) -> Read:
        out: Problems = []
        key(name, (), out)
        values = read_fields(mapping, fields, (), out, kind)
        require(mapping, required, (), out, kind)
        if not out and make is Metric:
            _check_metric(values, out)
        return (None if out else make(key=name, **values)), out

    return read


def _check_metric(values: dict[str, Any], out: Problems) -> None:
    if "sum" in values and "exceeds" in values:
        refuse(out, (), "a metric has `sum` or `exceeds`, not both", "make two metrics")
    if "cap" in values and "sum" not in values:
        refuse(out, ("cap",), "`cap` goes only with `sum`", "add `sum` or remove `cap`")


def _cap(value: Any, path: Path, out: Problems) -> str:
    share = value[1:] if isinstance(value, str) and value.startswith("p") else ""
    before = len(out)
    ignored: Problems = []
    if share and 0 < any_percent(share + "%", path, ignored) < WHOLE and not ignored:
        return str(value)
    if len(out) == before:
        refuse(out, path, f"{show(value)} is no cap", "write a percentile like p99.9")
    return ""


def _layer_range(value: Any, path: Path, out: Problems) -> LayerRange | None:
    before = len(out)
    fields = read_fields(value, LAYER_RANGE_FIELDS, path, out, "an experiment's `layer`")
    require(value, LAYER_RANGE_FIELDS, path, out, "the experiment's `layer`")
    if len(out) > before:
        return None
    low, high = fields["range"]
    return LayerRange(fields["name"], low, high)


def _range(value: Any, path: Path, out: Problems) -> tuple[int, int]:
    if not is_list(value, path, out):
        return 0, WHOLE
    if len(value) != 2:
        refuse(out, path, "a range has two ends", "write [0%, 50%]")
        return 0, WHOLE
    before = len(out)
    low, high = (percent(part, (*path, i), out) for i, part in enumerate(value))
    if len(out) == before and low >= high:
        refuse(out, path, "the range is empty", "write the lower end first, like [0%, 50%]")
    return low, high


def _plan(value: Any, path: Path, out: Problems) -> Plan:
    return Plan(**read_fields(value, PLAN_FIELDS, path, out, "a plan"))


def _effect(value: Any, path: Path, out: Problems) -> int:
    """A relative effect: over 0%, may be over 100%."""
    before = len(out)
    amount = any_percent(value, path, out)
    if len(out) == before and not amount:
        refuse(out, path, "an effect of 0% cannot be measured", "write the smallest that matters")
    return amount


def _exceeds(value: Any, path: Path, out: Problems) -> Exceeds | None:
    before = len(out)
    fields = read_fields(value, EXCEEDS_FIELDS, path, out, "`exceeds`")
    require(value, EXCEEDS_FIELDS, path, out, "`exceeds`")
    return Exceeds(**fields) if len(out) == before else None


SEGMENT_FIELDS: Fields = {
    "when": ("when", read_condition),
    "description": ("description", text),
}
LAYER_FIELDS: Fields = {
    "unit": ("unit", attribute),
    "description": ("description", text),
}
HOLDOUT_FIELDS: Fields = {
    "share": ("share", percent),
    "unit": ("unit", attribute),
    "description": ("description", text),
}
METRIC_FIELDS: Fields = {
    "event": ("event", some_text),
    "better": ("better", one_of("higher", "lower")),
    "sum": ("sum", some_text),
    "exceeds": ("exceeds", _exceeds),
    "cap": ("cap", _cap),
    "description": ("description", text),
}
EXCEEDS_FIELDS: Fields = {
    "property": ("property", some_text),
    "limit": ("limit", number),
}
EXPERIMENT_FIELDS: Fields = {
    "hypothesis": ("hypothesis", text),
    "description": ("description", text),
    "owner": ("owner", text),
    "primary": ("primary", key),
    "secondary": ("secondary", keys),
    "guardrails": ("guardrails", keys),
    "control": ("control", key),
    "layer": ("layer", _layer_range),
    "plan": ("plan", _plan),
    "status": ("status", one_of("draft", "running", "decided")),
}
LAYER_RANGE_FIELDS: Fields = {
    "name": ("name", key),
    "range": ("range", _range),
}
PLAN_FIELDS: Fields = {
    "method": ("method", one_of("sequential")),
    "baseline": ("baseline", inner_percent),
    "mde": ("mde", _effect),
    "power": ("power", inner_percent),
    "days": ("days", whole_number),
}

read_segment = _item(Segment, "a segment", SEGMENT_FIELDS, ("when",))
read_layer = _item(Layer, "a layer", LAYER_FIELDS)
read_holdout = _item(Holdout, "a holdout", HOLDOUT_FIELDS, ("share",))
read_metric = _item(Metric, "a metric", METRIC_FIELDS, ("event", "better"))
read_experiment = _item(Experiment, "an experiment", EXPERIMENT_FIELDS)

"""Segments, layers, holdouts, metrics and experiments, each alone."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.document.definition import (
    All,
    Exceeds,
    Experiment,
    Holdout,
    Layer,
    LayerRange,
    Metric,
    Plan,
    Segment,
)
from flagloop.document.schema import read_item


@pytest.mark.parametrize(
    ("section", "mapping", "item"),
    [
        ("segments", {"when": {}, "description": "d"}, Segment("k", All(()), "d")),
        ("layers", {}, Layer("k")),
        ("layers", {"unit": "org", "description": "d"}, Layer("k", "org", "d")),
        ("holdouts", {"share": "2%"}, Holdout("k", 2_000_000)),
        ("holdouts", {"share": "0%", "unit": "org"}, Holdout("k", 0, "org")),
        ("metrics", {"event": "e", "better": "lower"}, Metric("k", "e", "lower")),
        (
            "metrics",
            {"event": "e", "better": "higher", "sum": "amount", "cap": "p99.9"},
            Metric("k", "e", "higher", sum="amount", cap="p99.9"),
        ),
        (
            "metrics",
            {"event": "e", "better": "lower", "exceeds": {"property": "ms", "limit": 800}},
            Metric("k", "e", "lower", exceeds=Exceeds("ms", 800.0)),
        ),
        ("experiments", {}, Experiment("k")),
        (
            "experiments",
            {
                "hypothesis": "h",
                "description": "d",
                "owner": "o",
                "primary": "p",
                "secondary": ["s"],
                "guardrails": ["g"],
                "control": "c",
                "layer": {"name": "l", "range": ["0%", "50%"]},
                "plan": {
                    "method": "sequential",
                    "baseline": "5%",
                    "mde": "150%",
                    "power": "80%",
                    "days": 14,
                },
                "status": "decided",
            },
            Experiment(
                "k",
                primary="p",
                secondary=("s",),
                guardrails=("g",),
                control="c",
                layer=LayerRange("l", 0, 50_000_000),
                plan=Plan("sequential", 5_000_000, 150_000_000, 80_000_000, 14),
                status="decided",
                hypothesis="h",
                owner="o",
                description="d",
            ),
        ),
    ],
)
def test_an_item_is_read(section: str, mapping: dict[str, Any], item: Any) -> None:
    """Every word arrives in its field; what is left out has the default."""
    assert read_item(section, "k", mapping) == (item, [])


@pytest.mark.parametrize(
    ("section", "mapping", "line"),
    [
        ("segments", {}, "`when` is missing (add `when:` to a segment)"),
        ("segments", None, "a segment is a mapping, not null"),
        ("segments", {"when": {}, "whn": 1}, "whn: unknown word 'whn' in a segment (did you mean"),
        ("layers", {"unit": "/a"}, "unit: '/a' cannot name an attribute"),
        ("layers", "x", "a layer is a mapping, not 'x' (known: unit, description)"),
        ("holdouts", {}, "`share` is missing"),
        ("holdouts", {"share": "2"}, "share: '2' is no percentage (write 2%)"),
        ("metrics", {"event": "e"}, "`better` is missing"),
        ("metrics", {"event": "", "better": "lower"}, "event: this must not be empty"),
        (
            "metrics",
            {"event": "e", "better": "highr"},
            "better: unknown value 'highr' (did you mean",
        ),
        (
            "metrics",
            {"event": "e", "better": "lower", "sum": "a", "exceeds": {"property": "b", "limit": 1}},
            "a metric has `sum` or `exceeds`, not both",
        ),
        (
            "metrics",
            {"event": "e", "better": "lower", "cap": "p99"},
            "cap: `cap` goes only with `sum`",
        ),
        *[
            (
                "metrics",
                {"event": "e", "better": "lower", "sum": "a", "cap": cap},
                "is no cap (write a percentile like p99.9)",
            )
            for cap in ("99%", "p", "p100", "p0", "p-1", "px", 99, None, "p99.12345678")
        ],
        (
            "metrics",
            {"event": "e", "better": "lower", "exceeds": {"property": "b"}},
            "exceeds: `limit` is missing",
        ),
        (
            "metrics",
            {"event": "e", "better": "lower", "exceeds": {"property": "b", "limit": True}},
            "exceeds.limit: this is a number, not true",
        ),
        ("experiments", {"status": "runing"}, "status: unknown value 'runing' (did you mean 'run"),
        ("experiments", {"layer": "l"}, "layer: an experiment's `layer` is a mapping, not 'l'"),
        ("experiments", {"layer": {"name": "l"}}, "layer: `range` is missing"),
        ("experiments", {"layer": {"name": "l", "range": ["0%"]}}, "layer.range: a range has two"),
        ("experiments", {"layer": {"name": "l", "range": ["5%", "5%"]}}, "the range is empty"),
        ("experiments", {"layer": {"name": "l", "range": ["5%", 6]}}, "range[1]: 6 is a number"),
        ("experiments", {"layer": {"name": "l", "range": "5%"}}, "layer.range: this is a list"),
        ("experiments", {"plan": {"method": "fixed"}}, "plan.method: unknown value 'fixed'"),
        ("experiments", {"plan": {"mde": "0%"}}, "plan.mde: an effect of 0% cannot be measured"),
        ("experiments", {"plan": {"power": "100%"}}, "plan.power: 100% cannot be used here"),
        ("experiments", {"plan": {"days": 0}}, "plan.days: this is a whole number of at least 1"),
        ("experiments", {"plan": {"days": True}}, "plan.days: this is a whole number"),
        ("experiments", {"secondary": "s"}, "secondary: this is a list, not 's'"),
        ("experimets", {}, "unknown section 'experimets' (did you mean 'experiments'?)"),
    ],
)
def test_a_mistake_is_answered_with_its_mend(section: str, mapping: Any, line: str) -> None:
    """Place, problem and mend stand in one line, and nothing else is complained about."""
    item, problems = read_item(section, "k", mapping)
    assert item is None
    assert len(problems) == 1
    assert line in problems[0].render()


def test_the_key_of_every_item_is_a_key() -> None:
    """Salts are made of keys, so none may hold a colon."""
    for section in ("segments", "layers", "holdouts", "metrics", "experiments"):
        _, problems = read_item(section, "a:b", {})
        assert "is no key" in problems[0].message

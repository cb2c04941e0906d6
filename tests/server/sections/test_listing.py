"""Lists of items, and what each item says in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flagloop.document.definition import Document, Plan
from flagloop_server.sections import (
    Section,
    counted,
    item_rows,
    measured,
    plan_words,
    search,
    summary,
    uses,
)


def words_of(document: Document, section: Section) -> dict[str, str]:
    """Key -> words of a section's rows."""
    return {row.key: row.words for row in item_rows(document, section, uses(document), {})}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            "segments",
            {
                "staff": "those where email ends with @example.com",
                "insiders": "those where in segment staff or plan is team",
                "nobody": "those where plan is none",
            },
        ),
        (
            "metrics",
            {
                "sign_up": "the part of units that sent sign_up; higher is better",
                "errors": "the part of units that sent error; lower is better",
                "revenue": "for each unit the sum of amount over its purchase events, capped at "
                "percentile 99.9; higher is better",
                "slow": "the part of units that sent page_view with ms > 1,200; lower is better",
            },
        ),
        (
            "layers",
            {
                "landing": "1 experiment runs in it, 1 decided, 1 draft, 40% is free "
                "(50% to 60%, 70% to 100%)",
                "empty": "0 experiments run in it, 100% is free",
            },
        ),
        ("holdouts", {"growth": "2% of all units always get the default"}),
        (
            "experiments",
            dict.fromkeys(("colour", "image", "words"), "no hypothesis is written down"),
        ),
    ],
)
def test_each_item_says_what_it_is(
    shop: Document, section: Section, expected: dict[str, str]
) -> None:
    """One sentence without a full stop."""
    assert words_of(shop, section) == expected


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("segments", "used by 2 flags and 1 segment; 1 is unused"),
        ("metrics", "used by 1 flag and 1 experiment; 1 is unused"),
        ("layers", "used by 3 experiments; 1 is unused"),
        ("holdouts", "used by 1 flag"),
        ("experiments", "1 running, 1 draft, 1 decided"),
    ],
)
def test_a_list_says_what_it_comes_to(shop: Document, section: Section, expected: str) -> None:
    """Users of all its items together, each once."""
    assert summary(section, item_rows(shop, section, uses(shop), {})) == expected


def test_a_list_that_nothing_uses(read: Callable[[dict[str, Any]], Document]) -> None:
    """Says so, of one and of several."""
    for number, expected in ((1, "nothing uses it"), (2, "nothing uses them")):
        layers: dict[str, Any] = {f"l{place}": {} for place in range(number)}
        parsed = read({"version": 1, "layers": layers})
        assert summary("layers", item_rows(parsed, "layers", uses(parsed), {})) == expected


def test_rows_are_found_by_words_and_by_users(shop: Document) -> None:
    """Every word must occur somewhere: in key, sentence, description or a user's key."""
    rows = item_rows(shop, "segments", uses(shop), {("segments", "staff"): 7})
    assert [row.revision for row in rows] == [7, 0, 0]
    assert [row.key for row in search(rows, "PLAN")] == ["insiders", "nobody"]
    assert [row.key for row in search(rows, "plan cta")] == ["insiders"]
    assert search(rows, "") == rows


def test_one_and_several() -> None:
    """With thousands separators."""
    assert [counted("holdouts", n) for n in (0, 1, 1200)] == [
        "0 holdouts",
        "1 holdout",
        "1,200 holdouts",
    ]


def test_what_an_experiment_looks_at(shop: Document) -> None:
    """The primary metric first, guardrails last."""
    found = measured(shop.experiments["colour"], shop)
    assert [(role, metric.key) for role, metric in found] == [
        ("primary", "sign_up"),
        ("secondary", "revenue"),
        ("guardrail", "errors"),
    ]


def test_a_plan_in_words() -> None:
    """What is left out is not said."""
    assert plan_words(Plan(baseline=5_000_000, mde=10_000_000, power=80_000_000, days=1)) == (
        "sequential (may be looked at at any time); baseline 5%; smallest effect worth finding "
        "10%; found with a chance of 80%; 1 day"
    )
    assert plan_words(Plan(method="fixed")) == "fixed"

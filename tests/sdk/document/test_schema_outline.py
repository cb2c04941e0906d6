"""The outline of a document, read without its items."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.document.schema_outline import recorded_attributes, unit_attributes


def test_units_of_flags_rules_layers_and_holdouts() -> None:
    """Each word `unit` counts, wherever items may have it, and `key` always."""
    assert unit_attributes({}) == {"key"}
    document = {
        "layers": {"l": {"unit": "team"}, "m": None},
        "holdouts": {"h": {"share": "1%", "unit": "org"}},
        "flags": {
            "f": {"unit": "site", "rules": [{"name": "r", "unit": "device"}, {"name": "s"}]},
            "g": {},
        },
    }
    assert unit_attributes(document) == {"key", "team", "org", "site", "device"}


@pytest.mark.parametrize(
    "document",
    [
        {"flags": None},
        {"flags": {"f": 3, "g": {"rules": 3}, "h": {"rules": [3], "unit": 3}}},
        {"recording": 3},
        {"recording": {"attributes": "plan"}},
        {"recording": {"attributes": [3, None]}},
    ],
)
def test_bad_items_are_passed_over(document: dict[str, Any]) -> None:
    """What breaks an item does not break the outline."""
    assert unit_attributes(document) == {"key"}
    assert recorded_attributes(document) == ()


def test_recorded_attributes_in_their_order() -> None:
    """As written."""
    assert recorded_attributes({"recording": {"attributes": ["plan", "age"]}}) == ("plan", "age")

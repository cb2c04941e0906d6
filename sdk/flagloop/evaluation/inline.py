"""Leaf tests that the generator writes out instead of calling, for values of the usual class.

Each form gives exactly what the leaf's own test gives for a value whose class is the named one;
for all other values the generated code calls that test. A property test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flagloop.evaluation.conditions import Leaf
from flagloop.evaluation.operators import Constants
from flagloop.evaluation.semver import VersionTest


class Inline(NamedTuple):
    """For a `value` whose class is `kind`: `form` with the names of `operand` and `test`."""

    kind: str
    form: str
    operand: Any


_EQUALITY = {"eq": "value == {}", "ne": "value != {}"}
_MEMBERSHIP = {"in": "value in {}", "not_in": "value not in {}"}
# `in` is an operator, `startswith` a call three times as long, and most values fail both.
_TEXT = {
    **_EQUALITY,
    "contains": "{} in value",
    "starts_with": "{0} in value and value.startswith({0})",
    "ends_with": "{0} in value and value.endswith({0})",
}
_NUMBER = {
    **_EQUALITY,
    "gt": "value > {}",
    "gte": "value >= {}",
    "lt": "value < {}",
    "lte": "value <= {}",
}
_TEXTS = {"starts_with": "value.startswith({})", "ends_with": "value.endswith({})"}
_FORMS: Mapping[type, tuple[str, Mapping[str, str]]] = {
    str: ("str", _TEXT),
    tuple: ("str", _TEXTS),
    int: ("int", _NUMBER),
    float: ("float", _NUMBER),
}


def inline(leaf: Leaf) -> Inline | None:
    """The written-out form of a leaf test, or None where there is none."""
    owner = getattr(leaf.test, "__self__", None)
    if isinstance(owner, VersionTest):
        return Inline("str", "value not in {} and {test}(value)", owner.failed)
    if leaf.operator in _MEMBERSHIP:
        assert isinstance(owner, Constants)
        kind = "str" if any(constant.__class__ is str for constant in owner.others) else "int"
        return Inline(kind, _MEMBERSHIP[leaf.operator], owner.others)
    kind, forms = _FORMS.get(leaf.constant.__class__, ("", {}))
    form = forms.get(leaf.operator)
    return None if form is None else Inline(kind, form, leaf.constant)

"""Who moves: the recorded attributes by which those who move differ most from those who stay.

Pure: contexts and whether each moves in, frozen counts out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flagloop.document.yamlwrite import scalar_text

MOST_VALUES = 50
"""An attribute with more values tells people apart, not groups."""

MOST_GROUPS = 6
MOST_ATTRIBUTES = 2
CLEAR = 0.2
"""From this difference on (0: alike, 1: nothing in common) a second attribute is worth a line."""

MISSING = "(missing)"


@dataclass(frozen=True, slots=True)
class Group:
    """So many of the `n` contexts with this value move."""

    value: str
    moved: int
    n: int


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The groups of one attribute, the most moves first; `others` is how many are left out."""

    attribute: str
    groups: tuple[Group, ...]
    others: int = 0
    difference: float = 0.0


def breakdowns(
    contexts: Sequence[Mapping[str, Any]], moved: Sequence[bool], attributes: Iterable[str]
) -> tuple[Breakdown, ...]:
    """At most two attributes, the one that differs most first; none where nobody moves."""
    if not any(moved):
        return ()
    found = [
        one
        for name in sorted(attributes)
        if name != "key" and (one := _broken_down(name, contexts, moved)) is not None
    ]
    found.sort(key=lambda one: -one.difference)
    return tuple(
        one for one in found[:MOST_ATTRIBUTES] if one is found[0] or one.difference > CLEAR
    )


def _broken_down(
    name: str, contexts: Sequence[Mapping[str, Any]], moved: Sequence[bool]
) -> Breakdown | None:
    values = _values(contexts, name)
    total = Counter(values)
    if not 1 < len(total) <= MOST_VALUES:
        return None
    moves = Counter(value for value, moves in zip(values, moved, strict=True) if moves)
    groups = [Group(value, moves[value], n) for value, n in total.items()]
    groups.sort(key=lambda one: (-one.moved, -one.n, one.value))
    return Breakdown(
        name,
        tuple(groups[:MOST_GROUPS]),
        max(0, len(groups) - MOST_GROUPS),
        _difference(moves, total),
    )


def _difference(moves: Counter[str], total: Counter[str]) -> float:
    """Total variation distance between those who move and those who stay."""
    moving = moves.total()
    staying = total.total() - moving
    if not moving or not staying:
        return 0.0
    return 0.5 * sum(
        abs(moves[value] / moving - (n - moves[value]) / staying) for value, n in total.items()
    )


def _values(contexts: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """The attribute of each context as text; each value is written only once."""
    written: dict[tuple[type, Any], str] = {}
    values = []
    for context in contexts:
        value = context.get(name)
        if isinstance(value, list | dict):
            values.append(_value(value))
            continue
        key = (type(value), value)
        text = written.get(key)
        if text is None:
            text = written[key] = _value(value)
        values.append(text)
    return values


def _value(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str | bool | int | float):
        text = scalar_text(value)
        return text if len(text) <= 40 else f"{text[:39]}…"
    return "(a list)"

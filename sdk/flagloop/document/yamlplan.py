"""Which entries or elements of a collection stay, which go, and what comes between them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeAlias

from flagloop.document.yamlnodes import Node
from flagloop.document.yamlwrite import same

Plan: TypeAlias = list[tuple[int | None, str, Any]]
"""The new entries in order: index of the old entry that becomes it (or None), key, value."""


def insertions(plan: Plan) -> list[tuple[int | None, list[tuple[str, Any]]]]:
    """The new entries by the kept entry that they follow (None: they come first)."""
    groups: list[tuple[int | None, list[tuple[str, Any]]]] = []
    anchor: int | None = None
    for index, key, value in plan:
        if index is not None:
            anchor = index
        elif groups and groups[-1][0] == anchor:
            groups[-1][1].append((key, value))
        else:
            groups.append((anchor, [(key, value)]))
    return groups


def mapping_plan(node: Node, new: dict[str, Any]) -> Plan | None:
    """None when the mapping is to be rewritten whole (nothing stays, or the order changes)."""
    places = {key.value: index for index, (key, _) in enumerate(node.pairs)}
    plan: Plan = [(places.get(key), key, value) for key, value in new.items()]
    return plan if _in_order(plan) else None


def _in_order(plan: Plan) -> bool:
    kept = [index for index, _, _ in plan if index is not None]
    return bool(kept) and all(one < other for one, other in pairwise(kept))


def sequence_plan(node: Node, new: list[Any]) -> Plan | None:
    """None when the list is to be rewritten whole (nothing stays)."""
    old = [item.value for item in node.items]
    head = 0
    while head < min(len(old), len(new)) and same(old[head], new[head]):
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and same(old[-1 - tail], new[-1 - tail]):
        tail += 1
    plan: Plan = [(index, "", new[index]) for index in range(head)]
    plan += _matched(old, new, (head, len(old) - tail), (head, len(new) - tail))
    plan += [(len(old) - n, "", new[-n]) for n in range(tail, 0, -1)]
    return plan if _in_order(plan) else None


def _matched(
    old: list[Any], new: list[Any], old_range: tuple[int, int], new_range: tuple[int, int]
) -> Plan:
    """The part of a list's plan between what is equal at its start and at its end."""
    from difflib import SequenceMatcher

    before = [_identity(value) for value in old[slice(*old_range)]]
    after = [_identity(value) for value in new[slice(*new_range)]]
    plan: Plan = []
    matcher = SequenceMatcher(None, before, after, autojunk=len(before) > 1000)
    for verb, low, high, new_low, new_high in matcher.get_opcodes():
        olds = range(old_range[0] + low, old_range[0] + high)
        news = range(new_range[0] + new_low, new_range[0] + new_high)
        for number, place in enumerate(news):
            index = olds[number] if number < len(olds) and verb != "insert" else None
            if verb == "replace" and index is not None and not _pairs(old[index], new[place]):
                index = None
            plan.append((index, "", new[place]))
    return plan


def _identity(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return f"name {value['name']}"
    return repr(value)


def _pairs(old: Any, new: Any) -> bool:
    """Whether an element becomes another in its place, word by word.

    A rule of another name is the same one if it keeps the salt, which is its name without one,
    or all its other words.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        salts = [one.get("salt", one.get("name")) for one in (old, new)]
        return salts[0] == salts[1] or same({**old, "name": ""}, {**new, "name": ""})
    return not isinstance(old, dict | list) and not isinstance(new, dict | list)

"""Conditions with their tests made: definitions in, a tree of leaf tests out.

The generator turns the tree into one expression, the walkers (`explain`, `replay`) follow it;
both call the same leaf tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flagloop.document.definition import All, AnyOf, Condition, InSegment, Not, Test
from flagloop.evaluation.operators import OPERATORS, Predicate


class Leaf:
    """`attribute operator constant`; `test` takes the attribute's value, None when missing."""

    __slots__ = ("attribute", "constant", "operator", "test")

    def __init__(self, definition: Test) -> None:
        self.attribute = definition.attribute
        self.operator = definition.operator
        self.constant = definition.constant
        self.test: Predicate = OPERATORS[definition.operator](definition.constant)


class Group:
    """All parts hold (`every`), or at least one."""

    __slots__ = ("every", "parts")

    def __init__(self, every: bool, parts: tuple[Node, ...]) -> None:
        self.every = every
        self.parts = parts


class Negation:
    """The part does not hold."""

    __slots__ = ("part",)

    def __init__(self, part: Node) -> None:
        self.part = part


class Membership:
    """The context is in the segment; every use of one segment has the same `condition`."""

    __slots__ = ("condition", "segment")

    def __init__(self, segment: str, condition: Node) -> None:
        self.segment = segment
        self.condition = condition


Node: TypeAlias = Leaf | Group | Negation | Membership
Segments: TypeAlias = Callable[[str], Node]


def make_tests(condition: Condition, segment: Segments) -> Node:
    """The condition with its tests made; `segment(key)` gives the condition of a segment.

    Raises ValueError (`what; the mend`) for a constant that its operator cannot use.
    """
    if isinstance(condition, Test):
        return Leaf(condition)
    if isinstance(condition, Not):
        return Negation(make_tests(condition.part, segment))
    if isinstance(condition, InSegment):
        uses = tuple([Membership(key, segment(key)) for key in condition.segments])
        return uses[0] if len(uses) == 1 else Group(False, uses)
    every = isinstance(condition, All)
    assert every or isinstance(condition, AnyOf)
    return Group(every, tuple([make_tests(part, segment) for part in condition.parts]))


def holds(node: Node, context: Mapping[str, Any]) -> bool:
    """Whether the condition holds for the context."""
    if isinstance(node, Leaf):
        return node.test(context.get(node.attribute))
    if isinstance(node, Negation):
        return not holds(node.part, context)
    if isinstance(node, Membership):
        return holds(node.condition, context)
    some = all if node.every else any
    return some(holds(part, context) for part in node.parts)


def attributes(node: Node) -> frozenset[str]:
    """The attributes that the condition tests, those of its segments too."""
    if isinstance(node, Leaf):
        return frozenset((node.attribute,))
    if isinstance(node, Negation):
        return attributes(node.part)
    if isinstance(node, Membership):
        return attributes(node.condition)
    return frozenset().union(*[attributes(part) for part in node.parts])

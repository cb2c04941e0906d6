"""SemVer 2.0.0, strictly: `2.3`, `v2.3.0` and `1.0.0-01` are no versions; build is ignored."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Order: TypeAlias = tuple[object, ...]
"""Versions compare as these tuples do."""

_NUMBER = r"0|[1-9][0-9]*"
_LABEL = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_LABEL}(?:\.{_LABEL})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
).fullmatch


def parse_version(text: str) -> Order | None:
    """How the version compares with others, or None for text that is no version."""
    found = _VERSION(text)
    if found is None:
        return None
    major, minor, patch, labels = found.groups()
    numbers = (_number(major), _number(minor), _number(patch))
    if labels is None:
        return (*numbers, 1)
    return (*numbers, 0, *[_label(label) for label in labels.split(".")])


def _number(digits: str) -> tuple[int, str]:
    # No leading zeros, so length then text is numeric order, for any number of digits.
    return (len(digits), digits)


def _label(label: str) -> tuple[int, object]:
    return (0, _number(label)) if label.isdigit() else (1, label)


class VersionMemo(dict[str, bool]):
    """Text -> does this version compare so with the limit; remembers at most LIMIT texts."""

    LIMIT = 4096

    __slots__ = ("compare", "limit")

    def __init__(self, compare: Callable[[Order, Order], bool], limit: Order) -> None:
        super().__init__()
        self.compare = compare
        self.limit = limit

    def test(self, value: object) -> bool:
        """The value is a version that compares so; what is no text is no version."""
        return isinstance(value, str) and self[str.__str__(value)]

    def __missing__(self, text: str) -> bool:
        order = parse_version(text)
        result = order is not None and self.compare(order, self.limit)
        if len(self) >= self.LIMIT:
            self.clear()
        self[text] = result
        return result

"""SemVer 2.0.0, strictly: `2.3`, `v2.3.0` and `1.0.0-01` are no versions; build is ignored."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

Order: TypeAlias = tuple[object, ...]
"""Versions compare as these tuples do."""

_NUMBER = r"0|[1-9][0-9]*"
_LABEL = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = (
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_LABEL}(?:\.{_LABEL})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


@cache
def _pattern() -> re.Pattern[str]:
    # Compiled by the first flag that compares versions: it would be a tenth of a client's start.
    return re.compile(_VERSION)


def parse_version(text: str) -> Order | None:
    """How the version compares with others, or None for text that is no version."""
    found = _pattern().fullmatch(text)
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


class VersionTest:
    """Whether a version compares so with a limit; remembers some texts that do or do not.

    Together `passed` and `failed` hold at most LIMIT texts of at most LENGTH characters, whatever
    an application sends.
    """

    LIMIT = 4096
    LENGTH = 64

    __slots__ = ("compare", "failed", "limit", "passed")

    def __init__(self, compare: Callable[[Order, Order], bool], limit: Order) -> None:
        self.compare = compare
        self.limit = limit
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    def test(self, value: object) -> bool:
        """The value is a version that compares so; what is no text is no version."""
        if not isinstance(value, str):
            return False
        text = str.__str__(value)
        if text in self.passed:
            return True
        return text not in self.failed and self._judge(text)

    def _judge(self, text: str) -> bool:
        order = parse_version(text)
        result = order is not None and self.compare(order, self.limit)
        if len(text) > self.LENGTH:
            return result
        if len(self.passed) + len(self.failed) >= self.LIMIT:
            self.passed.clear()
            self.failed.clear()
        (self.passed if result else self.failed).add(text)
        return result

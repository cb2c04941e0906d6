"""The definitions of one document, each read at its first use and then kept.

A bad definition raises BrokenError to whoever names it, and so breaks nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, TypeVar

from flagloop.document.definition import Experiment, Flag, Holdout, Layer, Segment
from flagloop.document.problem import Path, Problem, did_you_mean, errors
from flagloop.document.schema import read_item
from flagloop.document.schema_outline import recorded_attributes, unit_attributes
from flagloop.errors import DocumentError
from flagloop.evaluation.conditions import Node, make_tests

Read = TypeVar("Read")


class BrokenError(Exception):
    """A definition that cannot be used; paths of `problems` start at the item that was asked."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problem.render() for problem in self.problems))


def broken(message: str, path: Path = (), hint: str | None = None) -> BrokenError:
    """A BrokenError of one problem."""
    return BrokenError([Problem(message, path, hint=hint)])


class Library:
    """The items of a mapping, by section and key; unknown sections are ignored."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self._raw = {
            section: _section(mapping, section)
            for section in ("flags", "segments", "layers", "holdouts", "experiments")
        }
        self._read: dict[tuple[str, str], Any] = {}
        self._segments: dict[str, Node | BrokenError] = {}
        self.recording = recorded_attributes(mapping)
        self._mapping = mapping

    @property
    def flags(self) -> Mapping[str, Any]:
        """The flags as the document has them, unread."""
        return self._raw["flags"]

    @cached_property
    def units(self) -> frozenset[str]:
        """Every attribute that is a unit somewhere."""
        return unit_attributes(self._mapping)

    def flag(self, key: str) -> Flag:
        """The flag; BrokenError where it is unknown or bad. So do the others."""
        return self._item("flags", key, Flag)

    def layer(self, key: str) -> Layer:
        """The layer."""
        return self._item("layers", key, Layer)

    def holdout(self, key: str) -> Holdout:
        """The holdout."""
        return self._item("holdouts", key, Holdout)

    def experiment(self, key: str) -> Experiment:
        """The experiment."""
        return self._item("experiments", key, Experiment)

    def segment(self, key: str, within: tuple[str, ...] = ()) -> Node:
        """The condition of a segment, made once; BrokenError also where segments form a cycle.

        `within` are the segments that are being made: each names the next, the last this one.
        """
        known = self._segments.get(key)
        if known is None:
            if key in within:
                cycle = sorted(within[within.index(key) :])
                raise broken(f"segments name each other: {', '.join(cycle)}")
            try:
                known = self._make_segment(key, (*within, key))
            except BrokenError as error:
                known = error
            self._segments[key] = known
        if isinstance(known, BrokenError):
            raise known
        return known

    def _make_segment(self, key: str, within: tuple[str, ...]) -> Node:
        segment = self._item("segments", key, Segment)
        try:
            return make_tests(segment.when, partial(self.segment, within=within))
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            raise broken(f"segment '{key}': {message}", hint=hint or None) from None

    def _item(self, section: str, key: str, kind: Callable[..., Read]) -> Read:
        known = self._read.get((section, key))
        if known is None:
            known = self._read[section, key] = self._read_item(section, key)
        if isinstance(known, BrokenError):
            raise known
        item: Read = known
        return item

    def _read_item(self, section: str, key: str) -> Any:
        raw = self._raw[section]
        if key not in raw:
            kind = section.removesuffix("s")
            return broken(f"unknown {kind} '{key}'", hint=did_you_mean(key, raw))
        item, problems = read_item(section, key, raw[key])
        if item is not None and not errors(problems):
            return item
        if section == "flags":
            return BrokenError(problems)
        # Whoever names it reads the message at its own place.
        kind = section.removesuffix("s")
        return BrokenError(
            [Problem(f"{kind} '{key}' is broken: {problem.render()}") for problem in problems]
        )


def _section(mapping: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    items = mapping.get(section)
    if items is None:
        return {}
    if not isinstance(items, Mapping):
        raise DocumentError([Problem(f"`{section}` is no mapping", (section,))])
    return items

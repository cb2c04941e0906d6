"""A condition as rows: tests, segments and groups of more rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from flagloop.document.problem import Path, Problem
from flagloop.document.yamlwrite import flow_text, scalar_text
from flagloop_server.drafts import typed
from flagloop_server.drafts.conditions import EITHER, LISTS, read_constant, tests_of
from flagloop_server.web.pages.visual.board import Board, Field, identity, offered

OPERATORS = (
    ("eq", "is"),
    ("ne", "is not"),
    ("in", "is one of"),
    ("not_in", "is none of"),
    ("contains", "contains"),
    ("starts_with", "starts with"),
    ("ends_with", "ends with"),
    ("gt", "is greater than"),
    ("gte", "is at least"),
    ("lt", "is less than"),
    ("lte", "is at most"),
    ("exists", "is present or missing"),
    ("before", "is before"),
    ("after", "is after"),
    ("semver_eq", "is version"),
    ("semver_gt", "is later than version"),
    ("semver_gte", "is at least version"),
    ("semver_lt", "is earlier than version"),
    ("semver_lte", "is at most version"),
    ("in_cidr", "is in network"),
    ("matches", "matches RE2"),
    ("eq_ci", "is, any case"),
    ("in_ci", "is one of, any case"),
    ("contains_ci", "contains, any case"),
    ("starts_with_ci", "starts with, any case"),
    ("ends_with_ci", "ends with, any case"),
)
"""The words of the document with what they are called."""

GROUPS = {"all": "all of these", "any": "at least one of these", "not": "not"}
EXISTS = (("true", "present"), ("false", "missing"))
DEEPEST = 8
"""Groups inside each other that are drawn; deeper ones are for the text."""


@dataclass(frozen=True, slots=True)
class TestRow:
    """`attribute operator constant`."""

    id: str
    attribute: Field
    operator: Field
    constant: Field
    kind: str

    @property
    def drop(self) -> str:
        """Where the step that takes the test away happens."""
        return self.constant.address


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """The context is in any of the segments."""

    id: str
    segments: Field


@dataclass(frozen=True, slots=True)
class GroupRow:
    """`all`, `any` or `not` with the conditions inside."""

    id: str
    word: str
    title: str
    path: Path
    parts: tuple[ConditionCard, ...]
    problems: tuple[Problem, ...]

    @property
    def address(self) -> str:
        """The path as JSON."""
        return json.dumps(self.path)

    @property
    def end(self) -> str:
        """Where one more part goes, as JSON."""
        return json.dumps([*self.path, len(self.parts)])


@dataclass(frozen=True, slots=True)
class OddRow:
    """What only the text can say."""

    id: str
    word: str
    text: str
    problems: tuple[Problem, ...]


Row: TypeAlias = TestRow | SegmentRow | GroupRow | OddRow


@dataclass(frozen=True, slots=True)
class ConditionCard:
    """The rows of one condition; all of them must hold."""

    path: Path
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...] = ()
    odd: str = ""

    @property
    def address(self) -> str:
        """The path as JSON."""
        return json.dumps(self.path)

    @property
    def id(self) -> str:
        """What nothing else on the page is called."""
        return identity(self.path)


def condition_card(board: Board, raw: Any, path: Path, depth: int = 0) -> ConditionCard:
    """The rows of a condition's mapping; what is none is left to the text."""
    if raw is None:
        return ConditionCard(path, (), board.take(path))
    if not isinstance(raw, dict) or depth > DEEPEST:
        return ConditionCard(path, (), board.take(path), typed.written(raw))
    rows: list[Row] = []
    for word, value in raw.items():
        rows += _rows(board, word, value, (*path, word), depth)
    return ConditionCard(path, tuple(rows), board.take(path))


def _rows(board: Board, word: str, value: Any, path: Path, depth: int) -> list[Row]:
    if word == "segment" and isinstance(value, str | list):
        hint = "several: any of them"
        shown = typed.plainly(value)
        field = Field(
            path, "segment", shown, "", "segments", (), board.take(path), "segments", hint
        )
        return [SegmentRow(identity(path), field)]
    if word in ("all", "any") and isinstance(value, list):
        parts = tuple(
            condition_card(board, part, (*path, place), depth + 1)
            for place, part in enumerate(value)
        )
        return [GroupRow(identity(path), word, GROUPS[word], path, parts, board.take(path))]
    if word == "not" and isinstance(value, dict):
        inner = condition_card(board, value, path, depth + 1)
        return [GroupRow(identity(path), "not", GROUPS["not"], path, (inner,), board.take(path))]
    if word in (*GROUPS, "segment", "flag") or (isinstance(value, dict) and not value):
        return [OddRow(identity(path), word, typed.written(value), board.take(path))]
    return [
        _test(board, path, operator, constant, short=not isinstance(value, dict))
        for operator, constant in tests_of(value).items()
    ]


def _test(board: Board, path: Path, operator: str, constant: Any, *, short: bool) -> TestRow:
    place = (*path, operator)
    problems = board.take(path if short else place)
    attribute = str(path[-1])
    several = operator in LISTS or (operator in EITHER and isinstance(constant, list))
    values = f"values:{attribute}" if attribute in board.known.values else ""
    return TestRow(
        identity(place),
        Field(
            place,
            "attribute",
            attribute,
            do="attribute",
            problems=() if attribute else problems,
            suggest="attributes",
        ),
        Field(place, "operator", operator, "", "operator", offered(OPERATORS, operator)),
        Field(
            place,
            "values" if several else "value",
            shown(operator, constant),
            do="constant",
            choices=EXISTS if operator == "exists" else (),
            problems=problems if attribute else (),
            suggest="" if several else values,
            hint=f"separated by {'commas' if _between(operator) == ', ' else 'lines'}"
            if several
            else "",
        ),
        kind_of(constant),
    )


def shown(operator: str, constant: Any) -> str:
    """A constant as it would be typed: quotes only where it would be read as something else."""
    entries = constant if isinstance(constant, list) else [constant]
    if all(isinstance(one, str) for one in entries):
        plain = _between(operator).join(entries)
        found = read_constant(operator, plain, constant)
        if found == constant and flow_text(found) == flow_text(constant):
            return plain
    if operator == "matches":
        return ", ".join(scalar_text(one, '"') for one in entries)
    return typed.written(constant)


def _between(operator: str) -> str:
    """What stands between constants: a comma would be a part of a regular expression."""
    return "\n" if operator == "matches" else ", "


def kind_of(constant: Any) -> str:
    """What a constant is, in a word: there is no coercion, so `99` is not `"99"`."""
    if isinstance(constant, list):
        kinds = {kind_of(one) for one in constant}
        return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "text"
    if isinstance(constant, bool):
        return "true/false"
    return "number" if isinstance(constant, int | float) else "text"

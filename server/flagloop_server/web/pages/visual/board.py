"""Fields with their problems, and what the fields can offer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

from flagloop.document.problem import Path, Problem
from flagloop_server.drafts import typed

Choices: TypeAlias = Sequence[tuple[str, str]]
"""(value, what it is called) in order."""

WIDE = 60
"""Characters from which on a list gets several lines."""


TERMS = {
    "Share of them": "share",
    "Experiment": "experiment",
    "Default": "default",
    "Off": "off",
    "Unit": "unit",
    "Salt": "salt",
    "Holdout": "holdout",
    "Log with exposures": "exposure",
    "Stages": "stage",
    "Guardrails": "guardrail",
    "Harm budget": "harm budget",
}
"""Label -> the term of the glossary that explains it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One input: `path` is its place in the item, `do` and `kind` make the step of its change.

    `suggest` names a list of suggestions; `choices` make it a select.
    """

    path: Path
    label: str
    text: str
    kind: str = ""
    do: str = "set"
    choices: tuple[tuple[str, str], ...] = ()
    problems: tuple[Problem, ...] = ()
    suggest: str = ""
    hint: str = ""

    @property
    def id(self) -> str:
        """What nothing else on the page is called."""
        return f"{identity(self.path)}:{self.do}"

    @property
    def address(self) -> str:
        """The path as JSON."""
        return json.dumps(self.path)

    @property
    def term(self) -> str:
        """The term of the glossary that explains it, if any does."""
        return TERMS.get(self.label, "")

    @property
    def rows(self) -> int:
        """Lines of its input; a name has one."""
        if self.do in ("name", "rename", "attribute"):
            return 1
        lines = self.text.count("\n")
        return (
            1
            if not lines and len(self.text) <= WIDE
            else min(8, lines + len(self.text) // WIDE + 1)
        )


def identity(path: Path) -> str:
    """The id of a place in an item."""
    return ":".join(["c", *(quote(str(part), safe="") for part in path)])


@dataclass(frozen=True, slots=True)
class Known:
    """What a document has that an item can name; `values` of attributes come from contexts."""

    segments: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    holdouts: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)


class Board:
    """Makes the fields of one item; each problem is shown once, at the nearest place."""

    def __init__(self, problems: Iterable[Problem], known: Known) -> None:
        self.left = list(problems)
        self.known = known

    def take(self, path: Path) -> tuple[Problem, ...]:
        """The problems at or below a place that no field has shown."""
        mine = [one for one in self.left if one.path[2 : 2 + len(path)] == path]
        self.left = [one for one in self.left if one not in mine]
        return tuple(mine)

    def text(self, holder: Any, path: Path, label: str, kind: str = "text", **more: Any) -> Field:
        """A field for a word; `holder` is what stands above it."""
        value = holder.get(path[-1]) if isinstance(holder, dict) else None
        shown = "" if value is None else self.shown(value, kind)
        return Field(path, label, shown, kind, problems=self.take(path), **more)

    def shown(self, value: Any, kind: str) -> str:
        """The text of a field's value."""
        exact = kind in ("constant", "constants", "value") or isinstance(value, dict)
        return typed.written(value) if exact else typed.plainly(value)

    def choice(self, holder: Any, path: Path, label: str, choices: Choices, **more: Any) -> Field:
        """A select for a word; what it has now is always among the choices."""
        found = self.text(holder, path, label, **more)
        return Field(
            found.path,
            label,
            found.text,
            found.kind,
            found.do,
            offered(choices, found.text),
            found.problems,
            hint=found.hint,
        )


def offered(choices: Choices, now: str) -> tuple[tuple[str, str], ...]:
    """The choices, and the present value where it is none of them."""
    if any(value == now for value, _ in choices):
        return tuple(choices)
    return (*choices, (now, f"{now} (unknown)" if now else "choose …"))


def same(names: Iterable[str]) -> list[tuple[str, str]]:
    """Choices that are called what they are."""
    return [(name, name) for name in names]

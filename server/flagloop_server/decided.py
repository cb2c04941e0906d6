"""Decisions in words, and the decisions of two times beside each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flagloop.evaluation.decision import Decision, Reason

Show: TypeAlias = Literal["all", "changed", "rule", "default", "off", "error"]

SHOWS: dict[Show, str] = {
    "all": "all flags",
    "changed": "those that decide differently now",
    "rule": "those served by a rule",
    "default": "those with their default",
    "off": "those that are off",
    "error": "those in error",
}
"""What a list of decisions can be narrowed to, in words."""

NOBODY = "the caller's default"
"""What an application gets where no variant is served."""


@dataclass(frozen=True, slots=True)
class Line:
    """One flag: what it decides in the scene that is looked at, and now.

    `then` is None for a flag that there was not; `now` is None for one that is gone, and where
    the scene is now.
    """

    flag: str
    then: Decision | None
    now: Decision | None = None
    compared: bool = False

    @property
    def changed(self) -> bool:
        """Whether applications get another answer now."""
        same = self.then is self.now or _answer(self.then) == _answer(self.now)
        return self.compared and not same


def lines(then: Sequence[Decision], now: Sequence[Decision] | None = None) -> list[Line]:
    """A line for each flag; with `now` also those that are new since, at the end."""
    if now is None:
        return [Line(one.flag, one) for one in then]
    today = {one.flag: one for one in now}
    found = [Line(one.flag, one, today.pop(one.flag, None), True) for one in then]
    return found + [Line(flag, None, one, True) for flag, one in today.items()]


def select(found: Iterable[Line], show: str, text: str) -> list[Line]:
    """The lines of one kind in which every word of `text` occurs."""
    words = text.casefold().split()
    return [
        line
        for line in found
        if (show not in SHOWS or show == "all" or show == kind(line) or _is_changed(line, show))
        and all(word in _text(line) for word in words)
    ]


def kind(line: Line) -> Show:
    """What serves it: a rule, its default, nothing since it is off, or nothing by an error."""
    decision = line.then or line.now
    if decision is None or decision.error is not None:
        return "error"
    if decision.reason is Reason.DISABLED:
        return "off"
    return "rule" if decision.rule is not None else "default"


def served(decision: Decision | None) -> str:
    """The name of the variant, or that there is none."""
    if decision is None:
        return "no such flag"
    return decision.variant if decision.variant is not None else NOBODY


def because(decision: Decision | None) -> str:
    """Why, in a few words: `rule canary`, `held by growth_2026`, `killed`."""
    if decision is None:
        return "it did not exist"
    if decision.error is not None:
        return decision.message or "it cannot be read"
    if decision.prerequisite is not None:
        return f"off: prerequisite {decision.prerequisite} is not met"
    if decision.reason is Reason.DISABLED:
        return "off: killed"
    if decision.holdout is not None:
        return f"held by {decision.holdout}"
    if decision.rule is not None:
        experiment = f", experiment {decision.experiment}" if decision.experiment else ""
        return f"rule {decision.rule}{experiment}"
    if decision.missing_unit:
        return "its default: the context lacks a unit that a rule or a holdout needs"
    return "its default, no rule served" if decision.reason is Reason.DEFAULT else "it has no rules"


def _answer(decision: Decision | None) -> tuple[Any, ...]:
    if decision is None or decision.variant is None:
        return (None,)
    return (decision.variant, repr(decision.value))


def _is_changed(line: Line, show: str) -> bool:
    return show == "changed" and line.changed


def _text(line: Line) -> str:
    return f"{line.flag} {served(line.then)} {because(line.then)}".casefold()

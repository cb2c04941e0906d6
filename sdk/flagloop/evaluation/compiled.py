"""One flag ready to evaluate, its prerequisites before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flagloop.document.problem import Problem
from flagloop.evaluation.decision import Decision, ErrorCode
from flagloop.evaluation.generate import Evaluate
from flagloop.evaluation.plan import Gates, Plan, error_decision


class Compiled:
    """`evaluate(context)`, or `evaluate(context, now)` where `windowed`.

    `own` is the same without prerequisites, `gates` are those: (flag, variant, decision when not
    met). `plan` is None for a broken flag, whose only decision is an error.
    """

    __slots__ = ("decisions", "evaluate", "gates", "own", "plan", "problems", "windowed")

    def __init__(self, plan: Plan, own: Evaluate, before: Mapping[str, Compiled]) -> None:
        """`before` holds all that the flag requires, directly or not, prerequisites first."""
        self.plan: Plan | None = plan
        self.own = self.evaluate = own
        self.decisions = plan.decisions
        self.problems: list[Problem] = []
        self.gates: Gates = () if plan.killed is not None else plan.requires
        self.windowed = plan.windowed
        if self.gates:
            flags = [before.get(key) or _unknown(key) for key, _, _ in self.gates]
            self.windowed |= any(flag.windowed for flag in before.values())
            if any(flag.gates for flag in flags):
                self.evaluate = _after_all({**before, plan.flag.key: self})
            else:
                self.evaluate = _after_direct(flags, self.gates, own)

    @classmethod
    def broken(cls, decision: Decision, problems: list[Problem]) -> Compiled:
        """A flag that cannot decide."""
        made = cls.__new__(cls)
        made.plan = None
        made.own = made.evaluate = _always(decision)
        made.decisions = (decision,)
        made.problems = problems
        made.gates = ()
        made.windowed = False
        return made


def _unknown(key: str) -> Compiled:
    """A prerequisite that the document does not have: never met."""
    return Compiled.broken(error_decision(key, ErrorCode.FLAG_NOT_FOUND, f"no flag '{key}'"), [])


def _always(decision: Decision) -> Evaluate:
    def evaluate(context: Mapping[str, Any], now: float | None = None) -> Decision:
        return decision

    return evaluate


def _after_direct(flags: list[Compiled], gates: Gates, own: Evaluate) -> Evaluate:
    """For prerequisites that have none themselves."""
    checks = [
        (flag.own, variant, not_met)
        for flag, (_, variant, not_met) in zip(flags, gates, strict=True)
    ]

    def evaluate(context: Mapping[str, Any], now: float | None = None) -> Decision:
        for prerequisite, variant, not_met in checks:
            if prerequisite(context, now).variant != variant:
                return not_met
        return own(context, now)

    return evaluate


def _after_all(flags: Mapping[str, Compiled]) -> Evaluate:
    """For chains of prerequisites; the flag itself is the last of `flags`.

    Each flag is evaluated once, in order, so the time is linear in their number (calls inside
    calls would repeat a flag that many require) and no chain is too deep.
    """
    order = [(name, flag.gates, flag.own) for name, flag in flags.items()]

    def evaluate(context: Mapping[str, Any], now: float | None = None) -> Decision:
        served: dict[str, str | None] = {}
        for name, gates, own in order:
            for prerequisite, variant, not_met in gates:
                if served.get(prerequisite) != variant:
                    decision = not_met
                    break
            else:
                decision = own(context, now)
            served[name] = decision.variant
        return decision

    return evaluate

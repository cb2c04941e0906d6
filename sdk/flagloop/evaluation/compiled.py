"""One flag ready to evaluate, its prerequisites before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flagloop.document.problem import Problem
from flagloop.evaluation.decision import Decision, ErrorCode
from flagloop.evaluation.generate import Evaluate
from flagloop.evaluation.plan import Gates, Plan, error_decision


class Compiled:
    """`evaluate(context)`, or `evaluate(context, now)` where `windowed`; both right when `ready`.

    `own` is the same without prerequisites, `gates` are those: (flag, variant, decision when not
    met). `plan` is None for a broken flag, whose only decision is an error.
    """

    __slots__ = ("decisions", "evaluate", "gates", "own", "plan", "problems", "ready", "windowed")

    def __init__(self, plan: Plan | None, own: Evaluate, decisions: tuple[Decision, ...]) -> None:
        self.plan = plan
        self.own = own
        self.decisions = decisions
        self.problems: list[Problem] = []
        self.gates: Gates = () if plan is None or plan.killed is not None else plan.requires
        self.windowed = plan is not None and plan.windowed
        self.evaluate = own
        self.ready = not self.gates

    @classmethod
    def broken(cls, decision: Decision, problems: list[Problem]) -> Compiled:
        """A flag that cannot decide."""
        made = cls(None, _always(decision), (decision,))
        made.problems = problems
        return made

    def require(self, flags: Mapping[str, Compiled]) -> None:
        """Makes `evaluate`: `flags` are all that it requires, directly or not, prerequisites
        first, and itself last.
        """
        direct = [flags.get(key) or _unknown(key) for key, _, _ in self.gates]
        if any(flag.gates for flag in direct):
            self.evaluate = _after_all(flags)
        else:
            self.evaluate = _after_direct(direct, self.gates, self.own)
        self.windowed = any(flag.windowed for flag in flags.values())
        self.ready = True


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

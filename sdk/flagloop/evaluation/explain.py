"""Why a context gets its variant, rule by rule.

A second walker: it follows the flag's plan as written, calls the same leaf tests and ends at the
same `Decision` objects as the generated function, which tests hold equal. It is not fast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from flagloop.evaluation.bucketing import SPACE, place, unit_of
from flagloop.evaluation.conditions import Leaf, Membership, Negation, Node, holds
from flagloop.evaluation.decision import Decision
from flagloop.evaluation.plan import Plan, Range, Step
from flagloop.evaluation.ruleset import Ruleset

Kind: TypeAlias = Literal["flag", "killed", "requires", "holdout", "rule", "default"]
Outcome: TypeAlias = Literal["served", "passed", "not reached"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a unit fell: `at`, and the edges `low` and `high`, of 2**32; `by` names the salt's
    purpose (holdout, layer, share, rollout, split). `at` is None where no unit was needed.
    """

    by: str
    at: int | None
    low: int
    high: int

    @property
    def inside(self) -> bool:
        """The unit is in the half-open range."""
        if self.at is None:
            return self.low < self.high
        return self.low <= self.at < self.high

    def render(self) -> str:
        """`share 43.21%, not in [0%, 5%)`."""
        at = "" if self.at is None else f" {_part(self.at)},"
        inside = "in" if self.inside else "not in"
        return f"{self.by}{at} {inside} [{_part(self.low)}, {_part(self.high)})"

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form."""
        return {"by": self.by, "at": self.at, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Reached:
    """One step on the way: `served` ended it, `passed` went on to the next, `why` in words."""

    kind: Kind
    name: str
    outcome: Outcome
    why: str
    positions: tuple[Position, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form."""
        full: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "outcome": self.outcome,
            "why": self.why,
        }
        if self.positions:
            full["positions"] = [position.to_mapping() for position in self.positions]
        return full

    def render(self) -> str:
        """One line for the terminal."""
        mark = {"served": "*", "passed": "-", "not reached": " "}[self.outcome]
        title = self.kind if self.name in ("", self.kind) else f"{self.kind} {self.name}"
        where = "".join(f"; {position.render()}" for position in self.positions)
        return f"{mark} {title}: {self.why}{where}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision and the steps that led to it, in the order of evaluation."""

    decision: Decision
    steps: tuple[Reached, ...]

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form: that of the decision, and `steps`."""
        return {**self.decision.to_mapping(), "steps": [step.to_mapping() for step in self.steps]}

    def render(self) -> str:
        """Lines for the terminal: one a step (`*` decided, `-` passed), then the decision."""
        decision = self.decision
        served = "no variant: the caller's default"
        if decision.variant is not None:
            served = f"{decision.variant} ({_show(decision.value)})"
        last = f"{decision.flag} serves {served}, {decision.reason.value}"
        return "\n".join([*[step.render() for step in self.steps], last])


def explain(
    ruleset: Ruleset, flag: str, context: Mapping[str, Any], now: float | None = None
) -> Explanation:
    """How the flag decides for the context: `.decision` is what `ruleset.evaluate` returns.

    `now` is epoch seconds, needed only where a rule has a window (ValueError without).
    """
    decision = ruleset.evaluate(flag, context, now)
    plan = ruleset.plan(flag)
    if plan is None:
        why = decision.message or "it cannot be read"
        return Explanation(decision, (Reached("flag", flag, "served", why),))
    return _Walk(ruleset, plan, context, now).explanation()


@dataclass(slots=True)
class _Walk:
    """One walk through a plan."""

    ruleset: Ruleset
    plan: Plan
    context: Mapping[str, Any]
    now: float | None
    steps: list[Reached] = field(default_factory=list)
    missing: bool = False

    def explanation(self) -> Explanation:
        decision = self.before_rules()
        for step in self.plan.steps:
            if decision is not None:
                self.add("rule", step.rule.name, "not reached", "already decided")
            else:
                decision = self.rule(step)
        if decision is None:
            decision = self.default()
        return Explanation(decision, tuple(self.steps))

    def add(self, kind: Kind, name: str, outcome: Outcome, why: str, *at: Position) -> None:
        self.steps.append(Reached(kind, name, outcome, why, at))

    def before_rules(self) -> Decision | None:
        """Killed, requires, holdout."""
        if self.plan.killed is not None:
            killed = self.plan.flag.killed
            because = f"killed: {killed.reason}" if killed and killed.reason else "killed"
            self.add("killed", "", "served", because)
            return self.plan.killed
        return self.requires() or self.holdout()

    def requires(self) -> Decision | None:
        for key, variant, not_met in self.plan.requires:
            served = self.ruleset.evaluate(key, self.context, self.now)
            found = served.variant if served.error is None else f"none, {served.error.value}"
            if served.variant != variant:
                self.add("requires", key, "served", f"serves {found}, not {variant}: not met")
                return not_met
            self.add("requires", key, "passed", f"serves {found}: met")
        return None

    def holdout(self) -> Decision | None:
        hold = self.plan.holdout
        if hold is None:
            return None
        name = str(self.plan.flag.holdout)
        found = self.within("holdout", hold.range, hold.unit)
        if isinstance(found, str):
            self.add("holdout", name, "passed", found)
            return None
        if not found.inside:
            self.add("holdout", name, "passed", "not held", found)
            return None
        self.add("holdout", name, "served", "held: before every rule, the default", found)
        return hold.decision

    def rule(self, step: Step) -> Decision | None:
        name = step.rule.name
        why_not = self.closed(step) or self.dead(step)
        if why_not is None and step.when is not None and not holds(step.when, self.context):
            why_not = f"its condition fails: {why_fails(step.when, self.context)}"
        if why_not is not None:
            self.add("rule", name, "passed", why_not)
            return None
        at: list[Position] = []
        for by, range_ in (("layer", step.layer), ("share", step.share)):
            if range_ is not None:
                found = self.within(by, range_, step.rule.unit, needed=step.needs_unit)
                if isinstance(found, str):
                    self.add("rule", name, "passed", found)
                    return None
                at.append(found)
                if not found.inside:
                    self.add("rule", name, "passed", f"outside its {by}", *at)
                    return None
        return self.serve(step, at)

    def serve(self, step: Step, at: list[Position]) -> Decision | None:
        name, low = step.rule.name, 0
        if len(step.bands) == 1:
            decision = step.bands[0].decision
            self.add("rule", name, "served", f"serves {decision.variant}", *at)
            return decision
        by = "rollout" if step.rule.rollout is not None else "split"
        for upper, decision in step.bands:
            found = self.within(by, Range(step.seed, low, upper), step.rule.unit)
            if isinstance(found, str):
                self.add("rule", name, "passed", found)
                return None
            if found.inside:
                self.add("rule", name, "served", f"serves {decision.variant}", *at, found)
                return decision
            low = upper
        raise AssertionError("the last band ends at the last position")

    def closed(self, step: Step) -> str | None:
        """Why the window is closed."""
        rule, now = step.rule, self.now
        if rule.from_ is not None and (now is None or now < rule.from_):
            return f"it opens at {_time(rule.from_)}"
        if rule.until is not None and (now is None or now >= rule.until):
            return f"it ended at {_time(rule.until)}"
        return None

    def dead(self, step: Step) -> str | None:
        """Why the rule serves nobody."""
        if step.draft:
            return f"experiment {step.rule.experiment} is a draft"
        if any(each.empty for each in step.ranges):
            return "its share is 0%"
        return None

    def within(
        self, by: str, range_: Range, attribute: str, *, needed: bool = False
    ) -> Position | str:
        """Where the unit falls, or why that is not known."""
        unit = unit_of(self.context.get(attribute))
        if unit is not None:
            return Position(by, place(range_.seed, unit), range_.low, range_.high)
        if not needed and (range_.full or range_.empty):
            return Position(by, None, range_.low, range_.high)
        self.missing = True
        return f"the context has no unit '{attribute}'"

    def default(self) -> Decision:
        if self.missing:
            self.add("default", "", "served", "no rule served, and a unit was missing")
            return self.plan.missing
        why = "no rule served" if self.plan.steps else "it has no rules"
        self.add("default", "", "served", why)
        return self.plan.default


def why_fails(node: Node, context: Mapping[str, Any]) -> str:
    """The first test on which a condition that does not hold fails, with the value it saw."""
    if isinstance(node, Leaf):
        value = context.get(node.attribute)
        saw = "missing" if value is None else _show(value)
        return f"{describe(node)}, but it is {saw}"
    if isinstance(node, Membership):
        return f"not in segment {node.segment}: {why_fails(node.condition, context)}"
    if isinstance(node, Negation):
        return f"not ({describe(node.part)}) is false"
    if node.every:
        failing = next(part for part in node.parts if not holds(part, context))
        return why_fails(failing, context)
    if not node.parts:
        return "an empty `any` never holds"
    return "none of: " + "; ".join([why_fails(part, context) for part in node.parts])


def describe(node: Node) -> str:
    """The condition in words."""
    if isinstance(node, Leaf):
        constant = list(node.constant) if isinstance(node.constant, tuple) else node.constant
        return f"{node.attribute} {node.operator} {_show(constant)}"
    if isinstance(node, Membership):
        return f"in segment {node.segment}"
    if isinstance(node, Negation):
        return f"not ({describe(node.part)})"
    joint = " and " if node.every else " or "
    return joint.join([describe(part) for part in node.parts]) or str(node.every).lower()


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):  # no JSON, and no reason to fail
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _part(position: int) -> str:
    return f"{position / SPACE * 100:.6g}%"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

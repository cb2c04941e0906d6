"""A flag with everything looked up: seeds, edges, leaf tests and prebuilt decisions.

The plan is what the generator compiles and what `explain` walks, so both decide by the same
numbers, tests and `Decision` objects. Every range is half-open, `[low, high)` of 2**32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias, TypeVar

from flagloop.document.definition import (
    WHOLE,
    Condition,
    Experiment,
    Flag,
    Holdout,
    Layer,
    Rule,
)
from flagloop.document.problem import Path, Problem
from flagloop.evaluation.bucketing import (
    SPACE,
    edge,
    experiment_salt,
    holdout_salt,
    layer_salt,
    seed,
    share_salt,
    split_salt,
)
from flagloop.evaluation.conditions import Node, make_tests
from flagloop.evaluation.decision import Decision, ErrorCode, Exposed, Reason
from flagloop.evaluation.library import BrokenError, Library

Found = TypeVar("Found")


Gates: TypeAlias = tuple[tuple[str, str, Decision], ...]
"""Prerequisites: (flag, variant, decision when it is not met)."""


class Range(NamedTuple):
    """The units whose position under `seed` is in `[low, high)`: a layer, share or holdout."""

    seed: int
    low: int
    high: int

    @property
    def empty(self) -> bool:
        """No unit is in it: none has to be known."""
        return self.low >= self.high

    @property
    def full(self) -> bool:
        """Every unit is in it: none has to be known."""
        return self.low == 0 and self.high == SPACE


class Band(NamedTuple):
    """One outcome of a rule: positions below `upper` and not below the band before it."""

    upper: int
    decision: Decision


class Hold(NamedTuple):
    """The flag's holdout and the decision for the units in it."""

    range: Range
    unit: str
    decision: Decision


class Step(NamedTuple):
    """One rule, looked up. No band is empty, and the last one's `upper` is 2**32."""

    rule: Rule
    when: Node | None
    layer: Range | None
    share: Range | None
    seed: int
    bands: tuple[Band, ...]
    draft: bool = False

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The layer's and the share's range, in the order in which they are asked."""
        return tuple([each for each in (self.layer, self.share) if each is not None])

    @property
    def dead(self) -> bool:
        """No unit can be served: a draft, a share of 0%."""
        return self.draft or any(each.empty for each in self.ranges)

    @property
    def windowed(self) -> bool:
        """The rule looks at the time."""
        return self.rule.from_ is not None or self.rule.until is not None

    @property
    def needs_unit(self) -> bool:
        """The outcome depends on the unit's position."""
        return len(self.bands) > 1 or not all(each.full for each in self.ranges)


class Plan(NamedTuple):
    """One flag, looked up."""

    flag: Flag
    killed: Decision | None
    requires: Gates
    holdout: Hold | None
    steps: tuple[Step, ...]
    default: Decision
    missing: Decision
    decisions: tuple[Decision, ...]

    @property
    def windowed(self) -> bool:
        """Some rule looks at the time."""
        return self.killed is None and any(step.windowed and not step.dead for step in self.steps)

    @property
    def one_cut(self) -> tuple[int, int, Decision, Decision] | None:
        """(seed, edge, below, above) where one position of the unit `key` decides all."""
        if self.killed or self.requires or self.holdout or len(self.steps) != 1:
            return None
        step = self.steps[0]
        if step.dead or step.when or step.layer or step.windowed or step.rule.unit != "key":
            return None
        if step.share is None and len(step.bands) == 2:
            below, above = step.bands
            return step.seed, below.upper, below.decision, above.decision
        if step.share is not None and not step.share.full and len(step.bands) == 1:
            return step.share.seed, step.share.high, step.bands[0].decision, self.default
        return None


def make_plan(flag: Flag, library: Library) -> Plan:
    """The flag, looked up; BrokenError with every problem that a reference causes."""
    return _Builder(flag, library).build()


def error_decision(flag: str, code: ErrorCode, message: str) -> Decision:
    """The decision of a flag that cannot decide: the caller's default applies."""
    return Decision(flag, None, None, Reason.ERROR, error=code, message=message)


class _Builder:
    """Builds one plan, collecting the problems of all references."""

    def __init__(self, flag: Flag, library: Library) -> None:
        self.flag = flag
        self.library = library
        self.problems: list[Problem] = []
        self.decisions: list[Decision] = []
        self.holdout: Holdout | None = None

    def build(self) -> Plan:
        flag = self.flag
        if flag.holdout is not None:
            self.holdout = self.find(self.library.holdout, flag.holdout, ("holdout",))
        steps = tuple([self.step(rule, ("rules", i)) for i, rule in enumerate(flag.rules)])
        requires = tuple([self.prerequisite(*pair) for pair in flag.requires])
        if self.problems:
            raise BrokenError(self.problems)
        return Plan(
            flag,
            killed=self.decision(flag.off, Reason.DISABLED) if flag.killed else None,
            requires=requires,
            holdout=self.hold(),
            steps=tuple([step for step in steps if step is not None]),
            default=self.last(
                Reason.DEFAULT if requires or steps or self.holdout else Reason.STATIC
            ),
            missing=self.last(Reason.DEFAULT, missing_unit=True),
            decisions=tuple(self.decisions),
        )

    def find(self, look_up: Callable[[str], Found], key: str, path: Path) -> Found | None:
        """What `key` names, or None and its problems at `path`."""
        try:
            return look_up(key)
        except BrokenError as error:
            self.problems += [problem._replace(path=path) for problem in error.problems]
            return None

    def refuse(self, message: str, path: Path, hint: str | None = None) -> None:
        self.problems.append(Problem(message, path, hint=hint))

    def decision(self, variant: str | None, reason: Reason, **details: Any) -> Decision:
        value = None if variant is None else self.flag.variants[variant]
        made = Decision(self.flag.key, variant, value, reason, **details)
        self.decisions.append(made)
        return made

    def exposed(
        self, variant: str, rule: Rule | None = None, *, held: bool = False
    ) -> Exposed | None:
        """What an exposure of this outcome says; None for one that makes no exposure."""
        if rule is not None and (rule.share is not None or rule.serve is None):
            unit = rule.unit
        elif self.holdout is not None:
            unit = self.holdout.unit
        else:
            return None
        return Exposed(
            self.flag.key,
            variant,
            unit,
            rule=rule.name if rule else None,
            experiment=rule.experiment if rule else None,
            stage=rule.rollout.stage if rule and rule.rollout else None,
            holdout=self.flag.holdout,
            held=held,
            log=self.flag.log,
        )

    def last(self, reason: Reason, **details: Any) -> Decision:
        """The default, served when no rule did."""
        variant = self.flag.default
        return self.decision(variant, reason, exposed=self.exposed(variant), **details)

    def prerequisite(self, key: str, variant: str) -> tuple[str, str, Decision]:
        known: Iterable[str] = (variant,)  # unknown or bad: it is never met, and this flag is well
        if key in self.library.flags:
            with suppress(BrokenError):
                known = self.library.flag(key).variants
        if variant not in known:
            hint = f"its variants: {', '.join(known)}"
            self.refuse(f"flag '{key}' has no variant '{variant}'", ("requires", key), hint)
        return key, variant, self.decision(self.flag.off, Reason.DISABLED, prerequisite=key)

    def hold(self) -> Hold | None:
        if self.holdout is None:
            return None
        range_ = Range(seed(holdout_salt(self.holdout.key)), 0, edge(self.holdout.share))
        variant = self.flag.default
        decision = self.decision(
            variant,
            Reason.SPLIT,
            holdout=self.holdout.key,
            exposed=self.exposed(variant, held=True),
        )
        return Hold(range_, self.holdout.unit, decision)

    def step(self, rule: Rule, path: Path) -> Step | None:
        before = len(self.problems)
        when = None if rule.when is None else self.when(rule.when, path)
        experiment = None
        if rule.experiment is not None:
            experiment = self.find(self.library.experiment, rule.experiment, (*path, "experiment"))
        layer = self.layer(rule, experiment, path) if experiment is not None else None
        if len(self.problems) > before:
            return None
        salt, bands = self.outcomes(rule)
        draft = experiment is not None and experiment.status == "draft"
        return Step(rule, when, layer, self.share(rule), seed(salt), bands, draft)

    def when(self, condition: Condition, path: Path) -> Node | None:
        try:
            return make_tests(condition, self.library.segment)
        except BrokenError as error:
            self.problems += [each._replace(path=(*path, "when")) for each in error.problems]
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            self.refuse(message, (*path, "when"), hint or None)
        return None

    def layer(self, rule: Rule, experiment: Experiment, path: Path) -> Range | None:
        """The experiment's range of its layer; its units must be those of layer and holdout."""
        place = (*path, "unit")
        if self.holdout is not None and self.holdout.unit != rule.unit:
            self.refuse(_other_unit(rule, f"holdout '{self.holdout.key}'", self.holdout), place)
        if experiment.layer is None:
            return None
        held = experiment.layer
        layer = self.find(self.library.layer, held.layer, (*path, "experiment"))
        if layer is None:
            return None
        if layer.unit != rule.unit:
            self.refuse(_other_unit(rule, f"layer '{layer.key}'", layer), place)
        return Range(seed(layer_salt(layer.key)), edge(held.low), edge(held.high))

    def share(self, rule: Rule) -> Range | None:
        if rule.share is None:
            return None
        return Range(seed(share_salt(self.flag.salt, rule.salt)), 0, edge(rule.share))

    def outcomes(self, rule: Rule) -> tuple[str, tuple[Band, ...]]:
        """The salt and the bands of a rule; weights are (variant, part of the whole)."""
        weights: tuple[tuple[str, int], ...]
        if rule.rollout is not None:
            stage = rule.rollout.stage
            salt = share_salt(self.flag.salt, rule.salt)
            weights = ((rule.rollout.to, stage), (rule.rollout.from_, WHOLE - stage))
        elif rule.split is not None:
            salt = split_salt(self.flag.salt)
            if rule.experiment is not None:
                salt = experiment_salt(rule.experiment)
            weights = rule.split
        else:
            assert rule.serve is not None
            salt, weights = "", ((rule.serve, WHOLE),)
        bucketed = rule.serve is None or rule.share is not None
        reason = Reason.SPLIT if bucketed else Reason.TARGETING_MATCH
        bands, total = [], 0
        for variant, weight in weights:
            total += weight
            if weight:
                decision = self.decision(
                    variant,
                    reason,
                    rule=rule.name,
                    experiment=rule.experiment,
                    exposed=self.exposed(variant, rule),
                )
                bands.append(Band(edge(total), decision))
        return salt, tuple(bands)


def _other_unit(rule: Rule, what: str, other: Layer | Holdout) -> str:
    return f"the experiment's unit is '{rule.unit}', but that of {what} is '{other.unit}'"

"""A plan as one Python function: `evaluate(context, now=None) -> Decision`.

One generated function decides about twice as fast as the same closures called one by one, since
calls are what Python pays for. The source holds names made here and nothing of the document:
seeds, edges, constants, attribute names, tests and decisions are the function's globals; so flags
of one shape share one compilation. A 50/50 split is

    def evaluate(context, now=None):
        try:
            if (unit := context['key']).__class__ is str and unit and unit.isascii() or \
                    (unit := unit_of(unit)) is not None:
                return decision0 if murmur3(unit, seed2, False) < edge3 else decision1
            else:
                return decision4
        except KeyError:
            return again(padded(context), now)

A unit that is a plain, non-empty ASCII string is taken as it is; all else goes through `unit_of`,
which lets no text pass that mmh3 cannot hash. Nearly every context has its unit, so it is read by
subscript; one that has not is evaluated again with a null, which means the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import CodeType, FunctionType
from typing import Any, TypeAlias

from mmh3 import hash as murmur3

from flagloop.evaluation.bucketing import SPACE, unit_of
from flagloop.evaluation.conditions import Group, Leaf, Membership, Negation, Node
from flagloop.evaluation.decision import Decision
from flagloop.evaluation.inline import inline
from flagloop.evaluation.operators import Predicate
from flagloop.evaluation.plan import Plan, Range, Step

Evaluate: TypeAlias = Callable[..., Decision]
"""Called as `(context)`, or as `(context, now)` where a rule has a window."""

Holds: TypeAlias = Callable[[Mapping[str, Any]], bool]

_BUILTINS = {
    "bisect": bisect_right,
    "float": float,
    "KeyError": KeyError,
    "int": int,
    "murmur3": murmur3,
    "str": str,
    "unit_of": unit_of,
}
_DEEPEST = 8
"""Deeper parts of a condition become functions of their own: Python limits nested brackets."""
_FEW_TESTS = 4
"""A segment of at most so many tests stands in the function of each flag that names it."""
_FEW = 6
"""More bands are searched by bisection."""


class Generator:
    """Generates functions; those of large conditions are made once and shared by all flags."""

    def __init__(self) -> None:
        self._holds: dict[int, tuple[Node, Holds]] = {}

    def evaluate(self, plan: Plan) -> Evaluate:
        """The function that evaluates the flag, its prerequisites aside."""
        return _Writer(self).function(plan)

    def holds(self, node: Node) -> Holds:
        """A function of the context that tells whether the condition holds."""
        known = self._holds.get(id(node))
        if known is None:
            writer = _Writer(self)
            made = writer.made("holds(context)", [f"return {writer.condition(node)}"])
            # The node is kept, so that its id stays its own.
            known = self._holds[id(node)] = (node, made)
        return known[1]


@lru_cache(maxsize=1024)
def _compiled(source: str) -> CodeType:
    """The code of the one function in the source."""
    module = compile(source, "<flagloop rule>", "exec")
    return next(code for code in module.co_consts if isinstance(code, CodeType))


class _Writer:
    """Writes the source of one function and keeps the values that its names stand for."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.lines: list[str] = []
        self.values: dict[str, Any] = {}
        self.names: dict[tuple[str, int], str] = {}
        self.tests: list[Predicate] = []
        self.units: dict[str, None] = {}
        self.misses = False

    def function(self, plan: Plan) -> Evaluate:
        """The whole function."""
        self.body(plan)
        lines = ["missing = False", *self.lines] if self.misses else self.lines
        if self.units:
            lines = ["try:", *["    " + line for line in lines]]
            lines += ["except KeyError:", "    return again(padded(context), now)"]
            self.values["padded"] = partial(_padded, self.units)
        return self.made("evaluate(context, now=None)", lines)

    def made(self, head: str, lines: list[str]) -> Callable[..., Any]:
        """The function whose head and body these are."""
        source = "\n    ".join([f"def {head}:", *lines])
        # A copy of the code for each function: the interpreter tunes code to the globals it sees.
        code = _compiled(source).replace()
        names = {**self.values, "tests": tuple(self.tests), "__builtins__": _BUILTINS}
        made = FunctionType(code, names, argdefs=(None,) if code.co_argcount > 1 else ())
        if self.units:
            names["again"] = made
        return made

    def name(self, kind: str, value: Any) -> str:
        """The name under which the function knows the value."""
        known = self.names.get((kind, id(value)))
        if known is None:
            known = self.names[kind, id(value)] = f"{kind}{len(self.values)}"
            self.values[known] = value
        return known

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def body(self, plan: Plan) -> None:
        """Killed, holdout, rules, default: every statement of the function."""
        if plan.killed is not None:
            self.line(0, f"return {self.name('decision', plan.killed)}")
            return
        if plan.holdout is not None and not plan.holdout.range.empty:
            held = f"return {self.name('decision', plan.holdout.decision)}"
            if plan.holdout.range.full:
                self.line(0, held)
                return
            self.line(0, f"if {self.unit(plan.holdout.unit)}:")
            self.line(1, f"if {self.within(plan.holdout.range)}:")
            self.line(2, held)
            self.miss(0)
        steps = [step for step in plan.steps if not step.dead]
        for step in steps:
            if self.step(step, plan.missing if step is steps[-1] else None):
                return
        default = self.name("decision", plan.default)
        if self.misses:
            default = f"{self.name('decision', plan.missing)} if missing else {default}"
        self.line(0, f"return {default}")

    def step(self, step: Step, missing: Decision | None) -> bool:
        """Writes one rule; True if nothing after it can be reached.

        `missing` is the decision without a unit where no rule follows, else None.
        """
        conditions = self.conditions(step)
        depth = 1 if conditions else 0
        if conditions:
            self.line(0, f"if {' and '.join(conditions)}:")
        if not step.needs_unit:
            self.line(depth, f"return {self.name('decision', step.bands[0].decision)}")
            return not conditions
        self.line(depth, f"if {self.unit(step.rule.unit)}:")
        ranges = [self.within(each) for each in step.ranges if not each.full]
        if ranges:
            self.line(depth + 1, f"if {' and '.join(ranges)}:")
        self.bands(step, depth + (2 if ranges else 1))
        if missing is None:
            self.miss(depth)
        else:
            self.line(depth, "else:")
            self.line(depth + 1, f"return {self.name('decision', missing)}")
        return missing is not None and not conditions and not ranges

    def miss(self, depth: int) -> None:
        """Writes what happens without a unit where rules follow."""
        self.misses = True
        self.line(depth, "else:")
        self.line(depth + 1, "missing = True")

    def bands(self, step: Step, depth: int) -> None:
        """Writes the outcomes of one rule."""
        bands = step.bands
        decisions = [self.name("decision", band.decision) for band in bands]
        position = "" if len(bands) == 1 else self.position(step.seed)
        if len(bands) == 1:
            self.line(depth, f"return {decisions[0]}")
        elif len(bands) == 2:
            below = f"{position} < {self.name('edge', bands[0].upper)}"
            self.line(depth, f"return {decisions[0]} if {below} else {decisions[1]}")
        elif len(bands) <= _FEW:
            self.line(depth, f"position = {position}")
            for band, decision in zip(bands[:-1], decisions, strict=False):
                self.line(depth, f"if position < {self.name('edge', band.upper)}:")
                self.line(depth + 1, f"return {decision}")
            self.line(depth, f"return {decisions[-1]}")
        else:
            edges = self.name("edges", tuple([band.upper for band in bands]))
            choices = self.name("choices", tuple([band.decision for band in bands]))
            self.line(depth, f"return {choices}[bisect({edges}, {position})]")

    def conditions(self, step: Step) -> list[str]:
        """The rule's window and condition as expressions."""
        found = []
        if step.rule.from_ is not None:
            found.append(f"now >= {self.name('time', step.rule.from_)}")
        if step.rule.until is not None:
            found.append(f"now < {self.name('time', step.rule.until)}")
        if step.when is not None:
            found.append(self.condition(step.when))
        return found

    def condition(self, node: Node, depth: int = 0) -> str:
        """The condition as an expression."""
        if isinstance(node, Leaf):
            return self.leaf(node)
        if isinstance(node, Membership):
            if _small(node.condition):
                return self.condition(node.condition, depth)
            return f"{self.name('segment', self.generator.holds(node.condition))}(context)"
        if depth == _DEEPEST:
            return f"{self.name('part', self.generator.holds(node))}(context)"
        if isinstance(node, Negation):
            return f"(not {self.condition(node.part, depth + 1)})"
        if not node.parts:
            return str(node.every)
        joint = " and " if node.every else " or "
        return f"({joint.join([self.condition(part, depth + 1) for part in node.parts])})"

    def leaf(self, leaf: Leaf) -> str:
        """One test as an expression."""
        value = self.get(leaf.attribute)
        if leaf.constant is True or leaf.constant is False:
            if leaf.operator == "eq":
                return f"({value} is {leaf.constant})"
            if leaf.operator == "exists":
                return f"({value} is{' not' if leaf.constant else ''} None)"
        # Tests are rarely called here, so one name holds them all: each name costs every call.
        test = f"tests[{len(self.tests)}]"
        self.tests.append(leaf.test)
        form = inline(leaf)
        if form is None:
            return f"{test}({value})"
        written = form.form.format(self.name("constant", form.operand), test=test)
        return f"({written} if (value := {value}).__class__ is {form.kind} else {test}(value))"

    def unit(self, attribute: str) -> str:
        """An expression that binds `unit` and is true when there is one."""
        self.units[attribute] = None
        name = "'key'" if attribute == "key" else self.name("attribute", attribute)
        plain = f"(unit := context[{name}]).__class__ is str and unit and unit.isascii()"
        return f"{plain} or (unit := unit_of(unit)) is not None"

    def get(self, attribute: str) -> str:
        """An expression for an attribute; of all names only our own `key` stands in the source."""
        if attribute == "key":
            return "context.get('key')"
        return f"context.get({self.name('attribute', attribute)})"

    def within(self, range_: Range) -> str:
        """An expression that is true for a unit in the range."""
        position = self.position(range_.seed)
        if range_.low == 0:
            return f"{position} < {self.name('edge', range_.high)}"
        if range_.high == SPACE:
            return f"{position} >= {self.name('edge', range_.low)}"
        return f"{self.name('edge', range_.low)} <= {position} < {self.name('edge', range_.high)}"

    def position(self, seed: int) -> str:
        """An expression for where the unit falls."""
        return f"murmur3(unit, {self.name('seed', seed)}, False)"


def _padded(units: dict[str, None], context: Mapping[str, Any]) -> dict[str, Any]:
    """The context with a null for each unit that it lacks; the KeyError goes on if it has all."""
    full = {**units, **context}
    if len(full) == len(context):
        raise  # noqa: PLE0704 - within the function's `except`
    return full


def _small(node: Node) -> bool:
    """The condition has so few tests that it stands in each function that needs it."""
    if isinstance(node, Leaf):
        return True
    return (
        isinstance(node, Group)
        and len(node.parts) <= _FEW_TESTS
        and all(isinstance(part, Leaf) for part in node.parts)
    )

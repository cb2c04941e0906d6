"""The reference interpreter: evaluation as DESIGN words it, in the most naive way.

It shares no code with `flagloop.evaluation`: it reads definitions, hashes in pure Python and tests
conditions one by one, so that the compiled evaluation has something independent to equal.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from flagloop.document.definition import (
    WHOLE,
    All,
    AnyOf,
    Condition,
    Flag,
    InSegment,
    Not,
    Rule,
)
from flagloop.document.definition import Test as Leaf
from flagloop.document.schema import read_item

SECTIONS = ("flags", "segments", "layers", "holdouts", "experiments")


def murmur3(data: bytes, seed: int) -> int:
    """MurmurHash3_x86_32, after Austin Appleby's reference."""

    def mix(k: int) -> int:
        k = k * 0xCC9E2D51 & 0xFFFFFFFF
        k = (k << 15 | k >> 17) & 0xFFFFFFFF
        return k * 0x1B873593 & 0xFFFFFFFF

    h = seed
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        h ^= mix(int.from_bytes(data[i : i + 4], "little"))
        h = (h << 13 | h >> 19) & 0xFFFFFFFF
        h = (h * 5 + 0xE6546B64) & 0xFFFFFFFF
    if data[whole:]:
        h ^= mix(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h ^= h >> 16
    h = h * 0x85EBCA6B & 0xFFFFFFFF
    h ^= h >> 13
    h = h * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16


def position(salt: str, unit: str) -> int:
    return murmur3(unit.encode(), murmur3(salt.encode(), 0))


def edge(percent: int) -> int:
    return round(Fraction(percent, WHOLE) * 2**32)


class Outcome(NamedTuple):
    """What a decision says, as plain text."""

    variant: str | None
    reason: str
    rule: str | None = None
    experiment: str | None = None
    holdout: str | None = None
    prerequisite: str | None = None
    missing_unit: bool = False
    error: str | None = None


class Bad(Exception):
    """The flag cannot decide."""


def text_of(value: Any) -> str | None:
    return "".join(list(value)) if isinstance(value, str) else None


def unit_of(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{int(value):d}"
    text = text_of(value)
    if not text or any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        return None
    return text


def same(value: Any, constant: Any) -> bool:
    if isinstance(value, bool) or isinstance(constant, bool):
        return isinstance(value, bool) and isinstance(constant, bool) and value == constant
    if isinstance(value, str) or isinstance(constant, str):
        return isinstance(value, str) and text_of(value) == constant
    if isinstance(value, (int, float)):
        return bool(value == constant)
    return False


def version(text: str) -> tuple[Any, ...] | None:
    match = re.fullmatch(r"([0-9]+)\.([0-9]+)\.([0-9]+)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", text)
    if match is None:
        return None
    numbers = match.group(1, 2, 3)
    labels = match[4][1:].split(".") if match[4] else []
    numeric = [label for label in labels if re.fullmatch("[0-9]+", label)]
    if any(len(n) > 1 and n[0] == "0" for n in [*numbers, *numeric]) or "" in labels:
        return None
    if match[5] and "" in match[5][1:].split("."):
        return None
    order = [(0, int(n), "") if n in numeric else (1, 0, n) for n in labels]
    return (*map(int, numbers), 0 if labels else 1, order)


def instant(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value / 1000 if math.isfinite(value) else None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value + "T00:00Z" if len(value) == 10 else value)
        except ValueError:
            return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return (value - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return None


def compares(operator: str, value: Any, constant: Any) -> bool:
    return {
        "gt": value > constant,
        "gte": value >= constant,
        "lt": value < constant,
        "lte": value <= constant,
        "eq": value == constant,
    }[operator]


def in_text(operator: str, value: str, part: str) -> bool:
    if operator == "contains":
        return part in value
    if operator == "starts_with":
        return value[: len(part)] == part
    return len(value) >= len(part) and value[len(value) - len(part) :] == part


def holds_leaf(operator: str, value: Any, constant: Any) -> bool:
    if operator == "exists":
        return (value is not None) == constant
    if value is None:
        return False
    parts = constant if isinstance(constant, tuple) else (constant,)
    if operator in ("eq", "in"):
        return any(same(value, part) for part in parts)
    if operator in ("ne", "not_in"):
        return not any(same(value, part) for part in parts)
    if operator in ("gt", "gte", "lt", "lte"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and compares(operator, value, constant)
    if operator in ("before", "after"):
        at, limit = instant(value), instant(constant)
        return at is not None and compares("lt" if operator == "before" else "gt", at, limit)
    if operator.startswith("contains") and isinstance(value, list):
        if operator == "contains":
            return any(same(element, part) for element in value for part in parts)
        texts = [element.casefold() for element in value if isinstance(element, str)]
        return any(part.casefold() in texts for part in parts)
    text = text_of(value)
    return text is not None and holds_text(operator, text, parts)


def holds_text(operator: str, text: str, parts: tuple[Any, ...]) -> bool:
    if operator.endswith("_ci"):
        text, parts = text.casefold(), tuple(part.casefold() for part in parts)
        operator = operator.removesuffix("_ci")
        if operator in ("eq", "in"):
            return text in parts
    if operator in ("contains", "starts_with", "ends_with"):
        return any(in_text(operator, text, part) for part in parts if isinstance(part, str))
    if operator.startswith("semver_"):
        have, limit = version(text), version(parts[0])
        return have is not None and compares(operator.removeprefix("semver_"), have, limit)
    if operator == "matches":
        return any(re.search(part, text) for part in parts)
    assert operator == "in_cidr"
    try:
        return any(ipaddress.ip_address(text) in ipaddress.ip_network(part) for part in parts)
    except ValueError:
        return False


class Reference:
    """Evaluates a document given as mapping; everything is worked out anew at each question."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self.items: dict[tuple[str, str], Any] = {}
        for section in SECTIONS:
            for key, raw in mapping.get(section, {}).items():
                self.items[section, key] = read_item(section, key, raw)[0]

    def get(self, section: str, key: str) -> Any:
        item = self.items.get((section, key))
        if item is None:
            raise Bad(f"{section} {key}")
        return item

    def evaluate(self, key: str, context: Mapping[str, Any], now: float = 0.0) -> Outcome:
        if ("flags", key) not in self.items:
            return Outcome(None, "ERROR", error="FLAG_NOT_FOUND")
        try:
            flag = self.get("flags", key)
            self.check(flag)
        except Bad:
            return Outcome(None, "ERROR", error="PARSE_ERROR")
        if flag.killed is not None:
            return Outcome(flag.off, "DISABLED")
        for other, variant in flag.requires:
            if self.evaluate(other, context, now).variant != variant:
                return Outcome(flag.off, "DISABLED", prerequisite=other)
        return self.rules(flag, context, now)

    def check(self, flag: Flag) -> None:
        """Raises Bad for a flag that names what is not there or is on a cycle."""
        if self.reaches(flag.key, flag.key, set()):
            raise Bad("cycle")
        for other, variant in flag.requires:
            known = self.items.get(("flags", other))
            if known is not None and variant not in known.variants:
                raise Bad("variant")
        holdout = self.get("holdouts", flag.holdout) if flag.holdout else None
        for rule in flag.rules:
            if rule.when is not None:
                self.check_segments(rule.when, ())
            if rule.experiment is not None:
                layer = self.get("experiments", rule.experiment).layer
                units = [self.get("layers", layer.layer).unit] if layer else []
                units += [holdout.unit] if holdout else []
                if any(unit != rule.unit for unit in units):
                    raise Bad("unit")

    def reaches(self, start: str, goal: str, seen: set[str]) -> bool:
        flag = self.items.get(("flags", start))
        for other, _ in flag.requires if flag is not None else ():
            if other == goal:
                return True
            if other not in seen and self.reaches(other, goal, seen | {other}):
                return True
        return False

    def check_segments(self, condition: Condition, above: tuple[str, ...]) -> None:
        if isinstance(condition, InSegment):
            for key in condition.segments:
                if key in above:
                    raise Bad("cycle")
                self.check_segments(self.get("segments", key).when, (*above, key))
        elif isinstance(condition, Not):
            self.check_segments(condition.part, above)
        elif isinstance(condition, (All, AnyOf)):
            for part in condition.parts:
                self.check_segments(part, above)

    def rules(self, flag: Flag, context: Mapping[str, Any], now: float) -> Outcome:
        missing = []
        if flag.holdout is not None:
            holdout = self.get("holdouts", flag.holdout)
            if self.inside(f"holdout:{flag.holdout}", 0, holdout.share, context.get(holdout.unit)):
                return Outcome(flag.default, "SPLIT", holdout=flag.holdout)
            missing.append(0 < holdout.share < WHOLE and unit_of(context.get(holdout.unit)) is None)
        for rule in flag.rules:
            found = self.rule(flag, rule, context, now)
            if isinstance(found, Outcome):
                return found
            missing.append(found)
        if any(missing):
            return Outcome(flag.default, "DEFAULT", missing_unit=True)
        plain = not flag.rules and not flag.requires and not flag.holdout
        return Outcome(flag.default, "STATIC" if plain else "DEFAULT")

    def inside(self, salt: str, low: int, high: int, value: Any) -> bool | None:
        """Whether a unit is in the range; None if that needs a unit and there is none."""
        if low >= high:
            return False
        if low == 0 and high == WHOLE:
            return True
        unit = unit_of(value)
        return None if unit is None else edge(low) <= position(salt, unit) < edge(high)

    def rule(
        self, flag: Flag, rule: Rule, context: Mapping[str, Any], now: float
    ) -> Outcome | bool:
        """The outcome, or whether it fell through for want of a unit."""
        if rule.from_ is not None and now < rule.from_:
            return False
        if rule.until is not None and now >= rule.until:
            return False
        if rule.when is not None and not self.holds(rule.when, context):
            return False
        value = context.get(rule.unit)
        ranges = []
        if rule.experiment is not None:
            experiment = self.get("experiments", rule.experiment)
            if experiment.status == "draft":
                return False
            if experiment.layer is not None:
                layer = experiment.layer
                ranges.append((f"layer:{layer.layer}", layer.low, layer.high))
        if rule.share is not None:
            ranges.append((f"share:{flag.salt}:{rule.salt}", 0, rule.share))
        asked = [self.inside(*each, value) for each in ranges]
        # What serves nobody needs no unit, wherever it stands among the ranges.
        if any(low >= high for _, low, high in ranges):
            return False
        if None in asked:
            return True
        if False in asked:
            return False
        salt, weights = self.weights(flag, rule)
        return self.bucket(rule, salt, weights, value)

    def weights(self, flag: Flag, rule: Rule) -> tuple[str, list[tuple[str, int]]]:
        if rule.rollout is not None:
            stage = rule.rollout.stage
            salt = f"share:{flag.salt}:{rule.salt}"
            return salt, [(rule.rollout.to, stage), (rule.rollout.from_, WHOLE - stage)]
        if rule.split is not None:
            if rule.experiment is not None:
                return f"experiment:{rule.experiment}", list(rule.split)
            return f"split:{flag.salt}", list(rule.split)
        assert rule.serve is not None
        return "", [(rule.serve, WHOLE)]

    def bucket(
        self, rule: Rule, salt: str, weights: list[tuple[str, int]], value: Any
    ) -> Outcome | bool:
        low = 0
        for variant, weight in weights:
            inside = self.inside(salt, low, low + weight, value)
            if inside is None:
                return True
            if inside:
                bucketed = rule.serve is None or rule.share is not None
                reason = "SPLIT" if bucketed else "TARGETING_MATCH"
                return Outcome(variant, reason, rule=rule.name, experiment=rule.experiment)
            low += weight
        raise AssertionError("weights sum to 100%")

    def holds(self, condition: Condition, context: Mapping[str, Any]) -> bool:
        if isinstance(condition, Leaf):
            value = context.get(condition.attribute)
            return holds_leaf(condition.operator, value, condition.constant)
        if isinstance(condition, Not):
            return not self.holds(condition.part, context)
        if isinstance(condition, InSegment):
            segments = [self.get("segments", key) for key in condition.segments]
            return any(self.holds(segment.when, context) for segment in segments)
        parts = [self.holds(part, context) for part in condition.parts]
        return all(parts) if isinstance(condition, All) else any(parts)


def outcome(decision: Any) -> Outcome:
    """The decision as the reference words it."""
    return Outcome(
        decision.variant,
        str(decision.reason),
        decision.rule,
        decision.experiment,
        decision.holdout,
        decision.prerequisite,
        decision.missing_unit,
        None if decision.error is None else str(decision.error),
    )


@pytest.fixture(scope="session")
def reference() -> type[Reference]:
    """`reference(mapping).evaluate(flag, context, now)` -> what must come out."""
    return Reference


@pytest.fixture(scope="session")
def as_outcome() -> Any:
    """`as_outcome(decision)`: what a reference says of the same decision."""
    return outcome


@pytest.fixture(scope="session")
def reference_position() -> Any:
    """`reference_position(salt, unit)`, hashed in pure Python."""
    return position


@pytest.fixture(scope="session")
def reference_test() -> Any:
    """`reference_test(operator, value, constant)`: whether the test holds."""
    return holds_leaf

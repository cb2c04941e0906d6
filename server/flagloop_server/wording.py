"""Definitions in words: who a condition means, what a rule gives, who gets what of a flag.

Pure functions from frozen definitions to plain text; the pages escape it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from flagloop.document.definition import (
    WHOLE,
    All,
    AnyOf,
    Condition,
    Document,
    Flag,
    InSegment,
    LayerRange,
    Not,
    Rollout,
    Rule,
    Test,
)
from flagloop.document.percent import format_percent

_SHOWN_CONSTANTS = 4

_PHRASES = {
    "eq": "is",
    "ne": "is not",
    "in": "is",
    "not_in": "is not",
    "gt": ">",
    "gte": "≥",
    "lt": "<",
    "lte": "≤",
    "contains": "contains",
    "starts_with": "starts with",
    "ends_with": "ends with",
    "matches": "matches",
    "semver_eq": "is version",
    "semver_gt": "is later than version",
    "semver_gte": "is at least version",
    "semver_lt": "is earlier than version",
    "semver_lte": "is at most version",
    "before": "is before",
    "after": "is after",
    "in_cidr": "is in",
}


def join_words(words: Sequence[str], last: str) -> str:
    """`["a", "b", "c"]` as `a, b or c` (with `last` "or")."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def constant_words(constant: Any) -> str:
    """A constant of a test; of a long list the first ones and how many more."""
    if isinstance(constant, bool):
        return "true" if constant else "false"
    if isinstance(constant, list | tuple):
        words = [constant_words(one) for one in constant[:_SHOWN_CONSTANTS]]
        more = len(constant) - len(words)
        return join_words([*words, f"{more:,} more"] if more else words, "or")
    return str(constant) if constant != "" else "empty"


def test_words(test: Test) -> str:
    """One test: `plan is pro or team`."""
    if test.operator == "exists":
        return f"{test.attribute} is {'present' if test.constant else 'missing'}"
    name, any_case = test.operator, ""
    if name.endswith("_ci"):
        name, any_case = name.removesuffix("_ci"), " (in any case)"
    phrase = _PHRASES.get(name, name)
    constant = constant_words(test.constant)
    return f"{test.attribute} {phrase} {constant}{any_case}"


def condition_words(condition: Condition, *, nested: bool = False) -> str:
    """A condition as it would be said: `plan is pro and not (country is DE)`."""
    match condition:
        case Test():
            return test_words(condition)
        case InSegment(segments):
            return f"in segment {join_words(segments, 'or')}"
        case Not(part):
            return f"not ({condition_words(part)})"
        case All(parts) | AnyOf(parts) if len(parts) == 1:
            return condition_words(parts[0], nested=nested)
        case All(parts):
            return _joined(parts, " and ", "always", nested)
        case AnyOf(parts):
            return _joined(parts, " or ", "never", nested)


def _joined(parts: Iterable[Condition], word: str, empty: str, nested: bool) -> str:
    text = word.join(condition_words(part, nested=True) for part in parts)
    return f"({text})" if nested and text else text or empty


def who_words(when: Condition | None) -> str:
    """Whom a rule asks for, as the subject of a sentence."""
    match when:
        case None | All(()):
            return "everyone"
        case InSegment(segments):
            return join_words(segments, "or")
        case All((InSegment() as only,)):
            return who_words(only)
        case _:
            return f"those where {condition_words(when)}"


def window_words(rule: Rule) -> str:
    """`from ... until ...` of a rule with a window, else empty."""
    parts = []
    if rule.from_ is not None:
        parts.append(f"from {_time_words(rule.from_)}")
    if rule.until is not None:
        parts.append(f"until {_time_words(rule.until)}")
    return " ".join(parts)


def _time_words(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def portions(rule: Rule) -> tuple[tuple[str, str], ...]:
    """What a rule gives those that it takes: (variant, percentage in words), in order."""
    if rule.rollout is not None:
        rollout = rule.rollout
        return (
            (rollout.to, format_percent(rollout.stage)),
            (rollout.from_, format_percent(WHOLE - rollout.stage)),
        )
    if rule.split is not None:
        return tuple((variant, format_percent(weight)) for variant, weight in rule.split)
    return ((rule.serve or "", "100%"),)


def next_stage(rollout: Rollout) -> int | None:
    """The first stage above the one in force, None at the last."""
    return next((stage for stage in rollout.stages if stage > rollout.stage), None)


def _subject(rule: Rule, held: LayerRange | None) -> str:
    who = who_words(rule.when)
    if held is not None:
        who = f"{format_percent(held.high - held.low)} of {who}"
    if rule.share is not None:
        return f"{format_percent(rule.share)} of {who}"
    return who


def _verb(subject: str) -> str:
    return "gets" if subject.endswith("everyone") else "get"


def rule_words(rule: Rule, held: LayerRange | None = None) -> str:
    """One rule as a clause, `5% of everyone gets on`; `held` is its part of a layer."""
    subject = _subject(rule, held)
    if rule.rollout is not None:
        clause = _rollout_words(rule.rollout, who_words(rule.when))
    elif rule.split is not None:
        parts = ", ".join(f"{part} {variant}" for variant, part in portions(rule))
        verb = "is" if subject.endswith("everyone") else "are"
        clause = f"{subject} {verb} split {parts}"
        clause += f" (layer {held.layer})" if held is not None else ""
    else:
        clause = f"{subject} {_verb(subject)} {rule.serve}"
    window = window_words(rule)
    return f"{clause} {window}" if window else clause


def _rollout_words(rollout: Rollout, who: str) -> str:
    following = next_stage(rollout)
    text = f"{format_percent(rollout.stage)} of {who} gets {rollout.to}"
    if rollout.stage < WHOLE:
        text += f", the others {rollout.from_}"
    if rollout.paused:
        return text + " (rollout paused)"
    return text + (f" (next stage {format_percent(following)})" if following is not None else "")


def takes_everyone(rule: Rule) -> bool:
    """Whether no later rule can ever serve."""
    unconditional = rule.when is None or rule.when == All(())
    windowed = rule.from_ is not None or rule.until is not None
    whole = rule.share is None or rule.share == WHOLE
    return unconditional and whole and not windowed and rule.unit == "key"


def serves(rule: Rule, document: Document) -> bool:
    """Whether the rule can serve at all: share above 0%, no draft experiment."""
    if rule.share == 0:
        return False
    experiment = document.experiments.get(rule.experiment) if rule.experiment else None
    return experiment is None or experiment.status != "draft"


def _held(rule: Rule, document: Document) -> LayerRange | None:
    """The range of a layer to which a rule's experiment is held."""
    experiment = document.experiments.get(rule.experiment) if rule.experiment else None
    return experiment.layer if experiment is not None else None


def reachable_rules(flag: Flag, document: Document) -> tuple[tuple[Rule, ...], bool]:
    """The rules that can serve somebody, and whether the default still can."""
    found: list[Rule] = []
    for rule in flag.rules:
        if not serves(rule, document):
            continue
        found.append(rule)
        if takes_everyone(rule) and _held(rule, document) is None:
            return tuple(found), False
    return tuple(found), True


def reachable_variants(flag: Flag, document: Document) -> set[str]:
    """Every variant that somebody can get while the flag is not killed."""
    rules, default = reachable_rules(flag, document)
    variants = {flag.default} if default or flag.holdout else set()
    for rule in rules:
        variants |= {variant for variant, part in portions(rule) if part != "0%"}
    return variants


def who_gets_what(flag: Flag, document: Document) -> str:
    """The sentence of the flag list: who gets which variant, in the order of the rules."""
    if flag.killed is not None:
        return killed_words(flag)
    rules, default = reachable_rules(flag, document)
    if not rules:
        return f"everyone gets {flag.default}" + _limits(flag)
    clauses = [rule_words(rule, _held(rule, document)) for rule in rules]
    if default:
        clauses.append(f"all others get {flag.default}")
    return "; ".join(clauses) + _limits(flag)


def killed_words(flag: Flag) -> str:
    """What everyone gets while the flag is killed, and why."""
    served = f"everyone gets {flag.off}" if flag.off else "everyone gets the caller's default"
    reason = flag.killed.reason if flag.killed else None
    return f"{served} ({reason})" if reason else served


def _limits(flag: Flag) -> str:
    text = f"; holdout {flag.holdout} gets {flag.default}" if flag.holdout else ""
    if flag.requires:
        needs = join_words([f"{name} = {variant}" for name, variant in flag.requires], "and")
        text += f"; only while {needs}"
    return text

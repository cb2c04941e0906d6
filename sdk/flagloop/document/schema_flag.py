"""Flags and their rules: mapping -> `Flag`.

`read_flag` is on the SDK's load path: a good flag costs a few microseconds, and everything that
words a problem stands in functions that only a bad flag reaches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flagloop.document.definition import WHOLE, Flag, Killed, Rollout, Rule, VariantType
from flagloop.document.percent import format_percent, parse_percent
from flagloop.document.problem import Path, Problem
from flagloop.document.schema_condition import read_condition
from flagloop.document.schema_variant import bad_split, careful_type, no_variant
from flagloop.document.schema_words import (
    Fields,
    Problems,
    attribute,
    attributes,
    boolean,
    date,
    duration,
    inner_percent,
    is_key,
    is_list,
    key,
    keys,
    list_of,
    one_of,
    percent,
    read_fields,
    refuse,
    require,
    show,
    text,
    texts,
    time,
    time_text,
    unknown_word,
    unread,
)

SHORTHAND = {"on": True, "off": False}
"""The variants of a flag that declares none."""

_TYPE_OF: dict[type, VariantType] = {
    bool: "boolean",
    str: "string",
}


def read_flag(key: str, mapping: Any) -> tuple[Flag | None, list[Problem]]:
    """One flag, alone: the definition, or None and every problem (paths start at the flag)."""
    reading = _Reading()
    flag = reading.flag(key, mapping)
    return (None if reading.out else flag), reading.out


class _Reading:
    """One flag being read: what its rules need to know of it, and the problems so far."""

    __slots__ = ("default", "out", "unit", "variants")

    def __init__(self) -> None:
        self.out: Problems = []
        self.variants: dict[str, Any] = SHORTHAND
        self.default: Any = None
        self.unit: Any = "key"

    def flag(self, name: Any, mapping: Any) -> Flag | None:
        out = self.out
        if not isinstance(name, str) or not is_key(name):
            key(name, (), out)
        if not isinstance(mapping, dict):
            refuse(out, (), f"a flag is a mapping, not {show(mapping)}", "write {} for the default")
            return None
        stated = mapping.get("type")
        declared = "variants" in mapping
        if declared:
            self.variants = self.read_variants(mapping["variants"])
        type_ = self.read_type(stated)
        off = self.read_served(mapping, declared)
        if "unit" in mapping:
            self.unit = attribute(mapping["unit"], ("unit",), out)
        fields: dict[str, Any] = {}
        for word, value in mapping.items():
            if word not in _CORE:
                entry = FLAG_FIELDS.get(word)
                if entry is None:
                    unknown_word(out, (), word, FLAG_WORDS, "a flag")
                else:
                    fields[entry[0]] = entry[1](value, (word,), out)
        salt = fields.pop("salt", name)
        rules = self.read_rules(mapping["rules"]) if "rules" in mapping else ()
        return Flag(
            name, type_, dict(self.variants), self.default, off, self.unit, salt, rules, **fields
        )

    def read_variants(self, raw: Any) -> dict[str, Any]:
        if not isinstance(raw, dict) or not raw:
            hint = "write variants: {control: ..., treatment: ...}"
            refuse(self.out, ("variants",), f"variants are a mapping, not {show(raw)}", hint)
            return {}
        for name in raw:
            if not isinstance(name, str) or not is_key(name):
                key(name, ("variants", str(name)), self.out)
        return raw

    def read_type(self, stated: Any) -> VariantType:
        """The type of all variants: stated, or what their values are."""
        kinds = set(map(type, self.variants.values()))
        if len(kinds) == 1 and stated is None:
            kind = kinds.pop()
            if kind in _TYPE_OF:
                return _TYPE_OF[kind]
        return careful_type(self.variants, stated, self.out)

    def read_served(self, mapping: dict[Any, Any], declared: bool) -> str | None:
        """Reads `default` and returns `off`."""
        if "default" in mapping:
            self.default = self.variant(mapping["default"], ("default",))
        elif not declared:
            self.default = "off"
        else:
            hint = f"add default: {next(iter(self.variants), '...')}"
            refuse(self.out, (), "`default` is missing, which is served when no rule serves", hint)
        if "off" in mapping:
            return self.variant(mapping["off"], ("off",))
        return None if declared else "off"

    def variant(self, name: Any, path: Path) -> str:
        """The name of one of the flag's variants."""
        if not isinstance(name, str) or name not in self.variants:
            no_variant(name, path, self.variants, self.out)
            return ""
        return name

    def read_rules(self, raw: Any) -> tuple[Rule, ...]:
        if not is_list(raw, ("rules",), self.out):
            return ()
        rules = tuple([self.rule(rule, ("rules", i)) for i, rule in enumerate(raw)])
        if len(rules) > 1:
            _check_names(rules, self.out)
        return rules

    def rule(self, raw: Any, path: Path) -> Rule:
        if not isinstance(raw, dict):
            hint = "write {name: ..., serve: ...}"
            refuse(self.out, path, f"a rule is a mapping, not {show(raw)}", hint)
            return _NO_RULE
        fields: dict[str, Any] = {}
        for word, value in raw.items():
            reader = _RULE_READERS.get(word)
            if reader is None:
                unknown_word(self.out, path, word, RULE_WORDS, "a rule")
            else:
                fields[word] = reader(self, value, (*path, word))
        get = fields.get
        if ("serve" in raw) + ("split" in raw) + ("rollout" in raw) != 1 or "name" not in raw:
            _check_shape(raw, path, self.out)
        if len(raw) > 2:
            _check_together(raw, fields, path, self.out)
        name = get("name", "")
        return Rule(
            name,
            get("salt", name),
            get("unit", self.unit),
            get("when"),
            get("from"),
            get("until"),
            get("share"),
            get("serve"),
            get("split"),
            get("rollout"),
            get("experiment"),
        )

    def name(self, raw: Any, path: Path) -> str:
        if isinstance(raw, str) and is_key(raw):
            return raw
        return key(raw, path, self.out)

    def attribute(self, raw: Any, path: Path) -> str:
        return attribute(raw, path, self.out)

    def when(self, raw: Any, path: Path) -> Any:
        return read_condition(raw, path, self.out)

    def time(self, raw: Any, path: Path) -> float:
        return time(raw, path, self.out)

    def share(self, raw: Any, path: Path) -> int:
        return percent(raw, path, self.out)

    def split(self, raw: Any, path: Path) -> tuple[tuple[str, int], ...]:
        """Weights in written order, from a mapping or (on the wire) a list of pairs."""
        try:
            pairs = raw.items() if isinstance(raw, dict) else raw
            split = tuple([(name, parse_percent(weight)) for name, weight in pairs])
            weights = dict(split)
            if (
                sum(weights.values()) == WHOLE
                and weights.keys() <= self.variants.keys()
                and len(weights) == len(split)
            ):
                return split
        except (TypeError, ValueError):
            pass
        bad_split(raw, path, self.variants, self.out)
        return ()

    def rollout(self, raw: Any, path: Path) -> Rollout | None:
        before = len(self.out)
        fields = read_fields(raw, ROLLOUT_FIELDS, path, self.out, "a rollout")
        require(raw, ("to", "stages"), path, self.out, "a rollout")
        for field, word in (("to", "to"), ("from_", "from")):
            if field in fields:
                fields[field] = self.variant(fields[field], (*path, word))
        fields.setdefault("from_", self.default)
        fields["dwell_min"], fields["dwell_max"] = fields.pop("dwell", (0.0, None))
        if len(self.out) > before:
            return None
        if fields["to"] == fields["from_"]:
            hint = "write another variant as `to` or `from`"
            message = f"the rollout goes from {show(fields['to'])} to itself"
            refuse(self.out, (*path, "to"), message, hint)
        return Rollout(**fields)


def _requires(raw: Any, path: Path, out: Problems) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, dict):
        hint = "write requires: {other_flag: variant}"
        refuse(out, path, f"`requires` is a mapping of flags, not {show(raw)}", hint)
        return ()
    for flag, variant in raw.items():
        key(flag, (*path, str(flag)), out)
        if isinstance(variant, bool):
            hint = f"write the variant's name: {'on' if variant else 'off'}"
            refuse(out, (*path, str(flag)), f"a variant is named, not {show(variant)}", hint)
        else:
            key(variant, (*path, str(flag)), out)
    return tuple(raw.items())


def _killed(raw: Any, path: Path, out: Problems) -> Killed:
    if raw is True:
        return Killed()
    if not isinstance(raw, dict):
        hint = "write killed: true, or remove the line to restore the flag"
        refuse(out, path, f"`killed` is true or {{reason, by, at}}, not {show(raw)}", hint)
        return Killed()
    return Killed(**read_fields(raw, KILLED_FIELDS, path, out, "`killed`"))


def _stages(raw: Any, path: Path, out: Problems) -> tuple[int, ...]:
    before = len(out)
    stages: tuple[int, ...] = _percents(raw, path, out)
    if len(out) > before:
        return stages
    if not stages:
        refuse(out, path, "a rollout has at least one stage", "write [1%, 10%, 100%]")
    for i, (low, high) in enumerate(zip((0, *stages), stages, strict=False)):
        if high <= low:
            message = f"stage {format_percent(high)} is not above {format_percent(low)}"
            refuse(out, (*path, i), message, "write rising stages, like [1%, 10%, 100%]")
    return stages


def _dwell(raw: Any, path: Path, out: Problems) -> tuple[float, float | None]:
    fields = read_fields(raw, DWELL_FIELDS, path, out, "`dwell`")
    low, high = fields.get("min", 0.0), fields.get("max")
    if high is not None and high < low:
        refuse(out, (*path, "max"), "`max` is shorter than `min`", "write a longer `max`")
    return low, high


def _check_names(rules: tuple[Rule, ...], out: Problems) -> None:
    names: set[str] = set()
    for i, rule in enumerate(rules):
        if rule.name and rule.name in names:
            message = f"another rule of this flag has the name '{rule.name}'"
            refuse(out, ("rules", i, "name"), message, "a rule's name is unique in its flag")
        names.add(rule.name)


def _check_shape(raw: dict[Any, Any], path: Path, out: Problems) -> None:
    if "name" not in raw:
        refuse(out, path, "`name` is missing", "add a name that is unique in the flag")
    served = [word for word in ("serve", "split", "rollout") if word in raw]
    if len(served) > 1:
        shown = " and ".join(f"`{word}`" for word in served)
        refuse(out, path, f"a rule has one of serve, split, rollout, not {shown}", "keep one")
    elif not served:
        hint = "add serve: <variant>, split: {...} or rollout: {...}"
        refuse(out, path, "the rule serves nothing", hint)


def _check_together(raw: dict[Any, Any], fields: dict[str, Any], path: Path, out: Problems) -> None:
    """Words of one rule that do not go together."""
    if "experiment" in raw and "split" not in raw:
        hint = "an experiment is measured on a `split`; write one"
        refuse(out, (*path, "experiment"), "`experiment` goes only with `split`", hint)
    if "share" in raw and "rollout" in raw:
        hint = "remove `share`; the stage of the rollout is its share"
        refuse(out, (*path, "share"), "`share` does not go with `rollout`", hint)
    start, end = fields.get("from"), fields.get("until")
    if start and end and start >= end:  # 0: none, or one that cannot be read and was told
        message = "`until` is not after `from`, so the rule never applies"
        refuse(out, (*path, "until"), message, "write a later `until`")


_NO_RULE = Rule("", "", "key")
_percents = list_of(percent)

_RULE_READERS: dict[str, Callable[[_Reading, Any, Path], Any]] = {
    "name": _Reading.name,
    "salt": _Reading.name,
    "unit": _Reading.attribute,
    "when": _Reading.when,
    "from": _Reading.time,
    "until": _Reading.time,
    "share": _Reading.share,
    "serve": _Reading.variant,
    "split": _Reading.split,
    "rollout": _Reading.rollout,
    "experiment": _Reading.name,
}
_CORE = frozenset({"type", "variants", "default", "off", "unit", "rules"})

FLAG_FIELDS: Fields = {
    "description": ("description", text),
    "owner": ("owner", text),
    "tags": ("tags", texts),
    "expires": ("expires", date),
    "salt": ("salt", key),
    "holdout": ("holdout", key),
    "requires": ("requires", _requires),
    "log": ("log", attributes),
    "killed": ("killed", _killed),
}
FLAG_WORDS = (
    "description",
    "owner",
    "tags",
    "expires",
    "type",
    "variants",
    "default",
    "off",
    "unit",
    "salt",
    "holdout",
    "requires",
    "log",
    "rules",
    "killed",
)
RULE_WORDS = tuple(_RULE_READERS)
ROLLOUT_FIELDS: Fields = {
    "to": ("to", unread),
    "from": ("from_", unread),
    "stages": ("stages", _stages),
    "guardrails": ("guardrails", keys),
    "dwell": ("dwell", _dwell),
    "harm_budget": ("harm_budget", inner_percent),
    "on_harm": ("on_harm", one_of("rollback", "pause")),
    "stage": ("stage", percent),
    "paused": ("paused", boolean),
}
DWELL_FIELDS: Fields = {"min": ("min", duration), "max": ("max", duration)}
KILLED_FIELDS: Fields = {
    "reason": ("reason", text),
    "by": ("by", text),
    "at": ("at", time_text),
}

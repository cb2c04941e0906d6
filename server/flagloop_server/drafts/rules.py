"""Steps on the rules and variants of a flag."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from typing import Any

from flagloop.document.definition import WHOLE
from flagloop.document.percent import format_percent
from flagloop.document.schema import SHORTHAND, is_key
from flagloop_server.drafts.steps import (
    FLAG_ORDER,
    OUTCOMES,
    RULE_ORDER,
    STAGES,
    Step,
    Work,
    insert_word,
    refused,
    rules_of,
)


def names(work: Work) -> set[str]:
    """The names of the flag's rules."""
    return {str(rule.get("name")) for rule in rules_of(work.item)}


def free_name(wanted: str, taken: Collection[str]) -> str:
    """`wanted`, or with the first number that makes it a new name."""
    number, name = 2, wanted
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def variants_of(item: dict[str, Any]) -> list[str]:
    """The names of the variants, also of a flag that declares none."""
    declared = item.get("variants")
    return list(declared) if isinstance(declared, dict) else list(SHORTHAND)


def served_first(item: dict[str, Any]) -> str:
    """The variant that a new rule serves: the first that is not the default."""
    default = item.get("default", "off")
    found = [name for name in variants_of(item) if name != default]
    return found[0] if found else str(default)


def add_rule(work: Work, step: Step) -> None:
    """A rule for nobody yet, behind the others: share 0%."""
    rules = work.item.get("rules")
    if not isinstance(rules, list):
        rules = []
        insert_word(work.item, "rules", rules, ())
    name = free_name("new-rule", names(work))
    rules.append({"name": name, "share": "0%", "serve": served_first(work.item)})
    work.focus = ("rules", len(rules) - 1)


def copy_rule(work: Work, step: Step) -> None:
    """The same rule once more behind it, with a name of its own.

    It gets no salt, so its units fall anew, no experiment, which one rule alone may have, and
    no runtime words.
    """
    rule = work.at(step.path)
    rules, place = work.at(step.path[:-1]), step.path[-1]
    if not isinstance(rule, dict) or not isinstance(place, int):
        raise refused("this is no rule", step.path)
    copied = {word: deepcopy(value) for word, value in rule.items()}
    copied.pop("salt", None)
    copied.pop("experiment", None)
    if isinstance(copied.get("rollout"), dict):
        for word in ("stage", "paused"):
            copied["rollout"].pop(word, None)
    name = free_name(f"{str(rule.get('name', 'rule'))[:90]}-copy", names(work))
    rules.insert(place + 1, {**copied, "name": name})
    work.focus = (*step.path[:-1], place + 1)


def rename_rule(work: Work, step: Step) -> None:
    """Another name; a rule that was saved keeps its units, its old name becomes its salt."""
    rule, new = work.at(step.path), str(step.value).strip()
    if not isinstance(rule, dict):
        raise refused("this is no rule", step.path)
    old = str(rule.get("name", ""))
    if new == old:
        return
    if new in names(work):
        hint = "a rule's name is unique in its flag"
        raise refused(f"another rule of this flag has the name '{new}'", step.path, hint)
    rule["name"] = new
    if rule.get("salt") == new:
        del rule["salt"]
    elif "salt" not in rule and old in work.saved and is_key(old):
        insert_word(rule, "salt", old, RULE_ORDER)


def set_outcome(work: Work, step: Step) -> None:
    """Let a rule serve one variant, split, or roll out."""
    rule, wanted = work.at(step.path), step.value
    if wanted not in OUTCOMES or not isinstance(rule, dict):
        raise refused("a rule has one of serve, split, rollout", step.path)
    if wanted in rule:
        return
    value = outcome(work.item, rule, str(wanted))
    for word in (*OUTCOMES, *(("experiment",) if wanted != "split" else ())):
        rule.pop(word, None)
    if wanted == "rollout":
        rule.pop("share", None)
    rule[str(wanted)] = value


def outcome(item: dict[str, Any], rule: dict[str, Any], wanted: str) -> Any:
    """What a rule of this kind begins with, as near as can be to what it serves now."""
    rollout = rule.get("rollout")
    served = rule.get("serve") or (rollout.get("to") if isinstance(rollout, dict) else None)
    variants = variants_of(item)
    served = served if served in variants else served_first(item)
    if wanted == "serve":
        return served
    if wanted == "split":
        return even(variants)
    start = {"from": _other(variants, served)} if served == item.get("default", "off") else {}
    return {"to": served, **start, "stages": list(STAGES)}


def _other(variants: list[str], served: str) -> str:
    return next((name for name in variants if name != served), served)


def even(variants: list[str]) -> dict[str, str]:
    """A split in equal parts; what does not divide goes to the first."""
    part = WHOLE // len(variants) // 1_000_000 * 1_000_000
    parts = [WHOLE - part * (len(variants) - 1), *[part] * (len(variants) - 1)]
    return {name: format_percent(one) for name, one in zip(variants, parts, strict=True)}


def add_variant(work: Work, step: Step) -> None:
    """One more variant; a flag without variants first declares its `on` and `off`."""
    item = work.item
    declared = item.get("variants")
    if not isinstance(declared, dict):
        default = item.get("default", "off")
        insert_word(item, "variants", dict(SHORTHAND), FLAG_ORDER)
        insert_word(item, "default", default, FLAG_ORDER)
        insert_word(item, "off", item.get("off", "off"), FLAG_ORDER)
        work.focus = ("variants", "on")
        return
    name = free_name("variant", list(declared))
    last = list(declared.values())[-1] if declared else name
    declared[name] = name if isinstance(last, str) else deepcopy(last)
    work.focus = ("variants", name)


def add_part(work: Work, step: Step) -> None:
    """One more variant in a split, with no weight yet."""
    split, name = _split_at(work, step), str(step.value)
    if isinstance(split, dict):
        split.setdefault(name, "0%")
    elif isinstance(split, list):
        split.append([name, "0%"])
    work.focus = (*step.path, name)


def spread(work: Work, step: Step) -> None:
    """Equal weights for the variants of a split."""
    split = _split_at(work, step)
    if isinstance(split, dict) and split:
        split.update(even(list(split)))


def _split_at(work: Work, step: Step) -> Any:
    if not step.path or step.path[-1] != "split":
        raise refused("this is no split", step.path)
    return work.at(step.path)

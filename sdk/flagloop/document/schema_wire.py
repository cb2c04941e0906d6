"""Two other views of an item's mapping: what evaluation needs, and what operation writes.

Nothing here judges: wrong shapes are passed through or over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flagloop.document.problem import Path

_FLAG_DROPS = frozenset({"description", "owner", "tags", "expires"})
_ROLLOUT_DROPS = frozenset({"guardrails", "dwell", "harm_budget", "on_harm"})
_EXPERIMENT_KEEPS = frozenset({"layer", "status"})


def wire(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a snapshot: items without what evaluation does not read.

    Splits are lists of pairs, since their order matters and a JSON object has none. Metrics are
    left out, `recording` stays.
    """
    snapshot: dict[str, Any] = {}
    if "recording" in mapping:
        snapshot["recording"] = mapping["recording"]
    for section in WIRE_SECTIONS:
        items = mapping.get(section)
        if isinstance(items, dict):
            snapshot[section] = {key: wire_item(section, item) for key, item in items.items()}
    return snapshot


def wire_item(section: str, item: Any) -> Any:
    """One item as it stands in a snapshot; for sections that have no place there, None."""
    view = _VIEWS.get(section)
    if view is None or not isinstance(item, dict):
        return None if view is None else item
    return view(item)


def _without_description(item: dict[str, Any]) -> dict[str, Any]:
    return {word: value for word, value in item.items() if word != "description"}


def _experiment(item: dict[str, Any]) -> dict[str, Any]:
    return {word: value for word, value in item.items() if word in _EXPERIMENT_KEEPS}


def _flag(item: dict[str, Any]) -> dict[str, Any]:
    flag = {word: value for word, value in item.items() if word not in _FLAG_DROPS}
    if "killed" in flag and isinstance(flag["killed"], dict):
        flag["killed"] = True  # who and why is no business of the applications
    rules = flag.get("rules")
    if isinstance(rules, list):
        flag["rules"] = [_rule(rule) if isinstance(rule, dict) else rule for rule in rules]
    return flag


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    split, rollout = rule.get("split"), rule.get("rollout")
    changed = dict(rule)
    if isinstance(split, dict):
        changed["split"] = [[name, weight] for name, weight in split.items()]
    if isinstance(rollout, dict):
        changed["rollout"] = {w: v for w, v in rollout.items() if w not in _ROLLOUT_DROPS}
    return changed


_VIEWS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "segments": _without_description,
    "layers": _without_description,
    "holdouts": _without_description,
    "experiments": _experiment,
    "flags": _flag,
}
WIRE_SECTIONS = tuple(_VIEWS)

# Runtime words: what operation writes, not review. A rule is addressed by its name.

RUNTIME_WORDS: Mapping[str, tuple[str, ...]] = {"flags": ("killed",), "experiments": ("status",)}
RUNTIME_ROLLOUT_WORDS = ("stage", "paused")


def runtime_words(section: str, item: Any) -> dict[Path, Any]:
    """The runtime words of an item: path in the item -> value.

    `("killed",)`, `("status",)`, `("rules", <rule name>, "rollout", "stage" or "paused")`.
    """
    if not isinstance(item, dict):
        return {}
    words: dict[Path, Any] = {
        (word,): item[word] for word in RUNTIME_WORDS.get(section, ()) if word in item
    }
    for rule in _rollout_rules(section, item):
        for word in RUNTIME_ROLLOUT_WORDS:
            if word in rule["rollout"]:
                words["rules", rule["name"], "rollout", word] = rule["rollout"][word]
    return words


def runtime_words_for(section: str, item: Any, source: Any) -> dict[Path, Any]:
    """The runtime words of `source` as they belong into `item`, another version of it.

    A rule is the same as one of its name, else as one of its salt (which is its name where it
    has none): so a new name that keeps the salt moves nobody, however often it changes.
    """
    if not isinstance(item, dict) or not isinstance(source, dict):
        return runtime_words(section, source)
    new = {rule["name"]: _salt(rule) for rule in _rollout_rules(section, item)}
    old = {rule["name"]: _salt(rule) for rule in _rollout_rules(section, source)}
    gone = {salt: name for name, salt in old.items() if name not in new}
    renamed = {gone[salt]: name for name, salt in new.items() if name not in old and salt in gone}
    return {
        ("rules", renamed.get(path[1], path[1]), *path[2:]) if path[0] == "rules" else path: value
        for path, value in runtime_words(section, source).items()
    }


def _salt(rule: dict[str, Any]) -> str:
    salt = rule.get("salt")
    return salt if isinstance(salt, str) else str(rule["name"])


def without_runtime(section: str, item: Any) -> Any:
    """A copy of the item that has no runtime word."""
    return with_runtime(section, item, {})


def with_runtime(section: str, item: Any, words: Mapping[Path, Any]) -> Any:
    """A copy of the item that has exactly these runtime words.

    A word keeps its place where the item has it already; words of rules that the item does not
    have (or that roll nothing out) are passed over.
    """
    if not isinstance(item, dict):
        return item
    changed = _set(item, {w: (w,) for w in RUNTIME_WORDS.get(section, ())}, words)
    if _rollout_rules(section, item):
        changed["rules"] = [_with_stage(rule, words) for rule in item["rules"]]
    return changed


def _with_stage(rule: Any, words: Mapping[Path, Any]) -> Any:
    if not _rolls_out(rule):
        return rule
    places: dict[str, Path] = {
        word: ("rules", rule["name"], "rollout", word) for word in RUNTIME_ROLLOUT_WORDS
    }
    return {**rule, "rollout": _set(rule["rollout"], places, words)}


def _set(
    mapping: dict[str, Any], places: Mapping[str, Path], words: Mapping[Path, Any]
) -> dict[str, Any]:
    changed = {
        word: words[places[word]] if word in places else value
        for word, value in mapping.items()
        if word not in places or places[word] in words
    }
    for word, path in places.items():
        if path in words:
            changed.setdefault(word, words[path])
    return changed


def _rollout_rules(section: str, item: dict[str, Any]) -> list[dict[str, Any]]:
    rules = item.get("rules") if section == "flags" else None
    return [rule for rule in rules if _rolls_out(rule)] if isinstance(rules, list) else []


def _rolls_out(rule: Any) -> bool:
    return (
        isinstance(rule, dict)
        and isinstance(rule.get("rollout"), dict)
        and isinstance(rule.get("name"), str)
    )

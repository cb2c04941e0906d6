"""One change of an item by a visual editor: pure, a mapping in and another one out.

A path leads from the item. Steps work on what the text says now, so they never take back what
was typed into the text meanwhile, and numbers never pass through a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

from flagloop.document.problem import Path, Problem, path_text
from flagloop.errors import DocumentError
from flagloop_server.drafts import typed

RULE_ORDER = (
    *("name", "salt", "unit", "from", "until", "when", "share", "experiment"),
    *("serve", "split", "rollout"),
)
FLAG_ORDER = (
    *("description", "owner", "tags", "expires", "type", "variants", "default", "off"),
    *("unit", "salt", "holdout", "requires", "log", "killed", "rules"),
)
OUTCOMES = ("serve", "split", "rollout")
STAGES = ["1%", "5%", "25%", "50%", "100%"]

_PRUNED = ("dwell", "requires", "when", "all", "any", "not", "layer")
"""Words that go when nothing is left in them."""


@dataclass(frozen=True, slots=True)
class Step:
    """`do` says what happens at `path`; a typed `value` is read as `kind` says."""

    do: str
    path: Path
    value: Any = None
    kind: str = ""
    to: int = 0


@dataclass(slots=True)
class Work:
    """The item being changed; `saved` are the names of rules that were saved already.

    `key` is that of a new item, empty for one that has its key for good. `focus` is where one
    goes on, `part` which field of a test that is.
    """

    item: dict[str, Any]
    saved: Collection[str] = ()
    key: str = ""
    focus: Path = ()
    part: str = ""

    def at(self, path: Path) -> Any:
        """What stands at a path; DocumentError where nothing does."""
        place: Any = self.item
        for part in path:
            place = child(place, part, path)
        return place

    def mapping_at(self, path: Path) -> dict[str, Any]:
        """The mapping at a path, made where it is missing."""
        place: Any = self.item
        for number, part in enumerate(path):
            if isinstance(place, dict) and place.get(part) is None and isinstance(part, str):
                insert_word(place, part, {}, order_of(path[:number]))
            place = child(place, part, path)
        if not isinstance(place, dict):
            raise gone(path)
        return place


Do: TypeAlias = Callable[[Work, Step], None]


def child(place: Any, part: str | int, path: Path) -> Any:
    """One level deeper."""
    if isinstance(place, dict) and part in place:
        return place[part]
    if isinstance(place, list) and isinstance(part, int) and 0 <= part < len(place):
        return place[part]
    raise gone(path)


def gone(path: Path) -> DocumentError:
    """What a step meant is not there (any more)."""
    return refused(f"{path_text(path)} is not there any more", path)


def refused(message: str, path: Path, hint: str | None = None) -> DocumentError:
    """A DocumentError of one problem."""
    return DocumentError([Problem(message, path, hint=hint)])


def order_of(path: Path) -> tuple[str, ...]:
    """The usual order of the words at a path of a flag."""
    if not path:
        return FLAG_ORDER
    return RULE_ORDER if len(path) == 2 and path[0] == "rules" else ()


def insert_word(mapping: dict[str, Any], word: str, value: Any, order: tuple[str, ...]) -> None:
    """Give a word its value; a new one stands before those that usually come later."""
    if word in mapping or word not in order:
        mapping[word] = value
        return
    later = set(order[order.index(word) + 1 :])
    old = dict(mapping)
    mapping.clear()
    for other, kept in old.items():
        if other in later and word not in mapping:
            mapping[word] = value
        mapping[other] = kept
    mapping.setdefault(word, value)


def rename_word(mapping: dict[str, Any], old: str, new: str) -> None:
    """Another name for a word, at its place."""
    entries = [(new if word == old else word, value) for word, value in mapping.items()]
    mapping.clear()
    mapping.update(entries)


def put(work: Work, step: Step) -> None:
    """Give a word its value; an empty one takes the word away."""
    value = typed.read(step.kind, str(step.value)) if step.kind else step.value
    *above, last = step.path
    if value is None:
        if isinstance(last, str) and last in work.mapping_at(tuple(above)):
            remove(work, step)
        return
    if isinstance(last, int):
        child(work.at(tuple(above)), last, step.path)
        work.at(tuple(above))[last] = deepcopy(value)
        return
    insert_word(work.mapping_at(tuple(above)), last, deepcopy(value), order_of(tuple(above)))


def remove(work: Work, step: Step) -> None:
    """Take a word or an entry away, with what then holds nothing."""
    path = step.path
    while path:
        *above, last = path
        holder = work.at(tuple(above))
        child(holder, last, path)
        del holder[last]
        path = tuple(above)
        inner = path and path[-1] in _PRUNED
        part_of_list = len(path) > 1 and isinstance(path[-1], int) and path[-2] in ("all", "any")
        if holder or not (inner or part_of_list) or path == ("when",):
            break
    work.focus = path


def insert(work: Work, step: Step) -> None:
    """Put an entry into a list, at the place that the path's end names."""
    *above, place = step.path
    *outer, word = above
    holder = work.mapping_at(tuple(outer)) if outer else work.item
    entries = holder.get(str(word))
    if entries is None:
        entries = []
        insert_word(holder, str(word), entries, order_of(tuple(outer)))
    if not isinstance(entries, list) or not isinstance(place, int):
        raise gone(step.path)
    place = max(0, min(place, len(entries)))
    entries.insert(place, deepcopy(step.value))
    work.focus = (*above, place)


def move(work: Work, step: Step) -> None:
    """Give an entry of a list another place."""
    *above, place = step.path
    entries = work.at(tuple(above))
    child(entries, place, step.path)
    if not isinstance(entries, list) or not isinstance(place, int):
        raise gone(step.path)
    target = max(0, min(step.to, len(entries) - 1))
    entries.insert(target, entries.pop(place))
    work.focus = (*above, target)


def rename(work: Work, step: Step) -> None:
    """Another key for what stands at the path, at its place."""
    *above, old = step.path
    holder = work.at(tuple(above))
    child(holder, old, step.path)
    new = str(step.value).strip()
    if new in holder and new != old:
        raise refused(f"'{new}' is there already", step.path, "take another name")
    rename_word(holder, str(old), new)
    if tuple(above) == ("variants",):
        rename_variant(work.item, str(old), new)
    work.focus = (*above, new)


def set_key(work: Work, step: Step) -> None:
    """The key of an item that was never saved."""
    new = str(step.value).strip()
    if not work.key or not new:
        raise refused("this key stays as it is", step.path)
    work.key = new


def rename_variant(item: dict[str, Any], old: str, new: str) -> None:
    """Follow a variant's new name to where the flag names it."""
    swap_words(item, ("default", "off"), old, new)
    for rule in rules_of(item):
        swap_words(rule, ("serve",), old, new)
        if isinstance(rule.get("rollout"), dict):
            swap_words(rule["rollout"], ("to", "from"), old, new)
        split = rule.get("split")
        if isinstance(split, dict) and old in split:
            rename_word(split, old, new)
        elif isinstance(split, list):
            rule["split"] = [
                [new, *pair[1:]] if isinstance(pair, list) and pair[:1] == [old] else pair
                for pair in split
            ]


def swap_words(mapping: dict[str, Any], words: Collection[str], old: str, new: str) -> None:
    """Another value for those of the words that have the old one."""
    for word in words:
        if mapping.get(word) == old:
            mapping[word] = new


def rules_of(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rules that are mappings."""
    rules = item.get("rules")
    return [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []

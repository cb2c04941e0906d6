"""Everything that is wrong with a document: what reading finds and what only compiling finds.

`validate` looks at a whole document, `validate_items` at what a change touches. An `Index` of who
names whom, kept beside a document and updated with it, makes the latter independent of the
document's size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

from flagloop.document.definition import Flag
from flagloop.document.problem import Path, Problem, few_hints, path_text
from flagloop.document.schema import (
    SECTIONS,
    Links,
    Ref,
    constants_of,
    head_problems,
    read_document,
    read_item,
    references,
    refs,
)
from flagloop.evaluation.bucketing import (
    experiment_salt,
    holdout_salt,
    layer_salt,
    seed,
    share_salt,
    split_salt,
)
from flagloop.evaluation.operators import OPERATORS

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Index:
    """Who names whom in one document, and which salts its items use.

    Make it once with `Index.of(mapping)`; after a change, `updated` costs what the changed items
    cost and returns the index of the changed document.
    """

    named: Mapping[Ref, frozenset[Ref]]
    namers: Mapping[Ref, frozenset[Ref]]
    salts: Mapping[Ref, tuple[tuple[Path, int, str], ...]]
    seeds: Mapping[int, frozenset[Ref]]

    @staticmethod
    def of(mapping: Mapping[str, Any]) -> Index:
        """The index of a document; items that cannot be read have no salts."""
        named: dict[Ref, frozenset[Ref]] = {}
        salts: dict[Ref, tuple[tuple[Path, int, str], ...]] = {}
        for ref in refs(mapping):
            item = _items(mapping, ref[0])[ref[1]]
            named[ref] = frozenset(references(ref[0], item))
            salts[ref] = tuple(_salts(ref, item))
        numbers = {ref: [number for _, number, _ in found] for ref, found in salts.items()}
        return Index(named, _inverted(named), salts, _inverted(numbers))

    def updated(self, mapping: Mapping[str, Any], changed: Collection[Ref]) -> Index:
        """The index of `mapping`, which differs from the indexed document in `changed` only."""
        named, namers = dict(self.named), dict(self.namers)
        salts, seeds = dict(self.salts), dict(self.seeds)
        for ref in changed:
            items = _items(mapping, ref[0])
            present, item = ref[1] in items, items.get(ref[1])
            targets = frozenset(references(ref[0], item))
            _repoint(namers, ref, named.pop(ref, frozenset()), targets)
            found = tuple(_salts(ref, item)) if present else ()
            old = frozenset(number for _, number, _ in salts.pop(ref, ()))
            _repoint(seeds, ref, old, frozenset(number for _, number, _ in found))
            if present:
                named[ref], salts[ref] = targets, found
        return Index(named, namers, salts, seeds)

    def touched(self, changed: Collection[Ref]) -> set[Ref]:
        """The changed items and those whose problems may change with them."""
        found = set(changed)
        for ref in changed:
            found |= self.namers.get(ref, frozenset())
            for target in self.named.get(ref, frozenset()):
                if target[0] in ("experiments", "layers", "flags"):
                    found.add(target)
                if target[0] in ("experiments", "layers"):
                    found |= self.namers.get(target, frozenset())
            for _, number, _ in self.salts.get(ref, ()):
                found |= self.seeds[number]
        for ref in list(found):
            if ref[0] == "experiments":
                found |= self.namers.get(ref, frozenset())
        return found


@few_hints()
def validate(mapping: Any) -> list[Problem]:
    """Every problem of a document in mapping form; paths start at its root. Never raises."""
    _, problems = read_document(mapping)
    if not isinstance(mapping, dict):
        return problems
    index = Index.of(mapping)
    places: dict[Path, list[Path]] = {}
    for problem in problems:
        places.setdefault(problem.path[:2], []).append(problem.path)
    for ref in refs(mapping):
        problems += _compile_problems(mapping, ref, index, places.get(ref, []))
    return problems


@few_hints()
def validate_items(
    mapping: Mapping[str, Any], changed: Collection[Ref], index: Index | None = None
) -> list[Problem]:
    """The problems of the changed items and of those that name them; paths start at the root.

    `changed` holds (section, key) of items that were added, changed or removed; what stands beside
    the items (`recording`, ...) is always looked at. `index` is that of
    `mapping` as it is now; without one the whole document is read to make it.
    """
    index = Index.of(mapping) if index is None else index
    links = Links(mapping, index.namers)
    problems = head_problems(mapping)
    for ref in _in_order(mapping, index.touched(changed)):
        found = links.problems(*ref)
        problems += found
        problems += _compile_problems(mapping, ref, index, [problem.path for problem in found])
    return problems


def _compile_problems(
    mapping: Mapping[str, Any], ref: Ref, index: Index, places: list[Path]
) -> Iterator[Problem]:
    """What reading alone does not find; at `places` reading found something."""
    item = _items(mapping, ref[0]).get(ref[1])
    for path, operator, constant in _constants(ref, item):
        if not any(place[: len(path)] == path for place in places):
            try:
                OPERATORS[operator](constant)
            except ValueError as error:
                message, _, mend = str(error).partition("; ")
                # What this installation cannot judge is no mistake of the document.
                unjudged = operator == "matches" and find_spec("re2") is None
                severity: Severity = "warning" if unjudged else "error"
                yield Problem(message, path, hint=mend or None, severity=severity)
    yield from _salt_problems(mapping, ref, index)


def _constants(ref: Ref, item: Any) -> Iterator[tuple[Path, str, Any]]:
    if not isinstance(item, dict):
        return
    if ref[0] == "segments":
        yield from constants_of(item.get("when"), (*ref, "when"))
    rules = item.get("rules") if ref[0] == "flags" else None
    for i, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
        if isinstance(rule, dict) and "when" in rule:
            yield from constants_of(rule["when"], (*ref, "rules", i, "when"))


def _salt_problems(mapping: Mapping[str, Any], ref: Ref, index: Index) -> Iterator[Problem]:
    """A warning where units fall alike for a reason that nobody may have meant."""
    own: dict[int, str] = {}
    for path, number, salt in index.salts.get(ref, ()):
        first = next(_in_order(mapping, index.seeds[number]))
        other = own.get(number)
        if other is None and first != ref:
            other = next(text for _, n, text in index.salts[first] if n == number)
        own.setdefault(number, salt)
        if other is not None:
            place = path_text(first)
            alike = "is used there" if salt == other else f"has the seed of '{other}'"
            message = f"units fall as in {place}: salt '{salt}' {alike}"
            hint = "write another `salt`" if ref[0] == "flags" else "rename one of them"
            yield Problem(message, (*ref, *path), hint=hint, severity="warning")


def _salts(ref: Ref, item: Any) -> Iterator[tuple[Path, int, str]]:
    """Each use of a salt: (place in the item, seed, salt)."""
    section, name = ref
    if section == "flags":
        flag, _ = read_item(section, name, item)
        if isinstance(flag, Flag):
            for path, salt in _flag_salts(flag):
                yield path, seed(salt), salt
    elif section in _SALTS and isinstance(name, str):
        salt = _SALTS[section](name)
        yield (), seed(salt), salt


_SALTS = {"experiments": experiment_salt, "layers": layer_salt, "holdouts": holdout_salt}


def _flag_salts(flag: Flag) -> Iterator[tuple[Path, str]]:
    if any(rule.split is not None and rule.experiment is None for rule in flag.rules):
        yield (), split_salt(flag.salt)
    for i, rule in enumerate(flag.rules):
        if rule.share is not None or rule.rollout is not None:
            yield ("rules", i), share_salt(flag.salt, rule.salt)


def _inverted(table: Mapping[Ref, Iterable[Any]]) -> dict[Any, frozenset[Ref]]:
    found: dict[Any, set[Ref]] = {}
    for ref, targets in table.items():
        for target in targets:
            found.setdefault(target, set()).add(ref)
    return {target: frozenset(refs) for target, refs in found.items()}


def _repoint(
    table: dict[Any, frozenset[Ref]], ref: Ref, old: frozenset[Any], new: frozenset[Any]
) -> None:
    """Moves `ref` from the entries of `old` to those of `new`."""
    for target in old - new:
        rest = table[target] - {ref}
        if rest:
            table[target] = rest
        else:
            del table[target]
    for target in new - old:
        table[target] = table.get(target, frozenset()) | {ref}


def _items(mapping: Mapping[str, Any], section: str) -> dict[str, Any]:
    items = mapping.get(section)
    return items if isinstance(items, dict) else {}


def _in_order(mapping: Mapping[str, Any], wanted: Collection[Ref]) -> Iterator[Ref]:
    """The refs that exist, in the document's order; others are passed over."""
    if len(wanted) == 1:
        yield from wanted
        return
    for section in SECTIONS:
        names = {name for kind, name in wanted if kind == section}
        if names:
            yield from ((section, name) for name in _items(mapping, section) if name in names)

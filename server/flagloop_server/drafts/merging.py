"""Two people edited one item: their changes brought together, field by field.

Pure. Nobody's change is lost: where both changed the same field, somebody has to choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, Literal, TypeAlias

from flagloop.document.problem import Path, Problem, path_text
from flagloop.document.yamlfile import parse
from flagloop.document.yamlwrite import flow_text, same
from flagloop.errors import DocumentError
from flagloop_server.drafts.draft import rewritten
from flagloop_server.itemtext import as_document

Side: TypeAlias = Literal["mine", "theirs"]
Edit: TypeAlias = tuple[int, int, list[str]]

ABSENT: Any = object()
"""Stands for what is not there."""

MOST_PAIRS = 4_000_000
"""Pairs of lines beyond which texts are merged by their fields alone."""


@dataclass(frozen=True, slots=True)
class Clash:
    """A field that both changed, each in another way; `name` is its path as text."""

    name: str
    base: str
    mine: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Merged:
    """`text` is None where fields clash and nobody chose, or a text cannot be read."""

    text: str | None
    clashes: tuple[Clash, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class _Merger:
    choices: Mapping[str, Side]
    clashes: list[Clash] = field(default_factory=list)

    def value(self, path: Path, base: Any, mine: Any, theirs: Any) -> Any:
        if _same(mine, theirs) or _same(base, theirs):
            return mine
        if _same(base, mine):
            return theirs
        if isinstance(mine, dict) and isinstance(theirs, dict):
            return self.mapping(path, base if isinstance(base, dict) else {}, mine, theirs)
        if _named(mine) and _named(theirs) and _named(base):
            return self.named(path, base, mine, theirs)
        return self.clash(path, base, mine, theirs)

    def clash(self, path: Path, base: Any, mine: Any, theirs: Any) -> Any:
        name = path_text(path)
        chosen = self.choices.get(name)
        if chosen is None:
            self.clashes.append(Clash(name, _shown(base), _shown(mine), _shown(theirs)))
        return theirs if chosen == "theirs" else mine

    def mapping(
        self, path: Path, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
    ) -> dict[str, Any]:
        merged = {}
        for word in _woven(list(mine), list(theirs)):
            sides = (one.get(word, ABSENT) for one in (base, mine, theirs))
            found = self.value((*path, word), *sides)
            if found is not ABSENT:
                merged[word] = found
        return merged

    def named(
        self, path: Path, base: list[Any], mine: list[Any], theirs: list[Any]
    ) -> list[dict[str, Any]]:
        """Lists of rules: each by its name, in the order of whoever changed it."""
        olds, mines, others = ({one["name"]: one for one in side} for side in (base, mine, theirs))
        kept = {}
        for name in dict.fromkeys([*mines, *others]):
            sides = (side.get(name, ABSENT) for side in (olds, mines, others))
            found = self.value((*path, name), *sides)
            if found is not ABSENT:
                kept[name] = found
        common = [name for name in olds if name in mines and name in others]
        orders = [[name for name in side if name in common] for side in (mines, others)]
        first, second = list(mines), list(others)
        if orders[0] == common or (
            orders[1] != common
            and orders[0] != orders[1]
            and self.clash((*path, "order"), common, *orders) is orders[1]
        ):
            first, second = second, first
        return [kept[name] for name in _woven(first, second) if name in kept]


def merge_texts(
    ref: tuple[str, str],
    texts: tuple[str, str, str],
    choices: Mapping[str, Side] | None = None,
) -> Merged:
    """Base, mine and theirs of one item brought together.

    The merged text has both sides' comments where their lines lie apart; else it is theirs with
    my fields put in, or mine with theirs where that keeps more comments. `choices` settles
    clashes by the name of the field.
    """
    try:
        base, mine, theirs = (_meaning(ref, text) for text in texts)
    except DocumentError as error:
        return Merged(None, problem=f"it cannot be merged: {error}")
    merger = _Merger(choices or {})
    wanted = merger.value((), base, mine, theirs)
    if merger.clashes:
        return Merged(None, tuple(merger.clashes))
    lines = merge_lines(*texts)
    if lines is not None and _means(ref, lines, wanted):
        return Merged(lines)
    # Of a rule that one side moved the other's text keeps no comment.
    found = [rewritten(*ref, text, wanted)[0] for text in (texts[2], texts[1])]
    return Merged(max(found, key=_comments))


def _comments(text: str) -> int:
    return sum(line.lstrip().startswith("#") for line in text.splitlines())


def merge_lines(base: str, mine: str, theirs: str) -> str | None:
    """The texts merged by lines; None where both changed the same ones."""
    old = base.splitlines(keepends=True)
    sides = [text.splitlines(keepends=True) for text in (mine, theirs)]
    if len(old) * max(map(len, sides), default=0) > MOST_PAIRS:
        return None
    first, second = (_edits(old, side) for side in sides)
    if any(_touch(one, other) for one in first for other in second if one != other):
        return None
    edits = [*first, *(one for one in second if one not in first)]
    for low, high, new in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        old[low:high] = new
    return "".join(old)


def _edits(old: Sequence[str], new: Sequence[str]) -> list[Edit]:
    found = SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    return [(i, j, list(new[k:m])) for tag, i, j, k, m in found if tag != "equal"]


def _touch(one: Edit, other: Edit) -> bool:
    if one[0] == one[1] or other[0] == other[1]:
        return one[0] <= other[1] and other[0] <= one[1]
    return one[0] < other[1] and other[0] < one[1]


def _woven(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The words of `first` in its order, those of `second` alone behind their predecessor."""
    order = list(first)
    before = ""
    for name in second:
        if name not in first:
            order.insert(order.index(before) + 1 if before else 0, name)
        before = name
    return order


def _meaning(ref: tuple[str, str], text: str) -> Any:
    document = parse(as_document(ref[0], text))
    if ref not in document.items:
        raise DocumentError([Problem(f"the text does not define '{ref[1]}'")])
    return document.items[ref].mapping


def _means(ref: tuple[str, str], text: str, wanted: Any) -> bool:
    try:
        found = _meaning(ref, text)
    except DocumentError:
        return False
    return bool(found == wanted) and flow_text(found) == flow_text(wanted)


def _same(one: Any, other: Any) -> bool:
    if one is ABSENT or other is ABSENT:
        return one is other
    return same(one, other)


def _named(value: Any) -> bool:
    """Whether it is a list of rules, each with a name of its own."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return False
    names = [one.get("name") for one in value]
    return all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)


def _shown(value: Any) -> str:
    return "absent" if value is ABSENT else flow_text(value)

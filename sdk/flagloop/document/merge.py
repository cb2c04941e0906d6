"""Three-way merge of documents, item by item.

`mine` is what is pushed, `theirs` what the environment has, `base` what mine was made from. An
item that only mine changed is taken, one that only theirs changed is kept, one that both
changed differently is a conflict: then nothing is applied. Changed means changed text, comments
too, but not line endings and not runtime words.

Runtime words (`killed`, `stage`, ...) of items that are there already stay as theirs has them;
with `state` they become as mine has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from flagloop.document.problem import Path
from flagloop.document.schema import (
    SECTIONS,
    runtime_words,
    runtime_words_for,
    with_runtime,
    without_runtime,
)
from flagloop.document.yamledit import put_item_text, put_items, remove_item
from flagloop.document.yamlfile import DocumentText, Item, Ref, is_block, newline_of
from flagloop.document.yamlpatch import patch_item
from flagloop.document.yamlwrite import same
from flagloop.errors import DocumentError

Ignored: TypeAlias = tuple[str, str, Path, Any, Any]
"""(section, key, path in the item, mine's value, theirs' value); None where it is not written."""
_STRIPPED = re.compile(r"([|>]\d?)-(\d?)(?=[ \t]*(?:#|$))", re.MULTILINE)
"""The header of a block scalar that ends without a line feed."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """An item that both changed; its texts, None where it is not there."""

    section: str
    key: str
    base: str | None
    mine: str | None
    theirs: str | None


@dataclass(frozen=True, slots=True)
class Merge:
    """What came of a merge; an item is (section, key), a top-level word (word, "").

    `taken`: added or changed by mine. `kept`: changed, added or removed by theirs alone.
    `removed`: in the base and in theirs, gone from mine. With conflicts `document` is theirs.
    """

    document: DocumentText
    taken: tuple[Ref, ...] = ()
    kept: tuple[Ref, ...] = ()
    removed: tuple[Ref, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    ignored: tuple[Ignored, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemChange:
    """One item's text before and after; None where it is not there."""

    section: str
    key: str
    before: str | None
    after: str | None


def item_diff(old: DocumentText, new: DocumentText) -> list[ItemChange]:
    """The items and top-level words whose text differs, in the order of the new text."""
    before, after = _parts(old), _parts(new)
    changes = []
    for ref in _all_refs(after, before):
        one, other = (parts[ref].text if ref in parts else None for parts in (before, after))
        if one != other:
            changes.append(ItemChange(*ref, one, other))
    return changes


def merge(
    base: DocumentText | None,
    mine: DocumentText,
    theirs: DocumentText,
    *,
    state: bool = False,
    known: DocumentText | None = None,
) -> Merge:
    """Bring mine and theirs together; without a base, what both have must be equal.

    `known` is a text that theirs once took in: an item that would be a conflict and that mine
    has as it is there is nothing new, so theirs is kept.
    """
    work = _Work(base, mine, theirs, state, known)
    for ref in _all_refs(work.mine, work.theirs, work.base):
        work.judge(ref)
    if work.conflicts:
        return Merge(theirs, kept=tuple(work.kept), conflicts=tuple(work.conflicts))
    return Merge(
        work.apply(mine, theirs, base),
        tuple(work.taken),
        tuple(work.kept),
        tuple(work.removed),
        (),
        tuple(work.ignored),
    )


def _parts(doc: DocumentText | None) -> dict[Ref, Item]:
    """The items and the top-level words, in the text's order; an empty section is no part."""
    if doc is None:
        return {}
    parts = {}
    for section, key in doc.numbers:
        if key:
            parts[section, key] = doc.items[section, key]
        elif section in doc.entries and section not in SECTIONS:
            parts[section, ""] = doc.entries[section]
    return parts


def _all_refs(*parts: Mapping[Ref, Item]) -> Iterable[Ref]:
    return {ref: None for one in parts for ref in one}


class _Work:
    """The verdict on each part, then the result."""

    def __init__(
        self,
        base: DocumentText | None,
        mine: DocumentText,
        theirs: DocumentText,
        state: bool,
        known: DocumentText | None,
    ) -> None:
        self.base = _parts(base)
        self.mine = _parts(mine)
        self.theirs = _parts(theirs)
        self.known = _parts(known)
        self.state = state
        self.final: dict[Ref, Item] = {}
        self.taken: list[Ref] = []
        self.kept: list[Ref] = []
        self.removed: list[Ref] = []
        self.conflicts: list[Conflict] = []
        self.ignored: list[Ignored] = []

    def judge(self, ref: Ref) -> None:
        """Decide what becomes of one part."""
        base, mine, theirs = self.base.get(ref), self.mine.get(ref), self.theirs.get(ref)
        marks = [_mark(ref, item) for item in (base, mine, theirs)]
        if len(set(marks)) == 3:
            # layout alone is no conflict
            parts = (base, mine, theirs)
            is_flow = bool(ref[1]) and any(item and not is_block(item) for item in parts)
            marks = [_loose(ref, item, is_flow) for item in (base, mine, theirs)]
        was, wanted, there = marks
        if wanted in (was, there):
            if there not in (was, wanted):
                self.kept.append(ref)
            self._leave(ref, mine, theirs)
        elif there == was or _equal_but_for_runtime(ref, mine, theirs):
            self._take(ref, mine, theirs)
        elif mine is not None and _mark(ref, mine) == _mark(ref, self.known.get(ref)):
            self.kept.append(ref)
            self._leave(ref, mine, theirs)
        else:
            texts = (None if item is None else item.text for item in (base, mine, theirs))
            self.conflicts.append(Conflict(*ref, *texts))

    def _leave(self, ref: Ref, mine: Item | None, theirs: Item | None) -> None:
        if theirs is None:
            return
        self.final[ref] = theirs
        if mine is None:
            return
        if self.state:
            self.final[ref] = _with_words(ref, theirs, mine)
            if self.final[ref] is not theirs:
                self.taken.append(ref)
        else:
            self._list_ignored(ref, mine, theirs)

    def _take(self, ref: Ref, mine: Item | None, theirs: Item | None) -> None:
        if mine is None:
            self.removed.append(ref)
            return
        self.taken.append(ref)
        self.final[ref] = mine
        if theirs is not None and not self.state:
            self.final[ref] = _with_words(ref, mine, theirs)
            self._list_ignored(ref, mine, self.final[ref])

    def _list_ignored(self, ref: Ref, mine: Item, result: Item) -> None:
        section, key = ref
        wanted = runtime_words(section, mine.mapping)
        got = runtime_words(section, result.mapping)
        for path in {**got, **wanted}:
            if not same(wanted.get(path), got.get(path)):
                self.ignored.append((section, key, path, wanted.get(path), got.get(path)))

    def apply(
        self, mine: DocumentText, theirs: DocumentText, base: DocumentText | None
    ) -> DocumentText:
        """The document: one side's comments, order and blank lines, every part as decided."""
        is_mine = base is not None and _mine_frames(base, mine, theirs)
        doc, parts = (mine, self.mine) if is_mine else (theirs, self.theirs)
        order = self.theirs if is_mine else self.mine
        changed = {
            ref: item
            for ref, item in self.final.items()
            if ref in parts and not _is_written(item, parts[ref])
        }
        doc = put_items(doc, changed)
        for ref in parts:
            if ref not in self.final:
                doc = remove_item(doc, *ref).document
        previous: Ref = ("", "")
        for ref in order:
            if ref in self.final:
                if ref not in parts:
                    after = previous[1] if previous[0] == ref[0] else None
                    doc = put_item_text(doc, *ref, self.final[ref].text, after).document
                previous = ref
        return doc


def _is_written(item: Item, there: Item) -> bool:
    return item is there or _unix(item.text) == _unix(there.text)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _mark(ref: Ref, item: Item | None) -> str | None:
    """What must differ for an item to count as changed."""
    if item is None:
        return None
    section, key = ref
    if not runtime_words(section, item.mapping):
        return _unix(item.text)
    plain = without_runtime(section, item.mapping)
    try:
        patched = patch_item(_unix(item.text), key, plain, "\n")
    except DocumentError:
        # an item of a section in flow style need not stand alone
        return repr(plain)
    return repr(plain) if patched.rewritten else patched.text


def _loose(ref: Ref, item: Item | None, is_flow: bool) -> str | None:
    """The same, but for white space that means nothing.

    Comments do not count where one side is in flow style: they move when it becomes block style.
    At the end of a text without a final line feed `|` means what `|-` means elsewhere.
    """
    if item is None:
        return None
    meaning = repr(without_runtime(ref[0], item.mapping))
    if is_flow:
        return meaning
    return "".join(_STRIPPED.sub(r"\1\2", str(_mark(ref, item))).split()) + meaning


def _equal_but_for_runtime(ref: Ref, one: Item | None, other: Item | None) -> bool:
    if one is None or other is None:
        return False
    return same(without_runtime(ref[0], one.mapping), without_runtime(ref[0], other.mapping))


def _with_words(ref: Ref, item: Item, state: Item) -> Item:
    """The item with the runtime words of another; the same object if it has them already."""
    section, key = ref
    words = runtime_words_for(section, item.mapping, state.mapping)
    wanted = with_runtime(section, item.mapping, words)
    if same(wanted, item.mapping):
        return item
    newline = "\r\n" if "\r\n" in item.text else "\n"
    done = patch_item(item.text, key or section, wanted, newline)
    return Item(done.text, done.value)


def _mine_frames(base: DocumentText, mine: DocumentText, theirs: DocumentText) -> bool:
    """Whether mine's order, blank lines and comments between items are to be used.

    They are when mine changed them and theirs did not (items that came or went aside).
    """
    if newline_of(mine) != newline_of(theirs):
        return False
    if _frame(mine) == _frame(base):
        return False
    return _comments(theirs) == _comments(base) and _order(theirs, base) == _order(base, theirs)


def _frame(doc: DocumentText) -> list[str]:
    return [
        chunk.text if chunk.kind not in ("item", "entry") else f"{chunk.section}.{chunk.key}"
        for chunk in doc.chunks
    ]


def _comments(doc: DocumentText) -> list[str]:
    return [
        _unix(chunk.text).strip()
        for chunk in doc.chunks
        if chunk.kind not in ("item", "entry") and "#" in chunk.text
    ]


def _order(doc: DocumentText, other: DocumentText) -> list[Ref]:
    return [ref for ref in _parts(doc) if ref in _parts(other)]

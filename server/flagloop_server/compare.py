"""Two environments beside each other: which items are only in one, which differ, and in what.

What operation writes (a kill, a stage) is told apart from what review writes: promoting copies
the latter alone. Pure: two stored documents in, frozen records out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flagloop.document.problem import path_text
from flagloop.document.schema import SECTIONS, runtime_words, runtime_words_for, without_runtime
from flagloop.document.yamlfile import DocumentText, Item
from flagloop.document.yamlpatch import patch_item
from flagloop.document.yamlwrite import same
from flagloop.errors import DocumentError
from flagloop_server.itemtext import dedented
from flagloop_server.store import Ref, StoredDocument

State: TypeAlias = Literal["only left", "only right", "differs", "same"]

STATES: tuple[State, ...] = ("differs", "only left", "only right", "same")
"""What a list begins with comes first."""

_OWN_WORDS = frozenset({"version", "environment"})
"""Top-level words that belong to one document and are never compared."""


@dataclass(frozen=True, slots=True)
class RuntimeWord:
    """A word of operation that the two have differently; None where it is not written.

    `path` is like `killed` or `rules.canary.rollout.stage`.
    """

    path: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class ComparedItem:
    """One item of two documents. `key` is empty for a top-level word like `recording`.

    `state` tells the meaning without runtime words, which `runtime` lists where they differ.
    """

    section: str
    key: str
    state: State
    runtime: tuple[RuntimeWord, ...] = ()
    left_item: Item | None = None
    right_item: Item | None = None

    @property
    def left(self) -> str | None:
        """The left text from the first column, without runtime words; made when asked for."""
        return plain_text(self.section, self.key, self.left_item)

    @property
    def right(self) -> str | None:
        """The right text, likewise."""
        return plain_text(self.section, self.key, self.right_item)

    @property
    def reworded(self) -> bool:
        """The same meaning in another text: comments, order of words, layout."""
        return self.state == "same" and self.left != self.right


@dataclass(frozen=True, slots=True)
class Comparison:
    """All items of two documents: sections in their order, items as the left has them."""

    left: StoredDocument
    right: StoredDocument
    items: tuple[ComparedItem, ...]

    @property
    def counts(self) -> Mapping[State, int]:
        """How many items there are of each state."""
        counted = Counter(item.state for item in self.items)
        return {state: counted[state] for state in STATES}


def compare(left: StoredDocument, right: StoredDocument) -> Comparison:
    """Every item of the two documents, those that are the same too."""
    ours, theirs = _parts(left.document), _parts(right.document)
    items = tuple(_compared(ref, ours.get(ref), theirs.get(ref)) for ref in _refs(ours, theirs))
    return Comparison(left, right, items)


def compare_item(
    left: StoredDocument, right: StoredDocument, section: str, key: str
) -> ComparedItem | None:
    """One item of the two documents; None where neither has it."""
    ref = (section, key)
    pair = [_part(one.document, ref) for one in (left, right)]
    return _compared(ref, *pair) if any(pair) else None


def plain_text(section: str, key: str, item: Item | None) -> str | None:
    """An item's text as people edit it, without runtime words; None where there is no item."""
    if item is None:
        return None
    text = item.text.replace("\r\n", "\n")
    if runtime_words(section, item.mapping):
        with suppress(DocumentError):  # of a section in flow style: an item need not stand alone
            text = patch_item(text, key, without_runtime(section, item.mapping), "\n").text
    return dedented(text)


def _parts(document: DocumentText) -> dict[Ref, Item]:
    entries = {
        (word, ""): item
        for word, item in document.entries.items()
        if word not in SECTIONS and word not in _OWN_WORDS
    }
    return {**document.items, **entries}


def _part(document: DocumentText, ref: Ref) -> Item | None:
    return document.items.get(ref) if ref[1] else _parts(document).get(ref)


def _refs(left: Mapping[Ref, Item], right: Mapping[Ref, Item]) -> Iterable[Ref]:
    places = {section: place for place, section in enumerate(SECTIONS)}
    return sorted({**left, **right}, key=lambda ref: places.get(ref[0], len(places)))


def _compared(ref: Ref, left: Item | None, right: Item | None) -> ComparedItem:
    if left is None or right is None:
        state: State = "only right" if left is None else "only left"
        return ComparedItem(*ref, state, (), left, right)
    if left.text == right.text:
        return ComparedItem(*ref, "same", (), left, right)
    section = ref[0]
    plain = without_runtime(section, left.mapping), without_runtime(section, right.mapping)
    state = "same" if same(*plain) else "differs"
    return ComparedItem(*ref, state, _runtime(section, left, right), left, right)


def _runtime(section: str, left: Item, right: Item) -> tuple[RuntimeWord, ...]:
    ours = runtime_words(section, left.mapping)
    theirs = runtime_words_for(section, left.mapping, right.mapping)
    return tuple(
        RuntimeWord(path_text(path), ours.get(path), theirs.get(path))
        for path in {**ours, **theirs}
        if ours.get(path) != theirs.get(path)
    )

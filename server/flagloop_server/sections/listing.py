"""The lists of segments, metrics, layers, holdouts and experiments: rows, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from flagloop.document.definition import (
    Document,
    Experiment,
    Holdout,
    Layer,
    Metric,
    Segment,
)
from flagloop_server.sections.describing import item_words
from flagloop_server.sections.uses import Use
from flagloop_server.store import Ref
from flagloop_server.wording import join_words

Section: TypeAlias = Literal["segments", "metrics", "layers", "holdouts", "experiments"]
SECTIONS: tuple[Section, ...] = get_args(Section)
"""Everything that has a list of its own beside flags."""

Item: TypeAlias = Segment | Metric | Layer | Holdout | Experiment

ONE: Mapping[str, str] = {
    "segments": "segment",
    "metrics": "metric",
    "layers": "layer",
    "holdouts": "holdout",
    "experiments": "experiment",
}


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One line of a list: what the item says, who uses it, the revision that changed it last."""

    section: Section
    key: str
    item: Item
    words: str
    uses: tuple[Use, ...]
    revision: int

    @property
    def users(self) -> tuple[Ref, ...]:
        """The items that use it, each once."""
        return tuple(dict.fromkeys((one.section, one.key) for one in self.uses))

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that use it themselves, each once."""
        return tuple(dict.fromkeys(one.key for one in self.uses if one.section == "flags"))


def items_of(document: Document, section: Section) -> Mapping[str, Item]:
    """The items of a section."""
    found: Mapping[str, Item] = getattr(document, section)
    return found


def item_rows(
    document: Document,
    section: Section,
    used: Mapping[Ref, tuple[Use, ...]],
    revisions: Mapping[Ref, int],
) -> list[ItemRow]:
    """A row for each item of a section, in the document's order."""
    return [
        item_row(document, (section, key), used, revisions) for key in items_of(document, section)
    ]


def item_row(
    document: Document,
    ref: tuple[Section, str],
    used: Mapping[Ref, tuple[Use, ...]],
    revisions: Mapping[Ref, int],
) -> ItemRow:
    """The row of one item; KeyError for an unknown one."""
    section, key = ref
    item = items_of(document, section)[key]
    words = item_words(item, document)
    return ItemRow(section, key, item, words, used.get(ref, ()), revisions.get(ref, 0))


def search(rows: Iterable[ItemRow], text: str) -> list[ItemRow]:
    """The rows in which every word of the text occurs: in key, words, description or users."""
    wanted = text.casefold().split()
    return [row for row in rows if all(word in _text(row) for word in wanted)]


def _text(row: ItemRow) -> str:
    users = " ".join(one.key for one in row.uses)
    return f"{row.key} {row.words} {row.item.description} {users}".casefold()


def counted(section: str, number: int) -> str:
    """`1 segment`, `3 segments`."""
    return f"{number:,} {ONE[section] if number == 1 else section}"


def summary(section: Section, rows: Sequence[ItemRow]) -> str:
    """What the list comes to: `2 running, 1 draft`, or how many are used by how many flags."""
    if section == "experiments":
        states: Counter[str] = Counter(
            row.item.status for row in rows if isinstance(row.item, Experiment)
        )
        order = ("running", "draft", "decided")
        return ", ".join(f"{states[one]:,} {one}" for one in order if states[one])
    unused = sum(not row.uses for row in rows)
    users = {(one.section, one.key) for row in rows for one in row.uses}
    counts = Counter(where for where, _ in users)
    parts = [
        f"{counts[where]:,} {where if counts[where] > 1 else where[:-1]}"
        for where in ("flags", "experiments", "segments")
        if counts[where]
    ]
    if not parts:
        return f"nothing uses {'it' if len(rows) == 1 else 'them'}"
    text = f"used by {join_words(parts, 'and')}"
    return f"{text}; {unused:,} {'is' if unused == 1 else 'are'} unused" if unused else text

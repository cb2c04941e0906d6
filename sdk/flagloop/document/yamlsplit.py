"""Cuts a document's text into chunks that, joined, are the text again.

Kinds:

- `header`: comments and blank lines before the first word (and a BOM, and `---`);
- `entry`: a top-level word that holds no items (`version: 1`, `flags: {}`);
- `section`: the head of a section (`flags:`), with the comments directly above it;
- `item`: a flag, a segment, ... with the comments directly above it and deeper ones below;
- `separator`: blank lines, and comments that stand apart;
- `footer`: what follows the last word.

A section in flow style (`flags: {a: ..., b: ...}`) has a head of kind `flow`, its commas and
its closing bracket are `punctuation`. A document in flow style (JSON) begins with kind `root`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from flagloop.document.schema import SECTIONS
from flagloop.document.yamlnodes import Node, Tree

Ref: TypeAlias = tuple[str, str]
"""(section, key) of an item; a top-level word that holds no items is (word, "")."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One part of the text; `section` and `key` are empty where they do not apply."""

    kind: str
    section: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its own text (with comments) and its plain form (not to be changed)."""

    text: str
    mapping: Any


class _Unit(NamedTuple):
    """One entry, section head, item or flow section of a block document, before the gaps."""

    kind: str
    section: str
    key: str
    start: int
    end: int
    column: int
    value: Node


class Splitter:
    """Cuts the text at the nodes' places."""

    def __init__(self, text: str, tree: Tree) -> None:
        self.text = text
        self.root = tree.root
        self.stop = len(text) if tree.footer is None else tree.footer
        self.chunks: list[Chunk] = []
        self.items: dict[Ref, Item] = {}

    def split(self) -> tuple[list[Chunk], dict[Ref, Item]]:
        """The chunks and the items."""
        root = self.root
        if root is None or root.kind != "mapping":
            self._put("header", "", "", 0, self.stop)
            self._put("footer", "", "", self.stop, len(self.text))
        elif root.flow:
            self._flow_root(root)
        else:
            self._block_root(root)
        return self.chunks, self.items

    def _put(self, kind: str, section: str, key: str, start: int, end: int) -> None:
        if end > start:
            self.chunks.append(Chunk(kind, section, key, self.text[start:end]))

    def _put_item(self, section: str, key: str, start: int, end: int, value: Node) -> None:
        text = self.text[start:end]
        self.chunks.append(Chunk("item", section, key, text))
        self.items.setdefault((section, key), Item(text, value.value))

    def _block_root(self, root: Node) -> None:
        done = 0
        kind = "header"
        before: _Unit | None = None
        for unit in self._units(root):
            line = line_start(self.text, unit.start)
            if before is not None:
                column = None if before.kind == "section" else before.column
                tail, lead = gap(self.text, before.end, line, (column, unit.column))
                kind = "separator"
                if before.kind == "section":
                    tail = lead
                self._unit(before, done, tail)
                done = tail
            else:
                lead = gap(self.text, 0, line, (None, unit.column))[1]
            self._put(kind, "", "", done, lead)
            done, before = lead, unit
        assert before is not None
        tail = gap(self.text, before.end, self.stop, (before.column, 0))[0]
        self._unit(before, done, tail)
        self._put("footer", "", "", tail, len(self.text))

    def _units(self, root: Node) -> list[_Unit]:
        units = []
        text = self.text
        column = root.start - line_start(text, root.start)
        for key, value in root.pairs:
            name = key.value
            if not _holds_items(name, value):
                end = line_end(text, max(value.end, key.end))
                units.append(_Unit("entry", name, "", key.start, end, column, value))
            elif value.flow:
                end = line_end(text, value.end)
                units.append(_Unit("flow", name, "", key.start, end, column, value))
            else:
                end = line_end(text, key.end)
                units.append(_Unit("section", name, "", key.start, end, column, value))
                inner = value.start - line_start(text, value.start)
                for item, node in value.pairs:
                    end = line_end(text, max(node.end, item.end))
                    units.append(_Unit("item", name, item.value, item.start, end, inner, node))
        return units

    def _unit(self, unit: _Unit, start: int, end: int) -> None:
        if unit.kind == "flow":
            self._flow_section(unit.section, unit.value, start, end)
        elif unit.kind == "item":
            self._put_item(unit.section, unit.key, start, end, unit.value)
        else:
            self._put(unit.kind, unit.section, "", start, end)

    def _flow_section(self, section: str, value: Node, start: int, end: int) -> None:
        kind = "flow"
        for key, node in value.pairs:
            self._put(kind, section, "", start, key.start)
            start = max(node.end, key.end)
            self._put_item(section, key.value, key.start, start, node)
            kind = "punctuation"
        self._put(kind, section, "", start, end)

    def _flow_root(self, root: Node) -> None:
        kind, start = "root", 0
        for key, value in root.pairs:
            self._put(kind, "", "", start, key.start)
            start = max(value.end, key.end)
            if _holds_items(key.value, value) and value.flow:
                self._flow_section(key.value, value, key.start, start)
            else:
                self._put("entry", key.value, "", key.start, start)
            kind = "punctuation"
        if not root.pairs:
            start = root.start + 1
            self._put("root", "", "", 0, start)
        self._put("footer", "", "", start, len(self.text))


def _holds_items(name: str, value: Node) -> bool:
    return name in SECTIONS and value.kind == "mapping" and bool(value.pairs)


def line_start(text: str, place: int) -> int:
    """Where the line of `place` begins."""
    return text.rfind("\n", 0, place) + 1


def line_end(text: str, place: int) -> int:
    """Where the line of `place` ends, behind its line feed."""
    end = text.find("\n", place)
    return len(text) if end < 0 else end + 1


def gap(text: str, start: int, end: int, columns: tuple[int | None, int]) -> tuple[int, int]:
    """Share out the lines between two entries: (end of the upper's, start of the lower's).

    `start` and `end` are at line starts, `columns` those of the upper key (None: nothing goes
    to it) and of the lower. Comments deeper than the upper key belong to it, comments directly
    above the lower key to that; what is between stands apart.
    """
    upper, lower = columns
    if start >= end:
        return start, start
    tail = start
    place = start
    while upper is not None and place < end:
        after = min(line_end(text, place), end)
        line = text[place:after].lstrip(" \t")
        if line.startswith("#") and after - place - len(line) > upper:
            tail = after
        elif line.strip():
            break
        place = after
    lead = end
    while lead > tail:
        before = line_start(text, lead - 1)
        line = text[before:lead].lstrip(" \t")
        if not line.startswith("#") or lead - before - len(line) > lower:
            break
        lead = before
    return tail, lead

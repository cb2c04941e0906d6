"""Edits inside one item: the least spans that turn its text from one value into another.

The old nodes are walked against the new value: what is equal stays as it is written, a scalar's
span is replaced, entries are dropped and inserted, elements of lists are matched when equal or
when they have the same `name`. The result is read again; `patch_item` tells when it had to
rewrite the item instead.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from flagloop.document.yamlnodes import Node, build
from flagloop.document.yamlplan import Plan, insertions, mapping_plan, sequence_plan
from flagloop.document.yamlsplit import gap, line_end, line_start
from flagloop.document.yamlwrite import (
    WIDTH,
    collection_text,
    element_text,
    entry_text,
    flow_text,
    item_text,
    same,
    scalar_text,
)
from flagloop.errors import DocumentError

_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_REST = re.compile(r"[ \t]*(,?)[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")


class Patched(NamedTuple):
    """An item's new text and value, blank lines that no longer belong to it, and whether more
    than what was to change is new.
    """

    text: str
    value: Any
    rest: str
    rewritten: bool


def patch_item(text: str, key: str, new: Any, newline: str) -> Patched:
    """Edit the text of an item in block style so that its value is `new`.

    A text without a line feed at its end, which a file may end with, stays one. Then new words
    behind a block scalar would change it: they get their place above the item's last word.
    Raises DocumentError when `new` cannot be written at all.
    """
    node_key, node = _pair(text)
    ends = [""] if text.endswith("\n") else [newline, ""]
    whole, shut = text + ends[0], closed(text, newline)
    if shut != whole:
        new = _above_last(node.value, new)
    if same(node.value, new):
        return Patched(text, new, "", False)
    done = _spliced(whole, (node_key, node), (key, new), newline, ends)
    if done is None and shut != whole:
        done = _spliced(shut, _pair(shut), (key, new), newline, ends)
        done = done and done._replace(rewritten=True)
    if done is not None:
        return done
    start = line_start(text, node_key.start)
    rewritten = text[:start] + item_text(key, new, node_key.start - start, newline)
    _pair(rewritten)
    return Patched(rewritten, new, "", True)


def closed(text: str, newline: str) -> str:
    """The text of one entry with a line feed at its end, meaning the same.

    A block scalar that ended without one says so in its header from then on.
    """
    if text.endswith("\n"):
        return text
    whole = text + newline
    node = _pair(text)[1]
    if same(node.value, _pair(whole)[1].value):
        return whole
    while node.kind != "scalar":
        node = node.pairs[-1][1] if node.pairs else node.items[-1]
    return whole[: node.start + 1] + "-" + whole[node.start + 1 :]


def _above_last(old: Any, new: Any) -> Any:
    """`new` with what stands behind the last word of `old` put above that word."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    last = next(reversed(old), None)
    if last not in new:
        return new
    return {**{word: value for word, value in new.items() if word != last}, last: new[last]}


def _spliced(
    text: str,
    nodes: tuple[Node, Node],
    meant: tuple[str, Any],
    newline: str,
    ends: list[str],
) -> Patched | None:
    """The text with the least edits, without one of `ends`; None unless it means the value."""
    try:
        edited = _Patch(text, newline).run(*nodes, meant[1])
        for end in ends:
            done = _read_again(edited.removesuffix(end), *meant)
            if done is not None:
                return done
    except (DocumentError, _UnpatchableError):
        pass
    return None


def _pair(text: str) -> tuple[Node, Node]:
    tree = build(text)
    problems = [problem for problem in tree.problems if problem.severity == "error"]
    if problems or tree.root is None:
        raise DocumentError(problems)
    return tree.root.pairs[0]


def _read_again(text: str, key: str, value: Any) -> Patched | None:
    """The edited text cut where the item ends; None unless it means the value."""
    node_key, node = _pair(text)
    if node_key.value != key or not same(node.value, value):
        return None
    column = node_key.start - line_start(text, node_key.start)
    end = line_end(text, max(node.end, node_key.end))
    tail = gap(text, end, len(text), (column, column))[0]
    return Patched(text[:tail], value, text[tail:], False)


class _UnpatchableError(Exception):
    """The text has a shape that no span edit is made for."""


class _Entry(NamedTuple):
    """A key and its value, or an element with its dash; `[start, end)` without its comments."""

    start: int
    end: int
    key: Node | None
    value: Node


class _Patch:
    """Collects splices over one text."""

    def __init__(self, text: str, newline: str) -> None:
        self.text = text
        self.newline = newline
        self.splices: list[tuple[int, int, int, str]] = []

    def run(self, key: Node, node: Node, new: Any) -> str:
        """The text with `node`, the value of `key`, turned into `new`."""
        self._value(key, node, new)
        parts = []
        done = 0
        for start, end, _, piece in sorted(self.splices):
            if start < done:
                raise _UnpatchableError
            parts += [self.text[done:start], piece]
            done = end
        return "".join(parts) + self.text[done:]

    def _splice(self, start: int, end: int, piece: str) -> None:
        self.splices.append((start, end, len(self.splices), piece))

    def _value(self, key: Node | None, node: Node, new: Any) -> None:
        """Turn a node (the value of a key, or an element) into `new`."""
        if same(node.value, new):
            return
        plan: Plan | None = None
        if node.kind == "mapping" and isinstance(new, dict):
            plan = mapping_plan(node, new)
        elif node.kind == "sequence" and isinstance(new, list):
            plan = sequence_plan(node, new)
        if plan is None:
            self._rewrite(key, node, new)
        elif node.flow:
            self._flow(node, plan)
        else:
            self._block(node, plan)

    # --- a value replaced whole

    def _rewrite(self, key: Node | None, node: Node, new: Any) -> None:
        if node.kind == "scalar":
            self._rewrite_scalar(node, new)
        elif node.flow:
            self._rewrite_flow(node, new)
        elif key is None:
            self._rewrite_element(node, new)
        else:
            self._rewrite_block(key, node, new)

    def _rewrite_scalar(self, node: Node, new: Any) -> None:
        is_scalar = not isinstance(new, dict | list)
        style = node.style if node.value != "" else None  # which cannot be without quotes
        piece = scalar_text(new, style) if is_scalar else flow_text(new)
        if node.end == node.start and not self.text[: node.start].endswith((" ", "\t")):
            piece = " " + piece
        self._splice(node.start, node.end, piece)

    def _rewrite_flow(self, node: Node, new: Any) -> None:
        """What stands between brackets with nothing else comes and goes with what is inside."""
        start, end = node.start + 1, node.end - 1
        kept = type(new) is type(node.value) and self.text[node.start] in "{["
        if kept and new and not node.value:
            inner = self.text[start:end]
            aside = inner if "\n" not in inner else ""
            self._splice(end, end, flow_text(new)[1:-1] + aside)
        elif kept and not new and "\n" not in self.text[_last_end(node) : end]:
            self._splice((node.pairs[0][0] if node.pairs else node.items[0]).start, end, "")
        else:
            self._splice(node.start, node.end, flow_text(new))

    def _rewrite_element(self, node: Node, new: Any) -> None:
        column = node.start - line_start(self.text, node.start)
        piece = flow_text(new)
        if new and isinstance(new, dict | list) and column + len(piece) > WIDTH:
            piece = collection_text(new, column, self.newline)[column:].removesuffix(self.newline)
        self._splice(node.start, node.end, piece)

    def _rewrite_block(self, key: Node, node: Node, new: Any) -> None:
        colon = self.text.index(":", key.end) + 1
        first = line_start(self.text, node.start)
        start, end = line_end(self.text, colon), line_end(self.text, node.end)
        if new and isinstance(new, dict | list):
            least = key.start - line_start(self.text, key.start) + 2
            column = max(least, node.start - first)
            self._splice(start, end, collection_text(new, column, self.newline))
            return
        self._splice(colon, colon, " " + flow_text(new))
        self._splice(start, end, "")

    # --- collections in block style

    def _block(self, node: Node, plan: Plan) -> None:
        entries = self._block_entries(node)
        column = entries[0].start - line_start(self.text, entries[0].start)
        extents = self._extents(entries, column)
        self._keep(entries, plan)
        kept = {index for index, _, _ in plan if index is not None}
        for index in range(len(entries)):
            if index not in kept:
                self._drop_block(entries, extents, index, kept)
        for anchor, added in insertions(plan):
            texts = [self._new_text(node, entries, extents, part, column) for part in added]
            self._insert_block(entries, extents, anchor, texts, column)

    def _keep(self, entries: list[_Entry], plan: Plan) -> None:
        for index, _, value in plan:
            if index is not None:
                self._value(entries[index].key, entries[index].value, value)

    def _block_entries(self, node: Node) -> list[_Entry]:
        if node.kind == "mapping":
            return [
                _Entry(key.start, max(value.end, key.end + 1), key, value)
                for key, value in node.pairs
            ]
        entries = []
        place = node.start
        for value in node.items:
            dash = _skip(self.text, place)
            if self.text[dash : dash + 1] != "-":
                raise _UnpatchableError
            place = max(value.end, dash + 1)
            entries.append(_Entry(dash, place, None, value))
        return entries

    def _extents(self, entries: list[_Entry], column: int) -> list[tuple[int, int]]:
        """Of each entry: where its lines begin (with comments above) and end (with deeper)."""
        text = self.text
        ends = [line_end(text, entry.end) for entry in entries]
        columns = (column, column)
        leads = [gap(text, 0, line_start(text, entries[0].start), (None, column))[1]]
        tails = []
        for end, entry in zip(ends, entries[1:], strict=False):
            tail, lead = gap(text, end, line_start(text, entry.start), columns)
            tails.append(tail)
            leads.append(lead)
        tails.append(gap(text, ends[-1], len(text), columns)[0])
        return list(zip(leads, tails, strict=True))

    def _shared(self, entry: _Entry) -> bool:
        """Whether the entry's first line is shared with a dash of an outer list."""
        return bool(self.text[line_start(self.text, entry.start) : entry.start].strip())

    def _drop_block(
        self,
        entries: list[_Entry],
        extents: list[tuple[int, int]],
        index: int,
        kept: set[int],
    ) -> None:
        if index == 0 and self._shared(entries[0]):
            follower = entries[min(kept)].start
            self._splice(entries[0].start, follower, "")
        elif not (index < min(kept) and self._shared(entries[0])):
            self._splice(*extents[index], "")

    def _new_text(
        self,
        node: Node,
        entries: list[_Entry],
        extents: list[tuple[int, int]],
        added: tuple[str, Any],
        column: int,
    ) -> str:
        key, value = added
        if node.kind == "mapping":
            return entry_text(key, value, column, self.newline)
        for entry, (lead, tail) in zip(entries, extents, strict=True):
            # an element that moved keeps its writing and its comments
            if same(entry.value.value, value) and not self._shared(entry):
                return self.text[lead:tail]
        return element_text(value, column, self.newline)

    def _insert_block(
        self,
        entries: list[_Entry],
        extents: list[tuple[int, int]],
        anchor: int | None,
        texts: list[str],
        column: int,
    ) -> None:
        piece = "".join(texts)
        if anchor is not None:
            place = extents[anchor][1]
        elif self._shared(entries[0]):
            place = entries[0].start
            piece = piece[column:] + " " * column
        else:
            place = self._front(entries, column)
        self._splice(place, place, piece)

    def _front(self, entries: list[_Entry], column: int) -> int:
        """Below the line of the collection's key, above all that leads the first entry."""
        place = first = line_start(self.text, entries[0].start)
        while place > 0:
            before = line_start(self.text, place - 1)
            line = self.text[before:place].strip()
            if line and not line.startswith("#"):
                break
            place = before
        return gap(self.text, place, first, (column, column))[0]

    # --- collections in flow style

    def _flow(self, node: Node, plan: Plan) -> None:
        if self.text[node.start] not in "{[":
            raise _UnpatchableError
        if node.kind == "mapping":
            entries = [_Entry(key.start, value.end, key, value) for key, value in node.pairs]
        else:
            entries = [_Entry(value.start, value.end, None, value) for value in node.items]
        self._keep(entries, plan)
        added_at = insertions(plan)
        self._drop_flow(entries, plan, {anchor for anchor, _ in added_at})
        for anchor, added in added_at:
            texts = [flow_text(value) for _, value in added]
            if node.kind == "mapping":
                texts = [
                    f"{scalar_text(key)}: {text}"
                    for (key, _), text in zip(added, texts, strict=True)
                ]
            self._insert_flow(entries, anchor, texts)

    def _owns_lines(self, entry: _Entry) -> bool:
        """Whether nothing but a comma and a comment stands beside the entry."""
        before = self.text[line_start(self.text, entry.start) : entry.start]
        return not before.strip() and _REST.match(self.text, entry.end) is not None

    def _comma(self, entry: _Entry) -> int | None:
        """Where the comma behind the entry is."""
        place = _skip(self.text, entry.end)
        return place if self.text[place : place + 1] == "," else None

    def _drop_flow(self, entries: list[_Entry], plan: Plan, anchors: set[int | None]) -> None:
        kept = [index for index, _, _ in plan if index is not None]
        dropped = [index for index in range(len(entries)) if index not in set(kept)]
        if not dropped:
            return
        last = entries[kept[-1]]
        ends = [index for index in dropped if index > kept[-1]]
        if all(self._owns_lines(entries[index]) for index in dropped):
            for index in dropped:
                entry = entries[index]
                self._splice(line_start(self.text, entry.start), line_end(self.text, entry.end), "")
            comma = self._comma(last)
            was_open = self._comma(entries[-1]) is None
            if ends and comma is not None and was_open and kept[-1] not in anchors:
                self._splice(comma, comma + 1, "")
            return
        for index in dropped:
            if index < kept[-1]:
                self._splice(entries[index].start, entries[index + 1].start, "")
        if ends:
            self._splice(last.end, entries[-1].end, "")

    def _insert_flow(self, entries: list[_Entry], anchor: int | None, texts: list[str]) -> None:
        entry = entries[anchor or 0]
        begin = line_start(self.text, entry.start)
        pad = self.text[begin : entry.start]
        if not self._owns_lines(entry):
            if anchor is None:
                self._splice(entry.start, entry.start, ", ".join(texts) + ", ")
            else:
                self._splice(entry.end, entry.end, ", " + ", ".join(texts))
            return
        if anchor is None:
            piece = "".join(f"{pad}{text},{self.newline}" for text in texts)
            self._splice(begin, begin, piece)
            return
        comma = self._comma(entry)
        place = line_end(self.text, entry.end)
        lines = [f"{pad}{text},{self.newline}" for text in texts]
        if comma is None:
            self._splice(entry.end, entry.end, ",")
            lines[-1] = f"{pad}{texts[-1]}{self.newline}"
        self._splice(place, place, "".join(lines))


def _last_end(node: Node) -> int:
    """Where the last entry or element of a collection ends."""
    last = node.pairs[-1][1] if node.pairs else node.items[-1]
    return last.end


def _skip(text: str, place: int) -> int:
    """The next place that is neither white nor in a comment."""
    found = _BLANK.match(text, place)
    return place if found is None else found.end()

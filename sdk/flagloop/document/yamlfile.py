"""The text of a document: its meaning, its lines, and its parts that can be edited alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cached_property, lru_cache
from typing import Any

from flagloop.document.problem import Path, Problem
from flagloop.document.yamlnodes import Node, Tree, build
from flagloop.document.yamlsplit import Chunk, Item, Ref, Splitter
from flagloop.errors import DocumentError

__all__ = [
    "Chunk",
    "DocumentText",
    "Item",
    "Ref",
    "chunk_node",
    "examine",
    "is_block",
    "newline_of",
    "parse",
]

MAX_DOCUMENT = 4 * 1024 * 1024
MAX_ITEM = 256 * 1024
"""Bytes of UTF-8."""

BOM = "\ufeff"


class DocumentText:
    """A document as text and meaning; never changed after it is made."""

    def __init__(
        self,
        chunks: tuple[Chunk, ...],
        items: Mapping[Ref, Item],
        warnings: tuple[Problem, ...] | None = None,
    ) -> None:
        self.chunks = chunks
        self.items = items
        self._warnings = warnings

    @classmethod
    def from_chunks(cls, chunks: Iterable[Chunk], mappings: Mapping[Ref, Any]) -> DocumentText:
        """A document from stored chunks and the plain forms of its items, without parsing."""
        kept = tuple(chunks)
        items = {
            (chunk.section, chunk.key): Item(chunk.text, mappings[chunk.section, chunk.key])
            for chunk in kept
            if chunk.kind == "item"
        }
        return cls(kept, items)

    @cached_property
    def text(self) -> str:
        """The text, without a BOM."""
        return self._full.removeprefix(BOM)

    @cached_property
    def raw(self) -> bytes:
        """The file's bytes, as they were read."""
        return self._full.encode()

    @cached_property
    def _full(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @cached_property
    def mapping(self) -> dict[str, Any]:
        """The plain form: dicts, lists, text, numbers, bools, None (not to be changed)."""
        mapping: dict[str, Any] = {}
        for chunk in self.chunks:
            if chunk.kind == "item":
                mapping[chunk.section][chunk.key] = self.items[chunk.section, chunk.key].mapping
            elif chunk.kind in ("section", "flow"):
                mapping[chunk.section] = {}
            elif chunk.kind == "entry":
                mapping[chunk.section] = self.entries[chunk.section].mapping
        return mapping

    @cached_property
    def entries(self) -> dict[str, Item]:
        """The top-level words that hold no items (`version`, `recording`, an empty section)."""
        return {
            # a copy: nodes are shared between documents
            chunk.section: Item(chunk.text, deepcopy(chunk_node(chunk).pairs[0][1].value))
            for chunk in self.chunks
            if chunk.kind == "entry"
        }

    @cached_property
    def warnings(self) -> tuple[Problem, ...]:
        """What reads differently than it looks (`2.10` is the number 2.1), with lines."""
        if self._warnings is not None:
            return self._warnings
        return parse(self.raw).warnings

    def line(self, path: Path) -> int | None:
        """The 1-based line of the path, or of its nearest part that is there.

        A list's element is named by its index or, for rules, by its `name`.
        """
        if not self.chunks:
            return None
        number = self._number(path)
        if number is None:
            return 1
        chunk = self.chunks[number]
        rest = path[1:]
        if chunk.kind in ("section", "flow"):
            return self._first_lines[number] + _head_line(chunk.text)
        if chunk.kind == "item":
            rest = path[2:]
        key, value = chunk_node(chunk).pairs[0]
        return self._first_lines[number] + find_line(key, value, rest)

    def locate(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems with their lines, in the order of the text."""
        located = [
            problem if problem.line is not None else problem.at(self.line(problem.path))
            for problem in problems
        ]
        return sorted(located, key=lambda problem: problem.line or 0)

    def _number(self, path: Path) -> int | None:
        """The chunk in which the path lies."""
        if not path:
            return None
        section = str(path[0])
        if len(path) > 1 and (section, str(path[1])) in self.numbers:
            return self.numbers[section, str(path[1])]
        return self.numbers.get((section, ""))

    @cached_property
    def numbers(self) -> dict[Ref, int]:
        """Where in `chunks` an item, or (word, "") a section's head or an entry is."""
        numbers: dict[Ref, int] = {}
        for number, chunk in enumerate(self.chunks):
            if chunk.kind == "item":
                numbers[chunk.section, chunk.key] = number
            elif chunk.kind in ("section", "flow", "entry"):
                numbers[chunk.section, ""] = number
        return numbers

    @cached_property
    def _first_lines(self) -> list[int]:
        lines = []
        line = 1
        for chunk in self.chunks:
            lines.append(line)
            line += chunk.text.count("\n")
        return lines


def parse(text: str | bytes) -> DocumentText:
    """Read a document's text (UTF-8, with or without BOM).

    Raises DocumentError with every refusal and its line; a syntax error comes alone.
    """
    document, problems = examine(text)
    refused = [problem for problem in problems if problem.severity == "error"]
    if refused:
        raise DocumentError(refused)
    return document


def examine(text: str | bytes) -> tuple[DocumentText, list[Problem]]:
    """Read a document's text as far as it goes: the document, with refusals and warnings.

    For showing every problem of a file at once, those of its meaning too. Where an error is
    among the problems the document is good for reading only (a key that is there twice counts
    with one of its values). Raises DocumentError where nothing can be read.
    """
    full = _decode(text)
    body = full.removeprefix(BOM)
    tree = build(body)
    root = tree.root
    if root is not None and root.kind != "mapping" and root.end > root.start:
        line = root.line + 1
        raise DocumentError(
            [Problem("a document is a mapping", line=line, hint="begin with 'version: 1'")]
        )
    chunks, items = Splitter(body, tree).split()
    if len(full) != len(body):
        chunks = _with_bom(chunks)
    problems = [*tree.problems, *_oversized(chunks)]
    warnings = tuple(problem for problem in problems if problem.severity == "warning")
    return DocumentText(tuple(chunks), items, warnings), problems


def _decode(text: str | bytes) -> str:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_DOCUMENT:
        size = len(raw) / 1024 / 1024
        raise DocumentError([Problem(f"the document has {size:.1f} MB, at most 4 MB are allowed")])
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise DocumentError([Problem("the text is not UTF-8", line=line)]) from None


def _with_bom(chunks: list[Chunk]) -> list[Chunk]:
    if chunks and chunks[0].kind in ("header", "root"):
        first = chunks[0]
        return [Chunk(first.kind, "", "", BOM + first.text), *chunks[1:]]
    return [Chunk("header", "", "", BOM), *chunks]


def _oversized(chunks: list[Chunk]) -> list[Problem]:
    problems = []
    for chunk in chunks:
        # characters first: encoding every chunk would cost more than the check is worth
        if len(chunk.text) * 4 > MAX_ITEM and len(chunk.text.encode()) > MAX_ITEM:
            path = tuple(part for part in (chunk.section, chunk.key) if part)
            size = len(chunk.text.encode()) // 1024
            line = sum(other.text.count("\n") for other in chunks[: chunks.index(chunk)]) + 1
            problems.append(Problem(f"{size} KB of text, at most 256 KB are allowed", path, line))
    return problems


def newline_of(doc: DocumentText) -> str:
    """The line ending that the document uses."""
    for chunk in doc.chunks:
        place = chunk.text.find("\n")
        if place >= 0:
            return "\r\n" if chunk.text[place - 1 : place] == "\r" else "\n"
    return "\n"


def _head_line(text: str) -> int:
    """On which line of a section's head (0-based) its key stands."""
    for number, line in enumerate(text.splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            return number
    return 0


def chunk_node(chunk: Chunk) -> Node:
    """The mapping node of an item or entry alone: one pair, lines from 0 in the chunk."""
    if chunk.kind == "item":
        return _block_node(chunk.text) if is_block(chunk) else _flow_node(chunk.text)
    if chunk.text.endswith("\n"):
        return _block_node(chunk.text)
    try:
        return _block_node(chunk.text)
    except DocumentError:
        return _flow_node(chunk.text)


def is_block(item: Chunk | Item) -> bool:
    """Whether the item stands in a section in block style (where it begins its line)."""
    return item.text[0] in " \t#"


@lru_cache(maxsize=512)
def _block_node(text: str) -> Node:
    return _single(build(text))


@lru_cache(maxsize=512)
def _flow_node(text: str) -> Node:
    # the bracket goes onto the first line, so that lines count as in the chunk
    return _single(build("{" + text + "\n}"))


def _single(tree: Tree) -> Node:
    root = tree.root
    if root is None or root.kind != "mapping" or len(root.pairs) != 1:
        raise DocumentError([Problem("not exactly one key", line=1)])
    return root


def find_line(key: Node, value: Node, rest: Path) -> int:
    """The 0-based line of `rest` below a pair, or of its nearest part that is there."""
    line = key.line
    for part in rest:
        found = _child(value, part)
        if found is None:
            break
        line, value = found
    return line


def _child(node: Node, part: str | int) -> tuple[int, Node] | None:
    if node.kind == "mapping":
        return next(((key.line, value) for key, value in node.pairs if key.value == part), None)
    if isinstance(part, int):
        return (node.items[part].line, node.items[part]) if part < len(node.items) else None
    for item in node.items:
        if isinstance(item.value, dict) and item.value.get("name") == part:
            return item.line, item
    return None

"""A document or section in flow style -> the same in block style, comments kept.

Each item keeps its own writing (`key: {...}`); what changes is what stands around the items.
"""

from __future__ import annotations

import re

from flagloop.document.schema import SECTIONS
from flagloop.document.yamlfile import BOM, DocumentText, newline_of, parse
from flagloop.document.yamlnodes import Node, build
from flagloop.document.yamlsplit import line_end, line_start
from flagloop.document.yamlwrite import collection_text, same

_COMMENT = re.compile(r"#[^\n\r]*")


def in_block_style(doc: DocumentText, section: str) -> DocumentText:
    """The document with this section in block style; the same object if it is so already."""
    flows = [chunk for chunk in doc.chunks if chunk.kind in ("root", "flow")]
    is_root = any(chunk.kind == "root" for chunk in flows)
    if not is_root and all(chunk.section != section for chunk in flows):
        return doc
    text = doc.text
    root = build(text).root
    assert root is not None
    writer = _Writer(text, newline_of(doc))
    new = writer.document(root) if is_root else writer.section(root, section)
    if len(doc.raw) > len(text.encode()):
        new = BOM + new
    edited = parse(new)
    if same(edited.mapping, doc.mapping):
        return edited
    return _written_anew(doc, section, is_root=is_root)


def _written_anew(doc: DocumentText, section: str, *, is_root: bool) -> DocumentText:
    """Where the writing of an item cannot stand in block style: the values, without comments."""
    newline = newline_of(doc)
    if is_root:
        return parse(collection_text(doc.mapping, 0, newline))
    section_text = section + ":" + newline + collection_text(doc.mapping[section], 2, newline)
    first = doc.numbers[section, ""]
    behind = first + 1
    while behind < len(doc.chunks) and doc.chunks[behind].kind in ("item", "punctuation"):
        behind += 1
    before = "".join(chunk.text for chunk in doc.chunks[:first])
    return parse(before + section_text + "".join(chunk.text for chunk in doc.chunks[behind:]))


class _Writer:
    def __init__(self, text: str, newline: str) -> None:
        self.text = text
        self.newline = newline

    def section(self, root: Node, section: str) -> str:
        """The text with one section of a block document in block style."""
        key, value = next(pair for pair in root.pairs if pair[0].value == section)
        column = key.start - line_start(self.text, key.start)
        head = self.text[: key.end] + ":"
        lead = _COMMENT.findall(self.text, key.end, value.start)
        lines = self._pairs(value, column + 2, first=lead)
        end = line_end(self.text, value.end)
        # a comment behind the closing bracket is about the section
        aside = self.text[value.end : end].rstrip()
        return head + aside + self.newline + "".join(lines) + self.text[end:]

    def document(self, root: Node) -> str:
        """The text of a document in flow style in block style."""
        lines = [comment + self.newline for comment in _COMMENT.findall(self.text, 0, root.start)]
        lines += self._pairs(root, 0, first=[])
        lines += [c + self.newline for c in _COMMENT.findall(self.text, root.end)]
        return "".join(lines)

    def _pairs(self, node: Node, column: int, first: list[str]) -> list[str]:
        pad = " " * column
        lines = [f"{pad}{comment}{self.newline}" for comment in first]
        done = node.start + 1
        for key, value in node.pairs:
            lines += self._comments(lines, done, key.start, pad)
            name = self.text[key.start : key.end]
            if column == 0 and key.value in SECTIONS and value.pairs and value.flow:
                lines.append(f"{name}:{self.newline}")
                lines += self._pairs(value, 2, first=[])
            else:
                lines.append(f"{pad}{name}:{self._value(value, column)}{self.newline}")
            done = max(value.end, key.end)
        lines += self._comments(lines, done, node.end - 1, pad)
        return lines

    def _comments(self, lines: list[str], start: int, end: int, pad: str) -> list[str]:
        """The comments between two pairs; one on the upper pair's line stays on it."""
        gap = self.text[start:end]
        comments = _COMMENT.findall(gap)
        beside = gap.partition("\n")[0]
        if comments and lines and "#" in beside and start > 0 and "\n" in gap:
            lines[-1] = f"{lines[-1].removesuffix(self.newline)}  {comments.pop(0)}{self.newline}"
        return [f"{pad}{comment}{self.newline}" for comment in comments]

    def _value(self, value: Node, column: int) -> str:
        """The value's own writing, its further lines put below the key."""
        text = self.text[value.start : value.end]
        if not text.strip():
            return ""
        first, *others = text.splitlines()
        widths = [len(_unindented(line)) for line in others if line.strip()]
        least = min(widths, default=0)
        lines = [" " + first]
        for line in others:
            shift = " " * (column + 2 + len(_unindented(line)) - least)
            lines.append(shift + line.strip(" \t") if line.strip() else "")
        return self.newline.join(lines)


def _unindented(line: str) -> str:
    """The white space before the line's text, tabs as two spaces."""
    return line[: len(line) - len(line.lstrip(" \t"))].replace("\t", "  ")

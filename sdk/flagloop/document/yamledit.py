"""Edits of a document's text: item by item, each in time that depends on the item alone.

Every function takes a document and gives a new one; the changed item has been read again and
means what was intended. Chunks that are not touched are the very same objects. A section in
flow style (and a document in flow style, JSON) is put into block style at the first edit.

A top-level word that holds no items (`version`, `recording`, ...) is edited as the item
(word, ""). Errors: NotFoundError for an item that is not there, DocumentError for text or
values that cannot stand in a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flagloop.document.problem import Problem
from flagloop.document.schema import SECTIONS
from flagloop.document.yamlblock import in_block_style
from flagloop.document.yamlfile import (
    Chunk,
    DocumentText,
    Item,
    Ref,
    chunk_node,
    is_block,
    newline_of,
    parse,
)
from flagloop.document.yamlnodes import build
from flagloop.document.yamlpatch import closed, patch_item
from flagloop.document.yamlpiece import item_pieces, plain_lines
from flagloop.document.yamlsplit import line_end
from flagloop.document.yamlwrite import entry_text, item_text, plain, same
from flagloop.errors import DocumentError, NotFoundError

INDENT = 2
"""How much deeper than their section items of a new section begin."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The new document; `reformatted` when more than the edited words was written anew."""

    document: DocumentText
    reformatted: bool


def replace_item(doc: DocumentText, section: str, key: str, mapping: Any) -> Edit:
    """Give an item (or a top-level word) another value, touching only the words that change.

    New words stand where `mapping` has them: `{"killed": ..., **old}` writes `killed` first;
    but never behind a block scalar that ends the file without a line feed, which they would
    change. To take them out again gives the old bytes.
    """
    value = plain(mapping)
    _number(doc, section, key)
    old = doc.items[section, key] if key else doc.entries[section]
    if same(old.mapping, value):
        return Edit(doc, False)
    block = in_block_style(doc, section)
    number = _number(block, section, key)
    chunk = block.chunks[number]
    done = patch_item(chunk.text, key or section, value, newline_of(doc))
    new = [Chunk(chunk.kind, section, key, done.text)]
    if done.rest:
        # a comment that is left must not become that of the next item
        is_comment = done.rest.splitlines()[-1].strip()
        rest = done.rest + newline_of(doc) if is_comment else done.rest
        new.append(Chunk("separator", "", "", rest))
    items = {(section, key): Item(done.text, done.value)} if key else {}
    edited = _spliced(block, (number, number + 1), new, items)
    return Edit(edited if key else parse(edited.raw), done.rewritten or block is not doc)


def add_item(
    doc: DocumentText, section: str, key: str, mapping: Any, after: str | None = None
) -> Edit:
    """Add an item at the end of its section (or behind the item `after`).

    A section that is not there yet is made, at its place in the order of sections.
    """
    value = plain(mapping)
    if (section, key) in doc.items or (not key and section in doc.entries):
        path = (section, key) if key else (section,)
        raise DocumentError([Problem("is there already", path)])
    if not key:
        return put_item_text(doc, section, "", entry_text(section, value, 0, "\n"))
    return put_item_text(doc, section, key, item_text(key, value, INDENT, "\n"), after)


def put_item_text(
    doc: DocumentText, section: str, key: str, text: str, after: str | None = None
) -> Edit:
    """Put an item's text in place of the old one, or add it (behind the item `after`).

    The text is the item with its comments, at any indentation and with any line ending. Lines
    of problems in a DocumentError count in this text.
    """
    if not key:
        return _put_entry(doc, section, text)
    if section not in SECTIONS:
        raise DocumentError([Problem(f"there is no section '{section}'", (section,))])
    block = in_block_style(doc, section)
    pieces, value = item_pieces(text, section, key, (_column(block, section), newline_of(doc)))
    item = next(piece for piece in pieces if piece.kind == "item")
    items = {(section, key): Item(item.text, value)}
    number = block.numbers.get((section, key))
    if number is not None:
        edited = _spliced(block, (number, number + 1), pieces, items)
    else:
        edited = _inserted(block, section, pieces, items, after)
    return Edit(edited, block is not doc)


def put_items(doc: DocumentText, items: Mapping[Ref, Item]) -> DocumentText:
    """Put the texts of many items, taken from documents, in place of the old ones."""
    newline = newline_of(doc)
    chunks = list(doc.chunks)
    kept = dict(doc.items)
    others = {}
    for ref, item in items.items():
        number = doc.numbers[ref]
        chunk = chunks[number]
        fits = chunk.kind == "item" and is_block(chunk) and item.text.endswith(newline)
        if fits and _indentation(chunk.text) == _indentation(item.text):
            text = item.text if newline == "\r\n" else item.text.replace("\r\n", "\n")
            chunks[number] = Chunk("item", *ref, text)
            kept[ref] = Item(text, item.mapping)
        else:
            others[ref] = item
    edited = DocumentText(tuple(chunks), kept)
    for ref, item in others.items():
        edited = put_item_text(edited, *ref, item.text).document
    return edited


def remove_item(doc: DocumentText, section: str, key: str) -> Edit:
    """Take an item out, with its comments and the blank line above it.

    A section that becomes empty goes too, or stays as `{}` where comments belong to it.
    """
    _number(doc, section, key)
    block = in_block_style(doc, section)
    number = _number(block, section, key)
    reformatted = block is not doc
    if not key:
        return Edit(parse(_without(block, number, number + 1, None).raw), reformatted)
    if sum(1 for other, _ in block.items if other == section) > 1:
        return Edit(_without(block, number, number + 1, (section, key)), reformatted)
    head = block.numbers[section, ""]
    behind = [chunk.text for chunk in block.chunks[number + 1 : number + 2] if chunk.kind in _APART]
    inner = any(_last_inner_comment(text, _root_column(block)) for text in behind)
    if "#" not in block.chunks[head].text and not inner:
        return Edit(_without(block, head, number + 1, (section, key)), reformatted)
    return Edit(_emptied(block, head, number), reformatted)


def _number(doc: DocumentText, section: str, key: str) -> int:
    number = doc.numbers.get((section, key))
    if number is None or (not key and doc.chunks[number].kind != "entry"):
        name = f"'{key}' in {section}" if key else f"word '{section}'"
        raise NotFoundError(f"there is no {name}")
    return number


def _spliced(
    doc: DocumentText,
    where: tuple[int, int],
    new: Sequence[Chunk],
    items: Mapping[Ref, Item],
    gone: Ref | None = None,
) -> DocumentText:
    """The document with the chunks of a range replaced, and items changed or gone."""
    start, end = where
    kept = {**doc.items, **items}
    if gone is not None:
        del kept[gone]
    seam = max(start - 1, 0)
    before = [_closed(chunk, doc) for chunk in doc.chunks[seam:start]]
    for chunk in before:
        if new and chunk.kind == "item":
            ref = (chunk.section, chunk.key)
            kept[ref] = Item(chunk.text, kept[ref].mapping)
    middle = _joined(
        [*(before if new else doc.chunks[seam:start]), *new, *doc.chunks[end : end + 1]]
    )
    if end + 1 >= len(doc.chunks) and middle and middle[-1].kind == "separator":
        middle[-1] = Chunk("footer", "", "", middle[-1].text)
    chunks = (*doc.chunks[:seam], *middle, *doc.chunks[end + 1 :])
    edited = DocumentText(chunks, kept)
    if len(new) == 1 and end - start == 1 and len(chunks) == len(doc.chunks):
        vars(edited)["numbers"] = doc.numbers
    return edited


def _closed(chunk: Chunk, doc: DocumentText) -> Chunk:
    """The chunk with the line feed that it lacks at the end of a file."""
    if chunk.kind == "header" or chunk.text.endswith("\n"):
        return chunk
    newline = newline_of(doc)
    holds_value = chunk.kind == "entry" or (chunk.kind == "item" and is_block(chunk))
    text = closed(chunk.text, newline) if holds_value else chunk.text + newline
    return Chunk(chunk.kind, chunk.section, chunk.key, text)


def _joined(chunks: Iterable[Chunk]) -> list[Chunk]:
    """What stands apart side by side becomes one chunk, as it would be read."""
    joined: list[Chunk] = []
    for chunk in chunks:
        last = joined[-1] if joined else None
        if last is None or chunk.kind not in _APART or last.kind not in _ABSORBING:
            joined.append(chunk)
            continue
        kind = chunk.kind if last.kind == "separator" else last.kind
        joined[-1] = Chunk(kind, last.section, "", last.text + chunk.text)
    return joined


_ABSORBING = ("header", "section", "separator")
_APART = ("separator", "footer")


def _is_blank(chunk: Chunk) -> bool:
    return chunk.kind == "separator" and not chunk.text.strip()


def _without(doc: DocumentText, start: int, end: int, gone: Ref | None) -> DocumentText:
    """The document without a range of chunks and the blank lines that set it apart."""
    chunks = doc.chunks
    before = chunks[start - 1] if start else None
    new = []
    if before is None or before.kind in ("section", "header"):
        end += end < len(chunks) and _is_blank(chunks[end])
    elif before.kind == "separator":
        start -= 1
        follower = chunks[end] if end < len(chunks) else None
        kept = "" if _is_blank(before) else _without_last_blank(before.text, follower)
        new = [Chunk("separator", "", "", kept)] if kept else []
    return _spliced(doc, (start, end), new, {}, gone)


def _without_last_blank(text: str, follower: Chunk | None) -> str:
    """A separator without its last line if that is blank, and parts no comment from an item."""
    lines = text.splitlines(keepends=True)
    if lines[-1].strip() or len(lines) == 1:
        return text
    above = lines[-2]
    if follower is not None and follower.kind not in _APART and above.strip():
        column = len(above) - len(above.lstrip())
        if column <= _indentation(follower.text):
            return text
    return "".join(lines[:-1])


def _emptied(doc: DocumentText, head: int, number: int) -> DocumentText:
    """The document with a section's last item gone and `{}` written behind its key."""
    texts = [chunk.text for chunk in doc.chunks]
    root = build(texts[head]).root
    assert root is not None
    colon = texts[head].index(":", root.pairs[0][0].end) + 1
    texts[head] = texts[head][:colon] + " {}" + texts[head][colon:]
    texts[number] = ""
    return parse("".join(texts))


def _column(doc: DocumentText, section: str) -> int:
    """Where the section's items begin."""
    head = doc.numbers.get((section, ""))
    first = None if head is None else _items_of(doc, head)[:1]
    if not first:
        return _root_column(doc) + INDENT
    return _indentation(doc.chunks[first[0]].text)


def _root_column(doc: DocumentText) -> int:
    """Where the top-level words begin."""
    for chunk in doc.chunks:
        if chunk.kind in ("entry", "section", "flow"):
            return _indentation(chunk.text)
    return 0


def _indentation(text: str) -> int:
    """The column of the key of an item, an entry or a section."""
    lines = (line for line in text.split("\n") if not line.lstrip(" \t").startswith("#"))
    line = next(lines)
    return len(line) - len(line.lstrip(" "))


def _items_of(doc: DocumentText, head: int) -> list[int]:
    """The places of a section's items."""
    places = []
    for number in range(head + 1, len(doc.chunks)):
        kind = doc.chunks[number].kind
        if kind == "item":
            places.append(number)
        elif kind != "separator":
            break
    return places


def _inserted(
    doc: DocumentText,
    section: str,
    pieces: list[Chunk],
    items: Mapping[Ref, Item],
    after: str | None,
) -> DocumentText:
    head = doc.numbers.get((section, ""))
    if head is None:
        return _with_section(doc, section, pieces, items)
    if doc.chunks[head].kind == "entry":
        return _filled(doc, head, pieces)
    places = _items_of(doc, head)
    last = places[-1]
    anchor = last if after is None else doc.numbers.get((section, after), last)
    if len(places) > 1:
        spaced = doc.chunks[last - 1].text.endswith(("\n\n", "\n\r\n")) or _is_blank(
            doc.chunks[last - 1]
        )
    else:
        spaced = doc.chunks[last].text.count("\n") > 1
    blank = [Chunk("separator", "", "", newline_of(doc))] if spaced else []
    return _spliced(doc, (anchor + 1, anchor + 1), _joined([*blank, *pieces]), items)


def _filled(doc: DocumentText, head: int, pieces: list[Chunk]) -> DocumentText:
    """The document with a section that was empty (`flags: {}`) and gets its first item."""
    chunk = doc.chunks[head]
    key, value = chunk_node(chunk).pairs[0]
    if value.value:
        raise DocumentError([Problem("is no mapping of items", (chunk.section,))])
    text = chunk.text if chunk.text.endswith("\n") else chunk.text + newline_of(doc)
    colon = text.index(":", key.end) + 1
    text = text[:colon] + text[max(value.end, colon) :]
    end = line_end(text, colon)
    texts = [other.text for other in doc.chunks]
    texts[head] = text[:end] + "".join(piece.text for piece in pieces) + text[end:]
    return parse("".join(texts))


def _with_section(
    doc: DocumentText, section: str, pieces: list[Chunk], items: Mapping[Ref, Item]
) -> DocumentText:
    """The document with a new section behind those that come before it in the usual order."""
    newline = newline_of(doc)
    blank = Chunk("separator", "", "", newline)
    head = " " * _root_column(doc) + section + ":" + newline
    new = [Chunk("section", section, "", head), *pieces]
    place = _place_of_section(doc, section)
    chunks = doc.chunks
    if place is None:
        start = 1 if chunks and chunks[0].kind == "header" else 0
        behind = [] if start == len(chunks) else [blank]
        return _spliced(doc, (start, start), [*new, *behind], items)
    follower = chunks[place] if place < len(chunks) else None
    is_dense = follower is not None and follower.kind in ("section", "entry")
    before = [] if is_dense else [blank]
    if follower is None or follower.kind not in _APART:
        return _spliced(doc, (place, place), [*before, *new], items)
    cut = _last_inner_comment(follower.text, _root_column(doc))
    inner = [Chunk("separator", "", "", follower.text[:cut])] if cut else []
    outer = [Chunk(follower.kind, "", "", follower.text[cut:])] if follower.text[cut:] else []
    return _spliced(doc, (place, place + 1), [*_joined([*inner, blank]), *new, *outer], items)


def _place_of_section(doc: DocumentText, section: str) -> int | None:
    """Behind which chunk a new section stands: its number + 1."""
    rank = SECTIONS.index(section)
    place = None
    for number, chunk in enumerate(doc.chunks):
        name = chunk.section
        if name and (name not in SECTIONS or SECTIONS.index(name) < rank):
            place = number + 1
    return place


def _last_inner_comment(text: str, column: int) -> int:
    """Where the last comment ends that is deeper, so belongs to the section above."""
    cut = place = 0
    for line in text.splitlines(keepends=True):
        place += len(line)
        if line.lstrip().startswith("#") and len(line) - len(line.lstrip()) > column:
            cut = place
    return cut


def _put_entry(doc: DocumentText, word: str, text: str) -> Edit:
    if any(section == word for section, _ in doc.items):
        raise DocumentError([Problem("holds items: edit them one by one", (word,))])
    newline = newline_of(doc)
    block = in_block_style(doc, word)
    lines = plain_lines(text, _root_column(block))[0]
    body = "".join(line + newline for line in lines)
    if list(parse(body).mapping) != [word]:
        raise DocumentError([Problem(f"the text does not define '{word}' alone", (word,), line=1)])
    number = block.numbers.get((word, ""))
    new = [Chunk("entry", word, "", body)]
    if number is not None:
        edited = _spliced(block, (number, number + 1), new, {})
    else:
        start = _place_of_entry(block)
        edited = _spliced(block, (start, start), new, {})
    read = parse(edited.raw)
    return Edit(read, block is not doc)


def _place_of_entry(doc: DocumentText) -> int:
    """Behind the words that lead the document."""
    place = 1 if doc.chunks and doc.chunks[0].kind == "header" else 0
    for number, chunk in enumerate(doc.chunks):
        if chunk.kind in ("section", "flow"):
            break
        if chunk.kind == "entry" and chunk.section not in SECTIONS:
            place = number + 1
    return place

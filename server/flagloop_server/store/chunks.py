"""Texts cut into content-addressed chunks, so that each is stored once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from flagloop.document.yamlfile import Chunk, DocumentText

_ASKED_AT_ONCE = 500


def pack(ids: Sequence[int]) -> bytes:
    """A list of chunk numbers in few bytes: neighbours differ little, so deflate finds runs."""
    steps = array("q", (ids[i] - (ids[i - 2] if i > 1 else 0) for i in range(len(ids))))
    return zlib.compress(steps.tobytes(), 6)


def unpack(packed: bytes) -> tuple[int, ...]:
    """The inverse of `pack`."""
    ids: list[int] = []
    for i, step in enumerate(array("q", zlib.decompress(packed))):
        ids.append(step + (ids[i - 2] if i > 1 else 0))
    return tuple(ids)


def text_digest(text: str) -> str:
    """SHA-256 of a text as hex, as the ledger names item texts."""
    return hashlib.sha256(text.encode()).hexdigest()


def store(
    connection: sqlite3.Connection,
    document: DocumentText,
    known: Sequence[Chunk] = (),
    known_ids: Sequence[int] = (),
) -> tuple[int, ...]:
    """The numbers of a document's chunks, new ones inserted.

    `known` are chunks whose numbers are at hand (the revision before): only what differs
    between their common beginning and end is hashed and asked for.
    """
    chunks = document.chunks
    head = _alike(chunks, known)
    tail = _alike(
        chunks[: head - 1 if head else None : -1], known[: head - 1 if head else None : -1]
    )
    middle = chunks[head : len(chunks) - tail]
    fresh = [store_one(connection, chunk, _mapping(document, chunk)) for chunk in middle]
    return (*known_ids[:head], *fresh, *known_ids[len(known) - tail :])


def store_one(connection: sqlite3.Connection, chunk: Chunk, mapping: Any) -> int:
    """The number of one chunk, inserted when it is new."""
    words = (chunk.kind, chunk.section, chunk.key, chunk.text)
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    row = connection.execute("SELECT id FROM chunk WHERE digest = ?", (digest,)).fetchone()
    if row is not None:
        return int(row["id"])
    cursor = connection.execute(
        "INSERT INTO chunk (digest, kind, section, key, text, mapping) VALUES (?,?,?,?,?,?)",
        (
            digest,
            chunk.kind,
            chunk.section,
            chunk.key,
            chunk.text,
            json.dumps(mapping, separators=(",", ":")),
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def read(connection: sqlite3.Connection, ids: Sequence[int]) -> DocumentText:
    """The document that `store` cut up, without parsing it."""
    rows = _rows(connection, set(ids))
    chunks, mappings = [], {}
    for number in ids:
        row = rows[number]
        chunks.append(Chunk(row["kind"], row["section"], row["key"], row["text"]))
        if row["kind"] == "item":
            mappings[row["section"], row["key"]] = json.loads(row["mapping"])
    return DocumentText.from_chunks(tuple(chunks), mappings)


def texts(connection: sqlite3.Connection, ids: Iterable[int | None]) -> dict[int, str]:
    """Chunk number -> text."""
    rows = _rows(connection, {number for number in ids if number is not None})
    return {number: row["text"] for number, row in rows.items()}


def _rows(connection: sqlite3.Connection, ids: set[int]) -> dict[int, sqlite3.Row]:
    wanted = sorted(ids)
    rows: dict[int, sqlite3.Row] = {}
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        part = wanted[start : start + _ASKED_AT_ONCE]
        marks = ",".join("?" * len(part))
        sql = f"SELECT * FROM chunk WHERE id IN ({marks})"  # noqa: S608 - question marks only
        rows.update((row["id"], row) for row in connection.execute(sql, part))
    return rows


def _alike(one: Sequence[Chunk], other: Sequence[Chunk]) -> int:
    """How many chunks are the same from the beginning on."""
    for number, (mine, yours) in enumerate(zip(one, other, strict=False)):
        # identity first: an edit keeps the chunk objects that it does not touch
        if mine is not yours and mine != yours:
            return number
    return min(len(one), len(other))


def _mapping(document: DocumentText, chunk: Chunk) -> Any:
    if chunk.kind != "item":
        return None
    return document.items[chunk.section, chunk.key].mapping

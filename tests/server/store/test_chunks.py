"""Chunks: stored once, read back as the same document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.yamlfile import parse
from flagloop_server.store import Store, chunks

STYLES = [
    "",
    "version: 1\n",
    "# a\nversion: 1\n\nflags:\n  # one\n  a: {}   # x\n\n  b:\n    tags: []\n    # in\n# end\n",
    "\ufeffversion: 1\r\nflags:\r\n  a: {}\r\n",
    "version: 1\nflags: {a: {}, b: {description: 'x, y'}}\nrecording: {attributes: [plan]}",
    '{"version": 1, "flags": {"a": {}, "b": {}}}\n',
    'segments: {}\nflags:\n  "a":\n    description: |\n      2\n      3\n  b: {}\n...\n',
    "version: 1\nmetrics:\n  m: {event: e, better: higher, exceeds: {property: p, limit: 1.5e3}}\n",
]


@given(st.lists(st.integers(1, 2**40)))
def test_a_packed_list_is_the_same_list(ids: list[int]) -> None:
    """Packing loses nothing, whatever the numbers."""
    assert chunks.unpack(chunks.pack(ids)) == tuple(ids)


def test_neighbours_pack_into_few_bytes() -> None:
    """Items that were stored together, with the same blank line between, cost next to nothing."""
    ids = [number for pair in zip(range(10, 4010), [7] * 4000, strict=True) for number in pair]
    assert len(chunks.pack(ids)) < 200


@pytest.mark.parametrize("text", STYLES)
def test_a_document_is_read_back_without_parsing(store: Store, text: str) -> None:
    """Bytes, meaning, items and lines are those of the parsed text."""
    document = parse(text)
    with store._file.write() as connection:
        ids = chunks.store(connection, document)
        again = chunks.read(connection, ids)
    assert again.raw == document.raw
    assert again.mapping == document.mapping
    assert dict(again.items) == dict(document.items)
    assert again.chunks == document.chunks
    assert list(again.mapping) == list(document.mapping)


@pytest.mark.parametrize("old", STYLES)
def test_known_chunks_are_used_again(store: Store, old: str) -> None:
    """With the revision before at hand the result is the same, and nothing is stored twice."""
    before = parse(old)
    with store._file.write() as connection:
        ids = chunks.store(connection, before)
        for text in STYLES:
            after = parse(text)
            fresh = chunks.store(connection, after)
            assert chunks.store(connection, after, before.chunks, ids) == fresh
            assert chunks.read(connection, fresh).raw == after.raw
        rows = connection.execute("SELECT count(*), count(DISTINCT digest) FROM chunk").fetchone()
    assert rows[0] == rows[1]

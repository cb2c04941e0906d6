"""Frames out of bytes however they are cut, and changes onto a mapping."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop.errors import TransportError
from flagloop.sync.stream import COMMENT, Change, Frame, Frames, changed, precedes, read_change

WORDS = [b"data", b"event", b"id", b"change", b"x", b":", b": "]
ENDS = [b"\n", b"\n\n", b"\r", b"\r\n"]
ODD = ["\u2028\u0085\u00e9".encode(), b"\xff\x00", b"\x0b\x0c\x1c", b"\xef\xbb\xbf"]
PIECES = st.sampled_from([*WORDS, *ENDS, *ODD])


def read(*chunks: bytes, limit: int = 10_000) -> list[Frame]:
    """The frames of these chunks."""
    frames = Frames(limit)
    return [frame for chunk in chunks for frame in frames.feed(chunk)]


def cut(stream: bytes, places: list[int]) -> Iterator[bytes]:
    """The stream in pieces, also empty ones."""
    ends = sorted(place % (len(stream) + 1) for place in places)
    for start, end in zip([0, *ends], [*ends, len(stream)], strict=True):
        yield stream[start:end]


def test_frames_of_the_server() -> None:
    """A comment at once, a snapshot, a change, each as it was sent."""
    sent = (
        b":\n\n"
        b'id: k.1\nevent: snapshot\ndata: {"revision":"k.1"}\n\n'
        b'id: k.2\nevent: change\ndata: {"a":"\xe2\x80\xa8"}\n\n'
    )
    assert read(sent) == [
        Frame(COMMENT, b""),
        Frame("snapshot", b'{"revision":"k.1"}'),
        Frame("change", b'{"a":"\xe2\x80\xa8"}'),
    ]


def test_the_small_print_of_the_format() -> None:
    """Other line ends, several data lines, no space, a mark at the start, unknown fields."""
    assert read(b"\xef\xbb\xbfdata:a\r\ndata: b\rdata:  c\nretry: 5\nnews\n\n") == [
        Frame("message", b"a\nb\n c")
    ]
    assert read(b"event: change\n\n", b"data: x\n\n") == [Frame("message", b"x")]
    assert read(b"data\n\n") == [Frame("message", b"")]
    assert read(b"data: not ended\n") == []
    assert read(b": hello\n") == [Frame(COMMENT, b"hello")]
    assert read(b"data: a\r", b"\ndata: b\n\n") == [Frame("message", b"a\nb")]
    assert read(b"data: a\r", b"", b"\n", b"\n") == [Frame("message", b"a")]


@given(st.lists(PIECES, max_size=40), st.lists(st.integers(0, 400), max_size=12))
@settings(max_examples=300)
def test_any_chunking_gives_the_same_frames(pieces: list[bytes], places: list[int]) -> None:
    """Where the network cuts a stream means nothing."""
    stream = b"".join(pieces)
    assert read(*cut(stream, places)) == read(stream)
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == read(stream)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
@settings(max_examples=200)
def test_garbage_is_survived_and_bounded(garbage: bytes, places: list[int]) -> None:
    """Whatever comes, it is frames or a TransportError, and no frame is over the limit."""
    with contextlib.suppress(TransportError):
        for frame in read(*cut(garbage, places), limit=64):
            assert len(frame.data) <= 64
            with contextlib.suppress(TransportError):
                read_change(frame.data, "here")


@pytest.mark.parametrize("part", [b"x", b"data: y\n", b"event: z\n", b"data: y\n: c\n"])
def test_a_frame_that_does_not_end_is_cut_off(part: bytes) -> None:
    """Neither one endless line nor endless lines fill the memory."""
    frames = Frames(1000)
    with pytest.raises(TransportError, match="more than 1000 bytes"):
        for _ in range(1001):
            frames.feed(part)


def test_comments_and_whole_frames_may_go_on_for_ever() -> None:
    """The limit is one frame's, not the stream's."""
    frames = Frames(100)
    count = sum(len(frames.feed(b": still here\n\ndata: x\n\n")) for _ in range(1000))
    assert count == 2000
    assert sum(len(frames.feed(b": still here\n")) for _ in range(1000)) == 1000


ITEMS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3).map(lambda n: {"n": n}))
SNAPSHOTS = st.dictionaries(st.sampled_from(["segments", "layers", "experiments"]), ITEMS).map(
    lambda sections: {"format": 1, "flags": {"a": {}}, **sections}
)


def difference(old: dict[str, Any], new: dict[str, Any]) -> Change:
    """The change from one mapping to the other, as a server tells it."""
    names = {name for one in (old, new) for name in one if isinstance(one[name], dict)}
    added: dict[str, dict[str, Any]] = {}
    gone: dict[str, list[str]] = {}
    for name in names:
        before, after = old.get(name, {}), new.get(name, {})
        if more := {key: item for key, item in after.items() if before.get(key) != item}:
            added[name] = more
        if less := [key for key in before if key not in after]:
            gone[name] = less
    return Change("k.2", "k.1", added, gone)


@given(SNAPSHOTS, SNAPSHOTS)
@settings(max_examples=200)
def test_a_change_makes_the_next_revision_and_leaves_the_last(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    """After a change the mapping is what a snapshot would be; the old one still decides."""
    old, kept = {**old, "revision": "k.1"}, copy.deepcopy(old)
    after = changed(old, difference(old, new))
    wanted = {**new, "revision": "k.2"}
    assert {k: v for k, v in after.items() if v} == {k: v for k, v in wanted.items() if v}
    assert old == {**kept, "revision": "k.1"}


def test_what_is_not_touched_is_shared() -> None:
    """A change of one flag copies neither the other flags nor the other sections."""
    old = {"flags": {"a": {"n": 1}, "b": {"n": 2}}, "segments": {"s": {}}, "revision": "k.1"}
    new = changed(old, Change("k.2", "k.1", {"flags": {"a": {"n": 3}}}, {}))
    assert new["segments"] is old["segments"]
    assert new["flags"]["b"] is old["flags"]["b"]  # type: ignore[index]
    assert list(new["flags"]) == ["a", "b"]


def test_a_change_of_no_section_is_refused() -> None:
    """A stream cannot turn the revision or the format into something else."""
    for section in ("revision", "format"):
        with pytest.raises(TransportError, match="no section"):
            changed({"format": 1, "revision": "k.1"}, Change("k.2", "k.1", {section: {}}, {}))


@pytest.mark.parametrize(
    "told",
    [
        [],
        {},
        {"revision": "k.2"},
        {"revision": 2, "base": "k.1"},
        {"revision": "", "base": "k.1"},
        {"revision": "k\n2", "base": "k.1"},
        {"revision": "k.2", "base": "k.1", "set": []},
        {"revision": "k.2", "base": "k.1", "set": {"flags": []}},
        {"revision": "k.2", "base": "k.1", "unset": {"flags": {}}},
        {"revision": "k.2", "base": "k.1", "unset": {"flags": [1]}},
        {"revision": "k.2", "base": "k.1", "unset": {"flags": [["a"]]}},
    ],
)
def test_what_is_no_change_is_refused(told: Any) -> None:
    """A change of another shape is a TransportError, not a bug in applying it."""
    with pytest.raises(TransportError):
        read_change(json.dumps(told).encode(), "here")


def test_a_change_may_be_empty() -> None:
    """Only a description changed: the revision moves all the same."""
    change = read_change(b'{"revision":"k.2","base":"k.1"}', "here")
    assert changed({"revision": "k.1", "flags": {}}, change) == {"revision": "k.2", "flags": {}}


def test_revisions_of_one_lineage_have_an_order() -> None:
    """Others have none: a restored backup may count from below."""
    assert precedes("k.9", "k.10")
    assert precedes("k.10", "k.10")
    assert not precedes("k.11", "k.10")
    assert not precedes("a.1", "b.2")
    assert not precedes("k.x", "k.y")
    assert not precedes("k." + "1" * 5000, "k." + "2" * 5000)

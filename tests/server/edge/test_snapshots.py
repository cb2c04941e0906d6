"""Snapshots: bytes made once, and which of them a client gets."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop_server.edge.snapshots import (
    Content,
    Frame,
    Snapshot,
    Snapshots,
    accepts_gzip,
    member,
)


def snapshot(number: int, lineage: str = "k3x9", environment: str = "production") -> Snapshot:
    """A snapshot with one flag."""
    content = Content({}, {"flags": {"a": member("a", {"default": "ü"})}})
    return Snapshot(environment, lineage, number, content)


def test_the_body_is_the_wire_form() -> None:
    """Format, revision, environment and the sections, as compact UTF-8 JSON."""
    answer = snapshot(7).answer(None, b"")
    assert json.loads(answer.body) == {
        "format": 1,
        "revision": "k3x9.7",
        "environment": "production",
        "flags": {"a": {"default": "ü"}},
    }
    assert "ü".encode() in answer.body
    assert dict(answer.headers)[b"etag"] == b'"k3x9.7"'
    assert dict(answer.headers)[b"content-length"] == str(len(answer.body)).encode()


def test_gzip_holds_the_same_body() -> None:
    """A client that accepts gzip gets the same JSON, marked so, as soon as it is packed."""
    made = snapshot(7)
    assert made.answer(None, b"gzip").body == made.answer(None, b"").body
    made.pack()
    packed = made.answer(None, b"gzip, deflate")
    assert dict(packed.headers)[b"content-encoding"] == b"gzip"
    assert gzip.decompress(packed.body) == made.answer(None, b"").body


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (b"", False),
        (b"identity", False),
        (b"gzip", True),
        (b"br;q=1.0, gzip;q=0.8", True),
        (b"gzip; q=0", False),
        (b"gzip;q=0.000, *", False),
        (b"xgzip", False),
    ],
)
def test_accept_encoding_is_read(header: bytes, taken: bool) -> None:
    """Names and a weight of zero count."""
    assert accepts_gzip(header) is taken


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        (b'"k3x9.7"', 304),
        (b'W/"k3x9.7"', 304),
        (b'"k3x9.6", "k3x9.7"', 304),
        (b"*", 304),
        (b'"k3x9.6"', 200),
        (b'"other.7"', 200),
        (b"k3x9.7", 200),
        (b'"k3x9.70"', 200),
    ],
)
def test_a_client_that_has_this_revision_gets_304(tag: bytes, status: int) -> None:
    """Lists, weak tags and `*` are understood; another lineage with that number is not."""
    answer = snapshot(7).answer(tag, b"")
    assert answer.status == status
    assert bool(answer.body) is (status == 200)


def test_a_late_older_revision_does_not_replace_a_newer_one() -> None:
    """Two threads may publish in any order."""
    table = Snapshots()
    assert table.put(1, snapshot(8))
    assert not table.put(1, snapshot(7))
    current = table.get(1)
    assert current is not None
    assert current.number == 8


def test_another_lineage_replaces_also_with_a_lower_number() -> None:
    """After the restore of a backup numbers begin lower, under a new lineage."""
    table = Snapshots()
    table.put(1, snapshot(8))
    assert table.put(1, snapshot(2, lineage="zz"))
    current = table.get(1)
    assert current is not None
    assert current.revision == "zz.2"


def test_forgotten_environments_have_no_snapshot() -> None:
    """Archived environments leave the table, the others stay."""
    table = Snapshots()
    table.put(1, snapshot(8))
    table.put(2, snapshot(3, environment="development"))
    table.keep({2})
    assert table.get(1) is None
    assert [item.environment for item in table.all()] == ["development"]


ITEMS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4)
SECTIONS = st.dictionaries(st.sampled_from(["flags", "segments", "later"]), ITEMS, max_size=3)


def content(sections: dict[str, dict[str, int]]) -> Content:
    """A ruleset whose items are these numbers."""
    items = {
        section: {key: member(key, {"n": n}) for key, n in found.items()}
        for section, found in sections.items()
    }
    return Content({}, items)


def told(event: Frame) -> Any:
    """The data of an event."""
    return json.loads(event.text.split(b"\n")[2].removeprefix(b"data: "))


@given(SECTIONS, SECTIONS)
def test_a_change_makes_the_new_ruleset_of_the_old(
    old: dict[str, dict[str, int]], new: dict[str, dict[str, int]]
) -> None:
    """Applied to the snapshot before, it gives the items of the one after, and says no more."""
    before = Snapshot("production", "line", 1, content(old))
    after = Snapshot("production", "line", 2, content(new))
    event = after.change_since(before)
    assert event is not None
    change = told(event)
    held = json.loads(before.plain.body)
    for section, items in change["set"].items():
        for key, item in items.items():
            assert held.setdefault(section, {}).get(key) != item
            held[section][key] = item
    for section, keys in change["unset"].items():
        for key in keys:
            del held[section][key]
    expected = json.loads(after.plain.body)
    for section in ("flags", "segments", "later"):
        assert held.get(section, {}) == expected.get(section, {})
    assert (change["base"], change["revision"]) == ("line.1", "line.2")


def test_a_change_that_is_longer_than_the_snapshot_is_not_told() -> None:
    """Whoever replaces everything by little is better told what there is now."""
    many = {"flags": {f"flag-{n}": n for n in range(2000)}}
    before = Snapshot("production", "line", 1, content(many))
    after = Snapshot("production", "line", 2, content({"flags": {"a": 1}}))
    assert after.change_since(before) is None
    assert before.change_since(after) is None


def test_an_event_is_one_line_of_data() -> None:
    """Line ends in texts are escaped by JSON; other separators stay as they are."""
    odd = Content({}, {"flags": {"a": member("a", {"default": "x\r\n\u2028y"})}})
    event = Snapshot("production", "line", 1, odd).event()
    text = event.text
    assert text.startswith(b"id: line.1\nevent: snapshot\ndata: {")
    assert text.endswith(b"}\n\n")
    assert (text.count(b"\n"), text.count(b"\r")) == (4, 0)
    assert told(event)["flags"]["a"]["default"] == "x\r\n\u2028y"


def test_a_frame_is_a_chunk_of_http() -> None:
    """Its length in hexadecimal, and the same object for every stream."""
    frame = Frame(b"x" * 26)
    assert frame.chunk() == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert frame.chunk() is frame.chunk()

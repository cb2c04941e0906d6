"""Snapshots: bytes made once, and which of them a client gets."""

from __future__ import annotations

import gzip
import json

import pytest

from flagloop_server.edge.snapshots import Snapshot, Snapshots, accepts_gzip


def snapshot(number: int, lineage: str = "k3x9", environment: str = "production") -> Snapshot:
    """A snapshot with one flag."""
    return Snapshot(environment, lineage, number, {"flags": {"a": {"default": "ü"}}})


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
    """A client that accepts gzip gets the same JSON, marked so."""
    made = snapshot(7)
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

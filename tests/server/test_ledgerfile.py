"""The ledger as a file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from flagloop_server import ledgerfile
from flagloop_server.ledgerfile import COLUMNS, csv_text, every_row, ndjson, to_mapping
from flagloop_server.store import Actor, Sought, Store
from flagloop_server.web import records

EVIL = Actor("person", "=cmd|'/c calc'!A1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Five environments were made, the last by somebody with a formula for a name."""
    with Store(tmp_path) as made:
        for name in ("a", "b", "c", "d"):
            made.create_environment(name, Actor("person", "ana"))
        made.create_environment("e", EVIL)
        yield made


def test_every_row_comes_over_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, each once, with the filters."""
    monkeypatch.setattr(ledgerfile, "PAGE", 2)
    rows = list(every_row(store))
    assert [row.seq for row in rows] == [row.seq for row in reversed(store.audit())]
    assert [row.seq for row in every_row(store, after=rows[2].seq)] == [rows[3].seq, rows[4].seq]
    wanted = Sought(actor="ANA", since=rows[1].at)
    assert all(row.actor.name == "ana" for row in every_row(store, sought=wanted))


def test_json_lines_are_those_of_the_api_and_prove_the_chain(store: Store) -> None:
    """Who has the file alone can check every link."""
    previous = bytes(32)
    for text, row in zip(ndjson(every_row(store)), every_row(store), strict=True):
        found = json.loads(text)
        assert found == json.loads(msgspec.json.encode(records.ledger_row(row)))
        payload = json.dumps(found["payload"], separators=(",", ":")).encode()
        assert hashlib.sha256(payload).hexdigest() == found["payload_digest"]
        linked = hashlib.sha256(previous + bytes.fromhex(found["payload_digest"]))
        assert linked.hexdigest() == found["digest"]
        previous = linked.digest()
    assert previous.hex() == store.verify().head


def test_csv_has_a_head_and_no_formulas(store: Store) -> None:
    """A spreadsheet that opens it runs nothing."""
    rows = list(csv.DictReader(io.StringIO("".join(csv_text(every_row(store))))))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["at"].endswith("Z")
    assert rows[-1]["actor"] == f"'{EVIL.name}"


def test_a_redacted_row_has_no_payload(store: Store) -> None:
    """Its digests stay."""
    store.redact(1, Actor("person", "ana"), "a name was in it")
    first = to_mapping(next(every_row(store)))
    assert first["payload"] is None
    assert len(first["digest"]) == 64

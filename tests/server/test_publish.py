"""The edge's tables follow the store, whoever writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from flagloop.document import yamledit
from flagloop.document.schema_wire import wire
from flagloop.document.yamlfile import parse
from flagloop_server.changes import Changes, kill, push
from flagloop_server.edge.snapshots import Snapshot
from flagloop_server.publish import Encoder
from flagloop_server.store import SYSTEM, Store

FLAGS = "version: 1\nflags:\n  a: {}\n"


@pytest.fixture
def other(app: Any) -> Any:
    """Another process's store on the same folder."""
    with Store(app.config.data) as store:
        yield store


@pytest.fixture
def example(root: Path) -> str:
    """The example document, which has every section."""
    return (root / "flags.example.yaml").read_text("utf-8")


def revision(app: Any, environment: str) -> str | None:
    """The revision that the edge serves."""
    snapshot = app.publisher.snapshots.get(app.store.environment(environment).id)
    return None if snapshot is None else str(snapshot.revision)


def test_a_change_of_this_process_is_published_before_it_is_told(app: Any) -> None:
    """`apply` returns when the edge has it."""
    done = app.changes.apply(push("production", FLAGS), SYSTEM, "test")
    assert revision(app, "production") == done.name


def test_what_another_process_wrote_is_published_by_the_next_watch(app: Any, other: Any) -> None:
    """Changes, new environments, renames and archives."""
    done = Changes(other).apply(push("production", FLAGS), SYSTEM, "test")
    other.create_environment("qa", SYSTEM)
    other.archive_environment("development", SYSTEM)
    app.publisher.watch()
    assert revision(app, "production") == done.name
    assert revision(app, "qa") is not None
    assert revision(app, "development") is None


def test_changes_after_anothers_are_based_on_them(app: Any, other: Any) -> None:
    """Two processes on one folder do not undo each other's work."""
    Changes(other).apply(push("production", FLAGS), SYSTEM, "test")
    app.changes.apply(kill("production", "a"), SYSTEM, "errors")
    app.publisher.watch()
    stored = other.document("production")
    assert stored.name == revision(app, "production")
    assert "killed" in stored.document.text


def test_watching_without_a_commit_asks_nothing(app: Any) -> None:
    """Five times a second must cost nothing: the snapshots stay the same objects."""
    app.publisher.watch()
    before = app.publisher.snapshots.all()
    app.publisher.watch()
    assert all(a is b for a, b in zip(before, app.publisher.snapshots.all(), strict=True))


def test_a_key_revoked_by_another_process_is_unknown_after_the_next_watch(
    app: Any, other: Any
) -> None:
    """And a new one is found by its first use."""
    info, secret = other.create_key("production", "server", "sdk", SYSTEM)
    digest = hashlib.sha256(secret.encode()).digest()
    found = app.publisher.keys.look_up(digest)
    assert (found.id, found.kind, found.environment) == (
        info.id,
        "server",
        app.store.environment("production").id,
    )
    other.revoke_key(info.id, SYSTEM)
    app.publisher.watch()
    assert app.publisher.keys.known(digest) is None


def test_the_snapshot_is_the_wire_form(app: Any) -> None:
    """Nothing that evaluation does not need leaves the server."""
    text = "version: 1\nflags:\n  a: {description: secret plan, owner: ana@example.com}\n"
    app.changes.apply(push("production", text), SYSTEM, "test")
    snapshot = app.publisher.snapshots.get(app.store.environment("production").id)
    assert b'"a"' in snapshot.plain.body
    assert b"secret plan" not in snapshot.plain.body
    assert b"ana@example.com" not in snapshot.plain.body


def test_the_encoded_document_is_its_wire_form(example: str) -> None:
    """Also when it is encoded again after an edit, item by item."""
    encoder = Encoder()
    document = parse(example)
    for edited in (document, yamledit.remove_item(document, "flags", "new_ranker").document):
        body = Snapshot("production", "line", 1, encoder.encode(edited.mapping)).plain.body
        told = json.loads(body)
        head = {"format": 1, "revision": "line.1", "environment": "production"}
        assert told == {**json.loads(json.dumps(wire(edited.mapping))), **head}


def test_an_item_that_did_not_change_is_encoded_once(example: str) -> None:
    """A kill among a thousand flags costs one flag: the others' texts are the same objects."""
    encoder = Encoder()
    document = parse(example)
    killed = {**document.mapping["flags"]["cta_color"], "killed": True}
    edited = yamledit.replace_item(document, "flags", "cta_color", killed).document
    before = encoder.encode(document.mapping).items["flags"]
    after = encoder.encode(edited.mapping).items["flags"]
    assert [key for key in before if before[key] is not after[key]] == ["cta_color"]


def test_a_revision_is_published_once(app: Any) -> None:
    """The listener and the watch may both come by with it; the packed form is ready as well."""
    done = app.changes.apply(push("production", FLAGS), SYSTEM, "test")
    place = app.store.environment("production").id
    first = app.publisher.snapshots.get(place)
    app.publisher.refresh()
    app.publisher.watch()
    assert app.publisher.snapshots.get(place) is first
    assert first.revision == done.name
    assert first.answer(None, b"gzip") is first.packed

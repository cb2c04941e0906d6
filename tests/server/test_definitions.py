"""Definitions of stored documents: kept, and carried from one revision to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagloop.document.definition import Document
from flagloop.document.schema import read_document
from flagloop_server import changes as change
from flagloop_server.auth import Auth, first_start
from flagloop_server.changes import Change, Changes
from flagloop_server.definitions import Definitions
from flagloop_server.store import SYSTEM, Store

TEXT = """\
version: 1

segments:
  staff: {when: {level: 1}}

flags:
  first: {rules: [{name: some, share: 5%, serve: on}]}
  second: {rules: [{name: own, when: {segment: staff}, serve: on}]}
"""


class Place:
    """One environment, and the definitions of its document."""

    def __init__(self, store: Store) -> None:
        first_start(store, Auth(store))
        self.store = store
        self.changes = Changes(store)
        self.definitions = Definitions()
        self.apply(change.put_document("production", TEXT))

    def apply(self, planned: Change) -> None:
        """Make a change."""
        self.changes.apply(planned, SYSTEM, "test")

    def read(self) -> Document:
        """The definitions of the present document."""
        return self.definitions.of(self.store.document("production"))


@pytest.fixture
def place(tmp_path: Path):
    """A store with two flags and a segment in production."""
    with Store(tmp_path) as store:
        yield Place(store)


@pytest.mark.parametrize(
    "planned",
    [
        change.kill("production", "first"),
        change.set_share("production", "first", "some", "7%"),
        change.archive_flag("production", "first"),
        change.add_item("production", "flags", "third", {"requires": {"second": "on"}}),
        change.replace_item("production", "segments", "staff", {"when": {"level": True}}),
        change.put_document(
            "production", TEXT.replace("flags:", "recording:\n  attributes: [plan]\nflags:")
        ),
    ],
    ids=lambda planned: f"{planned.action} {planned.target}",
)
def test_what_is_carried_over_equals_what_is_read_anew(place: Place, planned: Change) -> None:
    """After any kind of change the definitions are those of the whole new document."""
    place.read()
    place.apply(planned)
    found = place.read()
    whole, problems = read_document(place.store.document("production").document.mapping)
    assert problems == []
    assert found == whole
    assert repr(found) == repr(whole), "1 and true are equal, but not the same"


def test_a_flag_that_did_not_change_is_not_read_again(place: Place) -> None:
    """A kill among thousands of flags costs one flag."""
    before = place.read()
    place.apply(change.kill("production", "first"))
    after = place.read()
    assert after.flags["second"] is before.flags["second"]
    assert after.flags["first"] is not before.flags["first"]
    assert after.flags["first"].killed is not None


def test_the_same_revision_is_read_once(place: Place) -> None:
    """Pages ask for each request."""
    assert place.read() is place.read()

"""Undo of revisions: of one item, of several, of what was taken out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop.errors import ConflictError, DocumentError
from flagloop_server import changes as change
from flagloop_server.changes import Applied, Changes
from flagloop_server.store import Actor, Store
from flagloop_server.undoing import added, can_be_undone, undo

BEN = Actor("person", "ben@example.com")
TEXT = """\
version: 1

segments:
  staff:
    when: {plan: staff}

flags:
  a: {}

  # hangs on a
  b:
    requires: {a: on}

  c: {}
"""


class Place:
    """One environment and its writer."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changes = Changes(store)

    def do(self, planned: change.Change, reason: str = "why") -> Applied:
        """Make a change."""
        return self.changes.apply(planned, BEN, reason)

    def undo(self, number: int) -> Applied:
        """Take a revision back."""
        planned, expected = undo(self.store, "production", number)
        return self.changes.apply(planned, BEN, "undo", expected)

    @property
    def text(self) -> str:
        """The document now."""
        return self.store.document("production").document.text

    def undoable(self, number: int) -> bool:
        """Whether a page would offer it."""
        store = self.store
        row = store.revision("production", number)
        return can_be_undone(store, row, store.document("production"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """`TEXT` as revision 2 of production."""
    with Store(tmp_path) as store:
        store.create_environment("production", BEN)
        made = Place(store)
        made.do(change.push("production", TEXT))
        yield made


def test_an_archived_flag_comes_back(place: Place) -> None:
    """Undoing an archive brings the text back and frees the key."""
    done = place.do(change.archive_flag("production", "c"))
    assert place.undoable(done.revision)
    place.undo(done.revision)
    assert "  c: {}\n" in place.text
    assert not place.store.archived_flags("production")


def test_several_flags_are_archived_and_brought_back_as_one_revision(place: Place) -> None:
    """They may require each other; one undo brings all of them back."""
    done = place.do(change.archive_flags("production", ["a", "b", "c", "a"]))
    assert done.changed == (("flags", "a"), ("flags", "b"), ("flags", "c"))
    assert (done.revision, done.target) == (3, "a, b, c")
    assert len(place.store.archived_flags("production")) == 3
    assert place.undoable(3)
    back = place.undo(3)
    assert (back.revision, set(back.changed)) == (4, set(done.changed))
    assert "# hangs on a\n  b:\n    requires: {a: on}\n" in place.text


def test_nothing_is_archived_when_one_cannot_go(place: Place) -> None:
    """A flag that another requires stays, and so do the others of the list."""
    with pytest.raises(DocumentError, match="b"):
        place.do(change.archive_flags("production", ["c", "a"]))
    assert place.text == TEXT


def test_a_revision_of_several_items_is_undone_unless_one_was_changed_since(place: Place) -> None:
    """Of an edit of two items both go back, or none."""
    edits = {("flags", "a"): "a:\n  owner: x@example.com\n", ("segments", "staff"): None}
    done = place.do(change.put_items("production", edits))
    assert done.revision == 3
    assert place.undoable(3)
    place.undo(3)
    assert place.store.document("production").document.mapping == (
        place.store.document("production", 2).document.mapping
    )
    again = place.do(change.put_items("production", edits))
    place.do(change.put_item("production", "flags", "a", "a:\n  owner: y@example.com\n"))
    assert not place.undoable(again.revision)
    with pytest.raises(ConflictError, match="changed by somebody else"):
        place.undo(again.revision)


def test_kill_restore_and_a_new_flag_have_their_opposites(place: Place) -> None:
    """A kill is restored, a restore killed again, an added flag archived."""
    killed = place.do(change.kill("production", "a"), "broken")
    assert place.undo(killed.revision).action == "restore"
    assert place.text == TEXT
    new = place.do(change.put_item("production", "flags", "d", "d: {}\n"))
    row = place.store.revision("production", new.revision)
    assert added(place.store, row, ("flags", "d"))
    assert place.undo(new.revision).action == "archive"


def test_a_change_of_the_rest_of_the_document_is_reverted_as_a_whole(place: Place) -> None:
    """Comments between items belong to no item, so there is nothing to undo by items."""
    done = place.do(change.put_document("production", "# new head\n" + TEXT))
    assert not place.undoable(done.revision)
    with pytest.raises(ConflictError, match="revert the document"):
        place.undo(done.revision)

"""What an item needs in another environment, and what was seen of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop.errors import ConflictError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.promoting import expected, moved_on, promotion
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")

SOURCE = """\
version: 1

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}
  inner:
    when: {segment: staff}
  outer:
    when: {segment: inner}

flags:
  base:
    rules:
      - {name: some, when: {segment: outer}, serve: on}
  banner:
    requires: {base: on}
    rules:
      - {name: some, when: {segment: outer}, serve: on}
"""

TARGET = """\
version: 1

segments:
  staff:
    when: {plan: staff}
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Staging has all of SOURCE, production another `staff` alone."""
    with Store(tmp_path) as made:
        changes = Changes(made)
        for name, text in (("staging", SOURCE), ("production", TARGET)):
            if all(one.key != name for one in made.environments()):
                made.create_environment(name, BEN)
            changes.apply(change.push(name, text), BEN, "")
        yield made


def test_what_is_missing_comes_in_the_order_that_it_is_needed(store: Store) -> None:
    """Directly or through others; what the target has otherwise is told apart."""
    found = promotion(store.document("staging"), store.document("production"), "flags", "banner")
    assert found.missing == (("segments", "inner"), ("segments", "outer"), ("flags", "base"))
    assert found.differing == (("segments", "staff"),)


def test_all_come_along_as_one_revision(store: Store) -> None:
    """Named after the item; alone it is refused, since it names what there is not."""
    changes = Changes(store)
    found = promotion(store.document("staging"), store.document("production"), "flags", "banner")
    with pytest.raises(DocumentError, match="outer"):
        changes.apply(found.change(()), BEN, "")
    done = changes.apply(found.change(found.missing), BEN, "looks good")
    assert done.applied
    assert done.notes == ()
    row = store.revision("production", done.revision)
    assert row.action == "promote"
    assert row.target == "banner with segments.inner, segments.outer, base"
    assert set(row.changed) == {*found.missing, ("flags", "banner")}
    staff = store.document("production").document.items["segments", "staff"].text
    assert "plan: staff" in staff


def test_nothing_is_missing_in_the_same_environment(store: Store) -> None:
    """Promoting to itself changes nothing."""
    here = store.document("staging")
    found = promotion(here, here, "flags", "banner")
    assert (found.missing, found.differing) == ((), ())
    assert not Changes(store).apply(found.change(()), BEN, "").applied


def test_an_unknown_item_names_the_nearest(store: Store) -> None:
    """As everywhere."""
    with pytest.raises(NotFoundError, match="banner"):
        promotion(store.document("staging"), store.document("production"), "flags", "baner")


def test_who_looked_before_a_change_overwrites_nobody(store: Store) -> None:
    """On either side."""
    changes = Changes(store)
    source, target = store.document("staging"), store.document("production")
    changes.apply(
        change.put_item("staging", "segments", "inner", "inner:\n  when: {a: 1}\n"), BEN, ""
    )
    now = store.document("staging")
    refs = [("segments", "inner"), ("segments", "outer"), ("segments", "gone")]
    assert moved_on(now, source.revision, refs) == [refs[0], refs[2]]
    other = "staff:\n  when: {plan: [staff, boss]}\n"
    changes.apply(change.put_item("production", "segments", "staff", other), BEN, "")
    seen = expected(store, "production", target.revision, [("segments", "staff"), refs[0]])
    assert seen[refs[0]] == 0
    planned = promotion(now, store.document("production"), "segments", "staff").change(())
    with pytest.raises(ConflictError, match="since you opened it"):
        changes.apply(planned, BEN, "", seen)

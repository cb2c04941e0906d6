"""Editing items and whole documents."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flagloop.errors import ConflictError, DocumentError
from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.store import Actor, Store

FLAG = ("flags", "cta_color")


def test_an_items_text_is_kept_as_written(pushed: Changes, ana: Actor, store: Store) -> None:
    """Comments and layout of the author come through."""
    text = "  # mine\n  new_checkout:\n    rules: []   # nothing\n"
    pushed.apply(change.put_item("production", "flags", "new_checkout", text), ana, "")
    assert store.document("production").document.items["flags", "new_checkout"].text == text


def test_problems_of_an_item_have_lines_of_its_text(pushed: Changes, ana: Actor) -> None:
    """The editor shows the item alone, so lines count from its first."""
    text = "  # mine\n  new_checkout:\n    rulse: []\n    owner: x\n"
    with pytest.raises(DocumentError) as caught:
        pushed.apply(change.put_item("production", "flags", "new_checkout", text), ana, "")
    (problem,) = caught.value.problems
    assert (problem.line, problem.hint) == (3, "did you mean 'rules'?")
    assert problem.path == ("flags", "new_checkout", "rulse")


def test_lines_do_not_depend_on_what_other_items_say(pushed: Changes, ana: Actor) -> None:
    """Also where the same words stand in an item above."""
    with pytest.raises(DocumentError) as caught:
        pushed.apply(change.put_item("production", "flags", "share", "share: 5%\n"), ana, "")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (("flags", "share"), 1)


def test_an_edit_that_breaks_a_dependent_is_refused(pushed: Changes, ana: Actor) -> None:
    """Changed items and those that refer to them are judged."""
    text = "  staf:\n    when: {plan: pro}\n"
    pushed.apply(change.put_item("production", "segments", "staf", text), ana, "")
    with pytest.raises(DocumentError, match="staff") as caught:
        pushed.apply(change.remove_item("production", "segments", "staff"), ana, "")
    assert caught.value.problems[0].path[:2] == FLAG


def test_an_editor_is_told_of_another_editors_change(pushed: Changes, ana: Actor) -> None:
    """Two people open one flag; the second to save learns of the first."""
    opened = {FLAG: 2}
    first = change.replace_item("production", *FLAG, {"description": "first"})
    second = change.replace_item("production", *FLAG, {"description": "second"})
    pushed.apply(first, ana, "", opened)
    with pytest.raises(ConflictError, match=r"flags\.cta_color"):
        pushed.apply(second, ana, "", opened)
    assert pushed.apply(second, ana, "", {FLAG: 3}).revision == 4


def test_a_change_of_another_item_is_no_conflict(pushed: Changes, ana: Actor) -> None:
    """Revisions are compared per touched item, not per document."""
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    pushed.apply(change.kill("production", "new_ranker"), ana, "x")
    edit = change.replace_item("production", *FLAG, {"description": "mine"})
    assert pushed.apply(edit, ana, "", {FLAG: 2, ("flags", "new_ranker"): 2}).revision == 5


def test_a_kill_never_conflicts(pushed: Changes, ana: Actor) -> None:
    """Also when somebody changed the flag since it was looked at."""
    pushed.apply(change.replace_item("production", *FLAG, {"description": "x"}), ana, "")
    assert pushed.apply(change.kill("production", "cta_color"), ana, "x", {FLAG: 1}).applied
    assert pushed.apply(change.restore("production", "cta_color"), ana, "", {FLAG: 1}).applied


def test_add_makes_a_section_when_needed(changes: Changes, ana: Actor, store: Store) -> None:
    """The first flag of an empty document."""
    changes.apply(change.add_item("production", "flags", "first", {"tags": ["a"]}), ana, "")
    assert store.document("production").document.mapping["flags"] == {"first": {"tags": ["a"]}}
    assert store.document("production").item_revisions["flags", "first"] == 2
    with pytest.raises(ConflictError, match="exists already"):
        changes.apply(change.add_item("production", "flags", "first", {}), ana, "")


@pytest.mark.parametrize("key", ["a b", "", "x" * 101, "-x"])
def test_a_bad_key_is_refused(changes: Changes, ana: Actor, key: str) -> None:
    """Keys are keys everywhere."""
    with pytest.raises(DocumentError):
        changes.apply(change.add_item("production", "flags", key, {}), ana, "")


def test_an_unknown_section_is_refused(changes: Changes, ana: Actor) -> None:
    """There is no place for it."""
    with pytest.raises(DocumentError):
        changes.apply(change.put_item("production", "flgas", "a", "  a: {}\n"), ana, "")


def test_the_whole_text_can_be_replaced(
    pushed: Changes, ana: Actor, store: Store, now: Callable[[], str]
) -> None:
    """Byte for byte; flags that are gone go to the archive."""
    text = "# all new\nversion: 1\nflags:\n  other: {}\n"
    pushed.apply(change.put_document("production", text), ana, "")
    assert now() == text
    archived = [one.key for one in store.archived_flags("production")]
    assert archived == ["cta_color", "new_checkout", "new_ranker"]


def test_a_text_for_another_environment_is_refused(changes: Changes, ana: Actor) -> None:
    """`environment: staging` cannot be put into production."""
    text = "version: 1\nenvironment: staging\n"
    with pytest.raises(DocumentError, match="staging") as caught:
        changes.apply(change.put_document("production", text), ana, "")
    assert caught.value.problems[0].line == 2
    assert changes.apply(change.put_document("staging", text), ana, "").changed == (
        ("environment", ""),
    )


def test_a_changed_comment_is_a_revision(pushed: Changes, ana: Actor, text: str) -> None:
    """Text outside every item counts as a change of the document."""
    edited = text.replace("# Our flags.", "# Everyone's flags.")
    done = pushed.apply(change.put_document("production", edited), ana, "")
    assert done.changed == (("", ""),)
    assert done.document.item_revisions["", ""] == 3


def test_an_archived_environment_takes_no_change(pushed: Changes, ana: Actor, store: Store) -> None:
    """It is out of use."""
    store.archive_environment("production", ana)
    with pytest.raises(Exception, match="archived"):
        pushed.apply(change.kill("production", "cta_color"), ana, "x")


def test_a_document_over_the_limit_is_refused(changes: Changes, ana: Actor, store: Store) -> None:
    """Many small items may not add up to more than 4 MB."""
    rules = "".join(f"      - {{name: r{n}, serve: on}}\n" for n in range(6000))
    flags = "".join(f"  f{n}:\n    rules:\n{rules}" for n in range(22))
    with pytest.raises(DocumentError, match="4 MB"):
        changes.apply(change.put_document("production", f"version: 1\nflags:\n{flags}"), ana, "")
    assert store.document("production").revision == 1

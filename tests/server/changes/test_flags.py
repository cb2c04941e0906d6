"""Operating flags: what changes in the text, and what does not."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import pytest

from flagloop.errors import ConfigError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server.changes import Applied, Changes
from flagloop_server.store import Actor, Store


def moved(old: str, new: str) -> list[str]:
    """The lines that differ, as `-line` and `+line`."""
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return [line[0] + line[2:] for line in lines if line[0] in "+-"]


def test_kill_adds_one_line_and_restore_takes_exactly_it(
    pushed: Changes, ana: Actor, text: str, now: Callable[[], str]
) -> None:
    """One line says why, who and when; afterwards the bytes are the old ones."""
    pushed.apply(change.kill("production", "cta_color"), ana, "errors: doubled")
    (line,) = moved(text, now())
    assert line.startswith('+    killed: {reason: "errors: doubled", by: ana@example.com, at: 2027')
    pushed.apply(change.restore("production", "cta_color"), ana, "")
    assert now() == text


@pytest.mark.parametrize(
    "document",
    [
        "version: 1\nflags:\n  a: {}\n",
        "version: 1\nflags:\n  a:\n    rules: []",
        'version: 1\nflags:\n  "a":  # why\n    description: x\n    # deeper\n',
        "version: 1\nflags: {a: {description: x}, b: {}}\n",
        '{"version": 1, "flags": {"a": {"description": "x"}}}',
        "\ufeffversion: 1\r\nflags:\r\n  a:\r\n    description: x\r\n  b: {}\r\n",
        "version: 1\nflags:\n  a:\n    description: x\n    rules:\n    - name: r\n      serve: on",
    ],
)
def test_restore_brings_back_the_bytes_of_any_style(
    changes: Changes, store: Store, ana: Actor, document: str
) -> None:
    """Flow style, CRLF, a BOM, no final newline: kill and restore leave no trace."""
    changes.apply(change.push("production", document), ana, "")
    before = store.document("production").document.raw
    assert before == document.encode()
    killed = changes.apply(change.kill("production", "a"), ana, "x")
    assert killed.document.document.mapping["flags"]["a"]["killed"]["reason"] == "x"
    restored = changes.apply(change.restore("production", "a"), ana, "")
    assert restored.document.document.raw == before


def test_restore_after_other_edits_keeps_them(
    pushed: Changes, ana: Actor, now: Callable[[], str]
) -> None:
    """Only the kill's line goes, not what was edited since."""
    pushed.apply(change.kill("production", "new_checkout"), ana, "x")
    pushed.apply(change.set_share("production", "new_checkout", "canary", "10%"), ana, "")
    pushed.apply(change.restore("production", "new_checkout"), ana, "")
    assert "share: 10%" in now()
    assert "killed" not in now()
    assert "# slowly" in now()


def test_a_kill_needs_a_reason(pushed: Changes, ana: Actor) -> None:
    """Nobody should have to guess at 3 a.m."""
    with pytest.raises(ConfigError, match="reason"):
        pushed.apply(change.kill("production", "cta_color"), ana, "  ")


def test_repeats_are_said_to_have_done_nothing(
    pushed: Changes, ana: Actor, told: list[Applied], store: Store
) -> None:
    """Killing the killed, restoring the living, the same share: no revision, no ledger row."""
    pushed.apply(change.kill("production", "cta_color"), ana, "x")
    rows = len(store.audit())
    again = [
        pushed.apply(change.kill("production", "cta_color"), ana, "y"),
        pushed.apply(change.restore("production", "new_checkout"), ana, ""),
        pushed.apply(change.set_share("production", "new_checkout", "canary", "5.0%"), ana, ""),
    ]
    assert [(one.applied, one.revision, one.changed) for one in again] == [(False, 3, ())] * 3
    assert all(one.notes for one in again)
    assert len(told) == 1
    assert len(store.audit()) == rows


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: change.kill("production", "cta_colour"), "did you mean 'cta_color'"),
        (lambda: change.restore("production", "nothing"), "there are cta_color"),
        (lambda: change.set_share("production", "new_checkout", "canari", "5%"), "'canary'"),
        (lambda: change.archive_flag("production", "x"), "no flag 'x'"),
        (lambda: change.unarchive_flag("production", "x"), "no archived flag"),
        (lambda: change.kill("prodction", "cta_color"), "did you mean 'production'"),
    ],
)
def test_what_is_missing_is_named(pushed: Changes, ana: Actor, make, hint: str) -> None:
    """A wrong name is answered with the nearest right one."""
    with pytest.raises(NotFoundError, match=hint):
        pushed.apply(make(), ana, "x")


def test_a_share_changes_one_word(
    pushed: Changes, ana: Actor, text: str, now: Callable[[], str]
) -> None:
    """The comment beside it stays; before and after are told."""
    done = pushed.apply(change.set_share("production", "new_checkout", "canary", "12.5%"), ana, "")
    assert moved(text, now()) == ["-        share: 5%", "+        share: 12.5%"]
    assert dict(done.details) == {"before": "5%", "after": "12.5%"}


def test_the_share_of_a_rollout_is_its_stage(pushed: Changes, ana: Actor, store: Store) -> None:
    """The stage in force moves, not the list of stages."""
    done = pushed.apply(change.set_share("production", "new_ranker", "climb", "25%"), ana, "")
    rollout = store.document("production").document.mapping["flags"]["new_ranker"]["rules"][0]
    assert rollout["rollout"]["stage"] == "25%"
    assert dict(done.details) == {"before": "5%", "after": "25%"}


@pytest.mark.parametrize("percent", ["25", "101%", "-1%", "x%", ""])
def test_no_percentage_is_refused_with_its_place(
    pushed: Changes, ana: Actor, percent: str, text: str, now: Callable[[], str]
) -> None:
    """The problem has the path of the share."""
    with pytest.raises(DocumentError) as caught:
        pushed.apply(change.set_share("production", "new_checkout", "canary", percent), ana, "")
    assert caught.value.problems[0].path[:2] == ("flags", "new_checkout")
    assert now() == text


def test_pause_and_resume(pushed: Changes, ana: Actor, text: str, now: Callable[[], str]) -> None:
    """A paused rollout says so; resuming leaves the text as it was."""
    pushed.apply(change.pause("production", "new_ranker", "climb"), ana, "")
    assert "paused: true" in now()
    assert not pushed.apply(change.pause("production", "new_ranker", "climb"), ana, "").applied
    pushed.apply(change.resume("production", "new_ranker", "climb"), ana, "")
    assert now() == text
    with pytest.raises(DocumentError, match="no rollout"):
        pushed.apply(change.pause("production", "new_checkout", "canary"), ana, "")


def test_an_archived_flag_leaves_the_document_and_keeps_its_key(
    pushed: Changes, ana: Actor, store: Store, now: Callable[[], str]
) -> None:
    """Its text is in the archive; nobody else may take its key; it can come back."""
    before = store.document("production").document.items["flags", "cta_color"]
    done = pushed.apply(change.archive_flag("production", "cta_color"), ana, "shipped")
    assert ("flags", "cta_color") not in done.document.document.items
    (kept,) = store.archived_flags("production")
    assert store.archived_flag("production", kept.key) == kept
    assert store.archived_flag("production", "new_checkout") is None
    assert (kept.key, kept.text, kept.mapping) == ("cta_color", before.text, before.mapping)
    assert (kept.actor, kept.reason, kept.revision) == (ana, "shipped", 3)
    with pytest.raises(DocumentError, match="its key stays reserved"):
        pushed.apply(change.add_item("production", "flags", "cta_color", {}), ana, "")
    pushed.apply(change.unarchive_flag("production", "cta_color"), ana, "")
    assert store.archived_flags("production") == []
    assert store.document("production").document.items["flags", "cta_color"] == before


def test_a_flag_that_others_require_cannot_be_archived(pushed: Changes, ana: Actor) -> None:
    """The problem is where the reference is."""
    with pytest.raises(DocumentError) as caught:
        pushed.apply(change.archive_flag("production", "new_checkout"), ana, "")
    assert caught.value.problems[0].path[:2] == ("flags", "new_ranker")
    assert caught.value.problems[0].line is not None

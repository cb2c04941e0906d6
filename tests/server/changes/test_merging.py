"""Texts that come together: push, revert, promote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flagloop.errors import DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server.changes import Changes, MergeConflictError
from flagloop_server.store import Actor, RevisionRow, Store

FLAG = ("flags", "cta_color")


def test_the_first_push_is_stored_byte_for_byte(pushed: Changes, store: Store, text: str) -> None:
    """Nothing of the empty document remains."""
    assert store.document("production").document.raw == text.encode()
    assert store.push_base("production").text == text  # type: ignore[union-attr]
    assert store.push_base("staging") is None


def test_an_old_file_does_not_revive_a_killed_flag(
    pushed: Changes, ana: Actor, text: str, store: Store
) -> None:
    """The push says what it ignored; with `state` it takes it."""
    pushed.apply(change.kill("production", "cta_color"), ana, "x")
    done = pushed.apply(change.push("production", text), ana, "")
    assert not done.applied
    assert "flags.cta_color.killed stays" in done.notes[0]
    assert "killed" in store.document("production").document.items[FLAG].mapping
    done = pushed.apply(change.push("production", text, state=True), ana, "")
    assert done.changed == (FLAG,)
    assert store.document("production").document.text == text


def test_edits_of_different_flags_merge(
    pushed: Changes, ana: Actor, text: str, now: Callable[[], str]
) -> None:
    """The file's change and the server's change are both there."""
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    mine = text.replace("Colour of the button", "The button's colour")
    done = pushed.apply(change.push("production", mine), ana, "")
    assert done.changed == (FLAG,)
    assert now() == mine.replace("share: 5%", "share: 50%")


def test_edits_of_one_flag_conflict_and_nothing_is_applied(
    pushed: Changes, ana: Actor, text: str, store: Store
) -> None:
    """All conflicts are listed with the three texts."""
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    pushed.apply(change.replace_item("production", *FLAG, {"description": "theirs"}), ana, "")
    mine = text.replace("share: 5%", "share: 7%").replace("Colour of", "Color of")
    mine = mine.replace("to: candidate,", "to: candidate, harm_budget: 2%,")
    before = store.document("production")
    with pytest.raises(MergeConflictError) as caught:
        pushed.apply(change.push("production", mine), ana, "")
    assert caught.value.conflicts == ["flags.cta_color", "flags.new_checkout"]
    one = caught.value.items[1]
    assert ["share: 5%" in one.base, "share: 7%" in one.mine, "share: 50%" in one.theirs] == [
        True
    ] * 3
    assert store.document("production") == before
    seen = pushed.preview(change.push("production", mine))
    assert not seen.ok
    assert seen.merge is not None
    assert len(seen.merge.conflicts) == 2


def test_the_base_can_be_a_revision_or_a_text(pushed: Changes, ana: Actor, text: str) -> None:
    """A file made from revision 2 does not undo what came after."""
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    later = text.replace("share: 5%", "share: 50%")
    pushed.apply(change.push("production", later), ana, "")
    for base in (2, text):
        done = pushed.apply(change.push("production", text, base=base), ana, "")
        assert not done.applied
        assert done.merge is not None
        assert done.merge.kept == (("flags", "new_checkout"),)
        pushed.apply(change.push("production", later), ana, "")
    with pytest.raises(NotFoundError):
        pushed.apply(change.push("production", text, base=99), ana, "")


def test_a_push_that_changes_nothing_still_becomes_the_base(
    pushed: Changes, ana: Actor, text: str, store: Store
) -> None:
    """Who writes the server's edit into the file has seen it: dropping it later is meant."""
    pushed.apply(change.add_item("production", "flags", "extra", {}), ana, "")
    mine = store.document("production").document.text
    assert not pushed.apply(change.push("production", mine), ana, "").applied
    done = pushed.apply(change.push("production", text), ana, "")
    assert done.merge is not None
    assert done.merge.removed == (("flags", "extra"),)
    assert [one.key for one in store.archived_flags("production")] == ["extra"]


def test_items_that_only_the_server_has_stay(
    pushed: Changes, ana: Actor, text: str, store: Store
) -> None:
    """A flag made in the UI survives a push of a file that never knew it."""
    pushed.apply(change.add_item("production", "flags", "extra", {}), ana, "")
    pushed.apply(change.push("production", text.replace("Colour of", "Color of")), ana, "")
    assert ("flags", "extra") in store.document("production").document.items


def test_dropping_what_is_still_named_is_refused(pushed: Changes, ana: Actor, text: str) -> None:
    """A segment goes only when nothing refers to it; the line is the file's."""
    start, end = text.index("segments:"), text.index("experiments:")
    mine = text[:start] + text[end:]
    with pytest.raises(DocumentError, match="staff") as caught:
        pushed.apply(change.push("production", mine), ana, "")
    line = caught.value.problems[0].line
    assert line is not None
    assert "segment: staff" in mine.splitlines()[line - 1]


def test_all_problems_of_a_file_come_at_once_with_its_lines(
    pushed: Changes, ana: Actor, text: str
) -> None:
    """Lines are those of the pushed text, also when the server's has other lines."""
    pushed.apply(change.kill("production", "cta_color"), ana, "x")
    mine = text.replace("share: 5%", "share: 500%").replace("to: candidate", "to: nobody")
    with pytest.raises(DocumentError) as caught:
        pushed.apply(change.push("production", mine), ana, "")
    lines = [mine.splitlines()[(one.line or 0) - 1] for one in caught.value.problems]
    assert any("share: 500%" in line for line in lines)
    assert any("to: nobody" in line for line in lines)


def test_a_file_for_another_environment_is_refused(pushed: Changes, ana: Actor, text: str) -> None:
    """The word `environment` guards against the wrong target."""
    with pytest.raises(DocumentError, match="for environment 'staging'"):
        pushed.apply(change.push("production", text + "\nenvironment: staging\n"), ana, "")


def test_a_syntax_error_is_refused_with_its_line(pushed: Changes, ana: Actor) -> None:
    """Text that is no document never gets to the merge."""
    with pytest.raises(DocumentError) as caught:
        pushed.apply(change.push("production", "version: 1\nflags: [\n"), ana, "")
    assert caught.value.problems[0].line is not None


def test_a_file_with_an_archived_flag_is_refused_with_the_way_out(
    pushed: Changes, ana: Actor, text: str
) -> None:
    """An edited flag that is archived on the server is a conflict or reserved, never revived."""
    pushed.apply(change.archive_flag("production", "cta_color"), ana, "")
    assert not pushed.apply(change.push("production", text), ana, "").applied
    with pytest.raises(MergeConflictError):
        pushed.apply(change.push("production", text.replace("Colour of", "Color of")), ana, "")
    fresh = "version: 1\nflags:\n  cta_color: {}\n"
    with pytest.raises(DocumentError, match="reserved"):
        pushed.apply(change.push("production", fresh, base="version: 1\n"), ana, "")


def test_revert_brings_an_old_document_back(
    pushed: Changes, ana: Actor, text: str, store: Store, now: Callable[[], str]
) -> None:
    """Edits, additions and removals are all undone, as a new revision."""
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    pushed.apply(change.archive_flag("production", "cta_color"), ana, "")
    pushed.apply(change.add_item("production", "flags", "extra", {}), ana, "")
    done = pushed.apply(change.revert("production", 2), ana, "back")
    assert (now(), done.revision) == (text, 6)
    assert [one.key for one in store.archived_flags("production")] == ["extra"]


def test_revert_keeps_the_runtime_words_of_now_unless_asked(
    pushed: Changes, ana: Actor, text: str, now: Callable[[], str]
) -> None:
    """A killed flag stays killed, a rollout stays at its stage, and the notes say so."""
    pushed.apply(change.kill("production", "cta_color"), ana, "x")
    pushed.apply(change.set_share("production", "new_ranker", "climb", "25%"), ana, "")
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    done = pushed.apply(change.revert("production", 2), ana, "")
    assert done.changed == (("flags", "new_checkout"),)
    assert sorted(done.notes) == [
        "flags.cta_color.killed stays as it is now",
        "flags.new_ranker.rules.climb.rollout.stage stays as it is now",
    ]
    pushed.apply(change.revert("production", 2, state=True), ana, "")
    assert now() == text


def test_revert_of_one_item_leaves_the_others(
    pushed: Changes, ana: Actor, text: str, store: Store
) -> None:
    """Only the named item goes back; one that did not exist then is archived."""
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    pushed.apply(change.replace_item("production", *FLAG, {"description": "new"}), ana, "")
    done = pushed.apply(change.revert_item("production", *FLAG, 2), ana, "")
    assert done.changed == (FLAG,)
    assert done.document.document.text == text.replace("share: 5%", "share: 50%")
    done = pushed.apply(change.revert_item("production", *FLAG, 1), ana, "")
    assert [one.key for one in store.archived_flags("production")] == ["cta_color"]
    pushed.apply(change.revert_item("production", *FLAG, 2), ana, "")
    assert store.archived_flags("production") == []
    with pytest.raises(NotFoundError):
        pushed.apply(change.revert_item("production", "flags", "never", 2), ana, "")


def test_revert_of_a_killed_item_keeps_it_killed(pushed: Changes, ana: Actor, store: Store) -> None:
    """Going back to an old text is no way around a kill."""
    pushed.apply(change.kill("production", "cta_color"), ana, "x")
    pushed.apply(change.put_item("production", *FLAG, "  cta_color: {killed: true}\n"), ana, "")
    done = pushed.apply(change.revert_item("production", *FLAG, 2), ana, "")
    assert store.document("production").document.items[FLAG].mapping["killed"] is True
    assert done.notes == ("flags.cta_color.killed stays as it is now",)
    pushed.apply(change.revert_item("production", *FLAG, 2, state=True), ana, "")
    assert "killed" not in store.document("production").document.items[FLAG].mapping


def test_promote_copies_the_text_without_runtime_words(
    pushed: Changes, ana: Actor, store: Store, text: str
) -> None:
    """The rollout starts anew in the target; its comments come along."""
    pushed.apply(change.kill("production", "new_checkout"), ana, "x")
    promote = change.promote("production", "staging", "flags", "new_checkout")
    done = pushed.apply(promote, ana, "")
    there = store.document("staging").document.items["flags", "new_checkout"]
    assert there.text == text[text.index("  new_checkout:") : text.index("\n  new_ranker:")]
    assert done.environment == "staging"
    pushed.apply(change.promote("production", "staging", "flags", "new_ranker"), ana, "")
    rule = store.document("staging").document.mapping["flags"]["new_ranker"]["rules"][0]
    assert "stage" not in rule["rollout"]


def test_promote_keeps_the_targets_runtime_words(pushed: Changes, ana: Actor, store: Store) -> None:
    """A flag that is killed in the target stays killed."""
    promote = change.promote("production", "staging", "flags", "new_checkout")
    pushed.apply(promote, ana, "")
    pushed.apply(change.kill("staging", "new_checkout"), ana, "x")
    pushed.apply(change.set_share("production", "new_checkout", "canary", "30%"), ana, "")
    pushed.apply(promote, ana, "")
    there = store.document("staging").document.items["flags", "new_checkout"].mapping
    assert there["killed"]["reason"] == "x"
    assert there["rules"][0]["share"] == "30%"


def test_promote_names_what_the_target_lacks(pushed: Changes, ana: Actor, store: Store) -> None:
    """Referenced items are not copied along, but listed, and the change is refused."""
    promote = change.promote("production", "staging", "flags", "cta_color")
    seen = pushed.preview(promote)
    assert seen.notes == (
        "staging has no experiments.colour yet",
        "staging has no segments.staff yet",
    )
    with pytest.raises(DocumentError):
        pushed.apply(promote, ana, "")
    with pytest.raises(NotFoundError, match="cta_color"):
        pushed.apply(change.promote("production", "staging", "flags", "cta_colour"), ana, "")


DEPLOY = Actor("command", "flagloop serve")


def shares(store: Store) -> str:
    """The text of the flag that gets a new share."""
    return store.document("production").document.items["flags", "new_checkout"].text


def edited(pushed: Changes, store: Store, ana: Actor) -> str:
    """Ana pulls, edits a flag and pushes with what she pulled as base; her file."""
    mine = store.document("production").document.text
    theirs = mine.replace("Colour of the button", "The button's colour")
    pushed.apply(change.push("production", theirs, base=mine), ana, "")
    return theirs


def test_an_unchanged_file_takes_nothing_back_whoever_pushed_since(
    changes: Changes, ana: Actor, text: str, store: Store
) -> None:
    """A deploy has a base of its own: a share and a push by people are not its changes."""
    changes.apply(change.deploy("production", text), DEPLOY, "")
    changes.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    theirs = edited(changes, store, ana)
    done = changes.apply(change.deploy("production", text), DEPLOY, "")
    assert not done.applied
    assert done.merge is not None
    assert set(done.merge.kept) == {FLAG, ("flags", "new_checkout")}
    assert store.document("production").document.text == theirs


def test_a_changed_file_is_merged_against_what_it_was_when_deployed(
    changes: Changes, ana: Actor, text: str, store: Store
) -> None:
    """Its own change is taken, that of others stays; the same item changed twice conflicts."""
    changes.apply(change.deploy("production", text), DEPLOY, "")
    changes.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    edited(changes, store, ana)
    mine = text.replace("current: v1", "current: v0")
    done = changes.apply(change.deploy("production", mine), DEPLOY, "")
    assert done.merge is not None
    assert done.merge.taken == (("flags", "new_ranker"),)
    assert "share: 50%" in shares(store)
    mine = mine.replace("share: 5%", "share: 7%")
    with pytest.raises(MergeConflictError) as caught:
        changes.apply(change.deploy("production", mine), DEPLOY, "")
    assert caught.value.conflicts == ["flags.new_checkout"]
    assert "share: 50%" in shares(store)


def test_a_file_that_was_pushed_by_hand_is_no_news_to_its_deploy(
    changes: Changes, ana: Actor, text: str, store: Store
) -> None:
    """Also when the server moved on since: the push was taken in then, and once is enough."""
    changes.apply(change.deploy("production", text), DEPLOY, "")
    mine = text.replace("share: 5%", "share: 7%")
    changes.apply(change.push("production", mine, base=text), ana, "")
    changes.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    assert not changes.apply(change.deploy("production", mine), DEPLOY, "").applied
    assert "share: 50%" in shares(store)
    later = mine.replace("share: 7%", "share: 9%")
    with pytest.raises(MergeConflictError):
        changes.apply(change.deploy("production", later), DEPLOY, "")


def test_a_deploy_can_still_go_back_to_what_was_pushed_once(
    changes: Changes, ana: Actor, text: str, store: Store
) -> None:
    """Where nobody else touched the item, the file is right, whatever old pushes held."""
    changes.apply(change.deploy("production", text), DEPLOY, "")
    changes.apply(change.push("production", text, base=text), ana, "")
    mine = text.replace("share: 5%", "share: 9%")
    changes.apply(change.deploy("production", mine), DEPLOY, "")
    changes.apply(change.push("production", text, base=text), ana, "")
    assert "share: 9%" in shares(store)
    changes.apply(change.deploy("production", text), DEPLOY, "")
    assert "share: 5%" in shares(store)


def test_a_deploy_drops_what_left_its_file_and_only_that(
    changes: Changes, ana: Actor, text: str, store: Store
) -> None:
    """A flag of others stays, and one that they archived does not come back."""
    extra = text + "\n  mine: {}\n  gone: {}\n"
    changes.apply(change.deploy("production", extra), DEPLOY, "")
    changes.apply(change.add_item("production", "flags", "theirs", {}), ana, "")
    changes.apply(change.archive_flag("production", "gone"), ana, "")
    edited(changes, store, ana)
    changes.apply(change.deploy("production", text + "\n  gone: {}\n"), DEPLOY, "")
    there = {key for section, key in store.document("production").document.items}
    assert "theirs" in there
    assert not {"mine", "gone"} & there


def test_the_first_deploy_to_a_document_of_others_changes_none_of_its_items(
    pushed: Changes, text: str, store: Store
) -> None:
    """Nobody knows what the file was made from: it may only add, the rest is a conflict."""
    with pytest.raises(MergeConflictError):
        mine = text.replace("share: 5%", "share: 7%")
        pushed.apply(change.deploy("production", mine), DEPLOY, "")
    start, end = text.index("  new_ranker:"), len(text)
    done = pushed.apply(
        change.deploy("production", text[:start] + "  extra: {}\n" + text[end:]), DEPLOY, ""
    )
    assert done.changed == (("flags", "extra"),)
    assert ("flags", "new_ranker") in store.document("production").document.items


def test_each_environment_and_each_sender_has_a_base_of_its_own(
    changes: Changes, ana: Actor, text: str, store: Store
) -> None:
    """The first deploy elsewhere goes in byte for byte, as ever; pushes do not touch the base."""
    for env in ("production", "staging"):
        changes.apply(change.deploy(env, text), DEPLOY, "")
        assert store.document(env).document.text == text
    source = "command flagloop serve"
    changes.apply(change.push("production", text + "\n# ana's\n"), ana, "")
    for env in ("production", "staging"):
        own = store.own_base(env, source)
        assert own is not None
        assert own.text == text
    assert store.own_base("production", "person ana@example.com") is not None
    assert store.own_base("staging", "person ana@example.com") is None


def test_a_fresh_checkout_undoes_nothing_that_others_did(
    pushed: Changes, ana: Actor, text: str, store: Store
) -> None:
    """A job that pushes without a base is merged against its own last push."""
    job = Actor("key", "ci (key 1)")
    pushed.apply(change.push("production", text), job, "")
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    theirs = edited(pushed, store, ana)
    assert not pushed.apply(change.push("production", text), job, "").applied
    assert store.document("production").document.text == theirs
    with pytest.raises(MergeConflictError):
        mine = text.replace("share: 5%", "share: 7%")
        pushed.apply(change.push("production", mine), job, "")


def test_the_first_push_without_a_base_tells_what_it_undoes(
    pushed: Changes, ana: Actor, text: str, store: Store
) -> None:
    """Its base is the last push of anybody, which may be later than the file."""
    job = Actor("key", "ci (key 1)")
    pushed.apply(change.set_share("production", "new_checkout", "canary", "50%"), ana, "")
    pushed.apply(change.add_item("production", "flags", "extra", {}), ana, "")
    edited(pushed, store, ana)
    undoes = [
        {"section": s, "key": k, "revision": n, "actor": "ana@example.com", "action": action}
        for s, k, n, action in (
            ("flags", "cta_color", 5, "push"),
            ("flags", "new_checkout", 3, "share"),
            ("flags", "extra", 4, "add"),
        )
    ]
    assert pushed.preview(change.push("production", text), job).details == {"undoes": undoes}
    done = pushed.apply(change.push("production", text), job, "")
    assert done.details == {"undoes": undoes}
    mine = text.replace("share: 5%", "share: 7%")
    assert pushed.apply(change.push("production", mine), job, "").details == {}


def test_what_one_revision_wrote_is_looked_up_once(tmp_path: Path, ana: Actor) -> None:
    """Its row names everything that it wrote: to read it for each of them takes minutes."""
    read: list[int] = []

    class Counting(Store):
        def revision(self, env: str, number: int) -> RevisionRow:
            read.append(number)
            return super().revision(env, number)

    with Counting(tmp_path / "data") as store:
        store.create_environment("production", ana)
        changes = Changes(store)
        first, second = (
            "version: 1\nflags:\n" + "".join(f"  f{n}: {{owner: {name}}}\n" for n in range(20))
            for name in ("ana", "bo")
        )
        changes.apply(change.push("production", first), ana, "")
        made = changes.preview(change.push("production", second), Actor("person", "bo"))
        assert len(made.details["undoes"]) == 20
    assert read == [2]

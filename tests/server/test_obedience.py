"""Who has a revision, in records and in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop_server.instances import Seen
from flagloop_server.obedience import PATIENCE, Target, duration, obedience
from flagloop_server.store import Environment

AT = 1_000_000
NOW = AT + 1_000
SHOP = Environment(1, "production", "k", 31, True, 0)


def seen(pid: int, revision: str | None, **more: Any) -> Seen:
    """An instance that is there since long and spoke a moment ago."""
    basis: dict[str, Any] = {"first_seen": 0, "last_seen": NOW - 500}
    return Seen(f"i-{pid}", "web-7", pid, "sdk/1", 1, 7, revision, **{**basis, **more})


def obeying(pid: int, after: int, **more: Any) -> Seen:
    """An instance that told of revision 31 so many milliseconds after it was made."""
    return seen(pid, "k.31", steps=(("k", 30, 10), ("k", 31, AT + after)), **more)


def kill(**more: Any) -> Target:
    """Revision 31 killed a flag."""
    return Target(SHOP, 31, AT, **{"action": "kill", "toggled": (31, AT), **more})


def test_a_kill_is_told_as_a_sentence() -> None:
    """How many, how fast, and who is missing, where and since when."""
    instances = [obeying(n, 3 * n) for n in range(1, 98)]
    instances += [seen(n, "k.12", last_seen=AT - 240_000) for n in range(98, 101)]
    told = obedience(instances, kill(), AT + PATIENCE)
    assert told.sentence() == (
        "off on 97 of 100 instances in 0.3 s; 3 stale: "
        "web-7:98 (revision 12, last seen 4 min ago), "
        "web-7:99 (revision 12, last seen 4 min ago), "
        "web-7:100 (revision 12, last seen 4 min ago)"
    )
    assert not told.complete
    assert told.settled


def test_before_patience_ends_nobody_is_called_stale() -> None:
    """They may still be on their way."""
    told = obedience([obeying(1, 42), seen(2, "k.30", streams=1)], kill(), NOW)
    assert told.sentence() == (
        "off on 1 of 2 instances in 42 ms; 1 not yet: web-7:2 (revision 30, last seen 0 s ago)"
    )
    assert (told.complete, told.settled) == (False, False)


def test_all_is_said_in_few_words() -> None:
    """Also of a restore, and of anything else."""
    both = [obeying(1, 1_500), obeying(2, 20)]
    assert obedience(both, kill(), NOW).sentence() == "off on 2 of 2 instances in 1.5 s"
    restored = obedience(both[:1], kill(action="restore"), NOW)
    assert restored.sentence() == "restored on 1 of 1 instance in 1.5 s"
    edited = obedience(both, kill(action="edit", toggled=None), NOW)
    assert edited.sentence() == "in force on 2 of 2 instances in 1.5 s"
    assert all(one.complete and one.settled for one in (restored, edited))


def test_of_nobody_nothing_is_claimed() -> None:
    """No instance is no success."""
    told = obedience([], kill(), NOW)
    assert told.sentence().startswith("no instance is known")
    assert not told.complete
    assert told.seconds is None


def test_who_came_later_says_nothing_about_the_time() -> None:
    """They started with it: that they did so an hour later is no delay."""
    late = obeying(2, 3_600_000, first_seen=AT + 3_500_000)
    told = obedience([obeying(1, 300), late], kill(), AT + 4_000_000)
    assert told.sentence() == "off on 2 of 2 instances in 0.3 s"
    assert obedience([late], kill(), AT + 4_000_000).sentence() == "off on 1 of 1 instance"


@pytest.mark.parametrize(
    ("one", "now", "state"),
    [
        (seen(1, "k.31"), 0, "current"),
        (seen(1, "k.32"), 0, "current"),
        (seen(1, "k.30"), 0, "late"),
        (seen(1, "k.30"), PATIENCE, "stale"),
        (seen(1, None), 0, "late"),
        (seen(1, None), PATIENCE, "stale"),
        (seen(1, None, first_seen=AT + PATIENCE), PATIENCE + 1, "late"),
        (seen(1, "other.99"), PATIENCE, "stale"),
        (seen(1, "file-1a2b"), PATIENCE, "own rules"),
        (seen(1, "document"), 0, "own rules"),
        (seen(1, "k.30", streams=1), PATIENCE, "stale"),
        (seen(1, "k.30", streams=1, opened=AT + PATIENCE), PATIENCE + 1, "late"),
    ],
)
def test_each_instance_is_one_thing(one: Seen, now: int, state: str) -> None:
    """After a kill, `now` milliseconds after it."""
    assert obedience([one], kill(), AT + now).states == ((one, state),)


def test_after_an_ordinary_change_a_stream_is_believed() -> None:
    """It was sent; nobody asks an idle process to say so. What it missed before is a miss."""
    quiet = seen(1, "k.30", streams=1)
    ordinary = kill(action="edit", toggled=(29, AT - 500_000))
    told = obedience([quiet], ordinary, AT + 10 * PATIENCE)
    assert told.states == ((quiet, "sent"),)
    assert told.sentence() == (
        "in force on 0 of 1 instance; 1 sent, and will say so with the next events: "
        "web-7:1 (revision 30, last seen 2 min ago)"
    )
    assert told.settled
    missed = seen(2, "k.28", streams=1)
    assert obedience([missed], ordinary, AT + 10 * PATIENCE).count("stale") == 1
    never = kill(action="edit", toggled=None)
    assert obedience([missed], never, AT + 10 * PATIENCE).count("sent") == 1


def test_who_polls_rarely_is_late_until_its_poll_is_over() -> None:
    """It says so, and so does the sentence: that is no fault, only a long pause."""
    rare = seen(1, "k.30", interval=60_000, last_seen=NOW - 40_000)
    told = obedience([rare], kill(), AT + 70_000)
    assert told.states == ((rare, "late"),)
    assert "(revision 30, last seen 1 min ago, asks every 60 s)" in told.sentence()
    assert obedience([rare], kill(), AT + 71_000).count("stale") == 1
    stream = seen(1, "k.30", interval=60_000, streams=1)
    assert obedience([stream], kill(), AT + PATIENCE).count("stale") == 1


def test_who_is_not_on_the_list_is_not_left_out() -> None:
    """Of those for whom there was no room nothing is known, so nothing is complete."""
    told = obedience([obeying(1, 42)], kill(), NOW, unlisted=1_200)
    assert told.sentence() == (
        "off on 1 of 1 instance in 42 ms; 1,200 or more not known, for whom the list has no room"
    )
    assert not told.complete


def test_a_server_that_just_came_back_says_so() -> None:
    """Who began while it was away is heard of in a minute at most."""
    told = obedience([obeying(1, 42)], kill(), NOW, returning=NOW - 12_000)
    assert told.sentence() == (
        "off on 1 of 1 instance in 42 ms; this server started 12 s ago, so more may come back"
    )
    assert (told.complete, told.settled) == (False, False)  # one of how many, nobody knows yet
    nobody = obedience([], kill(undone=33), NOW, unlisted=2, returning=NOW - 12_000)
    assert nobody.sentence() == (
        "no instance is known that decides by this server, so nobody can say who has it; 2 or more"
        " not known, for whom the list has no room; this server started 12 s ago, so more may come"
        " back; but revision 33 has undone it since"
    )
    assert (nobody.complete, nobody.settled) == (False, False)


def test_many_are_not_all_named() -> None:
    """Five, and how many more."""
    told = obedience([seen(n, "k.1") for n in range(1_000)], kill(), AT + PATIENCE)
    assert told.sentence().count("web-7:") == 5
    assert told.sentence().endswith(" and 995 more")
    assert len(told.to_mapping()["missing"]) == 100


def test_the_json_form_says_it_all() -> None:
    """For the command line and for scripts."""
    told = obedience([obeying(1, 42), seen(2, "k.12", lost={"closed": 3})], kill(), AT + PATIENCE)
    found = told.to_mapping()
    assert found.pop("sentence") == told.sentence()
    (missing,) = found.pop("missing")
    assert found == {
        "environment": "production",
        "lineage": "k",
        "revision": 31,
        "action": "kill",
        "at": AT,
        "instances": 2,
        "reached": 1,
        "seconds": 0.042,
        "unlisted": 0,
        "complete": False,
        "settled": True,
    }
    assert missing == {
        "id": "i-2",
        "host": "web-7",
        "pid": 2,
        "sdk": "sdk/1",
        "key": 7,
        "revision": "k.12",
        "behind": 19,
        "state": "stale",
        "stream": False,
        "first_seen": 0,
        "last_seen": NOW - 500,
        "lost": {"closed": 3},
    }


def test_who_does_not_say_where_it_runs_is_named_by_its_id() -> None:
    """And one that has nothing yet, or another lineage's, is told as such."""
    nameless = Seen("i-9", "", 0, "", 1, 7, None, 0, NOW)
    other = seen(3, "old.7")
    told = obedience([nameless, other], kill(), AT + PATIENCE).sentence()
    assert "i-9 (no revision yet, last seen 14 s ago)" in told
    assert "web-7:3 (revision old.7, last seen" in told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 ms"),
        (0.0421, "42 ms"),
        (0.1, "0.1 s"),
        (0.34, "0.3 s"),
        (61.0, "61.0 s"),
        (600.0, "10 min"),
    ],
)
def test_durations_have_the_precision_that_matters(seconds: float, words: str) -> None:
    """Milliseconds where a stream works, tenths where a poll does."""
    assert duration(seconds) == words

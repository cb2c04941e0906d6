"""Who is there, and what each says to have: out of polls, streams and envelopes."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flagloop_server.instances import (
    GONE,
    HISTORY,
    LEFT,
    LONGEST,
    MOST_LEFT,
    REASONS,
    Instances,
    Introduction,
    Seen,
    introduced,
    parted,
)

SHOP = 1
KEY = 7
MINUTE = 60_000


class World:
    """The registry and its clock (epoch ms)."""

    def __init__(self, most: int = 100) -> None:
        self.now = 1_000_000
        self.instances = Instances(lambda: self.now, most)

    def poll(self, name: str, revision: str | None, environment: int = SHOP) -> None:
        """A poll of one that has `revision`."""
        tag = None if revision is None else f'"{revision}"'.encode()
        self.instances.polled(environment, KEY, said(name), tag)

    def open(self, name: str, revision: str | None) -> None:
        """A stream of one that has `revision`."""
        last = None if revision is None else revision.encode()
        self.instances.opened(SHOP, KEY, said(name), last)

    def close(self, name: str) -> None:
        """The end of a stream."""
        self.instances.closed(SHOP, KEY, said(name))

    def deliver(self, name: str, revision: str | None, **lost: int) -> None:
        """A batch of events."""
        who = Introduction(name, "web-1", 42, "flagloop-python/1.0")
        self.instances.delivered(SHOP, KEY, who, revision, lost)

    def leave(self, name: str) -> None:
        """A goodbye."""
        self.instances.polled(SHOP, KEY, said(name) + b"; leaves", None)

    def one(self) -> Seen:
        """The only one there is."""
        (found,) = self.instances.all(SHOP)
        return found

    def names(self) -> set[str]:
        """Who is there."""
        return {one.id for one in self.instances.all(SHOP)}


def said(name: str) -> bytes:
    """How a process introduces itself."""
    return f"{name}; host=web-1; pid=42; sdk=flagloop-python/1.0".encode()


@pytest.fixture
def world() -> World:
    """An empty one."""
    return World()


def test_a_poll_tells_who_what_and_when(world: World) -> None:
    """Nothing more is needed for a line of the list."""
    world.poll("i-1", "k.12")
    one = world.one()
    assert (one.place, one.sdk, one.key, one.revision) == (
        "web-1:42",
        "flagloop-python/1.0",
        KEY,
        "k.12",
    )
    assert (one.first_seen, one.last_seen, one.streams) == (world.now, world.now, 0)


def test_the_moment_of_a_revision_is_when_it_was_first_told(world: World) -> None:
    """By this server's clock; repetitions and news of old ones change nothing."""
    world.poll("i-1", "k.12")
    world.instances.settle()
    world.now += 10_000
    world.poll("i-1", "k.12")
    world.poll("i-1", "k.13")
    world.now += 300
    world.poll("i-1", "k.13")
    world.deliver("i-1", "k.12")
    world.now += 5_000
    world.deliver("i-1", "k.13")
    one = world.one()
    assert one.revision == "k.13"
    assert one.reached("k", 13) == 1_010_000
    assert one.last_seen == 1_015_300


def test_nobody_reached_what_they_came_with(world: World) -> None:
    """A process that started after a kill says nothing about how long the kill took."""
    world.poll("i-1", "k.13")
    one = world.one()
    assert one.has("k", 13)
    assert one.has("k", 12)
    assert not one.has("k", 14)
    assert not one.has("j", 1)
    assert one.reached("k", 13) is None
    assert one.reached("k", 14) is None


def test_only_the_latest_moments_are_kept(world: World) -> None:
    """Older revisions were reached at a time that is not known any more."""
    for number in range(1, HISTORY + 5):
        world.poll("i-1", f"k.{number}")
        world.now += 1_000
        world.instances.settle()
    one = world.one()
    assert len(one.steps) == HISTORY
    assert one.reached("k", 2) is None
    assert one.reached("k", HISTORY + 4) == 1_000_000 + (HISTORY + 3) * 1_000


def test_streams_keep_an_instance_there(world: World) -> None:
    """However long it says nothing; once the last is closed, silence counts."""
    world.open("i-1", "k.12")
    world.open("i-1", "k.12")
    world.close("i-1")
    world.now += 10 * GONE
    assert world.one().streams == 1
    assert world.one().last_seen == world.one().opened == 1_000_000
    world.close("i-1")
    world.close("i-1")
    assert world.one().last_seen == world.now
    world.now += GONE + 1
    assert world.names() == set()


def test_who_is_silent_is_forgotten(world: World) -> None:
    """After a quarter of an hour, and not a moment before."""
    world.poll("i-1", "k.12")
    world.now += GONE
    assert world.names() == {"i-1"}
    world.now += 1
    assert world.names() == set()


def test_who_says_goodbye_is_gone_at_once(world: World) -> None:
    """Its stream's end and a late envelope do not bring it back; a new poll does."""
    world.open("i-1", "k.12")
    world.now += 1
    world.leave("i-1")
    assert world.names() == set()
    world.close("i-1")
    world.deliver("i-1", "k.12")
    assert world.names() == set()
    world.poll("i-1", "k.12")
    assert world.names() == {"i-1"}
    world.leave("i-1")
    world.now += LEFT + 1
    world.instances.settle()
    world.deliver("i-1", "k.12")
    assert world.names() == {"i-1"}


def test_an_envelope_never_changes_the_lineage_that_a_poll_told(world: World) -> None:
    """It may have waited since before a backup was restored."""
    world.deliver("i-1", "old.90")
    assert world.one().revision == "old.90"
    world.poll("i-1", "new.3")
    world.deliver("i-1", "old.91")
    world.deliver("i-1", "file-1234")
    world.deliver("i-1", None)
    assert world.one().revision == "new.3"
    world.deliver("i-1", "new.4")
    assert world.one().revision == "new.4"
    world.poll("i-1", "newer.1")
    assert world.one().revision == "newer.1"


def test_losses_add_up_by_reason(world: World) -> None:
    """There are at most so many reasons: whoever sends them names them."""
    world.deliver("i-1", None, queue_full=2)
    world.deliver("i-1", None, queue_full=3, closed=1)
    assert world.one().lost == {"queue_full": 5, "closed": 1}
    world.deliver("i-1", None, **{f"reason-{n}": 1 for n in range(2 * REASONS)})
    lost = world.one().lost
    assert len(lost) == REASONS + 1
    assert sum(lost.values()) == 6 + 2 * REASONS


def test_nothing_that_a_terminal_would_obey_is_kept(world: World) -> None:
    """Commands print hosts, revisions and reasons."""
    evil = "\x1b[2J"
    who = Introduction("i-1", evil, 1, evil)
    world.instances.delivered(SHOP, KEY, who, evil, {evil: 2})
    world.instances.delivered(SHOP, KEY, who._replace(id=evil), None)
    one = world.one()
    assert (one.id, one.host, one.sdk, one.revision, one.lost) == (
        "i-1",
        "",
        "",
        None,
        {"other": 2},
    )
    world.instances.opened(SHOP, KEY, said("i-1"), evil.encode())
    assert world.one().revision is None


def test_there_is_room_for_so_many(world: World) -> None:
    """The others are counted, and have room when somebody goes; each environment its own."""
    world = World(most=3)
    for number in range(5):
        world.poll(f"i-{number}", "k.1")
    world.poll("other", "k.1", environment=2)
    assert len(world.names()) == 3
    assert world.instances.unlisted() == 2
    for number in range(5):
        world.poll(f"i-{number}", "k.2")
    assert len(world.names()) == 3
    assert world.instances.unlisted() == 2  # processes, not what was heard of them
    assert len(world.instances.all(2)) == 1
    world.leave(sorted(world.names())[0])
    assert len(world.names()) == 2
    world.poll("i-9", "k.1")
    assert "i-9" in world.names()
    world.now += GONE + 1
    assert (world.names(), world.instances.unlisted()) == (set(), 0)


def test_those_without_room_are_counted_where_they_belong() -> None:
    """By environment, and in all."""
    world = World(most=1)
    for number in range(3):
        world.poll(f"i-{number}", "k.1")
    for number in range(2):
        world.poll(f"j-{number}", "k.1", environment=2)
    world.instances.settle()
    found = [world.instances.unlisted(environment) for environment in (SHOP, 2, 3)]
    assert (found, world.instances.unlisted()) == ([2, 1, 0], 3)


def test_who_polls_rarely_is_not_forgotten_between_two_polls(world: World) -> None:
    """It says how long it pauses; an hour at most is believed, and nothing that is no time."""
    for name, interval in (("i-1", "1200"), ("i-2", "86400"), ("i-3", "nan"), ("i-4", "-5")):
        world.instances.polled(SHOP, KEY, said(name) + f"; interval={interval}".encode(), b"k.1")
    pauses = {one.id: one.interval for one in world.instances.all(SHOP)}
    assert pauses == {"i-1": 1_200_000, "i-2": 3_600_000, "i-3": 0, "i-4": 0}
    world.deliver("i-1", "k.1")
    world.now += GONE + 1
    assert world.names() == {"i-1", "i-2"}
    world.now += 2_400_000
    assert world.names() == {"i-2"}


def test_a_newcomer_is_written_once_when_its_revision_is_known(world: World) -> None:
    """And not at all where it left before that."""
    world.poll("i-1", "k.1")
    world.poll("i-2", None)
    world.poll("i-3", None)
    assert {one.id for one in world.instances.newcomers()[SHOP]} == {"i-1"}
    world.poll("i-2", "k.1")
    world.leave("i-3")
    assert {one.id for one in world.instances.newcomers()[SHOP]} == {"i-2"}
    assert world.instances.newcomers() == {}


def test_who_comes_back_after_a_goodbye_has_not_left(world: World) -> None:
    """Its row on disk must stay."""
    for name in ("i-1", "i-2"):
        world.poll(name, "k.1")
        world.leave(name)
    world.instances.settle()
    world.poll("i-1", "k.1")
    world.instances.settle()
    assert world.instances.left(SHOP) == ["i-2"]
    assert world.instances.leavers(world.now) == {SHOP: ["i-2"]}
    assert world.instances.leavers(world.now + 1) == {}


def test_a_clock_that_was_set_back_makes_nobody_immortal(world: World) -> None:
    """What was heard in the future counts as heard now."""
    world.now += 24 * 60 * MINUTE
    world.poll("i-1", "k.12")
    world.instances.settle()
    world.now -= 24 * 60 * MINUTE
    assert world.one().last_seen == world.now
    world.now += GONE + 1
    assert world.names() == set()


def test_a_clock_that_jumps_leaves_no_stream_open(world: World) -> None:
    """What came first was first, whatever the clock said; so nobody stays for ever."""
    world.open("i-1", "k.12")
    world.now -= 24 * 60 * MINUTE
    world.close("i-1")
    assert world.one().streams == 0


def test_an_earlier_run_is_remembered_until_it_is_contradicted(world: World) -> None:
    """After a restart the silent ones are named still, and what comes next has its moment."""
    gone = Seen("i-1", "web-1", 42, "sdk", SHOP, None, "k.12", world.now, world.now - MINUTE)
    world.poll("i-2", "k.13")
    world.instances.settle()
    world.instances.recall(SHOP, [gone, Seen("i-2", "", 0, "", SHOP, None, "k.1", 0, world.now)])
    by_name = {one.id: one for one in world.instances.all(SHOP)}
    assert by_name["i-1"].revision == "k.12"
    assert by_name["i-1"].last_seen == world.now - MINUTE
    assert by_name["i-2"].revision == "k.13"
    world.now += 5
    world.poll("i-1", "k.13")
    by_name = {one.id: one for one in world.instances.all(SHOP)}
    assert by_name["i-1"].reached("k", 13) == world.now


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"i-1", Introduction("i-1", "", 0, "")),
        (b"i-1; host=a%20b; pid=7; sdk=x/1", Introduction("i-1", "a b", 7, "x/1")),
        (b" i-1 ;pid=7;leaves", Introduction("i-1", "", 7, "", leaves=True)),
        (b"i-1; host=%00%1b; pid=-3; what", Introduction("i-1", "", 0, "")),
        (b"i-1; pid=" + b"9" * 40, Introduction("i-1", "", 0, "")),
        (b"i-1; host=" + b"h" * 400, Introduction("i-1", "h" * 100, 0, "")),
        (b"i-1; host=%F0%28", Introduction("i-1", "\ufffd(", 0, "")),
        (b"", None),
        (b"; host=a", None),
        (b"i" * 101, None),
        (b"i\x01", None),
        (b"i-1; host=" + b"h" * LONGEST, None),
    ],
)
def test_introductions_are_read_with_care(header: bytes, found: Introduction | None) -> None:
    """They are texts of somebody else: bounded, printable, or nobody's."""
    assert introduced(header) == found


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        ("k.12", ("k", 12)),
        ("a.b.1", ("a.b", 1)),
        ("file-1a", None),
        ("document", None),
        ("12", None),
        (".12", None),
        ("k.", None),
        ("k.-1", None),
        ("k.\u0663", None),
        ("k." + "9" * 16, None),
        (None, None),
    ],
)
def test_a_revision_has_a_lineage_and_a_number(revision: Any, found: Any) -> None:
    """Everything else is no revision of this server."""
    assert parted(revision) == found


def test_a_tag_that_a_proxy_weakened_is_read(world: World) -> None:
    """As the edge itself reads it."""
    world.instances.polled(SHOP, KEY, said("i-1"), b'W/"k.12"')
    assert world.one().revision == "k.12"


def test_nothing_is_lost_while_the_loop_goes_on(world: World) -> None:
    """Polls come on one thread while another takes them in again and again."""
    over = threading.Event()

    def settle() -> None:
        while not over.is_set():
            world.instances.settle()

    thread = threading.Thread(target=settle)
    thread.start()
    for number in range(1, 3_001):
        world.poll(f"i-{number % 50}", f"k.{number}")
    over.set()
    thread.join(60)
    found = world.instances.all(SHOP)
    assert {one.revision for one in found} == {f"k.{number}" for number in range(2_951, 3_001)}


def test_what_waits_is_bounded(world: World) -> None:
    """An endless row of new names fills no memory, and headers that are too long are not kept."""
    world.instances.polled(SHOP, KEY, b"i-1; host=" + b"h" * LONGEST, None)
    assert not world.instances._polls
    world.instances.polled(SHOP, KEY, said("i-1"), b"k" * (LONGEST + 1))
    assert {tag for _, tag, _ in world.instances._polls.values()} == {None}
    for number in range(60_000):
        world.instances.polled(SHOP, KEY, b"i-%d" % number, None)
    assert len(world.instances._polls) == 50_000
    assert len(world.names()) == 100


def test_goodbyes_that_are_remembered_are_bounded_and_forgotten(world: World) -> None:
    """Of processes without end, and by a clock that was set back."""
    for number in range(60_000):
        world.instances.polled(SHOP, KEY, b"i-%d; leaves" % number, None)
        if number % 30_000 == 0:
            world.instances.settle()
    world.instances.settle()
    assert len(world.instances._left) == MOST_LEFT
    world.now -= 24 * 60 * MINUTE
    world.instances.settle()
    assert not world.instances._left

"""The hub: who is told what, and who is dropped."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flagloop_server.edge.answers import Refused, reply
from flagloop_server.edge.hub import PIECE, SLOTS, Hub, StreamLimits
from flagloop_server.edge.keys import EdgeKey, KeyRing
from flagloop_server.edge.snapshots import Content, Snapshot, Snapshots, member
from flagloop_server.edge.stream import Stream

LIMITS = StreamLimits(total=4, key=3, waiting=16, heartbeat=3600.0, linger=0.0)


def snapshot(number: int, *, lineage: str = "line", name: str = "production") -> Snapshot:
    """A revision in which flag `a` has that number and flag `b` never changes."""
    flags = {"a": member("a", {"salt": number}), "b": member("b", {})}
    return Snapshot(name, lineage, number, Content({}, {"flags": flags}))


class World:
    """A hub with keys `one`, `two` (environment 1) and `three` (environment 2)."""

    def __init__(self, limits: StreamLimits = LIMITS) -> None:
        self.now = 0.0
        self.keys = {
            self.digest("one"): EdgeKey(1, "server", 1, expires=50.0),
            self.digest("two"): EdgeKey(2, "server", 1),
            self.digest("three"): EdgeKey(3, "server", 2),
        }
        self.ring = KeyRing(self.keys.get, lambda: self.now)
        for digest in self.keys:
            self.ring.look_up(digest)
        self.snapshots = Snapshots()
        for place in (1, 2):
            self.snapshots.put(place, snapshot(1))
        self.hub = Hub(self.ring, self.snapshots, limits)

    @staticmethod
    def digest(name: str) -> bytes:
        """The digest of a key of that name."""
        return hashlib.sha256(name.encode()).digest()

    def of(self, name: str) -> Callable[..., Awaitable[None]]:
        """The stream as an application, for the key of that name."""

        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            stream = Stream(self.hub, scope, receive, send)
            try:
                stream.open(scope, self.digest(name))
            except Refused as refusal:
                await reply(send, refusal.answer)
            else:
                await stream.serve()

        return asgi

    def change(self, number: int, place: int = 1, **options: Any) -> None:
        """Publish the next revision."""
        before, after = self.snapshots.get(place), snapshot(number, **options)
        assert self.snapshots.put(place, after)
        self.hub.publish(place, before, after)


@pytest.fixture
def world() -> World:
    """A fresh hub."""
    return World()


def test_a_change_reaches_every_stream_of_its_environment(world: World, reading: Any) -> None:
    """One delta that names its base; the other environment hears nothing."""

    async def run() -> None:
        readers = [reading(world.of(name)) for name in ("one", "two", "three")]
        for reader in readers:
            await reader.until(1)
        world.change(2)
        for reader in readers[:2]:
            told = (await reader.until(2))[1]
            assert (told.id, told.event) == ("line.2", "change")
            assert told.data == {
                "revision": "line.2",
                "base": "line.1",
                "set": {"flags": {"a": {"salt": 2}}},
                "unset": {},
            }
        assert len(readers[2].frames) == 1

    asyncio.run(run())


def test_changes_need_no_task_of_each_stream(world: World, reading: Any, settled: Any) -> None:
    """A reader that is not behind gets them by its connection at once, and in order."""

    async def run() -> None:
        reader = reading(world.of("one"))
        await reader.until(1)
        await settled()
        world.change(2)
        await reader.until(2)
        assert reader.written == int(reader.connected)
        reader.free.clear()
        world.change(3)
        await settled()
        reader.free.set()
        world.change(4)
        assert [one.id for one in await reader.until(4)][2:] == ["line.3", "line.4"]

    asyncio.run(run())


def test_what_a_stream_opened_with_is_not_told_again(
    world: World, reading: Any, settled: Any
) -> None:
    """It may open after a snapshot became current and before its change is told."""

    async def run() -> list[Any]:
        early = reading(world.of("one"))
        await early.until(1)
        before = world.snapshots.get(1)
        world.snapshots.put(1, snapshot(2))
        late = reading(world.of("one"))
        await late.until(1)
        world.hub.publish(1, before, world.snapshots.get(1))
        await early.until(2)
        await settled()
        world.change(3)
        await early.until(3)
        return [(one.event, one.id) for one in await late.until(2)]

    assert asyncio.run(run()) == [("snapshot", "line.2"), ("change", "line.3")]


@pytest.mark.parametrize(
    "options", [{"lineage": "other"}, {"name": "prod"}], ids=["lineage", "renamed"]
)
def test_what_is_no_change_of_items_is_a_snapshot(
    world: World, reading: Any, options: dict[str, str]
) -> None:
    """A restored backup (also with a lower number) and another name of the environment."""

    async def run() -> Any:
        world.change(5)
        reader = reading(world.of("one"))
        await reader.until(1)
        world.change(5 if "name" in options else 2, **options)
        return (await reader.until(2))[1]

    told = asyncio.run(run())
    assert told.event == "snapshot"
    assert told.data["environment"] == options.get("name", "production")


def test_a_stream_that_missed_a_revision_gets_a_snapshot(world: World, reading: Any) -> None:
    """The hub keeps book of each stream: a base that is not its own is never sent."""

    async def run() -> Any:
        reader = reading(world.of("one"))
        await reader.until(1)
        world.snapshots.put(1, snapshot(2))
        world.change(3)
        return (await reader.until(2))[1]

    told = asyncio.run(run())
    assert (told.event, told.id) == ("snapshot", "line.3")


def test_many_changes_at_once_arrive_in_order(world: World, reading: Any) -> None:
    """Each based on the one before, to more streams than one turn of the loop serves."""
    world.hub.limits = StreamLimits(heartbeat=3600.0)

    async def run() -> None:
        readers = [reading(world.of("two")) for _ in range(600)]
        for reader in readers:
            await reader.until(1)
        for number in range(2, 8):
            world.change(number)
        for reader in readers:
            told = [one.id for one in await reader.until(7)]
            assert told == [f"line.{number}" for number in range(1, 8)]
            assert {one.event for one in reader.frames[1:]} == {"change"}

    asyncio.run(run())


def test_a_slow_reader_is_dropped_and_the_others_are_not(
    world: World, reading: Any, settled: Any
) -> None:
    """Sixteen frames may wait; with the next one its task is cancelled, its connection cut."""

    async def run() -> None:
        slow, quick = reading(world.of("one")), reading(world.of("two"))
        await slow.until(1)
        slow.free.clear()
        for number in range(2, 19):
            world.change(number)
            await quick.until(number)
        assert not slow.task.done()  # one is being sent, sixteen wait
        world.change(19)
        await slow.over()
        assert (slow.aborted, slow.ended, len(slow.frames)) == (slow.connected, False, 1)
        assert len(await quick.until(19)) == 19
        assert (len(world.hub), dict(world.hub.ended)) == (1, {"slow": 1})

    asyncio.run(run())


def test_a_heartbeat_comes_once_a_period(world: World, reading: Any, settled: Any) -> None:
    """Spread over the period, so that they don't all fall into one moment."""

    async def run() -> None:
        readers = [reading(world.of(name)) for name in ("one", "two", "three")]
        for reader in readers:
            await reader.until(1)
        world.hub.beat()
        await settled()
        assert sum(len(reader.frames) for reader in readers) < 6
        for _ in range(SLOTS - 1):
            world.hub.beat()
        await settled()
        assert [reader.pieces[1:] for reader in readers] == [[b":\n\n"]] * 3

    asyncio.run(run())


def test_a_reader_that_takes_nothing_for_two_heartbeats_is_dropped(
    world: World, reading: Any, settled: Any
) -> None:
    """Also without changes; one that takes a piece in between stays."""

    async def run() -> None:
        stuck, slow = reading(world.of("one")), reading(world.of("two"))
        for reader in (stuck, slow):
            await reader.until(1)
            reader.free.clear()
        world.change(2)
        world.change(3)
        await settled()
        for _ in range(SLOTS):
            world.hub.beat()
        slow.free.set()
        await slow.until(3)
        slow.free.clear()
        for _ in range(SLOTS):
            world.hub.beat()
        await stuck.over()
        assert not slow.task.done()
        assert dict(world.hub.ended) == {"slow": 1}

    asyncio.run(run())


def test_a_reader_that_goes_away_is_noticed(world: World, reading: Any) -> None:
    """At once, without a frame that would have to be sent; its place is free."""

    async def run() -> None:
        for _ in range(3 * LIMITS.key):
            reader = reading(world.of("one"))
            await reader.until(1)
            reader.leave()
            await reader.over()
        assert len(world.hub) == 0
        assert world.hub.ended["gone"] == 3 * LIMITS.key

    asyncio.run(run())


def test_a_stuck_reader_that_goes_away_is_noticed(world: World, reading: Any) -> None:
    """The server lets its send return; nothing more is sent."""

    async def run() -> None:
        reader = reading(world.of("one"))
        await reader.until(1)
        reader.free.clear()
        world.change(2)
        reader.leave()
        reader.free.set()
        await reader.over()
        assert len(world.hub) == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["one"] * 4, "this key has too many streams open"),
        (["one", "one", "two", "two", "three"], "too many streams are open"),
    ],
    ids=["of a key", "in all"],
)
def test_streams_are_limited(world: World, reading: Any, names: list[str], message: str) -> None:
    """503 tells when to come again, at moments that differ; a free place is given again."""

    async def run() -> None:
        readers = [reading(world.of(name)) for name in names]
        for reader in readers[:-1]:
            await reader.until(1)
        await readers[-1].over()
        assert readers[-1].status == 503
        assert message.encode() in readers[-1].pieces[0]
        assert 5 <= int(readers[-1].headers["retry-after"]) <= 15
        assert world.hub.refused == 1
        readers[0].leave()
        await readers[0].over()
        await reading(world.of(names[-1])).until(1)

    asyncio.run(run())


def test_a_revoked_key_ends_its_streams_at_once(world: World, reading: Any, settled: Any) -> None:
    """And no others; a new one is refused."""

    async def run() -> None:
        revoked, other = reading(world.of("one")), reading(world.of("two"))
        for reader in (revoked, other):
            await reader.until(1)
        del world.keys[world.digest("one")]
        world.ring.refresh()
        world.hub.check()
        await revoked.over()
        assert revoked.ended
        again = reading(world.of("one"))
        await again.over()
        assert again.status == 401
        assert not other.task.done()
        assert dict(world.hub.ended) == {"refused": 1}
        assert world.hub.key_ids() == {2}

    asyncio.run(run())


def test_an_expired_key_ends_its_streams(world: World, reading: Any) -> None:
    """No commit tells of that: the next moment of the period does."""

    async def run() -> None:
        reader = reading(world.of("one"))
        await reader.until(1)
        world.now = 50.0
        world.hub.beat()
        await reader.over()
        assert reader.ended

    asyncio.run(run())


def test_an_archived_environment_ends_its_streams(world: World, reading: Any) -> None:
    """A new one is told why."""

    async def run() -> None:
        reader, other = reading(world.of("one")), reading(world.of("three"))
        await reader.until(1)
        await other.until(1)
        world.snapshots.keep({2})
        world.hub.check()
        await reader.over()
        assert (reader.ended, other.task.done()) == (True, False)
        again = reading(world.of("one"))
        await again.over()
        assert again.status == 404

    asyncio.run(run())


def test_the_end_of_the_server_ends_every_stream(world: World, reading: Any, settled: Any) -> None:
    """Cleanly where the reader takes it, by a cut where it takes nothing; new ones get 503."""

    async def run() -> None:
        readers = [reading(world.of(name)) for name in ("one", "two", "three")]
        for reader in readers:
            await reader.until(1)
        readers[2].free.clear()
        world.change(2, place=2)
        await settled()
        world.hub.close()
        for reader in readers:
            await reader.over()
        assert [reader.ended for reader in readers] == [True, True, False]
        assert [reader.aborted for reader in readers] == [False, False, readers[2].connected]
        late = reading(world.of("one"))
        await late.over()
        assert (late.status, len(world.hub)) == (503, 0)

    asyncio.run(run())


def test_a_cancel_that_is_not_the_hubs_goes_on(world: World, reading: Any) -> None:
    """Who cancels the request is obeyed, and the place is free."""

    async def run() -> None:
        reader = reading(world.of("one"))
        await reader.until(1)
        reader.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader.task
        assert len(world.hub) == 0

    asyncio.run(run())


def test_a_large_snapshot_goes_in_pieces_and_stops_at_the_end(
    world: World, reading: Any, settled: Any
) -> None:
    """A slow reader makes the process hold a piece, and a revoked key gets no further one."""
    content = Content({}, {"flags": {"big": member("big", {"salt": "x" * (3 * PIECE)})}})
    world.snapshots.put(1, Snapshot("production", "line", 2, content))

    async def run() -> None:
        whole = reading(world.of("one"))
        await whole.until(1)
        assert max(map(len, whole.pieces)) == PIECE
        assert whole.frames[0].data["flags"]["big"]["salt"] == "x" * (3 * PIECE)
        slow = reading(world.of("two"))
        slow.free.clear()
        await settled()
        world.hub.close()
        slow.free.set()
        await slow.over()
        assert (slow.ended, slow.pieces) == (True, [])

    asyncio.run(run())


def test_publishing_without_any_stream_does_nothing(world: World) -> None:
    """Before the first stream there is no loop; after the last one it may be closed."""
    world.change(2)

    async def run() -> None:
        pass

    asyncio.run(run())
    world.change(3)
    world.hub.check()
    assert world.hub.key_ids() == set()


def test_publishing_after_the_loop_has_ended_does_nothing(world: World, reading: Any) -> None:
    """A change may be made while the server stops."""

    async def run() -> None:
        reader = reading(world.of("one"))
        await reader.until(1)
        reader.leave()
        await reader.over()

    asyncio.run(run())
    world.change(2)
    asyncio.run(run())
    assert world.hub.ended["gone"] == 2

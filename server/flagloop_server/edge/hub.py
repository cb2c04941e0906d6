"""Who listens to which environment, and how a change reaches all of them.

All state lives on the event loop; other threads only `publish` and ask for a `check`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from flagloop_server.edge.answers import Refused, error
from flagloop_server.edge.keys import KeyRing
from flagloop_server.edge.snapshots import Frame, Snapshot, Snapshots

Cut: TypeAlias = Callable[[], None]
"""Ends a stream at once, also while its reader takes nothing."""

HEARTBEAT = Frame(b":\n\n")

PIECE = 64 * 1024
"""Bytes of one write: what a slow reader makes the process hold."""

SLOTS = 20
"""Heartbeats are spread over so many moments: thousands at once would delay a change."""

SLICE = 250
"""So many streams get a change before other requests have their turn."""

ARCHIVED = "the environment of this key is archived"


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Streams in all and of one key, frames that may wait in each, seconds between heartbeats.

    `linger` is how long a reader that is in the middle of something may take to come to the end.
    """

    total: int = 10_000
    key: int = 7_500
    waiting: int = 16
    heartbeat: float = 10.0
    linger: float = 1.0


class Connection(Protocol):
    """The connection under a stream: a change is written to thousands without a task of each."""

    def write(self, chunk: bytes) -> bool:
        """Write a chunk of the answer now; False when the reader is behind or gone."""
        ...

    def abort(self) -> None:
        """Drop it: a close would wait for a reader that takes nothing."""
        ...


class Subscriber:
    """One open stream: what waits to be sent, and which snapshot its reader has come to.

    `reason` says why it ends: gone, slow, refused (key or environment) or stopped.
    """

    __slots__ = (
        "_connection",
        "_frames",
        "_waiter",
        "at",
        "cut",
        "digest",
        "environment",
        "reason",
        "sending",
        "slot",
    )

    def __init__(
        self,
        digest: bytes,
        environment: int,
        at: Snapshot,
        cut: Cut,
        connection: Connection | None,
    ) -> None:
        self.digest = digest
        self.environment = environment
        self.at = at
        self.cut = cut
        self.reason: str | None = None
        # Heartbeats since the piece began that is being sent; None while there is none.
        self.sending: int | None = 0
        self.slot: set[Subscriber] = set()
        self._connection = connection
        self._frames: deque[Frame] = deque()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Frames that wait to be sent."""
        return len(self._frames)

    def push(self, frame: Frame) -> None:
        """Send `frame` now if the reader is not behind, else let it be sent after what waits."""
        idle = self.sending is None and not self._frames and len(frame.text) <= PIECE
        if idle and self._connection is not None and self._connection.write(frame.chunk()):
            return
        self._frames.append(frame)
        self._wake()

    def end(self, reason: str) -> None:
        """Send nothing more; the first reason stays."""
        if self.reason is None:
            self.reason = reason
            self._frames.clear()
            self._wake()

    async def next(self) -> Frame | None:
        """The next frame, None at the end."""
        self.sending = None
        while not self._frames and self.reason is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self.sending = 0
        return None if self.reason is not None else self._frames.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Hub:
    """All open streams.

    `opened` counts those that began by their first frame (snapshot, or comment for a reader that
    was current), `ended` those that ended by reason, `refused` those over a limit.
    """

    def __init__(self, keys: KeyRing, snapshots: Snapshots, limits: StreamLimits) -> None:
        self.limits = limits
        self.opened: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.refused = 0
        self._keys = keys
        self._snapshots = snapshots
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._count = 0
        # By key: revoking one, the limit and the environment are all a matter of the key.
        self._groups: dict[bytes, set[Subscriber]] = {}
        self._slots: list[set[Subscriber]] = [set() for _ in range(SLOTS)]
        self._slot = 0
        self._beating: asyncio.TimerHandle | None = None
        self._changes: deque[tuple[int, Snapshot, Frame | None, Snapshot]] = deque()
        self._fanning: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._count

    def key_ids(self) -> set[int]:
        """The ids of the keys that have an open stream. From any thread."""
        known = [self._keys.known(digest) for digest in list(self._groups)]
        return {key.id for key in known if key is not None}

    def open(
        self, digest: bytes, last: bytes | None, cut: Cut, connection: Connection | None = None
    ) -> Subscriber:
        """A new stream whose first frame waits; `last` is the revision that its reader has.

        Raises Refused: 401 for a key that was revoked meanwhile, 404 for an archived
        environment, 503 over a limit. To be called on the loop.
        """
        # Before the snapshot is read: what is published from now on must find this loop.
        self._loop = asyncio.get_running_loop()
        key = self._keys.known(digest)
        if key is None or key.environment is None:
            raise Refused(error(401, "this key is unknown, expired or revoked", close=True))
        snapshot = self._snapshots.get(key.environment)
        if snapshot is None:
            raise Refused(error(404, ARCHIVED))
        self._admit(digest)
        subscriber = Subscriber(digest, key.environment, snapshot, cut, connection)
        current = last is not None and last.strip() == snapshot.revision.encode()
        subscriber.push(HEARTBEAT if current else snapshot.event())
        self._groups.setdefault(digest, set()).add(subscriber)
        subscriber.slot = self._slots[self.opened.total() % SLOTS]
        subscriber.slot.add(subscriber)
        self.opened["comment" if current else "snapshot"] += 1
        self._count += 1
        self._begin(self._loop)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """The stream is over, whoever ended it."""
        group = self._groups.get(subscriber.digest, set())
        if subscriber not in group:
            return
        group.discard(subscriber)
        if not group:
            del self._groups[subscriber.digest]
        subscriber.slot.discard(subscriber)
        self._count -= 1
        self.ended[subscriber.reason or "gone"] += 1
        if not self._count and self._beating is not None:
            self._beating.cancel()
            self._beating = None

    def publish(self, environment: int, before: Snapshot | None, after: Snapshot) -> None:
        """Bring the streams of an environment to `after`, its current snapshot. From any thread."""
        if self._loop is None or before is None:
            return
        change = after.change_since(before)
        self._call(self._publish, environment, before, change, after)

    def check(self) -> None:
        """End the streams whose key or environment is there no more. From any thread."""
        self._call(self._check)

    def close(self) -> None:
        """End all streams and refuse new ones. To be called on the loop."""
        self._stopping = True
        self._end([one for group in self._groups.values() for one in group], "stopped")

    def beat(self) -> None:
        """One of the moments of a period: heartbeats of a part, expired keys, stuck readers."""
        self._check()
        for subscriber in list(self._slots[self._slot]):
            if subscriber.sending is None:
                self._push(subscriber, HEARTBEAT)
            elif subscriber.sending:
                self._drop(subscriber)
            else:
                subscriber.sending += 1
        self._slot = (self._slot + 1) % SLOTS

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._beating is None:
            self._beating = loop.call_later(self.limits.heartbeat / SLOTS, self._again)

    def _again(self) -> None:
        self._beating = None
        self.beat()
        if self._count and self._loop is not None:
            self._begin(self._loop)

    def _admit(self, digest: bytes) -> None:
        full = self._count >= self.limits.total
        if not full and len(self._groups.get(digest, ())) < self.limits.key and not self._stopping:
            return
        self.refused += 1
        message = "too many streams are open" if full else "this key has too many streams open"
        if self._stopping:
            message = "the server stops"
        # Spread: those that are refused at one moment should not come back at one moment.
        raise Refused(error(503, message, retry_after=5 + secrets.randbelow(11), close=True))

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: so is every stream
                loop.call_soon_threadsafe(function, *arguments)

    def _publish(
        self, environment: int, before: Snapshot, change: Frame | None, after: Snapshot
    ) -> None:
        self._changes.append((environment, before, change, after))
        if self._fanning is None:
            self._fanning = asyncio.ensure_future(self._fan())

    async def _fan(self) -> None:
        try:
            while self._changes:
                environment, before, change, after = self._changes.popleft()
                streams = self._of(environment)
                for place in range(0, len(streams), SLICE):
                    for subscriber in streams[place : place + SLICE]:
                        self._bring(subscriber, before, change, after)
                    await asyncio.sleep(0)
        finally:
            self._fanning = None

    def _bring(
        self, subscriber: Subscriber, before: Snapshot, change: Frame | None, after: Snapshot
    ) -> None:
        """A stream that opened in between has `after` already, or an even later one."""
        current = self._snapshots.get(subscriber.environment)
        if subscriber.at is after or current is None or subscriber.at is current:
            return
        if subscriber.at is before and change is not None:
            subscriber.at = after
            self._push(subscriber, change)
        else:
            subscriber.at = current
            self._push(subscriber, current.event())

    def _push(self, subscriber: Subscriber, frame: Frame) -> None:
        if subscriber.reason is not None:
            return
        if subscriber.waiting >= self.limits.waiting:
            self._drop(subscriber)
        else:
            subscriber.push(frame)

    def _drop(self, subscriber: Subscriber) -> None:
        subscriber.end("slow")
        subscriber.cut()

    def _of(self, environment: int) -> list[Subscriber]:
        found: list[Subscriber] = []
        for group in self._groups.values():
            if next(iter(group)).environment == environment:
                found += group
        return found

    def _check(self) -> None:
        for digest, group in list(self._groups.items()):
            key = self._keys.known(digest)
            environment = next(iter(group)).environment
            gone = key is None or key.environment != environment
            if gone or self._snapshots.get(environment) is None:
                self._end(list(group), "refused")

    def _end(self, streams: list[Subscriber], reason: str) -> None:
        fresh = [one for one in streams if one.reason is None]
        for subscriber in fresh:
            subscriber.end(reason)
        # Most come to their end by themselves; one whose reader takes nothing would never.
        stuck = [one for one in fresh if one.sending is not None]
        if stuck and self._loop is not None:
            self._loop.call_later(self.limits.linger, self._cut, stuck)

    def _cut(self, streams: list[Subscriber]) -> None:
        for subscriber in streams:
            if subscriber in self._groups.get(subscriber.digest, ()):
                subscriber.cut()

"""The instances on disk: what a restarted server begins with, and what `doctor` reads."""

from __future__ import annotations

from flagloop_server import obedience
from flagloop_server.instances import GONE, MOST, Instances, Seen
from flagloop_server.obedience import State
from flagloop_server.store import Store, now_ms
from flagloop_server.store.events import InstanceRow

EARLIER = 7 * 24 * 3_600_000
"""Milliseconds for which the log keeps the list."""


class Roll:
    """Reads the list at the start of a server, writes it down now and then."""

    def __init__(self, store: Store, instances: Instances) -> None:
        self._store = store
        self._instances = instances
        self._greeted = 0

    def recall(self) -> None:
        """Take up who was there when the server ran last, unless that is long ago."""
        now = now_ms()
        for environment in self._store.environments():
            rows = self._store.events.instances(environment.id, now - EARLIER, MOST)
            if rows:
                since = now - GONE
                seen = [_seen(row, environment.id) for row in rows if row.last_seen_ms >= since]
                self._instances.recall(environment.id, seen)

    def greet(self) -> None:
        """Write down who is new and who left, so that a server which is killed knows it later."""
        since, self._greeted = self._greeted, now_ms()
        seen = self._instances.newcomers()
        left = self._instances.leavers(since)
        for environment in {*seen, *left}:
            rows = [_row(one, "late", one.last_seen) for one in seen.get(environment, ())]
            self._store.events.note_instances(environment, rows, left.get(environment, ()))

    def write(self) -> None:
        """Write down who is there, and forget who said goodbye. Raises sqlite3.Error.

        A last batch may come after a goodbye and bring its sender's row back: then the next call
        takes it away.
        """
        for environment in self._store.environments():
            told = obedience.look(self._store, self._instances, environment.key)
            rows = [_row(seen, state, told.now) for seen, state in told.states]
            left = self._instances.left(environment.id)
            if rows or left:
                self._store.events.note_instances(environment.id, rows, left)


def _seen(row: InstanceRow, environment: int) -> Seen:
    at = row.last_seen_ms
    return Seen(row.id, row.host, row.pid, row.sdk, environment, None, row.revision, at, at)


def _row(seen: Seen, state: State, now: int) -> InstanceRow:
    # An open stream is life; but who was only sent the revision has not refused it, and must not
    # look like one who lives with an old one.
    alive = seen.streams and state != "sent"
    last = now if alive else seen.last_seen
    return InstanceRow(seen.id, seen.host, seen.pid, seen.sdk, seen.revision, last)

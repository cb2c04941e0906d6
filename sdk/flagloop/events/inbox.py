"""Where any thread leaves records, without a lock, for the one worker that takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flagloop.events.event import Origin

STRIDE = 3
"""Entries of `items` for each record: origin, payload, time (epoch seconds)."""


class Inbox:
    """A bounded flat list of records: `items` holds origin, payload and time of each in turn.

    Flat, because one tuple for each record would be an object that the garbage collector
    walks. A put is one `items.extend((origin, payload, time))`, which the interpreter does not
    interrupt, after `len(items) < mark or admit(origin)`: one comparison in the usual case.
    `mark` is where a put has something else to do; `on_mark` gets the number of records so
    far there, and each `every` records at least.
    """

    __slots__ = (
        "_every",
        "_lose",
        "_taken",
        "_wake",
        "closed",
        "items",
        "limit",
        "mark",
        "on_mark",
        "wake_at",
    )

    def __init__(
        self,
        limit: int,
        every: int,
        wake: Callable[[], None],
        lose: Callable[[str, str | None, str | None], None],
    ) -> None:
        """`limit` and `every` are numbers of records; `lose` takes (reason, flag, variant).

        The worker comes by itself, so `wake` is called only when the inbox is half full.
        """
        self.items: list[Any] = []
        self.limit = limit * STRIDE
        self.wake_at = (limit + 1) // 2 * STRIDE
        self.mark = 0
        self.closed = False
        self.on_mark: Callable[[int], None] = lambda n: None
        self._every = every * STRIDE
        self._taken = 0
        self._wake = wake
        self._lose = lose

    def __len__(self) -> int:
        return len(self.items) // STRIDE

    def put(self, origin: Origin, payload: Any, at: float) -> bool:
        """Leave one record; False when it is lost (and counted as that)."""
        if len(self.items) >= self.mark and not self.admit(origin):
            return False
        self.items.extend((origin, payload, at))
        return True

    def admit(self, origin: Origin) -> bool:
        """At the mark: do what is due and say whether there is room; else count a loss."""
        if self.closed:
            self._lose("closed", origin.flag, origin.variant)
            return False
        here = len(self.items)
        if self.mark == 0 or here >= self.wake_at:
            self._wake()
        if here >= self.limit:
            self._lose("queue_full", origin.flag, origin.variant)
            return False
        self.on_mark((self._taken + here) // STRIDE)
        self._stop_at(self.wake_at if here < self.wake_at else self.limit, here)
        return True

    def take(self, most: int) -> list[Any]:
        """The oldest records, at most that many, as one flat list. Only the worker takes."""
        taken = self.items[: most * STRIDE]
        del self.items[: len(taken)]
        self._taken += len(taken)
        self.on_mark((self._taken + len(self.items)) // STRIDE)
        self._stop_at(self.wake_at, len(self.items))
        return taken

    def _stop_at(self, most: int, here: int) -> None:
        self.mark = min(here + self._every, most)
        # Looked at last: another thread may just have closed it.
        if self.closed:
            self.mark = 0

    def close(self) -> None:
        """Lose every later record."""
        self.closed = True
        self.mark = 0

    def clear(self) -> None:
        """Forget everything, for a forked child: its parent keeps the records."""
        self._taken += len(self.items)
        self.items.clear()
        self.mark = 0

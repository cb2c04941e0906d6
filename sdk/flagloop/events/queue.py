"""Batches on their way: what the outbox asks of the place where they wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from flagloop.events.batch import Batch
from flagloop.events.event import JSON


class Queue(Protocol):
    """Batches that wait, oldest first. Each gets a ticket, a number that only grows.

    Only one thread at a time may call a method; the attributes may be read from any.
    """

    durable: bool
    """Whether a batch in it survives the end of the process."""
    lose: Callable[[Batch, str], None]
    """Called with a batch that is given up and the reason; whoever uses the queue sets it."""
    last: int
    """The ticket of the batch that was put last, 0 before the first."""

    @property
    def events(self) -> int:
        """The number of events in it."""

    def room(self) -> bool:
        """Whether a batch should be put, rather than its records wait in the inbox."""

    def put(self, batch: Batch) -> None:
        """Add a batch at the end."""

    def first(self) -> Batch | None:
        """The oldest, the same object until it is removed; None if there is none."""

    def remove(self) -> None:
        """Forget what `first` gave: it has arrived, or is lost."""

    def passed(self, ticket: int) -> bool:
        """Whether all up to that ticket are gone."""

    def close(self) -> list[Batch]:
        """The end: let go of what is durable, give back the rest."""

    def before_fork(self) -> None:
        """Have nothing open that a child must not inherit."""

    def reset(self) -> None:
        """Forget everything, for a forked child: its parent has it."""

    def status(self) -> JSON | None:
        """How things stand on disk; None if nothing is there."""


class MemoryQueue:
    """Takes one batch at a time, so what waits is bounded by the inbox."""

    durable = False

    def __init__(self) -> None:
        self.lose: Callable[[Batch, str], None] = lambda batch, reason: None
        self.last = 0
        self._batches: deque[Batch] = deque()

    @property
    def events(self) -> int:
        """The number of events in it."""
        return sum(len(batch.events) for batch in tuple(self._batches))

    def room(self) -> bool:
        """Whether it is empty."""
        return not self._batches

    def put(self, batch: Batch) -> None:
        """Add a batch at the end."""
        self.last += 1
        self._batches.append(batch)

    def first(self) -> Batch | None:
        """The oldest; None if there is none."""
        return self._batches[0] if self._batches else None

    def remove(self) -> None:
        """Forget the oldest."""
        self._batches.popleft()

    def passed(self, ticket: int) -> bool:
        """Whether all up to that ticket are gone."""
        return self.last - len(self._batches) >= ticket

    def close(self) -> list[Batch]:
        """Give back all that is left."""
        left = list(self._batches)
        self._batches.clear()
        return left

    def before_fork(self) -> None:
        """Do nothing: a child has its own copy of the memory."""

    def reset(self) -> None:
        """Forget everything."""
        self._batches.clear()

    def status(self) -> None:
        """Tell that nothing is on disk."""
        return

"""How much may wait for the writer, and how much of that may come from public keys."""

from __future__ import annotations

from dataclasses import dataclass

from flagloop_server.store.events.batch import Batch

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Batches, events and bytes of memory that wait or are being written."""

    batches: int = 512
    events: int = 50_000
    size: int = 32 * MIB

    def quarter(self) -> Limits:
        """What public keys may take: anybody has those, so they must not take it all."""
        return Limits(max(1, self.batches // 4), self.events // 4, self.size // 4)


class Room:
    """What waits; whoever calls holds a lock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.batches = self.events = self.size = 0

    def fits(self, batch: Batch) -> bool:
        """Whether there is room for one more; the first one always fits."""
        limits = self._limits
        return self.batches < limits.batches and (
            not self.batches
            or (
                self.events + len(batch.rows) <= limits.events
                and self.size + batch.size <= limits.size
            )
        )

    def enter(self, batch: Batch) -> None:
        """It waits from now on."""
        self._add(batch, 1)

    def leave(self, batch: Batch) -> None:
        """It is written, or was given up."""
        self._add(batch, -1)

    def _add(self, batch: Batch, sign: int) -> None:
        self.batches += sign
        self.events += sign * len(batch.rows)
        self.size += sign * batch.size

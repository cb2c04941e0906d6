"""A queue on disk: batches survive the process, and a server that is away for hours.

Imported on the caller's thread, only by clients with `spool=`.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flagloop.events.batch import Batch
from flagloop.events.event import JSON
from flagloop.events.outbox import LOG, Clocks
from flagloop.events.spoolfile import PAGE, WRITE_AHEAD, DamagedError, SpoolError, SpoolFile

LIMIT = 256
"""Megabytes on disk for each process."""
SCAN = 5.0
"""Seconds between two looks for files that other processes left."""
STRANDED = 3600.0
"""Seconds without a process after which a file for another server or key is told of."""
RETRY = 5.0
"""Seconds until a disk that failed is tried again."""


class Held(NamedTuple):
    """A batch in memory with its ticket."""

    ticket: int
    batch: Batch


class Spool:
    """A `Queue` in `folder`: each batch is on disk before it is sent, and until it has arrived.

    `identity` names server and key in the files' names: what is meant for one never goes to
    another. Each process has one file; an empty one is given up for one that a dead process
    left, so that in the end all are sent. Over `limit` megabytes the oldest batch is lost, as
    "spool_full". Nothing raises: what the disk does not take stays in memory, one batch, while
    later records wait in the inbox, and `status` says why.
    """

    durable = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        identity: str,
        limit: float = LIMIT,
        clocks: Clocks | None = None,
    ) -> None:
        self.lose: Callable[[Batch, str], None] = lambda batch, reason: None
        self.last = 0
        self._folder = Path(folder).absolute()
        self._prefix = f"flagloop-{identity[:32]}-"
        pages = int(limit * 1_000_000) // PAGE
        self._log = min(WRITE_AHEAD, pages // 8)
        self._limit = (pages - self._log) * PAGE
        self._clocks = clocks or Clocks()
        self._file: SpoolFile | None = None
        self._head: Held | None = None
        self._held: deque[Held] = deque()
        self._trouble: str | None = None
        self._oddity: str | None = None
        self._stranded: tuple[Path, ...] = ()
        self._forget()

    @property
    def events(self) -> int:
        """The number of events in it, on disk and in memory."""
        file = self._file
        held = sum(len(one.batch.events) for one in tuple(self._held))
        return held if file is None else held + file.events

    def room(self) -> bool:
        """True as long as the disk takes what it should; tries again when that is due."""
        if self._clocks.steady() >= self._again:
            self._secure()
            self._write_held()
        if self._trouble and self._clocks.steady() >= self._again:
            self._tidy()
        return not self._held

    def put(self, batch: Batch) -> None:
        """Add a batch at the end."""
        if self._file is None and not self._held:
            self._adopt()
        self.last += 1
        one = Held(self.last, batch)
        if self._held or not self._write(one):
            self._held.append(one)
        elif self._head is None and self._file is not None and self._file.rows == 1:
            self._head = one  # no need to read what is still here

    def first(self) -> Batch | None:
        """The oldest; None if there is none, also if the disk gives nothing back."""
        if self._head is None:
            try:
                self._head = self._read()
            except SpoolError as problem:
                self._failed(problem)
        if self._head is None and self._held:
            self._head = self._held[0]
        return None if self._head is None else self._head.batch

    def remove(self) -> None:
        """Forget the oldest."""
        head, self._head = self._head, None
        if head is None:
            return
        if head in self._held:
            self._held.remove(head)
        elif self._file is not None:
            try:
                self._file.remove(head.ticket, len(head.batch.events))
            except SpoolError as problem:
                self._failed(problem)

    def passed(self, ticket: int) -> bool:
        """Whether all up to that ticket are gone."""
        if self._head is None:
            self.first()
        if self._head is not None:
            return self._head.ticket > ticket
        return not self._file or not self._file.rows

    def close(self) -> list[Batch]:
        """Leave the file to the next process; gives back what the disk did not take."""
        self._secure()
        self._write_held()
        left = [one.batch for one in self._held]
        if self._file is not None:
            if not self._file.there():
                self.lose(_unknown(self._file.events), "spool_damaged")
            self._file.close()
        self._forget()
        return left

    def before_fork(self) -> None:
        """Close the file until it is used again."""
        if self._file is not None:
            self._file.pause()

    def reset(self) -> None:
        """Have no file, for a forked child: this one is its parent's."""
        if self._file is not None:
            self._file.disown()
        self._forget()

    def status(self) -> JSON:
        """`batches`, `events` and `bytes` on disk, `oldest` its age in s or None, `problem`, and
        `stranded`: files for other servers or keys that no process sends.
        """
        file = self._file
        at = None if file is None else file.oldest_at
        return {
            "batches": 0 if file is None else file.rows,
            "events": 0 if file is None else file.events,
            "bytes": 0 if file is None else file.bytes,
            "oldest": None if at is None else max(0.0, self._clocks.wall() - at / 1000),
            "problem": self._problem(),
            "stranded": [str(path) for path in self._stranded],
        }

    def _problem(self) -> str | None:
        if self._trouble and self._held:
            return f"{self._trouble}; events wait in memory"
        return self._trouble or self._oddity

    def _forget(self) -> None:
        self._file = self._head = None
        self._held.clear()
        self._again = self._scan_at = self._search_at = float("-inf")
        self._trouble = self._oddity = None

    def _read(self) -> Held | None:
        """The oldest batch on disk; if there is none, of what a dead process left."""
        while True:
            row = self._file.oldest() if self._file is not None and self._file.rows else None
            if row is None:
                if self._held or not self._adopt():
                    return None
                continue
            try:
                return Held(row.seq, Batch.unpack(row.content()))
            except ValueError:
                self._oddity = f"{self._folder}: a batch is damaged"
                self.lose(_unknown(row.events), "spool_damaged")
                if self._file is not None:
                    self._file.remove(row.seq, row.events)

    def _adopt(self) -> bool:
        """Go on with a file that a dead process left; False when there is none."""
        now = self._clocks.steady()
        if now < self._scan_at:
            return False
        self._scan_at = now + SCAN
        if now >= self._search_at:
            self._search_at = now + STRANDED
            self._search()
        for path in self._names():
            try:
                found = SpoolFile.adopt(path, self._log)
            except SpoolError as problem:
                self._oddity = str(problem)
                continue
            if found is not None and found.rows:
                if self._file is not None:
                    self._file.close()
                self._file = found
                self.last = max(self.last, found.last)
                self._scan_at = now  # there may be more
                return True
            if found is not None:
                found.close()
        return False

    def _search(self) -> None:
        """Warn of what nobody sends, as the files of a key that was replaced."""
        try:
            found = SpoolFile.stranded(self._folder, self._prefix, self._clocks.wall() - STRANDED)
        except SpoolError as problem:
            self._oddity = str(problem)
            return
        for path in set(found) - set(self._stranded):
            LOG.warning(
                "flagloop: %s has events for another server or key, and no process sends them. If"
                " the key was replaced by this one, rename the .spool and .spool-wal to begin with"
                " %s; else start a client with that key, or delete them",
                path,
                self._prefix,
            )
        self._stranded = tuple(found)

    def _names(self) -> list[Path]:
        try:
            return SpoolFile.names(self._folder, self._prefix)
        except SpoolError as problem:
            self._oddity = str(problem)
            return []

    def _write_held(self) -> None:
        while self._held and self._write(self._held[0]):
            self._held.popleft()

    def _tidy(self) -> None:
        """Where only a removal failed, see whether the disk takes it now: nothing else may come."""
        if self._held or self._file is None:
            return
        try:
            self._file.tidy()
        except SpoolError as problem:
            self._failed(problem)
        else:
            self._trouble = None

    def _write(self, one: Held) -> bool:
        """Put a batch on disk; False when the disk does not take it."""
        body = zlib.compress(one.batch.pack(), 1)
        at, events = int(self._clocks.wall() * 1000), len(one.batch.events)
        try:
            self._stay()
            if self._file is None:
                self._file = SpoolFile.create(self._folder, self._prefix, self._log)
            self._file.put(one.ticket, at, events, body)
        except SpoolError as problem:
            self._failed(problem)
            return False
        self._trouble = None
        try:
            self._bound(self._file, one.ticket)
        except SpoolError as problem:
            self._failed(problem)
        return True

    def _secure(self) -> None:
        try:
            self._stay()
        except SpoolError as problem:
            self._failed(problem)

    def _stay(self) -> None:
        """Go on in a new file if somebody removed this one, whose batches only we still see."""
        old = self._file
        if old is None or old.there():
            return
        new = SpoolFile.create(self._folder, self._prefix, self._log)
        try:
            new.take(old)
        except SpoolError:
            new.close()
            raise
        old.disown()
        self._file, self._trouble = new, None
        self._oddity = f"{old.path} was removed while it was in use; {new.path.name} has its events"

    def _bound(self, file: SpoolFile, newest: int) -> None:
        """Lose the oldest batches over the limit, but not the one that is being sent."""
        sending = 0 if self._head is None else self._head.ticket
        while file.bytes > self._limit:
            row = file.oldest(sending)
            if row is None or row.seq == newest:
                return
            file.drop(row)
            try:
                batch = Batch.unpack(row.content())
            except ValueError:
                batch = _unknown(row.events)
            self.lose(batch, "spool_full")

    def _failed(self, problem: SpoolError) -> None:
        """Say so and try the disk again later; without the file if that is broken."""
        self._trouble = str(problem)
        self._again = self._clocks.steady() + RETRY
        file, head = self._file, self._head
        if file is None or not isinstance(problem, DamagedError):
            return
        lost = file.events
        if head is not None and head not in self._held:
            self._held.appendleft(head)
            lost -= len(head.batch.events)
        self._file = None
        try:
            file.set_aside()
        except SpoolError:
            file.disown()
        self.lose(_unknown(lost), "spool_damaged")


def _unknown(events: int) -> Batch:
    """Stands for a batch that cannot be read: so many events of nobody knows what."""
    return Batch({}, ["{}"] * events)

"""Moves what is committed from the write-ahead log into the file, beside the writer.

SQLite does it inside a commit, every 4 MB: the senders of that group waited 20 to 40 ms longer.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from flagloop_server.store.database import connect

_LOG = logging.getLogger(__name__)

EVERY_EVENTS = 20_000
"""After about so many events (4 MB)."""

BEHIND = 5
"""After so many times that number the writer does it: a machine may be too busy for the thread."""

MOST_PAGES = 16_384
"""A write-ahead log of so many pages (64 MB) is begun anew; for that the writer must pause."""

PASSIVE = "PRAGMA wal_checkpoint(PASSIVE)"
"""Waits for nobody."""


class Checkpoints:
    """A thread that is told of commits. Without load it leaves the last few MB where they are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._events = self._behind = 0
        self._due = threading.Event()
        self._closed = False
        self._long = False
        self._thread: threading.Thread | None = None

    def prepare(self, writer: sqlite3.Connection) -> None:
        """Let the writer's commits be nothing but commits."""
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute(f"PRAGMA journal_size_limit = {MOST_PAGES * 4096}")

    def committed(self, writer: sqlite3.Connection, events: int) -> None:
        """On the writer's thread, between transactions."""
        self._events += max(1, events)
        self._behind += max(1, events)
        # Mostly the thread was here a moment ago, so little is left; then the next write begins
        # anew.
        if self._long or self._behind >= BEHIND * EVERY_EVENTS:
            self._long = False
            with contextlib.suppress(sqlite3.Error):  # what is committed stays so
                self._done(writer.execute(PASSIVE).fetchone())
        if self._events < EVERY_EVENTS:
            return
        self._events = 0
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads: the writer does it
                thread.start()
                self._thread = thread
        self._due.set()

    def close(self) -> None:
        """End the thread; the last connection that is closed does the rest."""
        self._closed = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._due.wait()
            self._due.clear()
            try:
                self._move()
            except sqlite3.Error as problem:  # a full disk, say: the commits will tell
                _LOG.debug("no checkpoint: %s", problem)

    def _move(self) -> None:
        connection = connect(self._path)
        try:
            pages = self._done(connection.execute(PASSIVE).fetchone())
        finally:
            connection.close()
        self._long = pages >= MOST_PAGES

    def _done(self, told: Sequence[int]) -> int:
        """Take what SQLite says of a checkpoint; the pages of the log."""
        busy, pages, _ = told
        if not busy:
            self._behind = 0
        return pages

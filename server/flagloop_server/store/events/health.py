"""Whether events can be written now: said once when it ends, and once when it is so again."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

_LOG = logging.getLogger("flagloop_server.store.events")

_CAUSES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the file or its disk is read-only",
    sqlite3.SQLITE_BUSY: "another process keeps the file locked",
    sqlite3.SQLITE_IOERR: "the disk does not take them",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: see `flagloop doctor`",
}


class Health:
    """Told of every commit by the writer; `problem` may be read by any thread."""

    def __init__(self, file: str, clock: Callable[[], int]) -> None:
        self._file = file
        self._clock = clock
        self._since = 0
        self._failures = 0
        self.problem: str | None = None

    def fails(self, error: sqlite3.Error) -> None:
        """A commit failed."""
        if self.problem is None:
            self._since, self._failures = self._clock(), 0
            _LOG.error("events are not written: %s; senders get 503", self._cause(error))
        self.problem = f"events are not written: {self._cause(error)}"
        self._failures += 1

    def works(self) -> None:
        """A commit came through."""
        if self.problem is not None:
            seconds = (self._clock() - self._since) / 1000
            text = "events are written again after %.0f s and %d failed commits"
            _LOG.warning(text, seconds, self._failures)
            self.problem = None

    def _cause(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorcode", None)
        cause = _CAUSES.get(code & 0xFF) if isinstance(code, int) else None
        return f"{self._file}: {error}" if cause is None else f"{self._file}: {cause} ({error})"

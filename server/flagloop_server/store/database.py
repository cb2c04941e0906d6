"""One SQLite file: pooled readers, one writer, safe beside other processes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from sqlite_utils import Database, Migrations

from flagloop.errors import FlagloopError

BUSY_SECONDS = 10.0
"""How long a statement waits while another process holds the write lock."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode that is durable at commit and begins nothing by itself."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    with ExitStack() as undo:
        undo.callback(connection.close)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        undo.pop_all()
    return connection


def make_private(path: Path) -> None:
    """Make the file, when it is missing, so that only its owner can read it.

    Hashes of passwords and ids of units lie in it. SQLite gives `-wal` and `-shm` its mode.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def known(migrations: Migrations) -> tuple[str, ...]:
    """The names of all migrations that this code has for a file."""
    with closing(sqlite3.connect(":memory:")) as empty:
        return tuple(one.name for one in migrations.pending(Database(empty)))


class LaterSchemaError(FlagloopError):
    """The file was written by a later flagloop, whose data this one would not keep right."""

    def __init__(self, path: Path, later: Iterable[str]) -> None:
        what = ", ".join(sorted(later))
        super().__init__(
            f"{path} is of a later flagloop (it has {what}): start that one, or with this one"
            " restore a backup that was made before the update"
        )


class SqliteFile:
    """Connections to one file. Threads share it; each reader has a connection to itself.

    Brings the file's schema up to date; LaterSchemaError for one that is ahead of this code.
    """

    def __init__(self, path: Path, migrations: Migrations) -> None:
        self.path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._open: list[sqlite3.Connection] = []
        self._closed = False
        self._guard = threading.Lock()
        self._writing = threading.RLock()
        make_private(path)
        with ExitStack() as undo:
            undo.callback(self.close)
            self._writer = self._connect()
            self._watcher = self._connect()
            self._migrate(migrations)
            undo.pop_all()

    def _connect(self) -> sqlite3.Connection:
        with self._guard:
            if self._closed:
                raise sqlite3.ProgrammingError(f"{self.path.name} is closed")
            connection = connect(self.path)
            self._open.append(connection)
        return connection

    def _migrate(self, migrations: Migrations) -> None:
        # Two processes may start at once: the lock is taken before asking what is pending.
        with self.write() as connection:
            database = Database(connection)
            later = {one.name for one in migrations.applied(database)} - set(known(migrations))
            if later:
                raise LaterSchemaError(self.path, later)
            migrations.apply(database)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading; statements see what was committed before them."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection for several reads that must see one and the same state."""
        with self.read() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The writer in one transaction: committed at the end, rolled back at any exception.

        Nested use joins the outer transaction. Waits up to `BUSY_SECONDS` for another
        process, then raises sqlite3.OperationalError.
        """
        with self._writing:
            if self._writer.in_transaction:
                yield self._writer
                return
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    @property
    def writing(self) -> bool:
        """Whether a transaction is open, of whichever thread."""
        return self._writer.in_transaction

    def data_version(self) -> int:
        """A number that differs after any commit by any connection or process."""
        with self._guard:
            row = self._watcher.execute("PRAGMA data_version").fetchone()
        return int(row[0])

    def close(self) -> None:
        """Close every connection; the object is of no use afterwards."""
        with self._writing, self._guard:
            self._closed = True
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._idle.clear()

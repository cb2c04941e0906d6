"""One file of batches on disk: SQLite, compressed, and one process's at a time.

The process that holds the lock on `<name>.lock` owns `<name>.spool`. The system frees the lock
when the process ends in whatever way, so another can take the file over. The lock is a file of
its own, since SQLite has locks on the other one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flagloop.events.event import uuid7

SUFFIX = ".spool"
APPLICATION = 0x666C6F6F  # "floo"
VERSION = 1
PAGE = 4096
WRITE_AHEAD = 1000
"""Pages that SQLite's log may grow to before they go into the file itself."""
SLACK = 256
"""Free pages that are not worth giving back."""
SETUP = f"""
pragma page_size={PAGE};
pragma auto_vacuum=incremental;
pragma journal_mode=wal;
begin;
create table batch (
    seq integer primary key, at integer not null, events integer not null, body blob not null
);
pragma application_id={APPLICATION};
pragma user_version={VERSION};
commit;
"""

_inherited: list[Any] = []
"""Connections of a parent that forked without a warning: they must not even be closed here."""


class SpoolError(Exception):
    """The disk does not take or give what it should; the text says why."""


class DamagedError(SpoolError):
    """The file is none of ours, or broken."""


class Row(NamedTuple):
    """One batch on disk: its ticket, when it was put (epoch ms), how many events are in it."""

    seq: int
    at: int
    events: int
    body: bytes

    def content(self) -> bytes:
        """What was put; ValueError if it is damaged."""
        try:
            return zlib.decompress(self.body)
        except zlib.error as problem:
            raise ValueError(str(problem)) from None


class SpoolFile:
    """Batches in `path`; its attributes tell what is in it. Made by `create` and `adopt`.

    Methods raise SpoolError, and DamagedError if the file is of no use any more.
    """

    def __init__(self, path: Path, lock: int, log: int) -> None:
        """`lock` is the handle that holds the lock, `log` the pages of write-ahead log."""
        self.path = path
        self.rows = self.events = self.bytes = self.last = 0
        self.oldest_at: int | None = None
        self._passed = 0
        self._lock: int | None = lock
        self._identity: tuple[int, int] | None = None
        self._log = log
        self._pid = os.getpid()
        self._open: sqlite3.Connection | None = None

    @classmethod
    def create(cls, folder: Path, prefix: str, log: int = WRITE_AHEAD) -> SpoolFile:
        """A new one, which only this user may read."""
        path = folder / f"{prefix}{uuid7()}{SUFFIX}"
        with _told(path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _take(path)
            if lock is None:
                raise SpoolError(f"{path} belongs to another process")
            made = cls(path, lock, log)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                made._identity = _identity(path.lstat())
                made._read_totals()
            except (OSError, sqlite3.Error):
                made.close()
                raise
        return made

    @classmethod
    def adopt(cls, path: Path, log: int = WRITE_AHEAD) -> SpoolFile | None:
        """The file at `path` if its process is gone; None if it lives, or is another user's.

        A damaged one is renamed, for a person to look at, and DamagedError says so.
        """
        with _told(path):
            lock = _take(path)
            found = None if lock is None else cls(path, lock, log)
            if found is None or not found._ours():
                return None
            try:
                with _told(path):
                    found._read_totals()
            except DamagedError as problem:
                aside = found.set_aside()
                raise DamagedError(f"{problem}; it is {aside.name} now") from None
            except SpoolError:
                found.disown()
                raise
        return found

    @staticmethod
    def names(folder: Path, prefix: str) -> list[Path]:
        """The files there, oldest first, also of living processes."""
        with _told(folder):
            found = list(folder.iterdir()) if folder.is_dir() else []
        mine = [path for path in found if path.name.startswith(prefix)]
        stems = {path.stem for path in mine if path.suffix in (SUFFIX, ".lock")}
        return [folder / f"{stem}{SUFFIX}" for stem in sorted(stems)]

    @staticmethod
    def stranded(folder: Path, prefix: str, before: float) -> list[Path]:
        """This user's files for other servers or keys that no process has, nor has written since
        `before` (epoch seconds).
        """
        with _told(folder):
            found = folder.glob(f"flagloop-*{SUFFIX}") if folder.is_dir() else ()
            return sorted(
                path
                for path in found
                if not path.name.startswith(prefix) and _written(path) < before and _free(path)
            )

    def put(self, seq: int, at: int, events: int, body: bytes) -> None:
        """Add one batch; it survives the end of the process when this returns."""
        with _told(self.path):
            self._base().execute("insert into batch values (?, ?, ?, ?)", (seq, at, events, body))
            self._count(1, events)
            self.last = max(self.last, seq)
            self.oldest_at = at if self.oldest_at is None else self.oldest_at

    def oldest(self, after: int = 0) -> Row | None:
        """The batch of the lowest ticket over `after`."""
        with _told(self.path):
            row = self._first("seq, at, events, body", max(after, self._passed))
            return None if row is None else Row(*row)

    def remove(self, seq: int, events: int) -> None:
        """Forget the oldest batch: it does not come again, even if SpoolError says that the disk
        did not take this. An empty file gives its space back to the system.
        """
        self._passed = seq
        self._count(-1, -events)
        self.tidy()

    def tidy(self) -> None:
        """Take from the disk what was removed, also where an earlier `remove` could not."""
        with _told(self.path):
            base = self._base()
            base.execute("delete from batch where seq <= ?", (self._passed,))
            self._look()
            if not self.rows and self._number("page_count") > SLACK:
                # Only a script runs to its end; `execute` would free one page.
                base.executescript("pragma incremental_vacuum; pragma wal_checkpoint(truncate)")

    def drop(self, row: Row) -> None:
        """Forget any batch, to make room."""
        with _told(self.path):
            self._base().execute("delete from batch where seq = ?", (row.seq,))
            self._count(-1, -row.events)
            self._look()

    def there(self) -> bool:
        """Whether it is in its folder still, and ours; only a lock that is gone is made again."""
        assert self._lock is not None
        with contextlib.suppress(OSError):
            if _identity(self.path.lstat()) != self._identity:
                return False
            if _holds(self._lock, self.path):
                return True
            again = _take(self.path)
            if again is not None:
                os.close(self._lock)
                self._lock = again
                return True
        return False

    def take(self, other: SpoolFile) -> None:
        """Copy what is in one that is not `there` any more, which works as long as it is open."""
        if other._open is None:
            raise DamagedError(f"{other.path} was removed")
        with _told(self.path):
            base = self._base()
            base.execute("begin")
            base.executemany("insert into batch values (?, ?, ?, ?)", other._left())
            base.execute("commit")
            self._read_totals()

    def _left(self) -> Iterator[Row]:
        row = self.oldest()
        while row is not None:
            yield row
            row = self.oldest(row.seq)

    def pause(self) -> None:
        """Close it until it is used again, so that a forked child inherits nothing open."""
        base, self._open = self._open, None
        if base is not None:
            with contextlib.suppress(sqlite3.Error):
                base.close()

    def close(self) -> None:
        """Let another process have it; an empty one is removed."""
        self.pause()
        if self._lock is not None and not self.rows:
            self._unlink()
        self._let_go()

    def set_aside(self) -> Path:
        """Rename a damaged file, for a person to look at; its new name."""
        self.pause()
        aside = self.path.with_suffix(".damaged")
        with _told(self.path):
            for tail in ("-wal", ""):
                old = self.path.with_name(self.path.name + tail)
                with contextlib.suppress(FileNotFoundError):
                    old.rename(aside.with_name(aside.name + tail))
            self._unlink()
        self._let_go()
        return aside

    def disown(self) -> None:
        """Leave it alone: it is another's, or a forked child's parent's, who has the lock still."""
        if self._open is not None and self._pid != os.getpid():
            _inherited.append(self._open)
            self._open = None
        self.pause()
        self._let_go()

    def __del__(self) -> None:
        # Of a client that was thrown away; a child must not close what its parent has open.
        base = getattr(self, "_open", None)
        if base is not None and self._pid == os.getpid():
            self.pause()
        elif base is not None:
            _inherited.append(base)

    def _base(self) -> sqlite3.Connection:
        if self._pid != os.getpid() or self._lock is None:
            raise SpoolError(f"{self.path} belongs to another process")
        if self._open is None:
            # The outbox lets one thread in at a time.
            self._open = sqlite3.connect(
                # Never made by SQLite, as one that everybody may read and nobody has locked.
                f"{self.path.as_uri()}?mode=rw",
                uri=True,
                timeout=1.0,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare(self._open)
            except (sqlite3.Error, SpoolError):
                self.pause()
                raise
        return self._open

    def _prepare(self, base: sqlite3.Connection) -> None:
        if self._number("application_id") != APPLICATION:
            if base.execute("select count(*) from sqlite_master").fetchone()[0]:
                raise DamagedError(f"{self.path} is no spool of flagloop")
            base.executescript(SETUP)
        if self._number("user_version") != VERSION:
            raise SpoolError(f"{self.path} was written by a newer flagloop")
        base.execute("pragma synchronous=normal")
        base.execute(f"pragma wal_autocheckpoint={self._log}")

    def _read_totals(self) -> None:
        found = self._base().execute(
            "select count(*), coalesce(sum(events), 0), coalesce(max(seq), 0) from batch"
        )
        self.rows, self.events, self.last = found.fetchone()
        self._look()

    def _count(self, rows: int, events: int) -> None:
        self.rows += rows
        self.events += events
        if self._open is not None:
            self.bytes = self._used() if self.rows else 0

    def _look(self) -> None:
        """See what the oldest is now, and how much space is in use."""
        first = self._first("at", self._passed)
        self.oldest_at = None if first is None else first[0]
        self._count(0, 0)

    def _first(self, columns: str, after: int) -> Any:
        query = f"select {columns} from batch where seq > ? order by seq limit 1"  # noqa: S608
        return self._base().execute(query, (after,)).fetchone()

    def _used(self) -> int:
        return (self._number("page_count") - self._number("freelist_count")) * PAGE

    def _ours(self) -> bool:
        """Whether the file is there and only this user can have written it, else let it go:
        what is in it would be sent in our name.
        """
        try:
            about = self.path.lstat()
        except FileNotFoundError:
            # Its process ended before it had made the file, or was just about to remove the lock.
            self._unlink()
            self._let_go()
            return False
        if (
            stat.S_ISREG(about.st_mode)
            and about.st_uid == os.getuid()
            and not about.st_mode & 0o022
        ):
            self._identity = _identity(about)
            return True
        self._let_go()
        if about.st_uid == os.getuid():
            raise SpoolError(f"{self.path} is no file that only this user can write")
        return False

    def _number(self, pragma: str) -> int:
        assert self._open is not None
        return int(self._open.execute(f"pragma {pragma}").fetchone()[0])

    def _unlink(self) -> None:
        for tail in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + tail).unlink(missing_ok=True)
        # Last, while it is held: whoever waits for it sees that its name is gone.
        self.path.with_suffix(".lock").unlink(missing_ok=True)

    def _let_go(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _holds(lock: int, path: Path) -> bool:
    """Whether that handle is of the lock that others find there."""
    with contextlib.suppress(FileNotFoundError):
        return _identity(os.fstat(lock)) == _identity(path.with_suffix(".lock").stat())
    return False


def _written(path: Path) -> float:
    """When this user's file was last written (epoch seconds); never, if it is another's."""
    with contextlib.suppress(FileNotFoundError):
        files = [one.lstat() for one in (path, path.with_name(f"{path.name}-wal")) if one.exists()]
        if files and all(one.st_uid == os.getuid() for one in files):
            return max(one.st_mtime for one in files)
    return float("inf")


def _free(path: Path) -> bool:
    """Whether no process has the file; OSError."""
    try:
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _take(path: Path) -> int | None:
    """A handle with the lock of a file, None while another process or user has it; OSError."""
    name = path.with_suffix(".lock")
    try:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last owner may have removed it between the two calls.
        if _holds(handle, path):
            return handle
    except BlockingIOError:
        pass
    except OSError:
        os.close(handle)
        raise
    os.close(handle)
    return None


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise into SpoolError."""
    try:
        yield
    except sqlite3.Error as problem:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        kind = (
            DamagedError if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else SpoolError
        )
        raise kind(f"{path}: {problem}") from None
    except OSError as problem:
        raise SpoolError(f"{problem.filename or path}: {problem.strerror}") from None

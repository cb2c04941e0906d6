"""The last good ruleset on disk, for a start while the server is away.

One file for each (server, key): a line of JSON with the time and the checksum (of the time and
all that follows), then the server's bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from flagloop.errors import TransportError
from flagloop.sync.transport import RULESET_LIMIT, ruleset_mapping

ABANDONED = 3600.0
"""Seconds after which nobody can still be writing a part."""

_numbers = count()


class Copy(NamedTuple):
    """A kept ruleset: its mapping and when (epoch seconds) the server sent it."""

    mapping: dict[str, Any]
    at: float


class DamagedError(ValueError):
    """The copy cannot be used; the text says why."""


class DiskCache:
    """Keeps one ruleset in `folder`, in a file that only this user may read.

    `identity` (see `Transport.identity`) names the file: two keys never share one.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: str) -> None:
        self.path = Path(folder) / f"flagloop-{identity[:32]}.json"
        # Several clients of one process may keep the same ruleset: each writes its own file.
        self._number = next(_numbers)

    def load(self) -> Copy | None:
        """The copy, None if there is none; DamagedError if it cannot be trusted."""
        try:
            content = self._read()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise DamagedError(f"{self.path} cannot be read: {problem.strerror}") from None
        head, _, body = content.partition(b"\n")
        try:
            known = json.loads(head)
            digest, at = known["sha256"], float(known["at"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DamagedError(f"{self.path} is damaged: no checksum") from None
        if digest != _digest(body, at):
            raise DamagedError(f"{self.path} is damaged: wrong checksum")
        try:
            return Copy(ruleset_mapping(body, str(self.path)), at)
        except TransportError as problem:
            raise DamagedError(f"{self.path} is of no use: {problem}") from None

    def save(self, body: bytes, at: float) -> None:
        """Replace the copy by the server's `body`, sent `at`; a crash leaves the old or the new.

        Raises OSError (full disk, no permission).
        """
        head = json.dumps({"sha256": _digest(body, at), "at": at}).encode() + b"\n"
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}-{self._number}.part")
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(head)
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
                now = os.fstat(file.fileno()).st_mtime
            part.replace(self.path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(self.path.parent)
        self._clean(now)

    def _clean(self, now: float) -> None:
        """Remove the parts of processes that were killed; `now` is by the clock of the files."""
        for part in self.path.parent.glob("flagloop-*.part"):
            with suppress(OSError):  # another process may be at it, or another user
                if part.lstat().st_mtime < now - ABANDONED:
                    part.unlink()

    def _read(self) -> bytes:
        # No link is followed, and a pipe in its place is not waited for.
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(self.path, os.O_RDONLY | flags)
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise DamagedError(f"{self.path} is no file")
            if hasattr(os, "getuid"):  # elsewhere neither owner nor bits tell anything
                self._check_owner(about)
            content = file.read(RULESET_LIMIT + 1024)
            if len(content) == RULESET_LIMIT + 1024:
                raise DamagedError(f"{self.path} is too large")
            return content

    def _check_owner(self, about: os.stat_result) -> None:
        """In a folder like /tmp another user could plant a ruleset of their own."""
        if about.st_uid not in (os.getuid(), 0):
            raise DamagedError(f"{self.path} belongs to another user")
        if about.st_mode & 0o022:
            raise DamagedError(f"{self.path} can be written by other users")


def _digest(body: bytes, at: float) -> str:
    return hashlib.sha256(f"{float(at)!r}\n".encode() + body).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the new name durable where the system allows to open a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""One server on a folder: two would answer from tables of which each changes its own."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flagloop_server.backup import UNFINISHED

NAME = "serve.lock"
_INSTANT = 0.05
_LONGEST = 4096


@contextmanager
def sole_server(data: Path, *, url: str = "", restoring: bool = False) -> Iterator[None]:
    """Hold the folder (made when missing) for this server; most commands do not ask for it.

    `url` is where people reach it, for `served_url`.
    Raises BlockingIOError where another server holds it, other OSErrors for the disk and (not when
    `restoring`) for a folder whose restore was cut off or that lost its config.db. The lock is the
    kernel's, so it ends with its process, however that ended; the file stays.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.geteuid() == 0:
            owner = data.stat()  # who is to be able to serve it later
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        try:
            _take(descriptor)
        except BlockingIOError:
            process, *_ = _lines(descriptor)
            whose = f" (process {process})" if process else ""
            raise BlockingIOError(f"another server runs on {data}{whose}") from None
        if not restoring:
            _refuse_half(data)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n{url}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _refuse_half(data: Path) -> None:
    """OSError for a folder in which a server would begin anew beside the events of another."""
    again = f"flagloop backup restore FILE --data {data} --force"
    if (data / UNFINISHED).exists():
        raise OSError(f"a restore into {data} was cut off, do it again: {again}")
    if (data / "events.db").exists() and not (data / "config.db").exists():
        raise OSError(
            f"{data} has lost its config.db: restore a backup ({again}), or take events.db away to"
            " begin anew"
        )


def holder(data: Path) -> str | None:
    """The process that serves the folder, as text (empty: unknown); None where none does.

    Raises OSError for a lock that may not be read.
    """
    lines = _held(data)
    return None if lines is None else lines[0]


def served_url(data: Path) -> str | None:
    """Where people reach the server that runs on the folder; None where none does.

    Raises OSError for a lock that may not be read.
    """
    lines = _held(data)
    return None if lines is None else lines[1] or None


def _held(data: Path) -> list[str] | None:
    try:
        descriptor = os.open(data / NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _lines(descriptor)
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Who asks for the holder has the lock for an instant.
        time.sleep(_INSTANT)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lines(descriptor: int) -> list[str]:
    """The process and the URL; empty texts while they are not written."""
    lines = os.read(descriptor, _LONGEST).decode("utf-8", "replace").split("\n")
    return [*lines, "", ""][:2]

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


@contextmanager
def sole_server(data: Path, *, restoring: bool = False) -> Iterator[None]:
    """Hold the folder (made when missing) for this server; most commands do not ask for it.

    Raises BlockingIOError where another server holds it, other OSErrors for the disk and for a
    folder whose restore was cut off (not when `restoring`). The lock is the kernel's, so it ends
    with its process, however that ended; the file stays.
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
            process = _process(descriptor)
            whose = f" (process {process})" if process else ""
            raise BlockingIOError(f"another server runs on {data}{whose}") from None
        if not restoring and (data / UNFINISHED).exists():
            raise OSError(
                f"a restore into {data} was cut off, do it again:"
                f" flagloop backup restore FILE --data {data} --force"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def holder(data: Path) -> str | None:
    """The process that serves the folder, as text (empty: unknown); None where none does.

    Raises OSError for a lock that may not be read.
    """
    try:
        descriptor = os.open(data / NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _process(descriptor)
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


def _process(descriptor: int) -> str:
    return os.read(descriptor, 20).decode("ascii", "replace").strip()

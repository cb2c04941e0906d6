"""One server on a folder: two would answer from tables of which each changes its own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "serve.lock"


@contextmanager
def sole_server(data: Path) -> Iterator[None]:
    """Hold the folder (made when missing) for this server; commands do not ask for it.

    Raises BlockingIOError where another server holds it, other OSErrors for the disk. The lock is
    the kernel's, so it ends with its process, however that ended; the file stays.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            whose = f" (process {holder})" if holder else ""
            raise BlockingIOError(f"another server runs on {data}{whose}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)

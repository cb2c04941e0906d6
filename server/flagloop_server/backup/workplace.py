"""A folder for half-made files, which goes whatever happens."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

_END = ".part"


@contextmanager
def workplace(file: Path) -> Iterator[Path]:
    """A folder beside `file`, owner-only; where that disk is read-only, in the system's own.

    There is room for the file, and a rename to it is one step. What a killed process left there
    for the same file is cleared away.
    """
    place = file.parent if os.access(file.parent, os.W_OK) else Path(gettempdir())
    for left in place.glob(f".{escape(file.name)}.*{_END}"):
        _clear(left)
    with TemporaryDirectory(prefix=f".{file.name}.", suffix=_END, dir=place) as name:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(descriptor)


def _clear(left: Path) -> None:
    """Delete a folder that nobody holds: the lock ends with its process."""
    descriptor = os.open(left, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
    shutil.rmtree(left)

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
    with _made(place, file.name) as folder:
        yield folder


@contextmanager
def _made(place: Path, name: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix=f".{name}.", suffix=_END, dir=place) as made:
        folder = Path(made)
        with _locked(folder, fcntl.LOCK_EX) as mine:
            if mine:
                yield folder
                return
    # Another process took it for one that was left, before it had its lock.
    with _made(place, name) as folder:
        yield folder


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Hold a folder; False for one that is gone, held by its process or of another user."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        yield False
        return
    try:
        yield _take(descriptor, how) and folder.exists()
    finally:
        os.close(descriptor)


def _take(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def _clear(left: Path) -> None:
    """Delete a folder that nobody holds: the lock ends with its process."""
    with _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB) as mine:
        if mine:
            shutil.rmtree(left, ignore_errors=True)

"""Making a backup, also while a server writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from flagloop import __version__
from flagloop_server.backup import archive
from flagloop_server.backup.manifest import (
    BackupError,
    Checked,
    Contents,
    Manifest,
    Part,
    contents_of,
)
from flagloop_server.backup.workplace import workplace
from flagloop_server.store import inspection, ledger
from flagloop_server.store.inspection import CONFIG, EVENTS, FILES, read_only

_MIB = 1024 * 1024


def create(data: Path, file: Path, *, at: int, verify: bool = True) -> Checked:
    """Copy everything of `data` into `file`, which is replaced at the end or not touched at all.

    `at` is the time, epoch milliseconds. With `verify` both copies are checked by SQLite and the
    packed file is read back. Raises BackupError (damaged data, no room), OSError, sqlite3.Error.
    """
    _need_room(data, file.parent)
    with workplace(file) as folder:
        for part in FILES:
            inspection.copy(data / part, folder / part)
        problems: tuple[str, ...] = ()
        if verify:
            _refuse_damaged(folder)
            problems = chain_of(folder)
        manifest = Manifest(at, __version__, tuple(_parts(folder)), contents_of(folder))
        archive.write(folder / "backup", manifest, folder)
        if verify:
            archive.read(folder / "backup")
        (folder / "backup").replace(file)
        sync(file.parent)
    return Checked(manifest, problems)


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damage_of(folder: Path) -> list[str]:
    """What SQLite finds wrong with the two files of a folder, indexes included."""
    found = []
    for name in FILES:
        with read_only(folder / name) as connection:
            found += [f"{name}: {text}" for text in inspection.damage(connection, whole=True)]
    return found


def chain_of(folder: Path) -> tuple[str, ...]:
    """What does not fit in the ledger's hash chain."""
    with read_only(folder / CONFIG) as connection:
        return tuple(f"audit log: {text}" for text in ledger.verify(connection).problems)


def _refuse_damaged(folder: Path) -> None:
    found = damage_of(folder)
    if found:
        raise BackupError(
            f"the data are damaged: {'; '.join(found[:3])}. No backup was made; --no-verify makes"
            " one of what is there, and 'flagloop doctor' says more"
        )


def _parts(folder: Path) -> Iterable[Part]:
    for name in FILES:
        path = folder / name
        with read_only(path) as connection:
            schema = inspection.schema(connection, name)
        yield Part(name, path.stat().st_size, archive.digest(path), schema)


def _need_room(data: Path, target: Path) -> None:
    """Refuse before the work what would fail after it: the copies lie beside the packed file."""
    files = [data / f"{name}{suffix}" for name in FILES for suffix in ("", "-wal")]
    needed = 2 * sum(path.stat().st_size for path in files if path.exists())
    free = shutil.disk_usage(target).free
    if free < needed:
        raise BackupError(
            f"{target} has {free // _MIB} MiB free and a backup may need {needed // _MIB} MiB"
            " while it is made: make room, or take another folder"
        )


def differences(said: Contents, found: Contents) -> list[str]:
    """Where the files of a backup are not what its manifest says."""
    pairs = {
        "environments": (said.environments, found.environments),
        "the audit log": ((said.audit_rows, said.audit_head), (found.audit_rows, found.audit_head)),
        EVENTS: (said.events, found.events),
    }
    return [f"the manifest says otherwise about {name}" for name, (a, b) in pairs.items() if a != b]

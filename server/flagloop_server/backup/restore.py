"""From a backup, or from files copied by other means, to a folder that a server can serve."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from flagloop.errors import ConfigError
from flagloop_server.backup import UNFINISHED, archive
from flagloop_server.backup.create import chain_of, damage_of, differences, sync
from flagloop_server.backup.manifest import BackupError, Checked, Manifest, contents_of
from flagloop_server.backup.workplace import workplace
from flagloop_server.store import inspection
from flagloop_server.store.inspection import CONFIG, EVENTS, FILES, known_schema, read_only
from flagloop_server.store.ledger import Entry
from flagloop_server.store.lineages import ADOPTED, RESTORED, NewLineage, begin_lineages
from flagloop_server.store.records import Actor

_OF_NO_WEIGHT = {"serve.lock", "lost+found"}
_UNPACKED = ".restore."
_SUFFIXES = ("", "-wal", "-shm", "-journal")
_REPLICA = ".{}-litestream"
"""What Litestream knows of a database: nothing of it is true of another."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did; `replaced` is where the former files lie."""

    manifest: Manifest
    lineages: tuple[NewLineage, ...]
    replaced: Path | None


def verify(file: Path) -> Checked:
    """Read a backup whole: checksums, SQLite's own check, the audit chain, the manifest.

    Needs room for its files beside it while it runs. Raises BackupError for what cannot be
    restored, OSError.
    """
    with workplace(file) as folder:
        return _unpacked(file, folder)


def _unpacked(file: Path, folder: Path) -> Checked:
    manifest = archive.read(file, folder)
    wrong = damage_of(folder) or differences(manifest.contents, contents_of(folder))
    if wrong:
        raise BackupError(f"{file} is damaged: {'; '.join(wrong[:3])}")
    return Checked(manifest, chain_of(folder))


def refuse_occupied(data: Path, *, force: bool) -> None:
    """ConfigError for a folder that has something in it already, unless `force`."""
    if data.exists() and not force:
        there = sorted(one.name for one in data.iterdir() if one.name not in _OF_NO_WEIGHT)
        if there:
            raise ConfigError(
                f"{data} is not empty (it has {', '.join(there[:3])}): take another folder, or"
                " --force to put its databases aside"
            )


def restore(file: Path, data: Path, actor: Actor, at: int) -> Restored:
    """Put a backup into `data`, whose lock the caller holds; former databases are put aside.

    Everything is unpacked and checked there before the first former file is moved. `at` is the
    time, epoch milliseconds. Raises BackupError, OSError, sqlite3.Error: then nothing was
    changed, except where UNFINISHED is in the folder afterwards; to do it again mends that.
    """
    for left in data.glob(f"{_UNPACKED}*"):
        shutil.rmtree(left)
    with TemporaryDirectory(prefix=_UNPACKED, dir=data) as name:
        folder = Path(name)
        manifest = _unpacked(file, folder).manifest
        details = {"created": manifest.created, "head": manifest.contents.audit_head}
        entry = Entry(RESTORED, "", f"restored from {file.name}", details=details)
        lineages = begin_lineages(folder / CONFIG, entry, actor, at)
        _give(folder, data)
        sync(folder)
        replaced = _switch(folder, data, at)
    return Restored(manifest, tuple(lineages), replaced)


def _give(folder: Path, data: Path) -> None:
    """Root restores for the owner of the folder: the server must be able to open its files."""
    if os.geteuid() == 0:
        owner = data.stat()
        for path in folder.iterdir():
            os.chown(path, owner.st_uid, owner.st_gid)


def _switch(folder: Path, data: Path, at: int) -> Path | None:
    marker = data / UNFINISHED
    name = f"replaced-{datetime.fromtimestamp(at / 1000, UTC):%Y%m%dT%H%M%SZ}"
    aside, number = data / name, 1
    while aside.exists():  # what another restore of this second put aside stays as it is
        number += 1
        aside = data / f"{name}-{number}"
    if marker.exists():
        aside = data / Path(marker.read_text("utf-8")).name
    _mark(marker, aside.name)
    # config.db goes first and comes last: without it no command takes the folder for a server's.
    for name in (CONFIG, EVENTS):
        for former in (*(f"{name}{suffix}" for suffix in _SUFFIXES), _REPLICA.format(name)):
            _put_aside(data / former, aside)
    for name in [f"{name}{suffix}" for name in FILES for suffix in _SUFFIXES]:
        if (folder / name).exists():
            (folder / name).rename(data / name)
    sync(data)
    marker.unlink()
    sync(data)
    return aside if aside.exists() else None


def _mark(marker: Path, text: str) -> None:
    fresh = marker.with_name(f".{marker.name}")
    fresh.write_text(text, "utf-8")
    sync(fresh)
    fresh.replace(marker)
    sync(marker.parent)


def _put_aside(path: Path, aside: Path) -> None:
    if not path.exists():
        return
    aside.mkdir(mode=0o700, exist_ok=True)
    if not (aside / path.name).exists():
        path.rename(aside / path.name)
    # else the former one is safe already: this came after a restore that was cut off
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def adopt(data: Path, actor: Actor, at: int) -> list[NewLineage]:
    """Make files that were copied back by other means servable; the caller holds the lock.

    Raises BackupError for damaged files and for those of a later flagloop.
    """
    for name in FILES:
        if (data / name).exists():
            _refuse_unusable(data / name)
    entry = Entry(ADOPTED, "", "adopted after a restore by other means")
    return begin_lineages(data / CONFIG, entry, actor, at)


def _refuse_unusable(path: Path) -> None:
    with read_only(path) as connection:
        found = inspection.damage(connection, whole=False)
        if found:
            raise BackupError(f"{path} is damaged: {'; '.join(found[:3])}; take an older copy")
        newer = set(inspection.schema(connection, path.name)) - set(known_schema(path.name))
    if newer:
        what = ", ".join(sorted(newer))
        raise BackupError(f"{path} is of a later flagloop (it has {what}): update flagloop first")

"""The folder and its disk: who may read it, how much room there is, who serves it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flagloop_server.backup import UNFINISHED
from flagloop_server.commands.doctor.finding import Finding, note, ok, problem
from flagloop_server.commands.lock import holder
from flagloop_server.store.inspection import FILES

MIB = 1024 * 1024
LEAST_FREE = 512 * MIB
LEAST_FREE_PART = 0.03
LEAST_INODES_PART = 0.02
LARGEST_WAL = 256 * MIB
_SUFFIXES = ("", "-wal", "-shm")


class Room(NamedTuple):
    """A disk: bytes and inodes, free ones and all; some disks count no inodes (0)."""

    free: int
    size: int
    free_inodes: int
    inodes: int


def examine(data: Path) -> Iterator[Finding]:
    """Every finding that needs no look into the databases."""
    yield from _server(data)
    yield from _modes(data)
    yield from _owners(data)
    disk = os.statvfs(data)
    room = Room(
        disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize, disk.f_favail, disk.f_files
    )
    yield from room_findings(room, sum(_size(data / name) for name in FILES))
    yield from wal_findings({name: _size(data / f"{name}-wal") for name in FILES})


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _server(data: Path) -> Iterator[Finding]:
    if (data / UNFINISHED).exists():
        yield problem(
            "restore",
            "a restore was cut off; the databases may be of two origins",
            f"do it again: flagloop backup restore FILE --data {data} --force",
        )
    process = holder(data)
    if process is None:
        yield note("server", "no server runs on the folder", f"flagloop serve --data {data}")
    else:
        yield ok("server", f"a server runs on the folder (process {process or 'unknown'})")


def _files(data: Path) -> list[Path]:
    files = [data / f"{name}{suffix}" for name in FILES for suffix in _SUFFIXES]
    return [path for path in files if path.exists()]


def _owners(data: Path) -> Iterator[Finding]:
    owner = data.stat().st_uid
    for path in _files(data):
        other = path.stat().st_uid
        if other != owner:
            text = f"{path} belongs to user {other}, the folder to user {owner}"
            yield problem("owners", text, f"chown {owner} {path}, or the folder to {other}")


def _modes(data: Path) -> Iterator[Finding]:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (data, *_files(data))}
    for path, mode in modes.items():
        if mode & 0o077:
            right = "700" if path == data else "600"
            yield problem(
                "modes", f"{path} is open to others (mode {mode:o})", f"chmod {right} {path}"
            )
    if not any(mode & 0o077 for mode in modes.values()):
        yield ok("modes", f"{data} and its databases are for their owner only")


def room_findings(room: Room, size: int) -> Iterator[Finding]:
    """What to say of a disk on which the databases take `size` bytes."""
    free = f"{room.free // MIB} MiB of {room.size // MIB} MiB are free"
    if room.free < LEAST_FREE or room.free < room.size * LEAST_FREE_PART:
        do = "make room or take a larger disk: a full one refuses events (503) and changes"
        yield problem("disk", free, do)
    elif room.free < 2 * size:
        do = "back up to another disk: flagloop backup create FILE on a larger one"
        yield note("disk", f"{free}, too little for a backup beside the data", do)
    else:
        yield ok("disk", free)
    if room.inodes and room.free_inodes < room.inodes * LEAST_INODES_PART:
        do = "delete small files on that disk: without inodes SQLite cannot make its own"
        yield problem("inodes", f"{room.free_inodes} of {room.inodes} inodes are free", do)


def wal_findings(sizes: dict[str, int]) -> Iterator[Finding]:
    """What to say of write-ahead logs of these sizes, in bytes by database."""
    large = [
        f"{name}-wal has {size // MIB} MiB" for name, size in sizes.items() if size > LARGEST_WAL
    ]
    for text in large:
        do = (
            "something reads for very long (a backup, an open sqlite3 shell): let it end; if it"
            " stays, restart the server"
        )
        yield problem("wal", text, do)
    if not large:
        yield ok("wal", f"{sum(sizes.values()) / MIB:.1f} MiB in write-ahead logs")

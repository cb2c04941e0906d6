"""The file: an uncompressed tar of manifest.json, events.db and config.db, in this order.

Any tar opens it, and what a compressor made of it (gzip, bzip2, xz) is read too.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flagloop_server.backup.manifest import BackupError, Manifest, Part, read_manifest

MANIFEST = "manifest.json"
_LONGEST_MANIFEST = 16 * 1024 * 1024
_BLOCK = 1024 * 1024
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)


def digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(target: Path, manifest: Manifest, folder: Path) -> None:
    """Pack the parts that lie in `folder`, which go as they are packed; owner-only, on disk."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w") as tar:
            text = json.dumps(manifest.to_mapping(), indent=2).encode()
            tar.addfile(_header(MANIFEST, len(text), manifest), io.BytesIO(text))
            for part in manifest.parts:
                path = folder / part.name
                with path.open("rb") as source:
                    tar.addfile(_header(part.name, part.size, manifest), source)
                path.unlink()
        raw.flush()
        os.fsync(raw.fileno())


def _header(name: str, size: int, manifest: Manifest) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, manifest.created // 1000
    return header


def read(file: Path, folder: Path | None = None) -> Manifest:
    """Check the manifest and every checksum; with `folder` write the parts there, owner-only.

    Raises BackupError for a damaged file and for one of a later flagloop, OSError for the disk.
    """
    try:
        with tarfile.open(file, "r:*") as tar:
            return _read(file, tar, folder)
    except _DAMAGED as problem:
        said = str(problem).partition("\n")[0].rstrip(": ")
        raise BackupError(f"{file} is no whole backup: {said}") from None


def _read(file: Path, tar: tarfile.TarFile, folder: Path | None) -> Manifest:
    with _member(file, tar, MANIFEST) as source:
        manifest = read_manifest(source.read(_LONGEST_MANIFEST), file)
    for part in manifest.parts:
        with _member(file, tar, part.name, part.size) as source:
            blocks = iter(lambda source=source: source.read(_BLOCK), b"")  # type: ignore[misc]
            _take(file, part, blocks, None if folder is None else folder / part.name)
    return manifest


def _member(file: Path, tar: tarfile.TarFile, name: str, size: int | None = None) -> IO[bytes]:
    member = tar.next()
    source = None if member is None or member.name != name else tar.extractfile(member)
    if member is None or source is None:
        raise BackupError(f"{file} is no backup of flagloop: there is no {name} where it should be")
    if size is not None and member.size != size:
        raise BackupError(f"{file} is damaged: {name} has not the size that its manifest says")
    return source


def _take(file: Path, part: Part, blocks: Iterator[bytes], target: Path | None) -> None:
    hashed = hashlib.sha256()
    descriptor = os.open(os.devnull if target is None else target, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as sink:
        for block in blocks:
            hashed.update(block)
            sink.write(block)
        sink.flush()
        if target is not None:
            os.fsync(sink.fileno())
    if hashed.hexdigest() != part.sha256:
        raise BackupError(f"{file} is damaged: the checksum of {part.name} is not its manifest's")

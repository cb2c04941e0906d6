"""What a backup says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flagloop import __version__
from flagloop.errors import FlagloopError
from flagloop_server.store import inspection
from flagloop_server.store.inspection import CONFIG, EVENTS, FILES, known_schema, read_only

FORMAT = 1


class BackupError(FlagloopError):
    """A backup that cannot be made or used; its text says what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the backup; `schema` are the migrations that made it."""

    name: str
    size: int
    sha256: str
    schema: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """An environment as of the backup."""

    environment: str
    revision: str
    archived: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """What the two files hold: `audit_head` is the ledger's last digest, hex."""

    environments: tuple[Place, ...]
    audit_rows: int
    audit_head: str
    events: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`created` is epoch milliseconds: the moment that the events are of."""

    created: int
    flagloop: str
    parts: tuple[Part, ...]
    contents: Contents

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that is good; `problems` are those that do not forbid its use."""

    manifest: Manifest
    problems: tuple[str, ...] = ()


def contents_of(folder: Path) -> Contents:
    """What is in the two files of a folder; raises sqlite3.Error."""
    with read_only(folder / EVENTS) as connection:
        events = inspection.event_rows(connection)
    with read_only(folder / CONFIG) as connection:
        places = tuple(Place(*one) for one in inspection.revisions_of(connection))
        rows, head = inspection.audit_head(connection)
    return Contents(places, rows, head, events)


def read_manifest(raw: bytes, file: Path) -> Manifest:
    """The manifest of `file`; BackupError for a damaged one and for one of a later flagloop."""
    try:
        said = json.loads(raw)
        if said["format"] != FORMAT:
            raise BackupError(_newer(file, said["flagloop"], f"format {said['format']}"))
        manifest = _manifest(said)
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        raise BackupError(f"{file} is damaged: its manifest cannot be read ({problem!r})") from None
    if [part.name for part in manifest.parts] != list(FILES):
        raise BackupError(f"{file} is damaged: it does not have exactly {' and '.join(FILES)}")
    for part in manifest.parts:
        strange = [name for name in part.schema if name not in known_schema(part.name)]
        if strange:
            what = f"{', '.join(strange)} in {part.name}"
            raise BackupError(_newer(file, manifest.flagloop, what))
    return manifest


def _manifest(said: dict[str, Any]) -> Manifest:
    contents = said["contents"]
    return Manifest(
        created=int(said["created"]),
        flagloop=str(said["flagloop"]),
        parts=tuple(
            Part(str(one["name"]), int(one["size"]), str(one["sha256"]), tuple(one["schema"]))
            for one in said["parts"]
        ),
        contents=Contents(
            environments=tuple(Place(**one) for one in contents["environments"]),
            audit_rows=int(contents["audit_rows"]),
            audit_head=str(contents["audit_head"]),
            events=int(contents["events"]),
        ),
    )


def _newer(file: Path, version: object, what: str) -> str:
    return (
        f"{file} was made by flagloop {version} and has what this flagloop {__version__} does not"
        f" know ({what}): update flagloop to {version} or later, then do it again"
    )

"""Documents of every revision; the ones in use are kept in memory.

A kept document is asked for by the revision that the file names, so other processes may write
to the same file. A revision costs its changed items and a packed list of chunk numbers.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flagloop.document.yamlfile import Chunk, DocumentText, parse
from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store import chunks, environments
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.ledger import Entry, append
from flagloop_server.store.records import Actor, Environment, Ref, StoredDocument

EMPTY_DOCUMENT = """\
# The definitions of one environment. Flags decide who gets what; the rest serves them:
#
#   flags:
#     new_checkout:             # without variants a flag is on or off; off unless a rule serves on
#       description: The new checkout page
#       rules:
#         - {name: staff, when: {email: {ends_with: "@example.com"}}, serve: on}
#         - {name: canary, share: 5%, serve: on}
#
# `flagloop pull` writes this text to a file, `flagloop push FILE` merges the file back.
version: 1
"""

_KEPT_DOCUMENTS = 24


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A computed change that is to become the revision after `base`.

    `pushed` is the text to remember as the base of the next push, and of that of `source`, who
    sends files of unknown origin, if it is given; `archived` and `unarchived` are keys of flags;
    `details` go to the ledger and must be free of unit ids.
    """

    base: StoredDocument
    document: DocumentText
    changed: tuple[Ref, ...]
    actor: Actor
    action: str
    target: str
    reason: str
    at: int
    pushed: DocumentText | None = None
    source: str | None = None
    archived: tuple[str, ...] = ()
    unarchived: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Kept:
    stored: StoredDocument
    chunk_ids: tuple[int, ...]


class Documents:
    """Reads documents of any revision and writes new ones."""

    def __init__(
        self, file: SqliteFile, environs: environments.Environments, clock: Callable[[], int]
    ) -> None:
        self._file = file
        self._environments = environs
        self._clock = clock
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int], _Kept] = OrderedDict()

    def get(self, key: str, number: int | None = None) -> StoredDocument:
        """The document of environment `key`, as of revision `number` or now.

        Raises NotFoundError for an unknown environment or revision.
        """
        return self._load(key, number).stored

    def push_base(self, key: str) -> DocumentText | None:
        """The text of the last push to this environment, None before the first."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            packed = connection.execute(
                "SELECT push_base FROM environment WHERE id = ?", (environment.id,)
            ).fetchone()["push_base"]
            return None if packed is None else chunks.read(connection, chunks.unpack(packed))

    def own_base(self, key: str, source: str) -> DocumentText | None:
        """The text that `source` sent last, None before its first."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            row = connection.execute(
                "SELECT chunks FROM merge_base WHERE environment_id = ? AND source = ?",
                (environment.id, source),
            ).fetchone()
            return None if row is None else chunks.read(connection, chunks.unpack(row["chunks"]))

    def set_push_base(self, key: str, pushed: DocumentText, source: str | None) -> None:
        """Remember the text of a push that changed nothing."""
        with self._file.write() as connection:
            environment = environments.find(connection, key)
            near = self._load(key, None)
            _write_push_base(connection, environment.id, pushed, source, near)

    def create(self, key: str, actor: Actor, *, production: bool) -> Environment:
        """A new environment with the empty document as its revision 1."""
        document = parse(EMPTY_DOCUMENT)
        with self._file.write() as connection:
            made = self._environments.insert(connection, key, production=production)
            base = StoredDocument(made.key, made.id, made.lineage, 0, document, {})
            new = NewRevision(base, document, (), actor, "create", key, "", self._clock())
            _write(connection, new, None)
            return environments.find(connection, key)

    def rename(self, key: str, new_key: str, actor: Actor) -> Environment:
        """Give an environment another key; its id, keys, history and lineage stay.

        That is a revision of the same text: what SDKs hold has the name in it, and they ask
        again only where the revision is another.
        """
        with self._file.write() as connection:
            old = environments.find(connection, key)
            if new_key == key:
                return old
            kept = self._load(key, None)
            self._environments.set_key(connection, old.id, new_key)
            base = replace(kept.stored, environment=new_key)
            new = NewRevision(
                base,
                base.document,
                (),
                actor,
                action="rename-environment",
                target=new_key,
                reason="",
                at=self._clock(),
                details={"from": key, "to": new_key},
            )
            made = _write(connection, new, kept)
            renamed = environments.find(connection, new_key)
        if not self._file.writing:
            self._keep(made)
        return renamed

    def commit(self, new: NewRevision) -> StoredDocument | None:
        """Write a revision, its ledger row and its archive in one transaction.

        None (and nothing written) when `new.base` is no longer the present revision.
        """
        base = new.base
        with self._file.write() as connection:
            environment = environments.find(connection, base.environment)
            if environment.archived_at is not None:
                raise ConfigError(f"environment '{environment.key}' is archived")
            if environment.name != base.name:
                return None
            made = _write(connection, new, self._load(environment.key, None))
        if not self._file.writing:  # else the transaction around this one may still fail
            self._keep(made)
        return made.stored

    def _load(self, key: str, number: int | None) -> _Kept:
        with self._file.read() as connection:
            environment = environments.find(connection, key)
        wanted = environment.revision if number is None else number
        place = (key, environment.lineage, wanted)
        with self._guard:
            kept = self._kept.get(place)
            if kept is not None:
                self._kept.move_to_end(place)
                return kept
        with self._file.snapshot() as connection:
            kept = _read(connection, environment, wanted)
        self._keep(kept)
        return kept

    def _keep(self, kept: _Kept) -> None:
        stored = kept.stored
        with self._guard:
            self._kept[stored.environment, stored.lineage, stored.revision] = kept
            while len(self._kept) > _KEPT_DOCUMENTS:
                self._kept.popitem(last=False)


def _read(connection: sqlite3.Connection, environment: Environment, number: int) -> _Kept:
    row = connection.execute(
        "SELECT chunks FROM revision WHERE environment_id = ? AND number = ?",
        (environment.id, number),
    ).fetchone()
    if row is None:
        raise NotFoundError(
            f"no revision {number} of {environment.key}; the last is {environment.revision}"
        )
    ids = chunks.unpack(row["chunks"])
    document = chunks.read(connection, ids)
    rows = connection.execute(
        "SELECT section, key, max(number) AS number FROM revision_item"
        " WHERE environment_id = ? AND number <= ? GROUP BY section, key",
        (environment.id, number),
    )
    revisions = {(row["section"], row["key"]): row["number"] for row in rows}
    base = StoredDocument(environment.key, environment.id, environment.lineage, 0, document, {})
    return _Kept(_next(base, number, document, revisions), ids)


def _next(
    base: StoredDocument, number: int, document: DocumentText, revisions: Mapping[Ref, int]
) -> StoredDocument:
    items = document.items
    return StoredDocument(
        environment=base.environment,
        environment_id=base.environment_id,
        lineage=base.lineage,
        revision=number,
        document=document,
        item_revisions={ref: n for ref, n in revisions.items() if ref in items or not ref[1]},
    )


def _write(connection: sqlite3.Connection, new: NewRevision, old: _Kept | None) -> _Kept:
    base, number = new.base, new.base.revision + 1
    ids = _store_chunks(connection, new.document, old)
    connection.execute(
        "UPDATE environment SET revision = ? WHERE id = ?", (number, base.environment_id)
    )
    _write_revision(connection, new, number, chunks.pack(ids))
    said = _write_items(connection, new, number)
    _write_archive(connection, new, number)
    if new.pushed is not None:
        _write_push_base(connection, base.environment_id, new.pushed, new.source, old)
    details = {**new.details, "items": said}
    place = (base.environment, base.environment_id)
    entry = Entry(new.action, new.target, new.reason, *place, number, "change", details)
    append(connection, new.at, new.actor, entry)
    revisions = {**base.item_revisions, **dict.fromkeys(new.changed, number)}
    return _Kept(_next(base, number, new.document, revisions), ids)


def _store_chunks(
    connection: sqlite3.Connection, document: DocumentText, near: _Kept | None
) -> tuple[int, ...]:
    if near is None:
        return chunks.store(connection, document)
    return chunks.store(connection, document, near.stored.document.chunks, near.chunk_ids)


def _write_push_base(
    connection: sqlite3.Connection,
    environment: int,
    pushed: DocumentText,
    source: str | None,
    near: _Kept | None,
) -> None:
    packed = chunks.pack(_store_chunks(connection, pushed, near))
    connection.execute(
        "UPDATE environment SET push_base = ? WHERE id = ? AND push_base IS NOT ?",
        (packed, environment, packed),
    )
    if source is not None:
        connection.execute(
            "INSERT INTO merge_base (environment_id, source, chunks) VALUES (?,?,?)"
            " ON CONFLICT (environment_id, source) DO UPDATE SET chunks = excluded.chunks",
            (environment, source, packed),
        )


def _write_revision(
    connection: sqlite3.Connection, new: NewRevision, number: int, packed: bytes
) -> None:
    connection.execute(
        "INSERT INTO revision (environment_id, number, at, actor_kind, actor, action, target,"
        " reason, chunks) VALUES (?,?,?,?,?,?,?,?,?)",
        (
            new.base.environment_id,
            number,
            new.at,
            new.actor.kind,
            new.actor.name,
            new.action,
            new.target,
            new.reason,
            packed,
        ),
    )


def _write_items(
    connection: sqlite3.Connection, new: NewRevision, number: int
) -> list[dict[str, Any]]:
    """One row per changed item; returns what the ledger says of them (digests, no texts)."""
    said = []
    for ref in new.changed:
        ids: list[int | None] = []
        digests: list[str | None] = []
        for document in (new.base.document, new.document):
            item = document.items.get(ref) or document.entries.get(ref[0] if not ref[1] else "")
            digests.append(None if item is None else chunks.text_digest(item.text))
            ids.append(
                None
                if item is None
                else chunks.store_one(connection, Chunk("item", *ref, item.text), item.mapping)
            )
        connection.execute(
            "INSERT INTO revision_item (environment_id, section, key, number, before_chunk,"
            " after_chunk) VALUES (?,?,?,?,?,?)",
            (new.base.environment_id, *ref, number, *ids),
        )
        said.append(dict(zip(("section", "key", "before", "after"), (*ref, *digests), strict=True)))
    return said


def _write_archive(connection: sqlite3.Connection, new: NewRevision, number: int) -> None:
    environment = new.base.environment_id
    for key in new.unarchived:
        connection.execute(
            "DELETE FROM archived_flag WHERE environment_id = ? AND key = ?", (environment, key)
        )
    for key in new.archived:
        item = new.base.document.items["flags", key]
        connection.execute(
            "INSERT INTO archived_flag (environment_id, key, text, mapping, at, revision,"
            " actor_kind, actor, reason) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                environment,
                key,
                item.text,
                json.dumps(item.mapping, separators=(",", ":")),
                new.at,
                number,
                new.actor.kind,
                new.actor.name,
                new.reason,
            ),
        )

"""The history of documents: revisions, what each changed, and archived flags."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flagloop.errors import NotFoundError
from flagloop_server.store import chunks, environments
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.records import (
    ANY,
    Actor,
    ArchivedFlag,
    ItemVersion,
    Ref,
    RevisionRow,
    Sought,
)

_OF_ITEM = (
    "number IN (SELECT number FROM revision_item"
    " WHERE environment_id = ? AND section = ? AND key = ?)"
)
_OF_KEY = "number IN (SELECT number FROM revision_item WHERE environment_id = ? AND key = ?)"
_CHANGED = (
    "SELECT number, section, key FROM revision_item"
    " WHERE environment_id = ? AND number IN ({}) ORDER BY section, key"
)
_ROWS = (
    "SELECT number, at, actor_kind, actor, action, target, reason FROM revision"
    " WHERE environment_id = ? AND number IN ({})"
)

_FOUND = "FROM archived_flag WHERE environment_id = ? AND has_words(key || ' ' || text)"


class History:
    """Reads revisions; they are written by documents.py."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def revisions(
        self,
        key: str,
        item: Ref | None,
        *,
        limit: int,
        before: int | None,
        sought: Sought = ANY,
    ) -> list[RevisionRow]:
        """Newest first, of an environment or of one item; `before` is a number to go on from.

        An item without section is any of that key.
        """
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            where, values = ["environment_id = ?"], [environment.id]
            terms: dict[str, Sequence[Any]] = {term: [v] for term, v in sought.terms.items()}
            if item is not None:
                terms[_OF_ITEM if item[0] else _OF_KEY] = [environment.id, *filter(None, item)]
            if before is not None:
                terms["number < ?"] = [before]
            for term, given in terms.items():
                where.append(term)
                values += given
            sql = f"SELECT number FROM revision WHERE {' AND '.join(where)}"  # noqa: S608 - own
            rows = connection.execute(f"{sql} ORDER BY number DESC LIMIT ?", (*values, limit))
            numbers = [row["number"] for row in rows]
            return _revision_rows(connection, (environment.id, key), numbers)

    def actions(self, key: str) -> list[str]:
        """Every action in the history of an environment."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            rows = connection.execute(
                "SELECT DISTINCT action FROM revision WHERE environment_id = ? ORDER BY action",
                (environment.id,),
            )
            return [row["action"] for row in rows]

    def revision(self, key: str, number: int) -> RevisionRow:
        """One revision; NotFoundError if there is none of that number."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            rows = _revision_rows(connection, (environment.id, key), [number])
        if not rows:
            raise NotFoundError(
                f"no revision {number} of {key}; the last is {environment.revision}"
            )
        return rows[0]

    def last_of(self, key: str, actions: Iterable[str], number: int) -> RevisionRow | None:
        """The last revision up to `number` that one of these actions made."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            row = connection.execute(
                "SELECT number FROM revision WHERE environment_id = ? AND number <= ? AND action IN"
                " (SELECT value FROM json_each(?)) ORDER BY number DESC LIMIT 1",
                (environment.id, number, json.dumps([*actions])),
            ).fetchone()
            if row is None:
                return None
            place = (environment.id, environment.key)
            return _revision_rows(connection, place, [row["number"]])[0]

    def revision_at(self, key: str, at: int) -> int:
        """The number of the revision in force at a time; NotFoundError before the first."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            row = connection.execute(
                "SELECT number FROM revision WHERE environment_id = ? AND at <= ?"
                " ORDER BY number DESC LIMIT 1",
                (environment.id, at),
            ).fetchone()
        if row is None:
            raise NotFoundError(f"{key} did not exist then")
        return int(row["number"])

    def times(self, key: str, numbers: Iterable[int]) -> dict[int, int]:
        """When each of these revisions was made."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            rows = connection.execute(
                "SELECT number, at FROM revision WHERE environment_id = ? AND number IN"
                " (SELECT value FROM json_each(?))",
                (environment.id, json.dumps([*numbers])),
            )
            return {row["number"]: row["at"] for row in rows}

    def item_versions(self, key: str, number: int) -> list[ItemVersion]:
        """Each item that revision `number` changed, its text before and after."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            rows = connection.execute(
                "SELECT * FROM revision_item WHERE environment_id = ? AND number = ?"
                " ORDER BY section, key",
                (environment.id, number),
            ).fetchall()
            ids = [row[name] for row in rows for name in ("before_chunk", "after_chunk")]
            texts = chunks.texts(connection, ids)
        return [
            ItemVersion(
                section=row["section"],
                key=row["key"],
                number=number,
                before=texts.get(row["before_chunk"]),
                after=texts.get(row["after_chunk"]),
            )
            for row in rows
        ]

    def archived_flags(self, key: str) -> list[ArchivedFlag]:
        """The flags that left the document of an environment, by key."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            rows = connection.execute(
                "SELECT * FROM archived_flag WHERE environment_id = ? ORDER BY key",
                (environment.id,),
            )
            return [_archived_flag(row) for row in rows]

    def archived_flag(self, key: str, flag: str) -> ArchivedFlag | None:
        """One flag that left the document of an environment; None if it did not."""
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            row = connection.execute(
                "SELECT * FROM archived_flag WHERE environment_id = ? AND key = ?",
                (environment.id, flag),
            ).fetchone()
            return None if row is None else _archived_flag(row)

    def archive_page(
        self, key: str, text: str, *, start: int, limit: int
    ) -> tuple[int, list[ArchivedFlag]]:
        """How many archived flags have every word of `text`, and some of them, the latest first."""
        with self._file.snapshot() as connection:
            connection.create_function("has_words", 1, _having(text))
            number = environments.find(connection, key).id
            found = connection.execute(f"SELECT count(*) {_FOUND}", (number,)).fetchone()[0]
            rows = connection.execute(
                "SELECT * FROM archived_flag WHERE environment_id = ? AND key IN"  # noqa: S608 - own
                f" (SELECT key {_FOUND} ORDER BY revision DESC, key LIMIT ? OFFSET ?)"
                " ORDER BY revision DESC, key",
                (number, number, limit, start),
            )
            return found, [_archived_flag(row) for row in rows]

    def is_archived(self, key: str, flags: Iterable[str]) -> list[str]:
        """Which of these flags' keys are reserved by the archive."""
        asked = list(flags)
        if not asked:
            return []
        with self._file.snapshot() as connection:
            environment = environments.find(connection, key)
            rows = connection.execute(
                "SELECT key FROM archived_flag WHERE environment_id = ? AND key IN"
                " (SELECT value FROM json_each(?)) ORDER BY key",
                (environment.id, json.dumps(asked)),
            )
            return [row["key"] for row in rows]


def _having(text: str) -> Callable[[str], bool]:
    """Whether a text has every word of `text`, in any case."""
    words = {*text.casefold().split()}

    def has_words(other: str) -> bool:
        other = other.casefold()
        return all(word in other for word in words)

    return has_words


def _archived_flag(row: sqlite3.Row) -> ArchivedFlag:
    return ArchivedFlag(
        key=row["key"],
        text=row["text"],
        mapping=json.loads(row["mapping"]),
        at=row["at"],
        revision=row["revision"],
        actor=Actor(row["actor_kind"], row["actor"]),
        reason=row["reason"],
    )


def _revision_rows(
    connection: sqlite3.Connection, environment: tuple[int, str], numbers: list[int]
) -> list[RevisionRow]:
    marks = ",".join("?" * len(numbers))
    changed: dict[int, list[Ref]] = {number: [] for number in numbers}
    for row in connection.execute(_CHANGED.format(marks), (environment[0], *numbers)):
        changed[row["number"]].append((row["section"], row["key"]))
    rows = connection.execute(_ROWS.format(marks), (environment[0], *numbers)).fetchall()
    return [
        RevisionRow(
            environment=environment[1],
            number=row["number"],
            at=row["at"],
            actor=Actor(row["actor_kind"], row["actor"]),
            action=row["action"],
            target=row["target"],
            reason=row["reason"],
            changed=tuple(changed[row["number"]]),
        )
        for row in sorted(rows, key=lambda row: -int(row["number"]))
    ]

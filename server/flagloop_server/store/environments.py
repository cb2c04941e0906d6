"""Environments: made, renamed, archived. Their documents are in documents.py."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable

from flagloop.document.problem import did_you_mean
from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.ledger import Entry, append
from flagloop_server.store.records import Actor, Environment

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LINEAGE_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


def new_lineage() -> str:
    """A random name for a chain of revisions, without letters that look alike."""
    return "".join(secrets.choice(_LINEAGE_LETTERS) for _ in range(8))


def find(connection: sqlite3.Connection, key: str) -> Environment:
    """The environment named `key`, archived or not; NotFoundError names the nearest."""
    row = connection.execute("SELECT * FROM environment WHERE key = ?", (key,)).fetchone()
    if row is not None:
        return from_row(row)
    known = [row["key"] for row in connection.execute("SELECT key FROM environment ORDER BY id")]
    hint = did_you_mean(key, known) or f"there are {', '.join(known) or 'none yet'}"
    raise NotFoundError(f"no environment '{key}'; {hint}")


def from_row(row: sqlite3.Row) -> Environment:
    """The record of a row of table `environment`."""
    return Environment(
        id=row["id"],
        key=row["key"],
        lineage=row["lineage"],
        revision=row["revision"],
        production=bool(row["production"]),
        created_at=row["created_at"],
        archived_at=row["archived_at"],
    )


class Environments:
    """The list of environments and its changes, each with its ledger row."""

    def __init__(self, file: SqliteFile, clock: Callable[[], int]) -> None:
        self._file = file
        self._clock = clock

    def all(self, *, archived: bool = False) -> list[Environment]:
        """Those in use, in the order of creation; with `archived` also the archived ones."""
        where = "" if archived else " WHERE archived_at IS NULL"
        with self._file.read() as connection:
            rows = connection.execute(f"SELECT * FROM environment{where} ORDER BY id")  # noqa: S608
            return [from_row(row) for row in rows]

    def get(self, key: str) -> Environment:
        """The environment named `key`, archived or not; NotFoundError if there is none."""
        with self._file.read() as connection:
            return find(connection, key)

    def insert(
        self, connection: sqlite3.Connection, key: str, *, production: bool = False
    ) -> Environment:
        """A new row without a document; ConfigError for a bad or taken key."""
        self._check_new_key(connection, key)
        connection.execute(
            "INSERT INTO environment (key, lineage, revision, production, created_at)"
            " VALUES (?, ?, 0, ?, ?)",
            (key, new_lineage(), production, self._clock()),
        )
        return find(connection, key)

    def set_key(self, connection: sqlite3.Connection, number: int, key: str) -> None:
        """Give the environment of this id another key; ConfigError for a bad or taken one."""
        self._check_new_key(connection, key)
        connection.execute("UPDATE environment SET key = ? WHERE id = ?", (key, number))

    def set_archived(self, key: str, actor: Actor, *, archived: bool) -> Environment:
        """Take an environment out of use (its keys stop to work) or into use again."""
        action = "archive-environment" if archived else "unarchive-environment"
        return self._update(key, actor, action, "archived_at", self._clock() if archived else None)

    def set_production(self, key: str, actor: Actor, *, production: bool) -> Environment:
        """Say whether this environment is production (pages mark it)."""
        action = "mark-production" if production else "unmark-production"
        return self._update(key, actor, action, "production", int(production))

    def _update(
        self, key: str, actor: Actor, action: str, column: str, value: int | None
    ) -> Environment:
        with self._file.write() as connection:
            old = find(connection, key)
            connection.execute(
                f"UPDATE environment SET {column} = ? WHERE id = ?",  # noqa: S608 - own column
                (value, old.id),
            )
            self._note(connection, actor, Entry(action, key, "", key, old.id))
            return find(connection, key)

    def _note(self, connection: sqlite3.Connection, actor: Actor, entry: Entry) -> None:
        append(connection, self._clock(), actor, entry)

    @staticmethod
    def _check_new_key(connection: sqlite3.Connection, key: str) -> None:
        if not _KEY.fullmatch(key):
            raise ConfigError(
                f"'{key}' cannot name an environment: letters, digits, '.', '_' and '-', "
                "beginning with a letter or digit, at most 100"
            )
        taken = connection.execute("SELECT 1 FROM environment WHERE key = ?", (key,)).fetchone()
        if taken:
            raise ConfigError(f"an environment '{key}' exists already")

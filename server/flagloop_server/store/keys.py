"""Keys of SDKs, pages and programs: 32 random bytes, stored as SHA-256, shown once."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store import environments
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.ledger import Entry, append
from flagloop_server.store.records import (
    EVERYWHERE,
    Actor,
    KeyInfo,
    KeyKind,
    Role,
    checked_name,
)

PREFIXES: Mapping[KeyKind, str] = {"server": "fl_srv_", "client": "fl_cli_", "admin": "fl_adm_"}
ROLES: tuple[Role, ...] = ("viewer", "editor", "admin")
ADMIN_KEY_LIFE_MS = 90 * 24 * 3600 * 1000
LONGEST_LIFE_MS = 36_525 * 24 * 3600 * 1000
ALL_ENVIRONMENTS = 0
"""The id that stands for every environment."""

_HINT_LETTERS = 6
_KEYS = (
    "SELECT k.*, s.environment_id, e.key AS environment FROM api_key k"
    " JOIN api_key_environment s ON s.key_id = k.id"
    " LEFT JOIN environment e ON e.id = s.environment_id"
    " WHERE {} ORDER BY k.id, s.environment_id"
)


def hash_key(secret: str) -> bytes:
    """What is stored of a key: SHA-256 of its text (random, so it needs no salt)."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Keys:
    """Makes, lists, finds and revokes keys."""

    def __init__(self, file: SqliteFile, clock: Callable[[], int]) -> None:
        self._file = file
        self._clock = clock

    def create(
        self,
        scope: Sequence[str],
        kind: KeyKind,
        name: str,
        actor: Actor,
        *,
        role: Role | None = None,
        expires_at: int | None = None,
    ) -> tuple[KeyInfo, str]:
        """A new key and its secret, which cannot be had again.

        `scope` are environment keys; `("*",)`, only for admin keys, is all of them; an empty
        `name` becomes the kind. Raises ConfigError for what does not fit together and for a
        name that is too long, NotFoundError for an unknown environment.
        """
        _check(scope, kind, role)
        name = checked_name(name) or f"{kind} key"
        secret = PREFIXES[kind] + secrets.token_urlsafe(32)
        now = self._clock()
        if expires_at is not None and expires_at > now + LONGEST_LIFE_MS:
            raise ConfigError("a key expires within a hundred years, or never")
        if kind == "admin" and expires_at is None:
            expires_at = now + ADMIN_KEY_LIFE_MS
        hint = secret[: len(PREFIXES[kind]) + _HINT_LETTERS]
        values = (hash_key(secret), kind, name, hint, role, now, actor.name, expires_at)
        with self._file.write() as connection:
            info = _insert(connection, scope, values)
            details = {"kind": kind, "scope": list(scope), "role": role, "expires_at": expires_at}
            entry = Entry("create-key", _target(info), "", *_place(info), details=details)
            append(connection, now, actor, entry)
        return info, secret

    def all(self, environment: str | None, *, revoked: bool) -> list[KeyInfo]:
        """The keys good for an environment (None: all keys), oldest first."""
        where = "1" if revoked else "k.revoked_at IS NULL"
        with self._file.snapshot() as connection:
            if environment is not None:
                environments.find(connection, environment)
            infos = _infos(connection, where, ())
        return [info for info in infos if environment is None or info.covers(environment)]

    def find(self, digest: bytes) -> KeyInfo | None:
        """The key of this SHA-256, revoked or expired too (ask `.active`)."""
        with self._file.snapshot() as connection:
            infos = _infos(connection, "k.digest = ?", (digest,))
        return infos[0] if infos else None

    def revoke(self, number: int, actor: Actor) -> KeyInfo:
        """End a key at once; a second time changes nothing. NotFoundError if unknown."""
        with self._file.write() as connection:
            infos = _infos(connection, "k.id = ?", (number,))
            if not infos:
                raise NotFoundError(f"no key {number}")
            info = infos[0]
            if info.revoked_at is not None:
                return info
            now = self._clock()
            connection.execute("UPDATE api_key SET revoked_at = ? WHERE id = ?", (now, number))
            entry = Entry("revoke-key", _target(info), "", *_place(info))
            append(connection, now, actor, entry)
            return _infos(connection, "k.id = ?", (number,))[0]

    def touch(self, used: Mapping[int, int]) -> None:
        """Write down when keys were last used: key id -> epoch milliseconds."""
        if not used:
            return
        with self._file.write() as connection:
            connection.executemany(
                "UPDATE api_key SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?",
                [(at, number) for number, at in used.items()],
            )


def _target(info: KeyInfo) -> str:
    return f"{info.name} ({info.hint}...)"


def _place(info: KeyInfo) -> tuple[str | None, int | None]:
    """Key and id of the one environment of a key, for the ledger."""
    return info.environment, None if info.environment is None else info.environment_ids[0]


def _check(scope: Sequence[str], kind: KeyKind, role: Role | None) -> None:
    if kind not in PREFIXES:
        raise ConfigError(f"no kind of key '{kind}'; there are {', '.join(PREFIXES)}")
    if not scope:
        raise ConfigError("a key needs an environment")
    if kind == "admin":
        if role not in ROLES:
            raise ConfigError(f"an admin key needs a role: {', '.join(ROLES)}")
    elif len(scope) != 1 or scope[0] == EVERYWHERE:
        raise ConfigError(f"a {kind} key is for exactly one environment")
    elif role is not None:
        raise ConfigError(f"a {kind} key has no role")


def _insert(
    connection: sqlite3.Connection, scope: Sequence[str], values: tuple[object, ...]
) -> KeyInfo:
    ids = _environment_ids(connection, scope)
    number = connection.execute(
        "INSERT INTO api_key (digest, kind, name, hint, role, created_at, created_by,"
        " expires_at) VALUES (?,?,?,?,?,?,?,?)",
        values,
    ).lastrowid
    connection.executemany(
        "INSERT INTO api_key_environment (key_id, environment_id) VALUES (?, ?)",
        [(number, environment_id) for environment_id in ids],
    )
    return _infos(connection, "k.id = ?", (number,))[0]


def _environment_ids(connection: sqlite3.Connection, scope: Iterable[str]) -> list[int]:
    return [
        ALL_ENVIRONMENTS if key == EVERYWHERE else environments.find(connection, key).id
        for key in dict.fromkeys(scope)
    ]


def _infos(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[KeyInfo]:
    rows = connection.execute(_KEYS.format(where), values)
    grouped: dict[int, list[sqlite3.Row]] = {}
    for row in rows:
        grouped.setdefault(row["id"], []).append(row)
    return [_info(group) for group in grouped.values()]


def _info(group: list[sqlite3.Row]) -> KeyInfo:
    row = group[0]
    return KeyInfo(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        hint=row["hint"],
        environments=tuple(one["environment"] or EVERYWHERE for one in group),
        environment_ids=tuple(one["environment_id"] for one in group),
        role=row["role"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )

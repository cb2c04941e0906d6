"""People, their roles, one-time links and sessions. Hashing and rules are in auth.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store import environments
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.keys import ALL_ENVIRONMENTS, ROLES
from flagloop_server.store.ledger import Entry, append
from flagloop_server.store.records import (
    EVERYWHERE,
    Actor,
    Link,
    LinkPurpose,
    Role,
    SessionRow,
    User,
    checked_name,
)

_SESSIONS = (
    "SELECT id, user_id, created_at, last_seen_at, expires_at FROM session WHERE {} ORDER BY id"
)


class People:
    """Rows of people and of what lets them in; secrets come in as digests."""

    def __init__(self, file: SqliteFile, clock: Callable[[], int]) -> None:
        self._file = file
        self._clock = clock

    def all(self) -> list[User]:
        """Everyone, also disabled people, oldest first."""
        return self._select("1", ())

    def get(self, number: int) -> User:
        """The person of this id; NotFoundError if there is none."""
        return _only(self._select("id = ?", (number,)), f"no person {number}")

    def by_email(self, email: str) -> User:
        """The person of this address (any case); NotFoundError if there is none."""
        return _only(self._select("email = ?", (email.lower(),)), f"no person '{email}'")

    def any_signed_up(self) -> bool:
        """Whether somebody can sign in."""
        with self._file.read() as connection:
            sql = "SELECT 1 FROM user WHERE password IS NOT NULL AND disabled_at IS NULL LIMIT 1"
            return connection.execute(sql).fetchone() is not None

    def password(self, number: int) -> str | None:
        """The stored hash of a person's password."""
        with self._file.read() as connection:
            row = connection.execute("SELECT password FROM user WHERE id = ?", (number,)).fetchone()
        return None if row is None else row["password"]

    def create(self, email: str, name: str, roles: Mapping[str, Role], actor: Actor) -> User:
        """A person without a password yet; ConfigError for a taken address or a long name."""
        email, name = email.lower(), checked_name(name) or email
        with self._file.write() as connection:
            if connection.execute("SELECT 1 FROM user WHERE email = ?", (email,)).fetchone():
                raise ConfigError(f"there is a person '{email}' already")
            number = connection.execute(
                "INSERT INTO user (email, name, created_at) VALUES (?, ?, ?)",
                (email, name, self._clock()),
            ).lastrowid
            assert number is not None
            _write_roles(connection, number, roles)
            self._note(connection, actor, Entry("create-user", email, details={"roles": {**roles}}))
            return _users(connection, "id = ?", (number,))[0]

    def set_password(self, number: int, hashed: str, actor: Actor, *, note: bool = True) -> None:
        """Store a password's hash; `note` is off for a mere rehash of the same password.

        A new password ends the links that are open: whoever holds one may be why there is one.
        """
        with self._file.write() as connection:
            connection.execute("UPDATE user SET password = ? WHERE id = ?", (hashed, number))
            if note:
                _end_links(connection, number)
                email = _users(connection, "id = ?", (number,))[0].email
                self._note(connection, actor, Entry("set-password", email))

    def set_roles(self, number: int, roles: Mapping[str, Role], actor: Actor) -> User:
        """Replace a person's roles: environment key or `*` -> role."""
        with self._file.write() as connection:
            user = _only(_users(connection, "id = ?", (number,)), f"no person {number}")
            _write_roles(connection, number, roles)
            details = {"from": dict(user.roles), "to": dict(roles)}
            self._note(connection, actor, Entry("set-roles", user.email, details=details))
            return _users(connection, "id = ?", (number,))[0]

    def set_disabled(self, number: int, actor: Actor, *, disabled: bool) -> User:
        """Shut a person out at once (sessions and open links end), or let them in again."""
        with self._file.write() as connection:
            user = _only(_users(connection, "id = ?", (number,)), f"no person {number}")
            at = self._clock() if disabled else None
            connection.execute("UPDATE user SET disabled_at = ? WHERE id = ?", (at, number))
            if disabled:
                connection.execute("DELETE FROM session WHERE user_id = ?", (number,))
                _end_links(connection, number)
            action = "disable-user" if disabled else "enable-user"
            self._note(connection, actor, Entry(action, user.email))
            return _users(connection, "id = ?", (number,))[0]

    def add_link(
        self, digest: bytes, purpose: LinkPurpose, user_id: int | None, expires_at: int
    ) -> None:
        """Store a one-time link; an older unused one of the same purpose and person ends."""
        now = self._clock()
        with self._file.write() as connection:
            connection.execute(
                "DELETE FROM link WHERE used_at IS NULL AND purpose = ? AND user_id IS ?",
                (purpose, user_id),
            )
            connection.execute(
                "INSERT INTO link (digest, purpose, user_id, created_at, expires_at)"
                " VALUES (?,?,?,?,?)",
                (digest, purpose, user_id, now, expires_at),
            )

    def link(self, digest: bytes, purpose: LinkPurpose) -> Link | None:
        """The link if it can still be used, else None."""
        with self._file.read() as connection:
            row = connection.execute(
                "SELECT id, purpose, user_id, created_at, expires_at, used_at FROM link"
                " WHERE digest = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?",
                (digest, purpose, self._clock()),
            ).fetchone()
        return None if row is None else Link(**dict(row))

    def use_link(self, link: Link) -> bool:
        """Use a link up; False if somebody else was faster."""
        with self._file.write() as connection:
            return bool(
                connection.execute(
                    "UPDATE link SET used_at = ? WHERE id = ? AND used_at IS NULL",
                    (self._clock(), link.id),
                ).rowcount
            )

    def add_session(self, digest: bytes, user_id: int, expires_at: int) -> None:
        """A signed-in browser; expired ones are swept out on the way."""
        now = self._clock()
        with self._file.write() as connection:
            connection.execute("DELETE FROM session WHERE expires_at <= ?", (now,))
            connection.execute(
                "INSERT INTO session (digest, user_id, created_at, last_seen_at, expires_at)"
                " VALUES (?,?,?,?,?)",
                (digest, user_id, now, now, expires_at),
            )
            connection.execute("UPDATE user SET last_seen_at = ? WHERE id = ?", (now, user_id))

    def session(self, digest: bytes) -> SessionRow | None:
        """The session of this digest, expired or not."""
        rows = self._sessions("digest = ?", digest)
        return rows[0] if rows else None

    def sessions(self, user_id: int) -> list[SessionRow]:
        """The sessions of a person."""
        return self._sessions("user_id = ?", user_id)

    def touch_session(self, session: SessionRow) -> None:
        """Write down that a session is in use."""
        now = self._clock()
        with self._file.write() as connection:
            connection.execute(
                "UPDATE session SET last_seen_at = ? WHERE id = ?", (now, session.id)
            )
            connection.execute(
                "UPDATE user SET last_seen_at = ? WHERE id = ?", (now, session.user_id)
            )

    def end_session(self, digest: bytes) -> None:
        """Sign one browser out."""
        with self._file.write() as connection:
            connection.execute("DELETE FROM session WHERE digest = ?", (digest,))

    def end_sessions(self, user_id: int, *, keep: bytes | None = None) -> int:
        """Sign a person out everywhere but in `keep`; returns how many sessions ended."""
        with self._file.write() as connection:
            return connection.execute(
                "DELETE FROM session WHERE user_id = ? AND digest IS NOT ?", (user_id, keep)
            ).rowcount

    def note(self, actor: Actor, action: str, target: str) -> None:
        """Write a ledger row for something that changes no table here (a sign-in)."""
        with self._file.write() as connection:
            self._note(connection, actor, Entry(action, target))

    def _select(self, where: str, values: tuple[object, ...]) -> list[User]:
        with self._file.snapshot() as connection:
            return _users(connection, where, values)

    def _sessions(self, where: str, value: object) -> list[SessionRow]:
        with self._file.read() as connection:
            rows = connection.execute(_SESSIONS.format(where), (value,))
            return [SessionRow(**dict(row)) for row in rows]

    def _note(self, connection: sqlite3.Connection, actor: Actor, entry: Entry) -> None:
        append(connection, self._clock(), actor, entry)


def _only(users: list[User], missing: str) -> User:
    if not users:
        raise NotFoundError(missing)
    return users[0]


def _end_links(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM link WHERE used_at IS NULL AND user_id = ?", (number,))


def _write_roles(connection: sqlite3.Connection, number: int, roles: Mapping[str, Role]) -> None:
    for role in roles.values():
        if role not in ROLES:
            raise ConfigError(f"no role '{role}'; there are {', '.join(ROLES)}")
    connection.execute("DELETE FROM user_role WHERE user_id = ?", (number,))
    for key, role in roles.items():
        place = ALL_ENVIRONMENTS if key == EVERYWHERE else environments.find(connection, key).id
        connection.execute(
            "INSERT INTO user_role (user_id, environment_id, role) VALUES (?,?,?)",
            (number, place, role),
        )


def _users(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[User]:
    sql = f"SELECT * FROM user WHERE {where} ORDER BY id"  # noqa: S608 - own terms
    rows = connection.execute(sql, values).fetchall()
    roles: dict[int, dict[str, Role]] = {row["id"]: {} for row in rows}
    for row in connection.execute(
        "SELECT r.user_id, r.role, e.key FROM user_role r"
        " LEFT JOIN environment e ON e.id = r.environment_id ORDER BY r.environment_id"
    ):
        if row["user_id"] in roles:
            roles[row["user_id"]][row["key"] or EVERYWHERE] = row["role"]
    return [
        User(
            id=row["id"],
            email=row["email"],
            name=row["name"],
            roles=roles[row["id"]],
            signed_up=row["password"] is not None,
            created_at=row["created_at"],
            disabled_at=row["disabled_at"],
            last_seen_at=row["last_seen_at"],
        )
        for row in rows
    ]

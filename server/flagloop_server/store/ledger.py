"""The ledger: what was done, by whom and why, as a hash chain.

Each row's digest is `sha256(previous digest + sha256(payload))`; the first previous digest is
32 zero bytes. The payload is a JSON text that repeats every column of its row, so no column
can be altered unseen while it is there; who empties it stands in a later row, or the chain is
broken. Payloads hold digests of item texts, not the texts, and no unit ids.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.records import ANY, Actor, LedgerRow, Sought, Verification

GENESIS = bytes(32)
REDACT = "redact"
"""The action of rows that say which other one was emptied."""

_WITHOUT_REASON = (
    "UPDATE {} SET reason = '' WHERE ({}, at, reason) ="
    " (SELECT revision, at, reason FROM ledger WHERE seq = ? AND kind = 'change')"
)
"""Not by the environment's key: it may have another one by now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be written down; `details` must be JSON and free of unit ids.

    `environment` is its key as of now, which may be another's later; its id never is.
    """

    action: str
    target: str
    reason: str = ""
    environment: str | None = None
    environment_id: int | None = None
    revision: int | None = None
    kind: str = "admin"
    details: Mapping[str, Any] = field(default_factory=dict)


def append(connection: sqlite3.Connection, at: int, actor: Actor, entry: Entry) -> None:
    """Write one row in the open transaction of `connection`."""
    payload = _payload(at, actor, entry)
    payload_digest = hashlib.sha256(payload.encode()).digest()
    row = connection.execute("SELECT digest FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    digest = _link(row["digest"] if row else GENESIS, payload_digest)
    connection.execute(
        "INSERT INTO ledger (at, kind, action, actor_kind, actor, environment, environment_id,"
        " target, revision, reason, payload, payload_digest, digest)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            at,
            entry.kind,
            entry.action,
            actor.kind,
            actor.name,
            entry.environment,
            entry.environment_id,
            entry.target,
            entry.revision,
            entry.reason,
            payload,
            payload_digest,
            digest,
        ),
    )


def _payload(at: int, actor: Actor, entry: Entry) -> str:
    return json.dumps(
        {
            "at": at,
            "kind": entry.kind,
            "action": entry.action,
            "actor_kind": actor.kind,
            "actor": actor.name,
            "environment": entry.environment,
            "environment_id": entry.environment_id,
            "target": entry.target,
            "revision": entry.revision,
            "reason": entry.reason,
            "details": dict(entry.details),
        },
        separators=(",", ":"),
    )


def _link(previous: bytes, payload_digest: bytes) -> bytes:
    return hashlib.sha256(previous + payload_digest).digest()


class Ledger:
    """Reading and checking the chain."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def rows(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        after: int | None = None,
        environments: Collection[int] | None = None,
        target: str | None = None,
        sought: Sought = ANY,
    ) -> list[LedgerRow]:
        """The newest rows first; `before` is a `seq` to go on from, `environments` are ids.

        With `after` (a `seq`) those that follow it, the oldest first.
        """
        ids = None if environments is None else json.dumps(sorted(environments))
        wanted: dict[str, Any] = {
            **sought.terms,
            "seq < ?": before,
            "seq > ?": after,
            "environment_id IN (SELECT value FROM json_each(?))": ids,
            "target = ?": target,
        }
        terms = {term: value for term, value in wanted.items() if value is not None}
        where = f" WHERE {' AND '.join(terms)}" if terms else ""
        order = "DESC" if after is None else "ASC"
        sql = f"SELECT * FROM ledger{where} ORDER BY seq {order} LIMIT ?"  # noqa: S608 - own terms
        with self._file.read() as connection:
            return [_row(row) for row in connection.execute(sql, (*terms.values(), limit))]

    def actions(self, environments: Collection[int] | None = None) -> list[str]:
        """Every action that was written down, of these environments (ids) or of all."""
        ids = None if environments is None else json.dumps(sorted(environments))
        with self._file.read() as connection:
            rows = connection.execute(
                "SELECT DISTINCT action FROM ledger WHERE :ids IS NULL OR environment_id IN"
                " (SELECT value FROM json_each(:ids)) ORDER BY action",
                {"ids": ids},
            )
            return [row["action"] for row in rows]

    def head(self) -> str:
        """The last digest as hex; zeros for an empty ledger."""
        with self._file.read() as connection:
            row = connection.execute(
                "SELECT digest FROM ledger ORDER BY seq DESC LIMIT 1"
            ).fetchone()
        return bytes(row["digest"] if row else GENESIS).hex()

    def verify(self, head: str | None = None) -> Verification:
        """Walk the whole chain; with `head` (a digest exported before) it must contain that.

        The head of an empty ledger, zeros, is the beginning of every chain and proves nothing.
        Without `head` only consistency is shown: who can write the file can forge a new chain.
        """
        with self._file.snapshot() as connection:
            return verify(connection, head)

    def redact(self, seq: int, at: int, actor: Actor, reason: str) -> None:
        """Empty the payload and free text of one row, keep its digests, and write that down.

        The reason goes from the history of revisions too; what a kill wrote into the document's
        text stays there. Raises NotFoundError for an unknown `seq`, and ConfigError for a row that
        says itself what was emptied: without it that could have been anybody.
        """
        with self._file.write() as connection:
            connection.execute(_WITHOUT_REASON.format("revision", "number"), (seq,))
            connection.execute(_WITHOUT_REASON.format("archived_flag", "revision"), (seq,))
            row = connection.execute("SELECT action FROM ledger WHERE seq = ?", (seq,)).fetchone()
            if row is None:
                raise NotFoundError(f"no ledger row {seq}")
            if row["action"] == REDACT:
                raise ConfigError(f"ledger row {seq} says that another one was emptied: it stays")
            connection.execute(
                "UPDATE ledger SET payload = NULL, reason = '', target = '', actor = ''"
                " WHERE seq = ?",
                (seq,),
            )
            append(connection, at, actor, Entry(REDACT, _redacted(seq), reason))


def verify(connection: sqlite3.Connection, head: str | None = None) -> Verification:
    """What `Ledger.verify` says, from any connection, one that only reads too."""
    problems: list[str] = []
    head = None if head is None else head.strip().lower()
    previous, rows, found = GENESIS, 0, head is None or head == GENESIS.hex()
    emptied: dict[str, int] = {}
    for row in connection.execute("SELECT * FROM ledger ORDER BY seq"):
        rows += 1
        if row["payload"] is None:
            emptied[_redacted(row["seq"])] = row["seq"]
        elif row["action"] == REDACT:
            emptied.pop(row["target"], None)
        problems += [f"row {row['seq']}: {text}" for text in _faults(row, previous)]
        previous = bytes(row["digest"])
        found = found or previous.hex() == head
    problems += [
        f"row {seq}: it is empty, and no later row says who did it" for seq in emptied.values()
    ]
    if not found:
        problems.append(f"the exported head {head} is not in the chain")
    return Verification(rows=rows, head=previous.hex(), problems=tuple(problems))


def _redacted(seq: int) -> str:
    """The target of the row that says that this one was emptied."""
    return f"ledger {seq}"


def _faults(row: sqlite3.Row, previous: bytes) -> list[str]:
    faults = []
    if row["payload"] is not None:
        if hashlib.sha256(row["payload"].encode()).digest() != row["payload_digest"]:
            faults.append("the payload was altered")
        else:
            payload = json.loads(row["payload"])
            faults += [
                f"{name} differs from the payload"
                for name in payload
                if name != "details" and payload[name] != row[name]
            ]
    if _link(previous, row["payload_digest"]) != row["digest"]:
        faults.append("the chain is broken before or at this row")
    return faults


def _row(row: sqlite3.Row) -> LedgerRow:
    return LedgerRow(
        seq=row["seq"],
        at=row["at"],
        kind=row["kind"],
        action=row["action"],
        actor=Actor(row["actor_kind"], row["actor"]),
        environment=row["environment"],
        environment_id=row["environment_id"],
        target=row["target"],
        revision=row["revision"],
        reason=row["reason"],
        payload=json.loads(row["payload"]) if row["payload"] is not None else None,
        payload_digest=bytes(row["payload_digest"]).hex(),
        digest=bytes(row["digest"]).hex(),
    )

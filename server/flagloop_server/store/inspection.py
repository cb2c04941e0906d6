"""Looking into the two files without changing them, also while a server writes to them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database, Migrations

from flagloop_server.store import chunks, environments, ledger, migrations
from flagloop_server.store.database import BUSY_SECONDS, known
from flagloop_server.store.events.migrations import events
from flagloop_server.store.records import Environment

EVENTS, CONFIG = "events.db", "config.db"

FILES: Mapping[str, Migrations] = {EVENTS: events, CONFIG: migrations.config}
"""In the order of copying: a revision is in config.db before any event names it."""

_PAGES = 4096
_NEWEST_EVENTS = 10_000
_REVISIONS = (
    "SELECT environment_id, revision FROM instance"
    " UNION SELECT environment_id, revision FROM context"
    " UNION SELECT environment_id, revision FROM event"
    " WHERE seq > (SELECT max(seq) FROM event) - ?"
)


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write; raises sqlite3.Error for what is no database."""
    connection = _open(f"{path.absolute().as_uri()}?mode=ro")
    with closing(connection):
        try:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            if path.with_name(f"{path.name}-wal").exists():
                raise
        else:
            yield connection
            return
    # The folder takes no `-shm` file (it is mounted for reading, say), so nobody writes there.
    with closing(_open(f"{path.absolute().as_uri()}?immutable=1")) as connection:
        yield connection


def _open(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def copy(source: Path, target: Path) -> None:
    """Copy a database as of one moment; nobody who writes to it waits or makes it begin anew."""
    with read_only(source) as original, closing(sqlite3.connect(target)) as made:
        # What is cut off is thrown away, so the copy needs no journal of its own.
        made.execute("PRAGMA journal_mode = OFF")
        made.execute("PRAGMA synchronous = OFF")
        # An open read transaction holds the moment over all steps; between them ^C gets through.
        original.execute("BEGIN")
        original.execute("SELECT 1 FROM sqlite_schema").fetchone()
        original.backup(made, pages=_PAGES)


def damage(connection: sqlite3.Connection, *, whole: bool) -> list[str]:
    """What SQLite finds wrong with the file; `whole` compares indexes with tables too."""
    pragma = "integrity_check" if whole else "quick_check"
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}(10)")]
    except sqlite3.DatabaseError as problem:
        return [str(problem)]
    # One row may be many lines under a heading, `*** in database main ***`.
    lines = (line for text in found for line in text.splitlines())
    return [line for line in lines if line != "ok" and not line.startswith("***")]


def schema(connection: sqlite3.Connection, name: str) -> tuple[str, ...]:
    """The migrations that were applied to the file `name`, in their order."""
    return tuple(one.name for one in FILES[name].applied(Database(connection)))


def known_schema(name: str) -> tuple[str, ...]:
    """The migrations that this code has for the file `name`."""
    return known(FILES[name])


def environments_of(connection: sqlite3.Connection) -> list[Environment]:
    """Every environment of a config.db, archived ones too."""
    rows = connection.execute("SELECT * FROM environment ORDER BY id")
    return [environments.from_row(row) for row in rows]


def revisions_of(connection: sqlite3.Connection) -> list[tuple[str, str, bool]]:
    """Key, name of the revision and whether archived, of each environment; of any schema."""
    rows = connection.execute(
        "SELECT key, lineage, revision, archived_at FROM environment ORDER BY id"
    )
    return [(row[0], f"{row[1]}.{row[2]}", row[3] is not None) for row in rows]


def audit_head(connection: sqlite3.Connection) -> tuple[int, str]:
    """How many rows the ledger has, and its last digest as hex."""
    rows = connection.execute("SELECT count(*) FROM ledger").fetchone()[0]
    last = connection.execute("SELECT digest FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    return rows, bytes(last["digest"] if last else ledger.GENESIS).hex()


def missing_chunks(connection: sqlite3.Connection) -> list[str]:
    """What the documents of a config.db lack: chunks that are gone or altered, revisions."""
    problems = []
    stored: set[int] = set()
    for row in connection.execute("SELECT id, digest, kind, section, key, text FROM chunk"):
        stored.add(row["id"])
        words = "\0".join(row[name] or "" for name in ("kind", "section", "key", "text"))
        if hashlib.sha256(words.encode()).digest() != row["digest"]:
            problems.append(f"chunk {row['id']} was altered")
    for place, numbers in _referenced(connection):
        if not stored.issuperset(numbers):
            problems.append(f"{place} has parts that are gone")
    gone = connection.execute(
        "SELECT key, revision FROM environment e WHERE NOT EXISTS (SELECT 1 FROM revision r"
        " WHERE r.environment_id = e.id AND r.number = e.revision)"
    )
    return problems + [f"{row['key']} has no revision {row['revision']}" for row in gone]


def _referenced(connection: sqlite3.Connection) -> Iterator[tuple[str, array[int] | set[int]]]:
    for row in connection.execute(
        "SELECT e.key, r.number, r.chunks FROM revision r JOIN environment e"
        " ON e.id = r.environment_id"
    ):
        yield f"revision {row['number']} of {row['key']}", array("q", chunks.unpack(row["chunks"]))
    for row in connection.execute("SELECT key, push_base FROM environment"):
        if row["push_base"] is not None:
            yield f"the last push to {row['key']}", array("q", chunks.unpack(row["push_base"]))
    for row in connection.execute(
        "SELECT e.key, b.source, b.chunks FROM merge_base b JOIN environment e"
        " ON e.id = b.environment_id"
    ):
        place = f"the last file of {row['source']} to {row['key']}"
        yield place, array("q", chunks.unpack(row["chunks"]))
    for row in connection.execute("SELECT * FROM revision_item"):
        both = {row["before_chunk"], row["after_chunk"]} - {None}
        yield f"the history of {row['section']}.{row['key']}", both


@dataclass(frozen=True, slots=True)
class LedgerTimes:
    """When the ledger's latest row was written, and how often time went back a minute or more."""

    latest: int | None
    steps_back: int


def ledger_times(connection: sqlite3.Connection) -> LedgerTimes:
    """What the ledger says of the clock; times are epoch milliseconds."""
    row = connection.execute(
        "SELECT max(at) AS latest, coalesce(sum(step <= -60000), 0) AS back"
        " FROM (SELECT at, at - lag(at) OVER (ORDER BY seq) AS step FROM ledger)"
    ).fetchone()
    return LedgerTimes(row["latest"], row["back"])


def last_entry(connection: sqlite3.Connection, action: str) -> int | None:
    """When the ledger last had a row of this action."""
    sql = "SELECT max(at) FROM ledger WHERE action = ?"
    at: int | None = connection.execute(sql, (action,)).fetchone()[0]
    return at


@dataclass(frozen=True, slots=True)
class EndingKey:
    """A key that ends by itself; `hint` is its beginning."""

    id: int
    name: str
    hint: str
    expires_at: int


def ending_keys(connection: sqlite3.Connection, first: int, last: int) -> list[EndingKey]:
    """Keys that nobody revoked and that expire between two moments, the next first."""
    rows = connection.execute(
        "SELECT id, name, hint, expires_at FROM api_key"
        " WHERE revoked_at IS NULL AND expires_at BETWEEN ? AND ? ORDER BY expires_at",
        (first, last),
    )
    return [EndingKey(*row) for row in rows]


def revision_known_since(
    connection: sqlite3.Connection, environment: Environment, revision: str | None
) -> int | None:
    """Since when there is a newer one than `revision`; None while it is the newest."""
    if revision == environment.name:
        return None
    lineage, _, number = (revision or "").rpartition(".")
    if lineage == environment.lineage and number.isdecimal():
        row = connection.execute(
            "SELECT at FROM revision WHERE environment_id = ? AND number = ?",
            (environment.id, int(number) + 1),
        ).fetchone()
        return None if row is None else int(row["at"])
    return lineage_since(connection, environment) or environment.created_at


def lineage_since(connection: sqlite3.Connection, environment: Environment) -> int | None:
    """When the present lineage began by a restore or an adoption."""
    rows = connection.execute(
        "SELECT at, payload FROM ledger WHERE action IN ('restore-backup', 'adopt-data')"
        " ORDER BY seq DESC"
    )
    for row in rows:
        said = json.loads(row["payload"] or "{}").get("details", {})
        if said.get("to") == environment.lineage:
            return int(row["at"])
    return None


def newest_event(connection: sqlite3.Connection) -> int | None:
    """When the last event came in."""
    row = connection.execute("SELECT received FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else int(row["received"])


def event_rows(connection: sqlite3.Connection) -> int:
    """The number of the last event."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])


def revisions_named(connection: sqlite3.Connection) -> set[tuple[int, str]]:
    """(environment id, revision) of senders, contexts and the newest events of an events.db."""
    rows = connection.execute(_REVISIONS, (_NEWEST_EVENTS,))
    return {(row[0], row[1]) for row in rows if row[1] is not None}

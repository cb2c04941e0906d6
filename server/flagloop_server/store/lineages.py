"""What a copy of config.db needs before it serves: a chain of revisions of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flagloop_server.store import environments, ledger, migrations
from flagloop_server.store.database import SqliteFile, connect
from flagloop_server.store.inspection import environments_of
from flagloop_server.store.ledger import Entry
from flagloop_server.store.records import Actor

RESTORED, ADOPTED, BACKED_UP = "restore-backup", "adopt-data", "create-backup"
"""Actions of the ledger."""


@dataclass(frozen=True, slots=True)
class NewLineage:
    """An environment whose `revision` is now called `<after>.<n>` instead of `<before>.<n>`."""

    environment: str
    before: str
    after: str
    revision: int

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "environment": self.environment,
            "revision": f"{self.after}.{self.revision}",
            "before": f"{self.before}.{self.revision}",
        }


def begin_lineages(path: Path, entry: Entry, actor: Actor, at: int) -> list[NewLineage]:
    """Give every environment of a config.db a new lineage, in one transaction with the ledger.

    SDKs that have a later revision of the old lineage then take the snapshot. Signed-in browsers
    and open links end: some were ended after the copy was made. `entry` has action, reason and
    details of the rows. The file's schema is brought up to date; no server may run on it.
    """
    with closing(SqliteFile(path, migrations.config)) as file, file.write() as connection:
        begun = []
        for one in environments_of(connection):
            new = NewLineage(one.key, one.lineage, environments.new_lineage(), one.revision)
            connection.execute(
                "UPDATE environment SET lineage = ? WHERE id = ?", (new.after, one.id)
            )
            said: Mapping[str, Any] = {**entry.details, "from": new.before, "to": new.after}
            row = replace(
                entry,
                target=one.key,
                environment=one.key,
                environment_id=one.id,
                revision=one.revision,
                details=said,
            )
            ledger.append(connection, at, actor, row)
            begun.append(new)
        connection.execute("DELETE FROM session")
        connection.execute(
            "UPDATE link SET expires_at = ? WHERE used_at IS NULL AND expires_at > ?", (at, at)
        )
    return begun


def note_backup(path: Path, name: str, actor: Actor, at: int, details: Mapping[str, Any]) -> None:
    """Write into the ledger of a config.db that everything was copied; raises sqlite3.Error."""
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        ledger.append(connection, at, actor, Entry(BACKED_UP, name, details=details))
        connection.execute("COMMIT")

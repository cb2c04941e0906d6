"""The schema of config.db, as migrations in the order in which they came."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

config = Migrations("flagloop.config")


@config()
def m001_environments(db: Database) -> None:
    """Environments and their documents as lists of content-addressed chunks."""
    db.table("environment").create(
        {
            "id": int,
            "key": str,
            "lineage": str,
            "revision": int,
            "production": int,
            "created_at": int,
            "archived_at": int,
            "push_base": bytes,
        },
        pk="id",
        not_null={"key", "lineage", "revision", "production", "created_at"},
    ).create_index(["key"], unique=True)
    db.table("chunk").create(
        {
            "id": int,
            "digest": bytes,
            "kind": str,
            "section": str,
            "key": str,
            "text": str,
            "mapping": str,
        },
        pk="id",
        not_null={"digest", "kind", "text"},
    ).create_index(["digest"], unique=True)


@config()
def m002_revisions(db: Database) -> None:
    """Revisions, what each changed, and the flags that left the document."""
    db.table("revision").create(
        {
            "environment_id": int,
            "number": int,
            "at": int,
            "actor_kind": str,
            "actor": str,
            "action": str,
            "target": str,
            "reason": str,
            "chunks": bytes,
        },
        pk=("environment_id", "number"),
        not_null={"at", "actor_kind", "actor", "action", "target", "reason", "chunks"},
        foreign_keys=[("environment_id", "environment", "id")],
    )
    db.table("revision_item").create(
        {
            "environment_id": int,
            "section": str,
            "key": str,
            "number": int,
            "before_chunk": int,
            "after_chunk": int,
        },
        pk=("environment_id", "section", "key", "number"),
        foreign_keys=[
            ("environment_id", "environment", "id"),
            ("before_chunk", "chunk", "id"),
            ("after_chunk", "chunk", "id"),
        ],
    ).create_index(["environment_id", "number"])
    db.table("archived_flag").create(
        {
            "environment_id": int,
            "key": str,
            "text": str,
            "mapping": str,
            "at": int,
            "revision": int,
            "actor_kind": str,
            "actor": str,
            "reason": str,
        },
        pk=("environment_id", "key"),
        foreign_keys=[("environment_id", "environment", "id")],
    )


@config()
def m003_ledger(db: Database) -> None:
    """The hash chain of every change, look and decision."""
    db.table("ledger").create(
        {
            "seq": int,
            "at": int,
            "kind": str,
            "action": str,
            "actor_kind": str,
            "actor": str,
            "environment": str,
            "target": str,
            "revision": int,
            "reason": str,
            "payload": str,
            "payload_digest": bytes,
            "digest": bytes,
        },
        pk="seq",
        not_null={"at", "kind", "action", "actor_kind", "actor", "payload_digest", "digest"},
    ).create_index(["environment", "seq"])


@config()
def m004_access(db: Database) -> None:
    """Keys, people, their roles, one-time links and sessions."""
    _create_keys(db)
    db.table("user").create(
        {
            "id": int,
            "email": str,
            "name": str,
            "password": str,
            "created_at": int,
            "disabled_at": int,
            "last_seen_at": int,
        },
        pk="id",
        not_null={"email", "name", "created_at"},
    ).create_index(["email"], unique=True)
    # environment_id 0 stands for every environment, so it is no foreign key.
    db.table("user_role").create(
        {"user_id": int, "environment_id": int, "role": str},
        pk=("user_id", "environment_id"),
        not_null={"role"},
        foreign_keys=[("user_id", "user", "id")],
    )
    db.table("link").create(
        {
            "id": int,
            "digest": bytes,
            "purpose": str,
            "user_id": int,
            "created_at": int,
            "expires_at": int,
            "used_at": int,
        },
        pk="id",
        not_null={"digest", "purpose", "created_at", "expires_at"},
        foreign_keys=[("user_id", "user", "id")],
    ).create_index(["digest"], unique=True)
    db.table("session").create(
        {
            "id": int,
            "digest": bytes,
            "user_id": int,
            "created_at": int,
            "last_seen_at": int,
            "expires_at": int,
        },
        pk="id",
        not_null={"digest", "user_id", "created_at", "last_seen_at", "expires_at"},
        foreign_keys=[("user_id", "user", "id")],
    ).create_index(["digest"], unique=True)


def _create_keys(db: Database) -> None:
    db.table("api_key").create(
        {
            "id": int,
            "digest": bytes,
            "kind": str,
            "name": str,
            "hint": str,
            "role": str,
            "created_at": int,
            "created_by": str,
            "expires_at": int,
            "revoked_at": int,
            "last_used_at": int,
        },
        pk="id",
        not_null={"digest", "kind", "name", "hint", "created_at", "created_by"},
    ).create_index(["digest"], unique=True)
    # environment_id 0 stands for every environment, so it is no foreign key.
    db.table("api_key_environment").create(
        {"key_id": int, "environment_id": int},
        pk=("key_id", "environment_id"),
        foreign_keys=[("key_id", "api_key", "id")],
    )


_CHANGED = """
    UPDATE ledger SET environment_id = (
        SELECT environment_id FROM revision r WHERE r.number = ledger.revision
        AND r.at = ledger.at AND r.action = ledger.action
        AND (r.target = ledger.target OR ledger.payload IS NULL)
        ORDER BY environment_id LIMIT 1
    ) WHERE kind = 'change'
"""
_MANAGED = """
    UPDATE ledger SET environment_id = (
        SELECT id FROM environment e WHERE e.key = ledger.environment AND e.created_at <= ledger.at
    ) WHERE kind <> 'change' AND environment IS NOT NULL
"""


@config()
def m005_ledger_by_environment(db: Database) -> None:
    """Rows of the ledger by the id of their environment, since its key may become another's.

    The payloads of rows of before do not have it. Where it cannot be told it stays empty, and
    then only admins of the server see the row.
    """
    db.execute("ALTER TABLE ledger ADD COLUMN environment_id INTEGER")
    db.execute(_CHANGED)
    db.execute(_MANAGED)
    db.execute("DROP INDEX idx_ledger_environment_seq")
    db.table("ledger").create_index(["environment_id", "seq"])


@config()
def m006_merge_bases(db: Database) -> None:
    """What each sender of whole files sent last, as lists of chunks (see `Store.own_base`)."""
    db.table("merge_base").create(
        {"environment_id": int, "source": str, "chunks": bytes},
        pk=("environment_id", "source"),
        not_null={"chunks"},
        foreign_keys=[("environment_id", "environment", "id")],
    )

"""The schema of events.db, as migrations in the order in which they came."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

events = Migrations("flagloop.events")


@events()
def m001_events(db: Database) -> None:
    """What units saw and did, in the order of commits.

    `kind` is 0 for an exposure (`name` is the flag) and 1 for an event (`name` is its name).
    `at` is the corrected time, `skew` what was added to the client's own; both milliseconds.
    `stage` is in millionths of a percent. `units` and `data` are JSON.
    """
    db.execute(
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
        " environment_id INTEGER NOT NULL, key_id INTEGER, kind INTEGER NOT NULL,"
        " at INTEGER NOT NULL, skew INTEGER NOT NULL, received INTEGER NOT NULL,"
        " name TEXT NOT NULL, variant TEXT, unit TEXT, unit_by TEXT, rule TEXT, experiment TEXT,"
        " stage INTEGER, holdout TEXT, held INTEGER, revision TEXT, value REAL, units TEXT,"
        " data TEXT)"
    )
    db.execute("CREATE TABLE batch (id BLOB PRIMARY KEY, received INTEGER NOT NULL) WITHOUT ROWID")


@events()
def m002_aggregates(db: Database) -> None:
    """Evaluations by minute and by hour, losses, instances, and the ring of contexts."""
    for unit in ("minute", "hour"):
        db.execute(
            f"CREATE TABLE count_{unit} (environment_id INTEGER NOT NULL, {unit} INTEGER NOT NULL,"
            " flag TEXT NOT NULL, variant TEXT NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL,"
            f" n INTEGER NOT NULL, PRIMARY KEY (environment_id, {unit}, flag, variant, rule,"
            " reason)) WITHOUT ROWID"
        )
    db.table("flag_seen").create(
        {"environment_id": int, "flag": str, "at": int}, pk=("environment_id", "flag")
    )
    db.table("loss").create(
        {
            "environment_id": int,
            "instance": str,
            "reason": str,
            "flag": str,
            "variant": str,
            "n": int,
            "at": int,
        },
        pk=("environment_id", "instance", "reason", "flag", "variant"),
    )
    db.table("instance").create(
        {
            "environment_id": int,
            "id": str,
            "host": str,
            "pid": int,
            "sdk": str,
            "revision": str,
            "last_seen": int,
        },
        pk=("environment_id", "id"),
    )
    db.table("context").create(
        {"environment_id": int, "slot": int, "n": int, "at": int, "body": str},
        pk=("environment_id", "slot"),
    )


@events()
def m003_context_revision(db: Database) -> None:
    """The revision that the sender of a context decided by, which says what it records."""
    db.execute("ALTER TABLE context ADD COLUMN revision TEXT")


@events()
def m004_event_hours(db: Database) -> None:
    """How many events of each name came in by hour, and when the last one did."""
    db.execute(
        "CREATE TABLE event_hour (environment_id INTEGER NOT NULL, name TEXT NOT NULL,"
        " hour INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL,"
        " PRIMARY KEY (environment_id, name, hour)) WITHOUT ROWID"
    )

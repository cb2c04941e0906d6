"""`flagloop doctor`: each trouble is found, told with what to do, and nothing is changed."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flagloop.commands.main import cli
from flagloop_server.backup import UNFINISHED
from flagloop_server.changes import Changes, push
from flagloop_server.commands.doctor.examination import examine
from flagloop_server.commands.doctor.finding import Finding
from flagloop_server.commands.doctor.folder import MIB, Room, room_findings, wal_findings
from flagloop_server.commands.lock import sole_server
from flagloop_server.store import SYSTEM, Store
from flagloop_server.store.events import decode_batch
from flagloop_server.store.events.migrations import events as event_migrations

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = int(time.time() * 1000) - 2 * HOUR
"""Commands that a test runs go by the true time, which is later."""


class Clock:
    """Epoch milliseconds that only move by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time of everything that is stored."""
    return Clock()


@pytest.fixture
def data(tmp_path: Path, clock: Clock) -> Path:
    """A healthy folder with a flag, an hour old."""
    folder = tmp_path / "data"
    with Store(folder, clock=clock) as store:
        store.create_environment("production", SYSTEM)
        Changes(store).apply(push("production", "version: 1\nflags: {a: {}}\n"), SYSTEM, "first")
        clock.now += HOUR
        report(store, clock.now)
    return folder


def report(store: Store, at: int, instance: str = "i-1", **words: Any) -> None:
    """An SDK of production sends a batch at a time."""
    place = store.environment("production")
    said = {
        "instance": {"id": instance, "host": "web", "pid": 7},
        "revision": place.name,
        "events": [{"type": "event", "event": "e", "unit": "u-1"}],
        **words,
    }
    batch = decode_batch(json.dumps(said).encode())
    store.events.submit(place.id, None, at, batch).result(60)


def problems(found: Iterable[Finding]) -> dict[str, Finding]:
    """Those that need a person, by check; one of each."""
    return {one.check: one for one in found if one.level == "problem"}


def told(data: Path, now: int) -> Finding:
    """The only problem of the folder, which says what to do."""
    found = problems(examine(data, now))
    (only,) = found.values()
    assert only.do
    return only


def write(path: Path, sql: str, *values: Any) -> None:
    """Change a database past flagloop."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, values)


def run(data: Path, *words: str, code: int = 0) -> Result:
    """Run `flagloop doctor`."""
    result = CliRunner().invoke(cli, ["doctor", "--data", str(data), *words])
    assert result.exit_code == code, result.output
    return result


def test_a_healthy_folder_has_no_problem(data: Path, clock: Clock) -> None:
    """Every check says something, none needs a person."""
    found = examine(data, clock.now)
    assert problems(found) == {}
    assert {one.check for one in found} >= {
        "server",
        "modes",
        "disk",
        "wal",
        "integrity",
        "schema",
        "documents",
        "audit",
        "keys",
        "backup",
        "instances",
        "losses",
    }


def test_the_command_exits_0_or_1_and_prints_text_or_json(tmp_path: Path) -> None:
    """A person reads what to do; a program reads levels."""
    data = tmp_path / "data"
    Store(data).close()
    assert "no backup" in run(data).output
    said = json.loads(run(data, "--json").stdout)
    assert said["ok"] is True
    assert {one["level"] for one in said["findings"]} == {"ok", "note"}
    data.chmod(0o755)
    result = run(data, code=1)
    assert f"chmod 700 {data}" in result.output
    assert json.loads(run(data, "--json", code=1).stdout)["ok"] is False


def test_another_folder_is_told_and_stays_as_it_is(tmp_path: Path) -> None:
    """A mistyped --data is wrong usage."""
    assert "config.db" in run(tmp_path / "typo", code=2).output
    assert not (tmp_path / "typo").exists()


def test_a_folder_without_config_db_is_told_what_became_of_it(data: Path) -> None:
    """A restore that was cut off has moved it aside; else it was lost. A backup mends both."""
    (data / "config.db").unlink()
    again = f"flagloop backup restore FILE --data {data} --force"
    assert f"lost its config.db: restore a backup: {again}" in run(data, code=2).output
    (data / UNFINISHED).write_text("replaced-x")
    assert f"was cut off, do it again: {again}" in run(data, code=2).output
    listed = CliRunner().invoke(cli, ["keys", "list", "--data", str(data)])
    assert (listed.exit_code, again in listed.output) == (2, True)


def test_nothing_is_changed(data: Path, clock: Clock) -> None:
    """Neither file differs by a byte, and a missing one is not made."""
    before = {name: (data / name).read_bytes() for name in ("config.db", "events.db")}
    examine(data, clock.now)
    assert {name: (data / name).read_bytes() for name in before} == before
    (data / "events.db").unlink()
    for suffix in ("-wal", "-shm"):
        (data / f"events.db{suffix}").unlink(missing_ok=True)
    assert "events.db cannot be read" in problems(examine(data, clock.now))["integrity"].text
    assert not (data / "events.db").exists()


def test_a_folder_that_cannot_be_written_is_examined(data: Path, clock: Clock) -> None:
    """A mounted snapshot, say, where SQLite can make no file of its own."""
    for name in ("config.db", "events.db"):
        path = data / name
        for suffix in ("-wal", "-shm"):
            path.with_name(f"{name}{suffix}").unlink(missing_ok=True)
        path.with_name(f"{name}-shm").mkdir()
    found = examine(data, clock.now)
    assert {one.check for one in found} >= {"audit", "losses"}


def test_it_works_while_a_server_writes(data: Path, clock: Clock) -> None:
    """It sees what was committed, and says that a server runs."""
    with sole_server(data), Store(data, clock=clock) as store, store.exclusive():
        found = examine(data, clock.now)
    assert problems(found) == {}
    assert next(one.text for one in found if one.check == "server").startswith("a server runs")


def test_a_restore_that_was_cut_off(data: Path, clock: Clock) -> None:
    """The databases may be of two origins."""
    (data / UNFINISHED).write_text("replaced-x")
    assert "backup restore FILE" in told(data, clock.now).do


@pytest.mark.parametrize("name", ["config.db", "events.db"])
def test_a_damaged_database(data: Path, clock: Clock, name: str) -> None:
    """Named; the other one is examined all the same."""
    raw = bytearray((data / name).read_bytes())
    raw[4096:20_000] = bytes(20_000 - 4096)
    (data / name).write_bytes(raw)
    found = problems(examine(data, clock.now))
    assert name in found["integrity"].text
    (data / name).write_bytes(b"no database" * 1000)
    found = problems(examine(data, clock.now))
    assert name in found["integrity"].text


@pytest.mark.parametrize("name", ["config.db", "events.db"])
def test_a_database_that_was_emptied(data: Path, clock: Clock, name: str) -> None:
    """No earlier flagloop made it: it is lost."""
    for path in data.glob(f"{name}*"):
        path.unlink()
    (data / name).touch(0o600)
    finding = told(data, clock.now)
    assert (finding.check, finding.text) == ("integrity", f"{name} is empty")
    assert "restore" in finding.do


def test_other_commands_send_to_the_doctor_when_a_database_is_damaged(data: Path) -> None:
    """SQLite does not say which one it is."""
    (data / "events.db").write_bytes(b"x" * 20_000)
    listed = CliRunner().invoke(cli, ["keys", "list", "--data", str(data)])
    assert listed.exit_code == 1
    assert "'flagloop doctor' says which file" in listed.output
    assert "events.db cannot be read" in run(data, code=1).output


def test_documents_whose_parts_are_gone_or_altered(data: Path, clock: Clock) -> None:
    """SQLite finds nothing wrong with them."""
    write(data / "config.db", "UPDATE chunk SET text = text || ' # x' WHERE kind = 'item'")
    assert "was altered" in told(data, clock.now).text
    write(data / "config.db", "DELETE FROM chunk WHERE kind = 'item'")
    assert "parts that are gone" in told(data, clock.now).text


def test_an_environment_without_its_revision(data: Path, clock: Clock) -> None:
    """The document that it should serve does not exist."""
    write(data / "config.db", "UPDATE environment SET revision = 9")
    assert "production has no revision 9" in told(data, clock.now).text


def test_a_forged_audit_row(data: Path, clock: Clock) -> None:
    """The chain says which."""
    write(data / "config.db", "UPDATE ledger SET reason = 'nothing' WHERE seq = 2")
    assert "row 2" in told(data, clock.now).text


@pytest.mark.parametrize("name", ["config.db", "events.db"])
def test_a_database_that_others_may_read(data: Path, clock: Clock, name: str) -> None:
    """With the command that mends it."""
    (data / name).chmod(0o644)
    assert told(data, clock.now).do == f"chmod 600 {data / name}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_database_of_somebody_else(data: Path, clock: Clock) -> None:
    """The server could not open it."""
    os.chown(data / "config.db", 1234, 1234)
    assert told(data, clock.now).do.startswith(f"chown 0 {data / 'config.db'}")


def test_a_clock_that_went_back(data: Path, clock: Clock) -> None:
    """What was written is of a time that is still to come."""
    now = START - DAY
    found = [one for one in examine(data, now) if one.check == "clock"]
    assert [one.level for one in found] == ["problem", "problem"]
    clock.now = START - HOUR
    with Store(data, clock=clock) as store:
        store.set_production("production", True, SYSTEM)
    notes = [one.text for one in examine(data, START + HOUR) if one.check == "clock"]
    assert notes == ["in the audit log the clock went back 1 time"]


@pytest.mark.parametrize(
    ("days", "verb"), [(13, "expires"), (15, None), (-13, "expired"), (-15, None)]
)
def test_keys_that_end(data: Path, clock: Clock, days: int, verb: str | None) -> None:
    """Fourteen days before and after; a revoked one is nobody's trouble."""
    with Store(data, clock=clock) as store:
        info, _ = store.create_key(
            "production", "server", "shop", SYSTEM, expires_at=clock.now + days * DAY
        )
        if verb is None:
            assert problems(examine(data, clock.now)) == {}
            return
        finding = told(data, clock.now)
        assert f"key {info.id} (shop" in finding.text
        assert f" {verb} " in finding.text
        store.revoke_key(info.id, SYSTEM)
    assert problems(examine(data, clock.now)) == {}


def test_the_age_of_the_last_backup(tmp_path: Path) -> None:
    """None known is a note; one of eight days ago is a problem."""
    data = tmp_path / "data"
    Store(data).close()
    file = str(tmp_path / "backup.tar")
    done = CliRunner().invoke(cli, ["backup", "create", file, "--data", str(data)])
    assert done.exit_code == 0, done.output
    now = int(time.time() * 1000)
    assert problems(examine(data, now + 6 * DAY)) == {}
    assert told(data, now + 8 * DAY).check == "backup"


def test_an_instance_that_lives_and_does_not_obey(data: Path, clock: Clock) -> None:
    """Behind for over a minute is a problem; fresh, gone and up-to-date ones are not."""
    with Store(data, clock=clock) as store:
        old = store.environment("production").name
        Changes(store).apply(push("production", "version: 1\nflags: {b: {}}\n"), SYSTEM, "next")
        changed = clock.now
        report(store, changed + 50_000, "slow", revision=old)
        assert problems(examine(data, changed + MINUTE)) == {}
        report(store, changed + 5 * MINUTE, "stuck", revision=old)
        report(store, changed + 5 * MINUTE, "well")
        finding = told(data, changed + 6 * MINUTE)
        assert f"web:7 has {old}" in finding.text
        found = examine(data, changed + HOUR)
        assert problems(found) == {}
        assert "4 instances of production silent for 10 minutes" in [one.text for one in found]


def test_an_instance_of_a_former_lineage(data: Path, clock: Clock) -> None:
    """It has a minute from the restore on."""
    with Store(data, clock=clock) as store:
        old = store.environment("production").name
    CliRunner().invoke(cli, ["backup", "adopt", "--data", str(data)])
    now = int(time.time() * 1000)
    with Store(data) as store:
        report(store, now + 30_000, "i-1", revision=old)
        assert "instances" not in problems(examine(data, now + MINUTE))
        report(store, now + 2 * MINUTE, "i-1", revision=old)
        assert old in problems(examine(data, now + 2 * MINUTE))["instances"].text


def test_losses_by_reason(data: Path, clock: Clock) -> None:
    """Those of the last day, each with its advice."""
    with Store(data, clock=clock) as store:
        reasons = {"queue_full": 3, "spool_full": 2, "odd": 1}
        lost = [{"reason": reason, "n": n} for reason, n in reasons.items()]
        report(store, clock.now, lost=lost, batch="0190a1b2-0000-7000-8000-000000000001")
    found = [one for one in examine(data, clock.now) if one.check == "losses"]
    assert [one.text for one in found] == [
        "3 records lost in the last day: queue_full",
        "2 records lost in the last day: spool_full",
        "1 record lost in the last day: odd",
    ]
    assert "queue=" in found[0].do
    assert "spool_mb=" in found[1].do
    assert found[2].do
    assert problems(examine(data, clock.now + DAY + HOUR)) == {}


def test_a_config_db_that_is_older_than_the_events(data: Path, clock: Clock) -> None:
    """Restored by other means, without a new lineage: adopt mends it."""
    with Store(data, clock=clock) as store:
        place = store.environment("production")
        report(store, clock.now, revision=f"{place.lineage}.{place.revision + 5}")
    finding = told(data, clock.now)
    assert "older copy" in finding.text
    assert "flagloop backup adopt" in finding.do
    CliRunner().invoke(cli, ["backup", "adopt", "--data", str(data)])
    assert "lineage" not in problems(examine(data, int(time.time() * 1000)))


def test_schemas_of_other_versions(data: Path, clock: Clock) -> None:
    """A later one needs a later flagloop, an earlier one a restart."""
    from sqlite_utils import Database

    write(
        data / "config.db",
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('flagloop.config', 'm099_tomorrow', '')",
    )
    assert "m099_tomorrow" in told(data, clock.now).text
    for path in data.glob("events.db*"):
        path.unlink()
    with closing(sqlite3.connect(data / "events.db", isolation_level=None)) as connection:
        event_migrations.apply(Database(connection), stop_before="m003_context_revision")
    (data / "events.db").chmod(0o600)
    found = [one for one in examine(data, clock.now) if one.level == "problem"]
    assert [one.check for one in found] == ["schema", "schema"]
    assert "lacks m003_context_revision" in found[0].text


@pytest.mark.parametrize(
    ("room", "size", "expected"),
    [
        (Room(10_000 * MIB, 20_000 * MIB, 900, 1000), 100 * MIB, {"disk": "ok"}),
        (Room(10_000 * MIB, 20_000 * MIB, 0, 0), 100 * MIB, {"disk": "ok"}),
        (Room(1_000 * MIB, 20_000 * MIB, 900, 1000), 900 * MIB, {"disk": "note"}),
        (Room(400 * MIB, 2_000 * MIB, 900, 1000), MIB, {"disk": "problem"}),
        (Room(600 * MIB, 90_000 * MIB, 900, 1000), MIB, {"disk": "problem"}),
        (Room(9_000 * MIB, 20_000 * MIB, 9, 1000), MIB, {"disk": "ok", "inodes": "problem"}),
    ],
)
def test_room_on_the_disk(room: Room, size: int, expected: dict[str, str]) -> None:
    """Bytes and inodes; a disk that counts no inodes is not full of them."""
    assert {one.check: one.level for one in room_findings(room, size)} == expected


@pytest.mark.parametrize(("size", "level"), [(0, "ok"), (200 * MIB, "ok"), (300 * MIB, "problem")])
def test_a_write_ahead_log_that_grows(size: int, level: str) -> None:
    """Something reads for so long that it cannot be emptied."""
    found = list(wal_findings({"config.db": 0, "events.db": size}))
    assert [one.level for one in found] == [level]

"""`flagloop backup`: one file that holds everything, and folders made of it."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flagloop.commands.main import cli
from flagloop_server.backup import UNFINISHED
from flagloop_server.changes import Changes, kill, push
from flagloop_server.commands.lock import sole_server
from flagloop_server.store import SYSTEM, Store, hash_key
from flagloop_server.store.events import decode_batch
from flagloop_server.store.events.migrations import events as event_migrations

FLAGS = "version: 1\nflags:\n  a: {description: one}\n  b: {}\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with two environments, some revisions and some events."""
    from flagloop_server.auth import Auth, first_start

    folder = tmp_path / "data"
    with Store(folder) as store:
        first_start(store, Auth(store))
        changes = Changes(store)
        changes.apply(push("production", FLAGS), SYSTEM, "the first flags")
        changes.apply(kill("production", "b"), SYSTEM, "INC-1")
        report(store, "e1", "e2")
    return folder


def report(store: Store, *names: str) -> None:
    """An SDK of production tracks events."""
    place = store.environment("production")
    said = {
        "instance": {"id": "i-1", "host": "h", "pid": 7},
        "revision": place.name,
        "events": [{"type": "event", "event": name, "unit": "u-1"} for name in names],
    }
    batch = decode_batch(json.dumps(said).encode())
    store.events.submit(place.id, None, int(time.time() * 1000), batch).result(60)


def run(*words: str | Path, code: int = 0) -> Result:
    """Run `flagloop backup ...`."""
    result = CliRunner().invoke(cli, ["backup", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


def made(data: Path) -> Path:
    """A backup of the folder, beside it."""
    file = data.parent / "backup.tar"
    run("create", file, "--data", data)
    return file


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {one.name for one in folder.iterdir()}


def unpacked(file: Path, folder: Path) -> Path:
    """A backup as any tar unpacks it."""
    with tarfile.open(file) as tar:
        tar.extractall(folder, filter="data")
    return folder


def packed(folder: Path, file: Path) -> Path:
    """A tar of the three files, as they are now."""
    with tarfile.open(file, "w") as tar:
        for name in ("manifest.json", "events.db", "config.db"):
            tar.add(folder / name, name)
    return file


def test_a_backup_brings_everything_back(data: Path, tmp_path: Path) -> None:
    """Documents with their history, keys, people, events; the audit chain goes on."""
    with Store(data) as store:
        info, secret = store.create_key("production", "server", "shop", SYSTEM)
        before = store.document("production")
        rows = [row.reason for row in store.revisions("production")]
    file = made(data)
    head = json.loads(run("verify", file, "--json").stdout)["contents"]["audit_head"]
    done = json.loads(run("restore", file, "--data", tmp_path / "new", "--json").stdout)
    with Store(tmp_path / "new") as store:
        after = store.document("production")
        assert after.document.text == before.document.text
        assert "INC-1" in after.document.text
        assert after.revision == before.revision == 3
        assert [row.reason for row in store.revisions("production")] == rows
        found = store.find_key(hash_key(secret))
        assert found is not None
        assert found.id == info.id
        assert [row.name for row in store.events.events()] == ["e1", "e2"]
        assert store.verify(head).ok
        assert not store.verify("ab" * 32).ok
        restored = store.audit(limit=2)
    assert done["replaced"] is None
    assert {row.action for row in restored} == {"restore-backup"}
    assert {row.environment for row in restored} == {"development", "production"}
    assert {row.environment_id for row in restored} == {1, 2}


def test_every_environment_gets_a_lineage_of_its_own(data: Path, tmp_path: Path) -> None:
    """Two restores of one backup are two chains, and the ledger says which came from which."""
    with Store(data) as store:
        old = {one.key: one.lineage for one in store.environments()}
    file = made(data)
    seen = set(old.values())
    for folder in (tmp_path / "one", tmp_path / "two"):
        done = json.loads(run("restore", file, "--data", folder, "--json").stdout)
        with Store(folder) as store:
            now = {one.key: one for one in store.environments()}
            (row,) = [one for one in store.audit(limit=2) if one.environment == "production"]
        assert not seen & {one.lineage for one in now.values()}
        seen |= {one.lineage for one in now.values()}
        assert {one["environment"]: one["revision"] for one in done["environments"]} == {
            key: one.name for key, one in now.items()
        }
        assert row.payload is not None
        said = row.payload["details"]
        assert (said["from"], said["to"]) == (old["production"], now["production"].lineage)


def test_what_ended_after_the_backup_stays_ended(data: Path, tmp_path: Path) -> None:
    """Sessions and open links: somebody may have signed out or used the link since."""
    with closing(sqlite3.connect(data / "config.db")) as connection, connection:
        connection.execute(
            "INSERT INTO user (id, email, name, created_at) VALUES (1, 'a@example.com', '', 0)"
        )
        connection.execute(
            "INSERT INTO session (digest, user_id, created_at, last_seen_at, expires_at)"
            " VALUES (x'01', 1, 0, 0, 99999999999999)"
        )
    run("restore", made(data), "--data", tmp_path / "new")
    with closing(sqlite3.connect(tmp_path / "new" / "config.db")) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (0,)
        open_links = "SELECT count(*) FROM link WHERE used_at IS NULL AND expires_at > ?"
        later = int(time.time() * 1000) + 1
        assert connection.execute(open_links, (later,)).fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM link").fetchone() != (0,)


def test_the_file_is_private_and_nothing_lies_around(data: Path) -> None:
    """Mode 0600 whatever the umask, and only the file is new in its folder."""
    before = names(data.parent)
    file = made(data)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names(data.parent) == before | {"backup.tar"}
    run("verify", file)
    assert names(data.parent) == before | {"backup.tar"}


def test_a_backup_is_on_record(data: Path) -> None:
    """Somebody took a copy of everything: the audit log says when, and the chain holds."""
    made(data)
    with Store(data) as store:
        newest = store.audit(limit=1)[0]
        assert (newest.action, newest.target) == ("create-backup", "backup.tar")
        assert store.verify().ok


def test_an_existing_file_is_replaced_only_by_force(data: Path) -> None:
    """A mistyped name costs no good backup."""
    file = made(data)
    old = file.read_bytes()
    result = run("create", file, "--data", data, code=2)
    assert "--force" in result.output
    assert file.read_bytes() == old
    run("create", file, "--data", data, "--force")
    assert file.read_bytes() != old
    run("verify", file)


def test_damaged_data_are_not_backed_up_over_a_good_backup(data: Path) -> None:
    """It is told what is wrong; the file stays; --no-verify copies what is there."""
    file = made(data)
    good = file.read_bytes()
    spoil(data / "config.db")
    result = run("create", file, "--data", data, "--force", code=1)
    assert "config.db" in result.output
    assert "--no-verify" in result.output
    assert file.read_bytes() == good
    assert names(data.parent) == {"data", "backup.tar"}
    run("create", file, "--data", data, "--force", "--no-verify")
    assert "damaged" in run("verify", file, code=1).output


def spoil(path: Path) -> None:
    """Zeros where an index was: rows can be read, the whole is not in order."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute(
            "SELECT max(rootpage) FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'api_key'"
        ).fetchone()
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * size : page * size] = bytes(size)
    path.write_bytes(raw)


def test_a_broken_audit_chain_is_told_and_backed_up_all_the_same(data: Path) -> None:
    """What somebody forged is evidence."""
    with closing(sqlite3.connect(data / "config.db")) as connection, connection:
        connection.execute("UPDATE ledger SET actor = 'mallory' WHERE seq = 2")
    file = data.parent / "backup.tar"
    assert "row 2" in run("create", file, "--data", data).stderr
    assert "row 2" in run("verify", file).stderr


def test_a_compressed_backup_is_read_too(data: Path, tmp_path: Path) -> None:
    """What gzip made of it."""
    file = made(data)
    smaller = tmp_path / "backup.tar.gz"
    smaller.write_bytes(gzip.compress(file.read_bytes()))
    run("verify", smaller)
    run("restore", smaller, "--data", tmp_path / "new")


def turned(raw: bytes, place: int) -> bytes:
    """One byte differs."""
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-20_000],
        lambda raw: b"",
        lambda raw: b"no backup at all\n" * 100,
        lambda raw: turned(raw, raw.index(b"SQLite format 3") + 3000),
        lambda raw: turned(raw, raw.rindex(b"SQLite format 3") + 30_000),
        lambda raw: raw.replace(b'"audit_rows": ', b'"audit_rows": 1'),
        lambda raw: raw.replace(b'"parts"', b'"patrs"'),
        lambda raw: raw.replace(b'"events": 2', b'"events": 3'),
        lambda raw: gzip.compress(raw)[:-2000],
        lambda raw: turned(gzip.compress(raw), 3000),
    ],
    ids=[
        "half",
        "end cut",
        "empty",
        "text",
        "events turned",
        "config turned",
        "manifest shifted",
        "manifest misspelt",
        "manifest changed",
        "gzip cut",
        "gzip turned",
    ],
)
def test_a_damaged_backup_is_refused_before_anything_is_touched(
    data: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """`verify` and `restore` exit 1 in one line; a folder in use stays as it is."""
    file = made(data)
    file.write_bytes(damage(file.read_bytes()))
    result = run("verify", file, code=1)
    assert str(file) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    run("restore", file, "--data", tmp_path / "new", code=1)
    assert not list((tmp_path / "new").glob("*.db"))
    before = {path.name: path.read_bytes() for path in data.glob("*.db")}
    run("restore", file, "--data", data, "--force", code=1)
    assert {path.name: path.read_bytes() for path in data.glob("*.db")} == before
    assert UNFINISHED not in names(data)


@pytest.mark.parametrize("what", ["format", "schema"])
def test_a_backup_of_a_later_flagloop_is_refused(data: Path, tmp_path: Path, what: str) -> None:
    """With what to do: update to that version."""
    folder = unpacked(made(data), tmp_path / "parts")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["flagloop"] = "9.8.7"
    if what == "format":
        manifest["format"] = 2
    else:
        manifest["parts"][1]["schema"].append("m099_tomorrow")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    file = packed(folder, tmp_path / "later.tar")
    result = run("restore", file, "--data", tmp_path / "new", code=1)
    assert "update flagloop to 9.8.7" in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_backup_of_an_earlier_flagloop_is_brought_up_to_date(data: Path, tmp_path: Path) -> None:
    """At the next start at the latest."""
    from sqlite_utils import Database

    (data / "events.db").unlink()
    with closing(sqlite3.connect(data / "events.db", isolation_level=None)) as connection:
        event_migrations.apply(Database(connection), stop_before="m003_context_revision")
    run("restore", made(data), "--data", tmp_path / "new")
    with Store(tmp_path / "new") as store:
        report(store, "later")
        assert [row.name for row in store.events.events()] == ["later"]
        assert store.events.contexts(store.environment("production").id) == []


def test_a_folder_with_something_in_it_is_refused_or_put_aside(data: Path, tmp_path: Path) -> None:
    """2 without --force; with it the former databases are whole in a folder that is named."""
    file = made(data)
    with Store(data) as store:
        report(store, "after the backup")
        _, secret = store.create_key("production", "server", "after the backup", SYSTEM)
    (data / "notes.txt").write_text("mine")
    (data / ".config.db-litestream").mkdir()
    result = run("restore", file, "--data", data, code=2)
    assert "--force" in result.stderr
    done = json.loads(run("restore", file, "--data", data, "--force", "--json").stdout)
    aside = Path(done["replaced"])
    assert aside.parent == data
    assert (data / "notes.txt").read_text() == "mine"
    assert not (data / ".config.db-litestream").exists()
    with Store(data) as store:
        assert [row.name for row in store.events.events()] == ["e1", "e2"]
        assert store.find_key(hash_key(secret)) is None
    with Store(aside) as store:
        assert [row.name for row in store.events.events()] == ["e1", "e2", "after the backup"]
        assert store.find_key(hash_key(secret)) is not None


def test_a_folder_that_a_server_holds_is_refused(data: Path) -> None:
    """By restore, forced or not, and by adopt; not by create."""
    file = made(data)
    before = (data / "config.db").read_bytes()
    with sole_server(data):
        for words in (("restore", file, "--force"), ("adopt",)):
            result = run(*words, "--data", data, code=1)
            assert "another server runs" in result.stderr
        assert (data / "config.db").read_bytes() == before
        run("create", file, "--data", data, "--force")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_restores_belongs_to_the_owner_of_the_folder(data: Path, tmp_path: Path) -> None:
    """The server must be able to open its databases and its lock."""
    new = tmp_path / "new"
    new.mkdir()
    os.chown(new, 1234, 1234)
    run("restore", made(data), "--data", new)
    assert {path.stat().st_uid for path in (new, *new.iterdir())} == {1234}


CUT = """
import os, sys
from flagloop.commands.main import cli

left = int(sys.argv[1])

def hook(event, arguments):
    global left
    if event == "os.rename" and str(sys.argv[3]) in str(arguments[1]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

sys.addaudithook(hook)
cli(["backup", "restore", sys.argv[2], "--data", sys.argv[3], "--force"])
"""


def test_a_restore_that_is_killed_at_any_step_can_be_done_again(data: Path) -> None:
    """Until then no server starts on a folder of two origins; the former files are kept."""
    file = made(data)
    with Store(data) as store:
        report(store, "after the backup")
    steps = refused = 0
    while True:
        folder = data.parent / f"cut-{steps}"
        folder.mkdir()
        for path in data.glob("*.db"):
            (folder / path.name).write_bytes(path.read_bytes())
        words = [sys.executable, "-c", CUT, str(steps), str(file), str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        steps += 1
        if not (folder / UNFINISHED).exists():
            assert stored_events(folder) == ["e1", "e2", "after the backup"]
        else:
            refused += 1
            with pytest.raises(OSError, match="backup restore FILE"), sole_server(folder):
                pass
        run("restore", file, "--data", folder, "--force")
        with sole_server(folder):
            assert stored_events(folder) == ["e1", "e2"]
        (aside,) = folder.glob("replaced-*")
        assert stored_events(aside) == ["e1", "e2", "after the backup"]
        assert not list(folder.glob(".*"))
    assert steps >= 5
    assert refused >= 4


def stored_events(folder: Path) -> list[str]:
    """The events of a folder."""
    with Store(folder) as store:
        return [row.name for row in store.events.events()]


def test_adopt_begins_new_lineages_where_the_files_lie(data: Path, tmp_path: Path) -> None:
    """For files that Litestream or tar put there."""
    folder = unpacked(made(data), tmp_path / "new")
    with Store(data) as store:
        old = {one.lineage for one in store.environments()}
    said = run("adopt", "--data", folder).stdout
    assert "production: " in said
    with Store(folder) as store:
        assert not old & {one.lineage for one in store.environments()}
        assert store.audit(limit=1)[0].action == "adopt-data"
        assert store.verify().ok
        assert stored_events(folder) == ["e1", "e2"]


def test_adopt_refuses_what_is_damaged_or_later(data: Path) -> None:
    """Before anything is changed."""
    with closing(sqlite3.connect(data / "config.db")) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('flagloop.config', 'm099_tomorrow', '')"
        )
    assert "update flagloop" in run("adopt", "--data", data, code=1).stderr
    raw = bytearray((data / "events.db").read_bytes())
    raw[4096:] = bytes(len(raw) - 4096)
    (data / "events.db").write_bytes(raw)
    for suffix in ("-wal", "-shm"):
        (data / f"events.db{suffix}").unlink(missing_ok=True)
    assert "events.db is damaged" in run("adopt", "--data", data, code=1).stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("create", "new.tar", "--data", "nowhere"), 2, "no config.db"),
        (("create", "no/folder/new.tar", "--data", "data"), 2, "no folder"),
        (("verify", "absent.tar"), 2, "absent.tar"),
        (("restore", "absent.tar", "--data", "data"), 2, "absent.tar"),
        (("adopt", "--data", "nowhere"), 2, "no config.db"),
        (("create", "data", "--data", "data"), 2, "directory"),
        (("create", "data/config.db", "--data", "data", "--force"), 2, "the server's own"),
        (("create", "data/events.db-wal", "--data", "data", "--force"), 2, "the server's own"),
        (("create", "data/pipe", "--data", "data", "--force"), 2, "no file that can be replaced"),
    ],
)
def test_mistakes_are_told(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    """In one message that names the mistake; no folder comes into being."""
    monkeypatch.chdir(data.parent)
    os.mkfifo("data/pipe")
    before = {name: (data / name).read_bytes() for name in ("config.db", "events.db")}
    assert text in run(*words, code=code).output
    assert names(data.parent) == {"data"}
    assert {name: (data / name).read_bytes() for name in before} == before


def test_an_error_with_json_is_json(data: Path) -> None:
    """As of every command."""
    bad = data.parent / "bad.tar"
    bad.write_text("bad")
    said: Any = json.loads(run("verify", bad, "--json", code=1).stdout)
    assert said["error"]["type"] == "BackupError"

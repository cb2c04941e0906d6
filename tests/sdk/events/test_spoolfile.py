"""The files of a spool: who may read them, and what becomes of those that are broken."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl")

from flagloop.events.spoolfile import SpoolFile

RETRY = 5.0
STRANDED = 3600.0


def test_only_this_user_may_read_what_is_on_disk(machine: Any) -> None:
    """The folder is 0700, each file in it 0600, whatever the umask is."""
    machine.down = True
    before = os.umask(0)
    try:
        world = machine.process()
        machine.track(world, 0, 10)
        world.run(2)
    finally:
        os.umask(before)
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in machine.folder.iterdir()}
    assert machine.folder.stat().st_mode & 0o777 == 0o700
    assert set(modes) == {".spool", ".spool-wal", ".spool-shm", ".lock"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("content", [b"", b"x" * 20_000, b"SQLite format 3\0" + b"\0" * 9000])
def test_a_garbage_file_is_put_aside_and_told(machine: Any, content: bytes) -> None:
    """It is never sent, never lost, and nothing else suffers; an empty one is just used."""
    machine.folder.mkdir()
    bad = machine.folder / "flagloop-server-0.spool"
    bad.write_bytes(content)
    bad.chmod(0o600)
    world = machine.process()
    names = machine.track(world, 0, 10)
    world.run(2)
    assert machine.units == names
    problem = world.spool.status()["problem"]
    if content:
        assert "is flagloop-server-0.damaged now" in problem
        assert bad.with_suffix(".damaged").read_bytes() == content
    else:
        assert problem is None
    world.outbox.abandon()
    assert machine.files() == []


def test_a_database_that_is_none_of_ours_is_put_aside(machine: Any) -> None:
    """Another program's file with our name is not touched inside."""
    machine.folder.mkdir()
    bad = machine.folder / "flagloop-server-0.spool"
    with sqlite3.connect(bad) as base:
        base.execute("create table theirs (x)")
    base.close()
    bad.chmod(0o600)
    world = machine.process()
    world.run(1)
    assert "is no spool of flagloop" in world.spool.status()["problem"]


def test_what_others_could_have_written_is_not_sent(machine: Any, tmp_path: Path) -> None:
    """A link, a folder, a file that everybody may write: told and left alone."""
    machine.down = True
    world = machine.process()
    machine.track(world, 0, 10)
    world.run(2)
    machine.kill(world)
    [file] = machine.files()
    file.chmod(0o666)
    machine.down = False
    later = machine.process()
    later.run(30)
    assert machine.stored == {}
    assert "that only this user can write" in later.spool.status()["problem"]
    file.chmod(0o600)
    later.run(30)
    assert len(machine.units) == 10
    (machine.folder / "flagloop-server-1.spool").mkdir()
    (machine.folder / "flagloop-server-2.spool").symlink_to(tmp_path / "nowhere")
    (machine.folder / "flagloop-server-3.lock").symlink_to(tmp_path / "nowhere")
    names = machine.track(later, 10, 20)
    later.run(30)
    assert machine.units[10:] == names
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_batch_is_one_counted_loss(machine: Any) -> None:
    """Bits that fell over spoil their own batch only."""
    machine.down = True
    world = machine.process()
    for n in range(3):
        machine.track(world, n * 10, n * 10 + 10)
        world.run(1)
    machine.kill(world)
    [file] = machine.files()
    with sqlite3.connect(file) as base:
        base.execute("update batch set body = x'00' where seq = 2")
    base.close()
    machine.down = False
    later = machine.process()
    later.run(5)
    assert machine.units == [f"u{n:06d}" for n in [*range(10), *range(20, 30)]]
    assert later.losses.totals == {"spool_damaged": 10}
    assert machine.rows["spool_damaged"] == 10


def test_a_file_that_breaks_while_it_is_open(machine: Any) -> None:
    """The application goes on with a new one; what was in the old one is counted as lost."""
    machine.down = True
    world = machine.process()
    for n in range(30):
        machine.track(world, n * 100, n * 100 + 100)
        world.run(1)
    world.spool.before_fork()  # closes it, so that what comes is seen
    [file] = machine.files()
    file.write_bytes(b"\0" * file.stat().st_size)
    names = machine.track(world, 3000, 3010)
    world.run(RETRY + 2)
    assert len(machine.files(".damaged")) == 1
    machine.down = False
    assert world.flush()
    # The first batch was in memory, since it was being sent.
    assert machine.units == [f"u{n:06d}" for n in range(100)] + names
    assert world.losses.totals == {"spool_damaged": 2900}


def test_a_disk_that_takes_no_removal_is_tried_again(machine: Any) -> None:
    """What has arrived is told of no longer once the disk works, though nothing new comes."""
    machine.down = True
    world = machine.process()
    names = machine.track(world, 0, 10)
    world.run(2)
    [file] = machine.files()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("begin immediate")  # from now on the file takes nothing
        machine.down = False
        assert world.flush()
        status = world.spool.status()
        assert (machine.units, status["events"]) == (names, 0)
        assert "locked" in status["problem"]
    world.run(RETRY + 2)
    status = world.spool.status()
    assert (status["problem"], status["oldest"], status["batches"]) == (None, None, 0)
    machine.kill(world)
    tries = len(machine.tries)
    machine.process().run(RETRY)
    assert len(machine.tries) == tries


@pytest.mark.parametrize("what", ["*", "*.spool", "*.lock"])
def test_files_that_are_removed_under_a_living_process(machine: Any, what: str) -> None:
    """What only it still sees is on disk again, told, private, and there for the next process."""
    machine.down = True
    world = machine.process()
    names = machine.track(world, 0, 20)
    world.run(2)
    [before] = machine.files()
    for path in machine.folder.glob(what):
        path.unlink()
    world.run(2)
    [after] = machine.files()
    told = world.spool.status()["problem"]
    if what == "*.lock":
        assert (after, told) == (before, None)
    else:
        assert f"{before} was removed while it was in use; {after.name} has its events" == told
    assert {path.stat().st_mode & 0o777 for path in machine.folder.iterdir()} == {0o600}
    other = machine.process()
    other.run(2)
    assert other.spool.status()["events"] == 0
    names += machine.track(world, 20, 30)
    world.run(2)
    machine.kill(world)
    machine.down = False
    later = machine.process()
    later.run(5)
    assert machine.units == names
    assert later.losses.totals == world.losses.totals == {}


def test_files_that_are_removed_while_they_are_closed(machine: Any) -> None:
    """What nobody can read any more is counted as lost, and the file is not made by SQLite."""
    machine.down = True
    world = machine.process()
    for n in range(3):
        machine.track(world, n * 10, n * 10 + 10)
        world.run(1)
    world.spool.before_fork()
    for path in machine.folder.iterdir():
        path.unlink()
    world.run(RETRY + 2)
    machine.down = False
    assert world.flush()
    # The first batch was in memory, since it was being sent.
    assert machine.units == [f"u{n:06d}" for n in range(10)]
    assert world.losses.totals == {"spool_damaged": 20}


def test_a_folder_that_is_removed_and_cannot_be_made_again(machine: Any) -> None:
    """It is told at once, what is still seen is sent, and at the end what is not sent is lost."""
    machine.down = True
    world = machine.process()
    machine.track(world, 0, 10)
    world.run(2)
    for path in machine.folder.iterdir():
        path.unlink()
    machine.folder.rmdir()
    machine.folder.touch()
    world.run(RETRY + 2)
    assert "File exists" in world.spool.status()["problem"]
    machine.track(world, 10, 20)
    world.run(RETRY + 2)
    assert "File exists" in world.spool.status()["problem"]
    world.outbox.abandon()
    assert world.losses.totals == {"spool_damaged": 10, "closed": 10}


def test_files_of_a_key_that_nobody_has_any_more_are_told(
    machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """After an hour, once, with what to do; and what is advised brings the events to the server."""
    machine.down = True
    old = machine.process(identity="revoked")
    names = machine.track(old, 0, 10)
    old.run(2)
    [stranded] = machine.files()
    world = machine.process()
    os.utime(stranded, (0, 0))
    world.run(2 * STRANDED)
    assert world.spool.status()["stranded"] == []  # its process lives
    machine.kill(old)
    os.utime(stranded, (old.now, old.now))
    caplog.clear()
    world.run(3 * STRANDED)
    status = world.spool.status()
    assert (status["stranded"], status["problem"]) == ([str(stranded)], None)
    [text] = [one.getMessage() for one in caplog.records if str(stranded) in one.getMessage()]
    assert "begin with flagloop-server-;" in text
    for path in machine.folder.glob(f"{stranded.stem}.spool*"):
        path.rename(path.with_name(path.name.replace("revoked", "server")))
    machine.down = False
    world.run(2 * STRANDED)
    assert machine.units == names
    assert world.spool.status()["stranded"] == []


def test_fresh_files_and_those_of_others_are_not_stranded(machine: Any, tmp_path: Path) -> None:
    """A process that has just died may be back at once; what is not ours is not our trouble."""
    machine.down = True
    for identity in ("fresh", "theirs"):
        world = machine.process(identity=identity)
        machine.track(world, 0, 10)
        world.run(2)
        machine.kill(world)
    [fresh, theirs] = machine.files()
    os.utime(fresh, (world.now, world.now))
    now = fresh.stat().st_mtime
    for path in machine.folder.glob(f"{theirs.stem}*"):
        os.utime(path, (0, 0))
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
    found = SpoolFile.stranded(machine.folder, "flagloop-server-", now)
    assert found == ([] if os.getuid() == 0 else [theirs])
    assert SpoolFile.stranded(tmp_path / "nowhere", "flagloop-server-", now) == []

"""The file: durable, shared with other processes, told apart by its data version."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from flagloop_server.store import SYSTEM, Actor, Store
from flagloop_server.store.database import LaterSchemaError

OTHER_PROCESS = """
import sys
from pathlib import Path
from flagloop_server.store import SYSTEM, Store
with Store(Path(sys.argv[1])) as store:
    for n in range(int(sys.argv[3])):
        store.create_environment(f"{sys.argv[2]}{n}", SYSTEM)
"""


def run_other(folder: Path, prefix: str, count: int) -> subprocess.Popen[bytes]:
    """Another process that creates environments in the same folder."""
    return subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, folder, prefix, str(count)])


def test_the_file_is_durable_and_in_wal_mode(store: Store) -> None:
    """Acknowledged means on the disk; readers never wait for the writer."""
    with store._file.read() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    """Also in a folder that was there before and that everybody may read."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    mask = os.umask(0o022)
    try:
        with Store(folder):
            modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    finally:
        os.umask(mask)
    assert {"config.db", "events.db", "config.db-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_opening_again_finds_everything(tmp_path: Path, ana: Actor) -> None:
    """Migrations run once; what was written is there."""
    with Store(tmp_path) as first:
        made = first.create_environment("production", ana)
    with Store(tmp_path) as second:
        assert second.environment("production") == made
        assert second.verify().ok


def test_another_process_is_seen_and_written_beside(store: Store) -> None:
    """Two processes write at once; both sets arrive and the version moves."""
    before = store.data_version()
    other = run_other(store.folder, "other", 10)
    for n in range(10):
        store.create_environment(f"own{n}", SYSTEM)
    assert other.wait(60) == 0
    assert store.data_version() != before
    assert len(store.environments()) == 20
    assert store.verify().ok


def test_the_version_stands_still_without_writes(store: Store, ana: Actor) -> None:
    """Reading moves nothing; a write of this process does."""
    store.create_environment("a", ana)
    version = store.data_version()
    store.environments()
    store.audit()
    assert store.data_version() == version
    store.create_environment("b", ana)
    assert store.data_version() != version


def test_a_failed_write_leaves_nothing(store: Store, ana: Actor) -> None:
    """An exception inside rolls everything back and frees the lock."""
    with pytest.raises(RuntimeError), store.exclusive():
        store.create_environment("a", ana)
        raise RuntimeError
    assert store.environments() == []
    assert store.audit() == []
    store.create_environment("a", ana)


def test_many_threads_share_a_store(store: Store, ana: Actor) -> None:
    """Readers and writers of many threads neither block for ever nor lose anything."""
    start = threading.Barrier(8)

    def work(number: int) -> int:
        start.wait(60)
        store.create_environment(f"e{number}", ana)
        return sum(len(store.environments()) >= 1 for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [20] * 8
    assert len(store.environments()) == 8
    assert store.verify().rows == 8


def test_a_reader_sees_committed_data_while_a_write_is_open(store: Store, ana: Actor) -> None:
    """An open transaction neither shows nor hinders."""
    store.create_environment("a", ana)
    with store.exclusive():
        store.create_environment("b", ana)
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(lambda: [one.key for one in store.environments()]).result(30)
    assert seen == ["a"]


def test_a_closed_store_can_be_closed_again_and_reads_no_more(tmp_path: Path) -> None:
    """Closing frees the files."""
    store = Store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.create_environment("a", SYSTEM)


@pytest.mark.parametrize("name", ["config", "events"])
def test_a_file_of_a_later_flagloop_is_refused(tmp_path: Path, name: str) -> None:
    """Neither read with other eyes nor changed; the message names the file and the mend."""
    with Store(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / f"{name}.db", isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, '')",
            (f"flagloop.{name}", "m099_tomorrow"),
        )
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.db")}
    with pytest.raises(LaterSchemaError, match=rf"{name}.db is of a later .* m099_tomorrow"):
        Store(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*")} == before

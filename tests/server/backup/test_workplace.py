"""The folder in which a backup is made: it goes, whatever happens."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flagloop_server.backup.workplace import workplace
from helpers.patience import LONG, until

KILLED = """
import os, sys
from pathlib import Path
from flagloop_server.backup.workplace import workplace

with workplace(Path(sys.argv[1])) as folder:
    (folder / "events.db").write_text("half")
    os.kill(os.getpid(), 9)
"""


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(one.name for one in folder.iterdir())


def test_it_is_private_beside_the_file_and_gone_afterwards(tmp_path: Path) -> None:
    """Also after an error."""
    with pytest.raises(KeyError), workplace(tmp_path / "b.tar") as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        raise KeyError
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    """At the next backup to the same file; other files' are not touched."""
    for name in ("b.tar", "c.tar"):
        words = [sys.executable, "-c", KILLED, str(tmp_path / name)]
        assert subprocess.run(words, timeout=60, check=False).returncode == -9
    assert len(names(tmp_path)) == 2
    with workplace(tmp_path / "b.tar"):
        pass
    (left,) = names(tmp_path)
    assert left.startswith(".c.tar.")


def test_one_that_is_in_use_stays(tmp_path: Path) -> None:
    """Two backups to one file at once do not disturb each other."""
    file = tmp_path / "odd [name].tar"
    with workplace(file) as one, workplace(file) as other:
        assert one != other
        assert one.exists()
    with workplace(file):
        assert len(names(tmp_path)) == 1


def test_many_at_once_for_one_file(tmp_path: Path) -> None:
    """None takes for left over what another is about to hold or to clear away."""

    def work(number: int) -> bool:
        with workplace(tmp_path / "b.tar") as folder:
            (folder / "part").write_text(str(number))
            return (folder / "part").read_text() == str(number)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(400)))
    assert names(tmp_path) == []


def test_a_command_that_is_ended_leaves_nothing_half_made(tmp_path: Path) -> None:
    """By systemd or cron, say, whose next backup may have another name."""
    fifo = tmp_path / "backup.tar"
    os.mkfifo(fifo)
    writers: list[int] = []

    def is_read() -> bool:
        with contextlib.suppress(OSError):  # nobody reads it yet
            writers.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    words = [sys.executable, "-m", "flagloop", "backup", "verify", str(fifo)]
    with subprocess.Popen(words) as process:
        assert until(lambda: is_read() or process.poll() is not None)
        assert len(names(tmp_path)) == 2
        process.terminate()
        assert process.wait(LONG) == 143
    os.close(writers[0])
    assert names(tmp_path) == ["backup.tar"]

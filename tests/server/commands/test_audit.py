"""`flagloop audit` on a folder."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flagloop.commands.main import cli
from flagloop_server.store import SYSTEM, Store


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with three rows in its ledger."""
    with Store(tmp_path) as store:
        for name in ("development", "staging", "production"):
            store.create_environment(name, SYSTEM)
    return tmp_path


def run(data: Path, *arguments: str, code: int = 0) -> Result:
    """Run `flagloop audit ...`."""
    result = CliRunner().invoke(cli, ["audit", *arguments, "--data", str(data)])
    assert result.exit_code == code, result.output
    return result


def test_a_whole_chain_is_told_with_its_head(data: Path) -> None:
    """In words and as JSON; a head that was kept must be in it, later rows do not matter."""
    found = json.loads(run(data, "verify", "--json").stdout)
    assert (found["ok"], found["rows"], found["problems"]) == (True, 3, [])
    said = run(data, "verify").stdout
    assert said == f"the chain of 3 rows is whole\nhead {found['head']}\n"
    with Store(data) as store:
        store.create_environment("later", SYSTEM)
    kept = run(data, "verify", "--head", found["head"].upper()).stdout
    assert "the chain of 4 rows is whole, and contains the head that was kept" in kept
    nothing = run(data, "verify", "--head", "0" * 64).stdout
    assert "whole; the head that was kept is that of an empty log, which proves nothing" in nothing


def test_a_broken_chain_exits_1(data: Path) -> None:
    """For an altered row, and for a head of another chain."""
    other = run(data, "verify", "--head", "ab" * 32, code=1).stdout
    assert f"the exported head {'ab' * 32} is not in the chain" in other
    with contextlib.closing(sqlite3.connect(data / "config.db")) as file:
        file.execute("UPDATE ledger SET actor = 'nobody' WHERE seq = 2")
        file.commit()
    said = run(data, "verify", code=1).stdout
    assert "the chain of 3 rows is broken:\n  row 2: actor differs from the payload" in said
    assert json.loads(run(data, "verify", "--json", code=1).stdout)["ok"] is False


def test_every_row_is_exported(data: Path) -> None:
    """As JSON lines, the oldest first, from a row on, of one environment; and as CSV."""
    rows = [json.loads(line) for line in run(data, "export").stdout.splitlines()]
    assert [row["seq"] for row in rows] == [1, 2, 3]
    assert rows[0]["payload"]["action"] == "create"
    assert len(run(data, "export", "--after", "2").stdout.splitlines()) == 1
    (row,) = csv.DictReader(
        io.StringIO(run(data, "export", "--env", "staging", "--format", "csv").stdout)
    )
    assert (row["action"], row["target"], row["environment"]) == ("create", "staging", "staging")
    run(data, "export", "--env", "nowhere", code=1)


def test_a_reader_that_has_enough_is_no_error(data: Path) -> None:
    """`| head` closes the pipe: the data are not to blame, and nothing is told."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "flagloop", "audit", "export", "--data", str(data)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_folder_without_a_server_is_refused(tmp_path: Path) -> None:
    """Nothing is made there."""
    run(tmp_path, "verify", code=2)
    assert list(tmp_path.iterdir()) == []

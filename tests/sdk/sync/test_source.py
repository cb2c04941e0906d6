"""Sources: each says what changed, and tells a broken answer from none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from flagloop.errors import DocumentError, TransportError
from flagloop.sync.source import SETTLED, FileSource, ServerSource, StaticSource
from flagloop.sync.transport import Transport

GOOD = "version: 1\nenvironment: production\nflags:\n  a:\n    rules: []\n"
OTHER = GOOD.replace("  a:", "  b:")
BAD = "version: 1\nflags:\n  a:\n    shaer: 5%\n"
KEY = "fl_srv_x"


def body(revision: str) -> bytes:
    """A small snapshot."""
    return json.dumps(
        {"format": 1, "revision": revision, "environment": "production", "flags": {}}
    ).encode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good file."""
    path = tmp_path / "flags.yaml"
    path.write_text(GOOD)
    return path


def test_a_mapping_is_one_revision() -> None:
    """It is given once and then unchanged."""
    mapping = {"version": 1, "environment": "test", "flags": {}}
    source = StaticSource(mapping, clock=lambda: 5.0)
    first = source.fetch(None)
    assert first is not None
    assert (first.mapping, first.environment, first.origin, first.at) == (
        mapping,
        "test",
        "document",
        5.0,
    )
    assert source.fetch(first.revision) is None
    assert source.notes() == {}


def test_a_file_is_read_and_then_unchanged(file: Path) -> None:
    """The snapshot has the parsed mapping and the environment the file names."""
    source = FileSource(file)
    first = source.fetch(None)
    assert first is not None
    assert first.mapping["flags"] == {"a": {"rules": []}}
    assert (first.environment, first.origin) == ("production", "file")
    assert source.fetch(first.revision) is None


def test_a_changed_file_is_a_new_revision(file: Path) -> None:
    """Also when size and time stamp stay the same: two writes in one grain of the clock."""
    source = FileSource(file)
    about = file.stat()
    first = source.fetch(None)
    assert first is not None
    file.write_text(OTHER)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    second = source.fetch(first.revision)
    assert second is not None
    assert second.mapping["flags"] == {"b": {"rules": []}}
    file.write_text(GOOD)
    third = source.fetch(second.revision)
    assert third is not None
    assert third.revision == first.revision


def test_a_touched_file_changes_nothing(file: Path) -> None:
    """The revision is named by the content."""
    source = FileSource(file)
    first = source.fetch(None)
    assert first is not None
    os.utime(file, (1.0, 1.0))
    assert source.fetch(first.revision) is None


def test_an_old_file_is_not_read_again(file: Path) -> None:
    """Once the stamp is settled a look costs one stat: the content may even be unreadable."""
    now = file.stat().st_mtime + SETTLED + 1
    source = FileSource(file, clock=lambda: now)
    first = source.fetch(None)
    assert first is not None
    about = file.stat()
    file.write_text(OTHER)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert source.fetch(first.revision) is None


def test_a_broken_file_says_where_until_it_is_mended(file: Path) -> None:
    """Each fetch raises all problems with lines; mending or taking back ends that."""
    source = FileSource(file)
    first = source.fetch(None)
    assert first is not None
    file.write_text(BAD)
    for _ in range(3):
        with pytest.raises(DocumentError) as caught:
            source.fetch(first.revision)
        assert [problem.line for problem in caught.value.problems] == [4]
        assert f"{file}:4" in str(caught.value)
    file.write_text(GOOD)
    assert source.fetch(first.revision) is None
    file.write_text(OTHER)
    assert source.fetch(first.revision) is not None


def test_a_broken_file_that_rests_still_says_so(file: Path) -> None:
    """A settled stamp keeps the problems, although nothing is read again."""
    file.write_text(BAD)
    now = file.stat().st_mtime + SETTLED + 1
    source = FileSource(file, clock=lambda: now)
    for _ in range(2):
        with pytest.raises(DocumentError, match="shaer"):
            source.fetch(None)


def test_a_file_that_is_no_yaml_is_a_document_error(file: Path) -> None:
    """Syntax is named with its line."""
    file.write_text("version: 1\nflags: [\n")
    with pytest.raises(DocumentError) as caught:
        FileSource(file).fetch(None)
    assert caught.value.problems[0].line is not None


def test_a_missing_file_is_a_transport_error_and_may_come_back(file: Path) -> None:
    """Editors replace files: for a moment there is none."""
    source = FileSource(file)
    first = source.fetch(None)
    assert first is not None
    file.unlink()
    with pytest.raises(TransportError, match=r"flags\.yaml: No such file"):
        source.fetch(first.revision)
    file.write_text(GOOD)
    assert source.fetch(first.revision) is None


def test_a_folder_is_a_transport_error(tmp_path: Path) -> None:
    """What cannot be read is named."""
    with pytest.raises(TransportError, match="directory"):
        FileSource(tmp_path).fetch(None)


def test_the_server_is_asked_with_the_revision(loopback: Any) -> None:
    """The revision in force is the ETag of the next request."""
    loopback.body(body("k.7"))
    source = ServerSource(Transport(loopback.url, KEY), clock=lambda: 9.0)
    first = source.fetch(None)
    assert first is not None
    assert (first.revision, first.environment, first.origin, first.at) == (
        "k.7",
        "production",
        "server",
        9.0,
    )
    loopback.body(b"", 304)
    assert source.fetch("k.7") is None
    assert loopback.seen[-1][2]["If-None-Match"] == '"k.7"'
    assert source.load_cached() is None


def test_the_servers_ruleset_is_kept_and_found_again(loopback: Any, tmp_path: Path) -> None:
    """A new process starts from the copy, with the time it was sent."""
    loopback.body(body("k.7"))
    ServerSource(Transport(loopback.url, KEY), tmp_path, clock=lambda: 9.0).fetch(None)
    copy = ServerSource(Transport(loopback.url, KEY), tmp_path).load_cached()
    assert copy is not None
    assert (copy.revision, copy.origin, copy.at) == ("k.7", "cache", 9.0)
    assert ServerSource(Transport(loopback.url, "fl_srv_y"), tmp_path).load_cached() is None


def test_an_answer_that_fails_leaves_the_copy(loopback: Any, tmp_path: Path) -> None:
    """Garbage, an error and a revoked key never reach the disk."""
    loopback.body(body("k.7"))
    source = ServerSource(Transport(loopback.url, KEY), tmp_path)
    source.fetch(None)
    for content, status in ((b"garbage", 200), (b"", 500), (b"", 401)):
        loopback.body(content, status)
        with pytest.raises(TransportError):
            source.fetch("k.7")
    copy = source.load_cached()
    assert copy is not None
    assert copy.revision == "k.7"


def test_a_damaged_copy_is_noted_until_the_next_save(loopback: Any, tmp_path: Path) -> None:
    """The application starts without it, and status can say why."""
    loopback.body(body("k.7"))
    source = ServerSource(Transport(loopback.url, KEY), tmp_path)
    source.fetch(None)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    again = ServerSource(Transport(loopback.url, KEY), tmp_path)
    assert again.load_cached() is None
    assert "wrong checksum" in again.notes()["cache"]
    assert again.fetch(None) is not None
    assert again.notes() == {}


def test_a_folder_that_cannot_be_written_costs_only_the_copy(loopback: Any, tmp_path: Path) -> None:
    """The ruleset is served, and the note names the file."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    loopback.body(body("k.7"))
    source = ServerSource(Transport(loopback.url, KEY), blocked / "cache")
    assert source.fetch(None) is not None
    assert str(blocked) in source.notes()["cache"]

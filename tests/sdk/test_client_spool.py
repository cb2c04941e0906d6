"""`Client(..., spool=DIR)`: what an application sees of it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flagloop import Client, ConfigError
from flagloop.errors import TransportError
from flagloop.testing import MemorySink

pytest.importorskip("fcntl")


def away(batch: bytes) -> None:
    """A server that is not there."""
    raise TransportError("no answer")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"spool": ""}, "spool must be a folder"),
        ({"spool": 3}, "spool must be a folder"),
        ({"spool": "a\0b"}, "spool must be a folder"),
        ({"spool": "x", "spool_mb": 0.5}, "spool_mb must be megabytes, 1 or more"),
        ({"spool_mb": 10}, "give its folder as spool"),
    ],
)
def test_wrong_options_are_told(mapping: Any, options: dict[str, Any], says: str) -> None:
    """As with every option, the constructor raises."""
    with pytest.raises(ConfigError, match=says):
        Client.from_document(mapping, events=away, **options)


def test_a_deadline_that_is_over_leaves_the_events_on_disk(
    mapping: Any, make: Callable[..., Client], sink: MemorySink, until: Any, tmp_path: Path
) -> None:
    """`close` takes a negative rest of time as none, and the next client delivers."""
    first = make(mapping, events=away, spool=tmp_path)
    first.track("click", "u-1")
    assert not first.close(-0.5)
    until(lambda: first.status()["delivery"]["queued"] == 0)
    make(mapping, spool=tmp_path)
    until(lambda: sink.events)


def test_the_next_client_delivers_although_it_does_nothing_itself(
    mapping: Any, make: Callable[..., Client], sink: MemorySink, until: Any, tmp_path: Path
) -> None:
    """What is on disk needs no new event to be sent."""
    first = make(mapping, events=away, spool=tmp_path)
    first.variant("split", "u-1")
    first.track("click", "u-1")
    assert not first.close(5)
    assert first.status()["delivery"]["lost"] == {}
    make(mapping, spool=str(tmp_path))
    until(lambda: sink.events)
    assert len(sink.exposures) == len(sink.events) == 1


def test_a_forgotten_client_leaves_its_events_to_the_next(
    mapping: Any, sink: MemorySink, make: Callable[..., Client], until: Any, tmp_path: Path
) -> None:
    """A client that was thrown away without `close` lets go of its file."""
    before = set(threading.enumerate())
    client = Client.from_document(mapping, events=away, spool=tmp_path)
    client.track("click", "u-1")
    threads = set(threading.enumerate()) - before
    assert {one.name for one in threads} == {"flagloop-delivery", "flagloop-spool"}
    del client
    gc.collect()
    until(lambda: not any(one.is_alive() for one in threads))
    make(mapping, spool=tmp_path)
    until(lambda: sink.events)


def test_status_tells_what_is_on_disk(
    mapping: Any, make: Callable[..., Client], until: Any, tmp_path: Path
) -> None:
    """Events on disk count as queued; trouble with the disk is a problem of the client."""
    client = make(mapping, events=away, spool=tmp_path / "spool", spool_mb=10)
    client.track("click", "u-1")
    until(lambda: client.status()["delivery"]["spool"]["batches"])
    status = client.status()["delivery"]
    assert status["queued"] == status["spool"]["events"] == 1
    (tmp_path / "file").touch()
    other = make({"flags": {}}, spool=tmp_path / "file")
    other.track("click", "u-1")
    assert other.flush(60)
    assert other.status()["problem"].startswith("spool: ")


def test_only_clients_with_a_spool_import_a_database(tmp_path: Path) -> None:
    """And those do so at once: never first in a worker thread."""
    code = """
import sys
from flagloop import Client
one = Client.from_document({"flags": {}}, events=lambda batch: None)
one.track("click", "u")
assert one.flush(10)
print("sqlite3" in sys.modules)
Client.from_document({"flags": {}}, events=lambda batch: None, spool=sys.argv[1])
"""
    code += 'print({"sqlite3", "zlib", "fcntl"} <= sys.modules.keys())'
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")

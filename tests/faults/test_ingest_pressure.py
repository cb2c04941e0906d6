"""Where events cannot be written: told, never lost, never twice, and flags are served meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

BATCH = 50
ALERT = "events are not written: "


class Sender:
    """Posts batches as an SDK does: the same again until it is acknowledged."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"}
        self.acknowledged: list[str] = []
        self.unsure: list[dict[str, Any]] = []
        self._session = requests.Session()

    def post(self, batch: dict[str, Any] | None = None) -> requests.Response:
        """One try of a batch, a new one if none is given; counts as unsure without a 200."""
        batch = batch or new_batch()
        answer = self._session.post(
            f"{self.url}/api/v1/events", json=batch, headers=self.headers, timeout=30
        )
        if answer.status_code == 200:
            body = answer.json()
            assert body["accepted"] + body["duplicate"] == len(batch["events"]), body
            self.acknowledged += [event["id"] for event in batch["events"]]
        else:
            self.unsure.append(batch)
        return answer

    def again(self) -> None:
        """Try what is unsure once more; all of it must be taken."""
        batches, self.unsure = self.unsure, []
        for batch in batches:
            assert self.post(batch).status_code == 200

    def close(self) -> None:
        """Drop the connections."""
        self._session.close()


def new_batch() -> dict[str, Any]:
    """A batch of tracked events with ids of their own and enough in them to fill a disk."""
    events = [
        {
            "id": str(uuid.uuid4()),
            "type": "event",
            "at": 1_790_000_000_000,
            "event": "sign_up",
            "units": {"key": "u-1"},
            "properties": {"text": "x" * 1_000},
        }
        for _ in range(BATCH)
    ]
    return {"batch": str(uuid.uuid4()), "events": events}


def stored(data: Path) -> list[str]:
    """Every id in the log, as often as it is there."""
    with contextlib.closing(sqlite3.connect(data / "events.db")) as connection:
        return [str(uuid.UUID(bytes=row[0])) for row in connection.execute("SELECT id FROM event")]


@pytest.fixture
def disk(tmp_path: Path, missing_part: Callable[[str], None]) -> Iterator[Path]:
    """A disk of 12 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        done = None
    if done is None or done.returncode:
        missing_part("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def sender(start_server: Any) -> Iterator[Callable[[Path], tuple[Any, Sender]]]:
    """`sender(data)`: a real server on a new folder, and who sends to it."""
    made: list[Sender] = []

    def make(data: Path, kind: str = "server") -> tuple[Any, Sender]:
        key = new_key(data, kind)
        server = start_server(data)
        made.append(Sender(server.url, key))
        return server, made[-1]

    yield make
    for one in made:
        one.close()


def new_key(data: Path, kind: str) -> str:
    """A key of a folder whose server has not started or runs."""
    from flagloop_server.auth import Auth, first_start
    from flagloop_server.store import SYSTEM, Store

    with Store(data) as store:
        first_start(store, Auth(store))
        _, key = store.create_key("production", kind, "sender", SYSTEM)
    return key


def said(server: Any, text: str) -> list[str]:
    """The lines of the server's log that have this text."""
    return [line for line in server.said if text in line]


def check_refused(answer: requests.Response, status: int) -> None:
    """Sent back, with when to come again."""
    assert answer.status_code == status, answer.text
    assert int(answer.headers["Retry-After"]) >= 1


def check_that_flags_are_served(server: Any, sender: Sender) -> None:
    """Snapshot, 304 and stream come from memory; operators are told, and requests welcome."""
    url, headers = f"{server.url}/api/v1/ruleset", sender.headers
    answer = requests.get(url, headers=headers, timeout=60)
    assert answer.status_code == 200
    again = {**headers, "If-None-Match": answer.headers["ETag"]}
    assert requests.get(url, headers=again, timeout=60).status_code == 304
    stream = f"{server.url}/api/v1/stream"
    with requests.get(stream, headers=headers, timeout=60, stream=True) as frames:
        assert b"event: snapshot" in next(frames.iter_content(4096))
    ready = requests.get(f"{server.url}/readyz", timeout=60)
    assert ready.status_code == 200
    (alert,) = [text for text in ready.json()["alerts"] if text.startswith(ALERT)]
    assert "events.db" in alert
    assert "flagloop_events_failing 1.0" in requests.get(f"{server.url}/metrics", timeout=60).text


def check_recovery(server: Any, sender: Sender, data: Path) -> None:
    """What was sent back is taken now; every event is there once; the log has two lines of it."""
    sender.again()
    assert sender.post().status_code == 200
    assert requests.get(f"{server.url}/readyz", timeout=60).json()["alerts"] == []
    assert len(said(server, ALERT)) == 1, server.said
    assert len(said(server, "events are written again")) == 1
    assert server.stop() == 0
    ids = stored(data)
    assert len(ids) == len(set(ids))
    assert set(ids) == set(sender.acknowledged)
    assert not said(server, "Traceback")


def fail_often(sender: Sender) -> None:
    """Post until it fails, then more: a server must not tell of each."""
    for _ in range(400):
        if sender.post().status_code != 200:
            break
    for _ in range(5):
        check_refused(sender.post(), 503)


def test_a_file_that_may_not_grow(tmp_path: Path, sender: Any) -> None:
    """The limit on the size of files stands for a disk that takes no more."""
    data = tmp_path / "data"
    server, one = sender(data)
    assert one.post().status_code == 200
    pid = server.process.pid
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = (data / "events.db-wal").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 500_000, old[1]))
    fail_often(one)
    check_that_flags_are_served(server, one)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
    check_recovery(server, one, data)


def test_a_full_disk(disk: Path, sender: Any) -> None:
    """503 while it is full; as soon as there is room again, events are taken again."""
    data = disk / "data"
    server, one = sender(data)
    assert one.post().status_code == 200
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 600_000))
    fail_often(one)
    assert "disk is full" in said(server, ALERT)[0]
    check_that_flags_are_served(server, one)
    ballast.unlink()
    check_recovery(server, one, data)


@contextlib.contextmanager
def unwritable(files: list[Path], missing_part: Callable[[str], None]) -> Iterator[None]:
    """Nobody may write these, not even root and who has them open."""
    try:
        done = subprocess.run(["chattr", "+i", *map(str, files)], capture_output=True, text=True)
    except OSError:
        missing_part("there is no chattr")
        return
    try:
        if done.returncode:
            missing_part(f"this file system knows no immutable files: {done.stderr}")
        yield
    finally:
        subprocess.run(["chattr", "-i", *map(str, files)], capture_output=True)


def test_a_read_only_file(tmp_path: Path, sender: Any, missing_part: Callable[[str], None]) -> None:
    """Files that became read-only under the running server."""
    data = tmp_path / "data"
    server, one = sender(data)
    assert one.post().status_code == 200
    with unwritable([data / "events.db", data / "events.db-wal"], missing_part):
        for _ in range(5):
            check_refused(one.post(), 503)
        check_that_flags_are_served(server, one)
    check_recovery(server, one, data)


LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process has the file for itself."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            process.stdin.write("\n")
            process.stdin.close()


def test_a_file_that_another_process_keeps(tmp_path: Path, sender: Any) -> None:
    """503 after a while, and 200 when it lets go."""
    data = tmp_path / "data"
    server, one = sender(data)
    assert one.post().status_code == 200
    with locked(data / "events.db"):
        for _ in range(2):
            check_refused(one.post(), 503)
        assert "locked" in said(server, ALERT)[0]
        check_that_flags_are_served(server, one)
    check_recovery(server, one, data)


def test_what_waits_is_bounded_and_strangers_have_a_part_of_it(
    tmp_path: Path, sender: Any, until: Any
) -> None:
    """429 for a public key beyond its places, while a server key's batch waits and is taken."""
    data = tmp_path / "data"
    server, one = sender(data)
    public = [Sender(server.url, new_key(data, "client"))]
    public += [Sender(server.url, public[0].headers["Authorization"][7:]) for _ in range(47)]
    statuses: list[int] = []

    def post(who: Sender) -> None:
        statuses.append(who.post().status_code)

    threads = [threading.Thread(target=post, args=(who,)) for who in public]
    own = threading.Thread(target=post, args=(one,))
    with locked(data / "events.db"):
        for thread in threads:
            thread.start()
        until(lambda: statuses.count(429) == 16)  # 32 places for one public key
        own.start()
    for thread in (*threads, own):
        thread.join(60)
    assert statuses.count(429) == 16
    for who in public:
        who.again()
        one.acknowledged += who.acknowledged
        who.close()
    one.again()
    assert server.stop() == 0
    ids = stored(data)
    assert len(ids) == len(set(ids)) == 49 * BATCH
    assert set(ids) == set(one.acknowledged)
    assert json.dumps(server.said).count("Traceback") == 0

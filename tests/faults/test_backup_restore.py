"""A server is backed up under load, killed and restored: what it took and what SDKs do then."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import requests

from flagloop import Client

FLAGS = "version: 1\nflags:\n  color: {}\n"


class Load(threading.Thread):
    """Changes the document and then tells of it, again and again, until the server is gone."""

    def __init__(self, url: str, admin: str, key: str) -> None:
        super().__init__(daemon=True)
        self.done = 0
        self.some = threading.Semaphore(0)
        self._place = f"{url}/api/v1/admin/environments/production"
        self._events = f"{url}/api/v1/events"
        self._admin = {"Authorization": f"Bearer {admin}"}
        self._key = {"Authorization": f"Bearer {key}"}

    def run(self) -> None:
        """Each round is one revision, and events that name it."""
        with requests.Session() as session:
            while True:
                try:
                    self._round(session)
                except requests.RequestException:
                    return
                self.done += 1
                self.some.release()

    def _round(self, session: requests.Session) -> None:
        text = f"{FLAGS}  n{self.done}: {{}}\n"
        answer = session.post(
            f"{self._place}/push", json={"text": text}, headers=self._admin, timeout=60
        )
        answer.raise_for_status()
        lineage = session.get(f"{self._place}/document", headers=self._admin, timeout=60).json()
        revision = f"{lineage['lineage']}.{lineage['revision']}"
        events = [
            {"type": "exposure", "flag": "color", "variant": "on", "unit": f"u-{n}"}
            | {"revision": revision}
            for n in range(50)
        ]
        sent = session.post(self._events, json={"events": events}, headers=self._key, timeout=60)
        sent.raise_for_status()


def flagloop(*words: str) -> Any:
    """Run a command that prints JSON."""
    command = [sys.executable, "-m", "flagloop", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_backup_under_load_serves_everybody_after_a_kill(
    tmp_path: Path, start_server: Any, until: Callable[[Callable[[], Any]], None]
) -> None:
    """Every event has its revision; an SDK with a later revision takes the restored one."""
    data, file = tmp_path / "data", tmp_path / "backup.tar"
    server = start_server(data)
    keys = ("keys", "create", "--data", str(data), "--env", "production", "--kind")
    key, admin = flagloop(*keys, "server")["key"], flagloop(*keys, "admin")["key"]
    load = Load(server.url, admin, key)
    load.start()
    for _ in range(3):
        assert load.some.acquire(timeout=60)
    flagloop("backup", "create", str(file), "--data", str(data))
    before = load.done
    for _ in range(5):
        assert load.some.acquire(timeout=60)
    with Client(server.url, key=key, interval=0.05) as client:
        assert client.wait(60)
        until(lambda: number(client) > before + 1)
        last = client.status()["revision"]
        server.kill()
        load.join(60)
        made = flagloop("backup", "restore", str(file), "--data", str(tmp_path / "new"))
        check_events(tmp_path / "new", made)
        (place,) = [one for one in made["environments"] if one["environment"] == "production"]
        assert place["revision"].split(".")[0] != last.split(".")[0]
        assert int(place["revision"].split(".")[1]) < int(last.split(".")[1])
        again = start_server(tmp_path / "new", "--port", server.url.rpartition(":")[2])
        until(lambda: client.status()["revision"] == place["revision"])
        until(lambda: client.status()["problem"] is None)
    assert flagloop("doctor", "--data", str(tmp_path / "new"))["ok"]
    assert again.stop() == 0


def number(client: Client) -> int:
    """The number of the revision by which a client decides."""
    return int(str(client.status()["revision"]).rpartition(".")[2])


def check_events(folder: Path, made: dict[str, Any]) -> None:
    """Each event of the restored folder names a revision that its history has."""
    with closing(sqlite3.connect(folder / "events.db")) as connection:
        named = {row[0] for row in connection.execute("SELECT DISTINCT revision FROM event")}
    with closing(sqlite3.connect(folder / "config.db")) as connection:
        known = {
            f"{place['before'].split('.')[0]}.{row[1]}"
            for place in made["environments"]
            for row in connection.execute(
                "SELECT e.key, r.number FROM revision r JOIN environment e"
                " ON e.id = r.environment_id WHERE e.key = ?",
                (place["environment"],),
            )
        }
    assert len(named) >= 3
    assert named <= known


FULL = """
import resource, sys
from flagloop.commands.main import cli

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
cli(sys.argv[2:])
"""


def on_a_full_disk(size: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose files may have only so many bytes."""
    command = [sys.executable, "-c", FULL, str(size), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_a_full_disk_costs_neither_the_former_backup_nor_the_data(tmp_path: Path) -> None:
    """One line, exit code 1, nothing half-made; with room the same command works."""
    from flagloop_server.auth import Auth, first_start
    from flagloop_server.store import Store

    data, file = tmp_path / "data", tmp_path / "backup.tar"
    with Store(data) as store:
        first_start(store, Auth(store))
    flagloop("backup", "create", str(file), "--data", str(data))
    good = file.read_bytes()
    kept = {name: (data / name).read_bytes() for name in ("config.db", "events.db")}
    for size, action in (
        (30_000, "create"),
        (100_000, "create"),
        (len(good) - 5_000, "create"),
        (30_000, "restore"),
        (100_000, "restore"),
    ):
        command = ("backup", action, str(file), "--data", str(data), "--force")
        done = on_a_full_disk(size, *command)
        assert done.returncode == 1, (size, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert file.read_bytes() == good
        assert {name: (data / name).read_bytes() for name in kept} == kept
        assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.tar", "data"]
        assert not list(data.glob(".*"))
    for action in ("create", "restore"):
        flagloop("backup", action, str(file), "--data", str(data), "--force")

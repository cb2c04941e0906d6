"""How long from a kill to "off on N of N instances", with real SDK clients on a real server.

    python tests/bench/obedience.py [--clients 200] [--processes 2] [--rounds 5] [--flags 100]

Each client is an instance of its own with its own stream. Prints for each kill and restore the
seconds that the server told (from the change's commit to the last confirmation that it heard) and
those that passed from the request that kills to the answer that all obey.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from flagloop import Client
from flagloop_server.auth import Auth, first_start
from flagloop_server.store import Actor, Store

ENVIRONMENT = "production"
FLAG = "flag-0"


def document(flags: int) -> str:
    """So many flags."""
    lines = ["version: 1", "flags:"]
    lines += [
        f"  flag-{n}: {{rules: [{{name: half, share: 50%, serve: on}}]}}" for n in range(flags)
    ]
    return "\n".join(lines) + "\n"


def work(url: str, key: str, clients: int) -> None:
    """One process with so many clients, until its standard input ends."""
    made = [Client(url, key=key) for _ in range(clients)]
    for one in made:
        assert one.wait(60), one.status()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str, str]]:
    """A server on an empty folder: its URL, a server key and an admin key."""
    with Store(folder) as store:
        key = first_start(store, Auth(store)).keys[ENVIRONMENT]
        actor = Actor("system", "bench")
        _, admin = store.create_key(ENVIRONMENT, "admin", "bench", actor, role="editor")
    command = [sys.executable, "-m", "flagloop", "serve", "--data", str(folder), "--port", "0"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if line.startswith("flagloop serves "):
                yield line.split()[2], key, admin
                break
    finally:
        server.kill()
        server.wait()


class Admin:
    """The admin API of the environment."""

    def __init__(self, url: str, key: str) -> None:
        self._place = f"{url}/api/v1/admin/environments/{ENVIRONMENT}"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, **body: Any) -> Any:
        """One change."""
        answer = self._session.post(f"{self._place}/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def obeyed(self, revision: int) -> Any:
        """Who has it."""
        answer = self._session.get(f"{self._place}/revisions/{revision}/instances", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def until(self, revision: int, clients: int, seconds: float = 60.0) -> Any:
        """The first answer by which all have it, or the last one."""
        end = time.monotonic() + seconds
        while (told := self.obeyed(revision))["reached"] < clients and time.monotonic() < end:
            time.sleep(0.01)
        return told


def rounds(admin: Admin, clients: int, number: int) -> None:
    """Kill and restore so many times."""
    found: dict[str, list[float]] = {"told": [], "seen": []}
    for _ in range(number):
        for verb in ("kill", "restore"):
            began = time.perf_counter()
            done = admin.post(f"flags/{FLAG}/{verb}", reason="bench")
            told = admin.until(done["revision"], clients)
            found["seen"].append(time.perf_counter() - began)
            found["told"].append(told["seconds"] or 0.0)
            print(f"{verb:<8} {told['sentence'][:90]:<60} seen after {found['seen'][-1]:.2f} s")
            time.sleep(1.0)
    for name, values in found.items():
        print(f"{name}: median {statistics.median(values):.3f} s, longest {max(values):.3f} s")


def main() -> None:
    """Start a server and the processes, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("clients", 200), ("processes", 2), ("rounds", 5), ("flags", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--work", nargs=2, metavar=("URL", "KEY"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.work:
        url, key = wanted.work
        work(url, key, wanted.clients)
        return
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (url, key, secret):
        admin = Admin(url, secret)
        pushed = admin.post("push", text=document(wanted.flags))
        part = wanted.clients // wanted.processes
        command = [sys.executable, __file__, "--clients", str(part), "--work", url, key]
        pipe = subprocess.PIPE
        workers = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
            for _ in range(wanted.processes)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n"
            print(admin.until(pushed["revision"], part * wanted.processes)["sentence"][:90])
            time.sleep(3.0)
            rounds(admin, part * wanted.processes, wanted.rounds)
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()


if __name__ == "__main__":
    main()

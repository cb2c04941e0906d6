"""`flagloop serve` on temporary folders, with keys and a document made for the purpose."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.load import cpu_seconds

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
FLAGLOOP = [sys.executable, "-m", "flagloop"]
FLAG = """\
  flag-{n}:
    rules:
      - {{name: rollout, when: {{country: [DE, FR, CH]}}, share: 25%, serve: on}}
"""
RULESET = "/api/v1/ruleset"
SETTLED = 60


def document(flags: int) -> str:
    """So many flags of the kind that unleash.sh seeds: a quarter of three countries' users."""
    return "version: 1\nflags:\n" + "".join(FLAG.format(n=n) for n in range(flags))


class Server:
    """A `flagloop serve` that answered its first 200 after `started` seconds."""

    def __init__(self, data: Path, key: str, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = key
        self._output = data.with_suffix(".log")  # a pipe that nobody reads would fill up
        command = [*FLAGLOOP, "serve", "--data", str(data), "--port", str(self.port), *options]
        with self._output.open("wb") as output:
            began = time.perf_counter()
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT)
        self.pid = self._process.pid
        wanted = 200 if key else 401
        while status(self.port, RULESET, f"Bearer {key}") != wanted:
            if self._process.poll() is not None:
                raise RuntimeError("flagloop serve ended at its start:\n" + "\n".join(self.said))
            time.sleep(0.002)
        self.started = time.perf_counter() - began

    @property
    def said(self) -> list[str]:
        """The lines that it printed so far."""
        return self._output.read_text("utf-8").splitlines()

    def settle(self) -> None:
        """Wait until it does nothing more: a start on many events follows the last of them."""
        until = time.monotonic() + SETTLED
        while time.monotonic() < until:
            before = cpu_seconds(self.pid)
            time.sleep(0.4)
            if cpu_seconds(self.pid) - before < 0.04:
                return
        raise RuntimeError(f"flagloop serve is still at work {SETTLED} s after its start")

    def stop(self) -> None:
        """End it as a service manager would."""
        self._process.terminate()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Folder:
    """A stopped server's data with its keys, to be copied for each run."""

    data: Path
    flags: Path
    key: str
    admin: str

    @contextmanager
    def serving(self, *options: str) -> Iterator[Server]:
        """A server on a fresh copy for the time of the block, at rest."""
        copy = self.data.with_name(f"{self.data.name}-{time.monotonic_ns()}")
        shutil.copytree(self.data, copy)
        server = Server(copy, self.key, *options)
        try:
            server.settle()
            yield server
        finally:
            server.stop()
            shutil.rmtree(copy)


def prepare(place: Path, flags: int) -> Folder:
    """Start on a new folder with a document of so many flags, make keys, stop."""
    file = place / f"{flags}-flags.yaml"
    file.write_text(document(flags), "utf-8")
    data = place / f"{flags}-flags"
    server = Server(data, "", "--flags", str(file), "--env", "production")
    try:
        admin = made_key(data)
    finally:
        server.stop()
    mark = "server key for production: "
    key = next(line.removeprefix(mark) for line in server.said if line.startswith(mark))
    return Folder(data, file, key, admin)


def made_key(data: Path) -> str:
    """An admin key."""
    command = [*FLAGLOOP, "keys", "create", "--data", str(data), "--env", "production"]
    command += ["--kind", "admin", "--name", "bench", "--json"]
    said = subprocess.run(command, capture_output=True, check=True, text=True, env=ENVIRONMENT)
    secret: str = json.loads(said.stdout)["key"]
    return secret


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def status(port: int, path: str, authorization: str) -> int:
    """What a request is answered with; 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": authorization})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return 0
    finally:
        connection.close()


def kill_times(server: Server, admin: str, number: int) -> list[float]:
    """Milliseconds from a kill's (or restore's) request until a stream has the change."""
    headers = {"Authorization": f"Bearer {server.key}"}
    stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    writer = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    stream.request("GET", "/api/v1/stream", headers=headers)
    frames = stream.getresponse()
    took = []
    frame_of(frames, b"snapshot")
    for n in range(number):
        time.sleep(0.05 + n % 7 * 0.05)
        verb = "restore" if n % 2 else "kill"
        path = f"/api/v1/admin/environments/production/flags/flag-0/{verb}"
        began = time.perf_counter()
        writer.request("POST", path, '{"reason": "bench"}', {"Authorization": f"Bearer {admin}"})
        frame_of(frames, b"change")
        took.append((time.perf_counter() - began) * 1e3)
        writer.getresponse().read()
    stream.close()
    writer.close()
    return took


def frame_of(frames: http.client.HTTPResponse, event: bytes) -> None:
    """Read up to the end of the next frame of this kind."""
    wanted = False
    for line in frames:
        wanted = wanted or line == b"event: " + event + b"\n"
        if wanted and line == b"\n":
            return
    raise RuntimeError("the stream ended")

"""Unleash OSS beside us, by ../shared/bench/server/unleash.sh; or the reason why it is missing."""

from __future__ import annotations

import ast
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from server.load import SHARED

SCRIPT = SHARED / "unleash.sh"
PROPAGATION = SHARED / "unleash_propagation.py"
CLIENT_KEY = re.compile(r"^CLIENT='(.+)'$", re.MULTILINE)
PORT = 4242
"""unleash_propagation.py knows no other."""

POSTGRES_PORT = 15432
"""None of those that a load client's connections take."""

SEEDED = 140
"""Flags as unleash.sh seeds them: a snapshot of 50 KB."""


class PeerMissingError(Exception):
    """Why there is no Unleash to measure."""


def flags_of(url: str, key: str) -> int:
    """How many flags it serves; raises OSError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", "/api/client/features", headers={"Authorization": key})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return len(json.loads(body)["features"]) if answer.status == 200 else 0


def alive(pid: int) -> bool:
    """Whether this process still runs: one that nobody has waited for does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


class Unleash:
    """An Unleash with its PostgreSQL; `pid` is 0 where it is not known."""

    def __init__(self, url: str | None) -> None:
        if not SCRIPT.exists():
            raise PeerMissingError("../shared/bench/server is absent")
        found = CLIENT_KEY.search(SCRIPT.read_text("utf-8"))
        assert found is not None
        self.key = found[1]
        self.url = url or f"http://127.0.0.1:{PORT}"
        self.own = url is None
        self.started: float | None = None
        self.folder = Path(os.environ.get("UNLEASH_WORK", Path(tempfile.gettempdir()) / "unleash"))
        file = self.folder / "unleash.pid"
        self.pid = int(file.read_text()) if url and file.exists() else 0

    def prepare(self) -> None:
        """Install and seed what is not there yet; raises PeerMissingError."""
        if not self.own:
            if not self._flags():
                raise PeerMissingError(f"{self.url} serves no flags for unleash.sh's client token")
            return
        if self._flags() is not None:
            raise PeerMissingError(f"{self.url} is taken: stop it, or give it by --unleash")
        missing = [name for name in ("node", "npm", "psql", "curl") if not shutil.which(name)]
        if not list(Path("/usr/lib/postgresql").glob("*/bin")):
            missing.append("PostgreSQL")
        if missing:
            raise PeerMissingError(f"{', '.join(missing)} not installed")
        if not (self.folder / "node_modules" / "unleash-server").is_dir():
            self._script("install")
        self._start()
        if self._flags() != SEEDED:
            self._script("seed", str(SEEDED))
        if (flags := self._flags()) != SEEDED:
            raise PeerMissingError(f"{self.folder} holds {flags} flags, not {SEEDED}")

    def _start(self) -> None:
        """Start it; `started` is after how many seconds it was up."""
        said = self._script("start")
        self.pid = int((self.folder / "unleash.pid").read_text())
        seconds = re.search(r"up in ([\d.]+) s", said)
        assert seconds is not None
        self.started = float(seconds[1])

    def rest(self) -> None:
        """Hold its process, so that it takes nothing from what is measured now."""
        if self.own and self.pid:
            os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on, as warm as it was."""
        if self.own and self.pid:
            os.kill(self.pid, signal.SIGCONT)
            time.sleep(1)  # its timers are late

    def close(self) -> None:
        """Stop it and its PostgreSQL."""
        if self.own and self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
                os.kill(self.pid, signal.SIGTERM)
                until = time.monotonic() + 20
                while alive(self.pid) and time.monotonic() < until:
                    time.sleep(0.02)
                os.kill(self.pid, signal.SIGKILL)
            (self.folder / "unleash.pid").unlink(missing_ok=True)
        if self.own and (self.folder / "pg" / "data" / "postmaster.pid").exists():
            self._script("stop")

    @property
    def postgres(self) -> int:
        """The process of its PostgreSQL, 0 if that is not ours."""
        file = self.folder / "pg" / "data" / "postmaster.pid"
        return int(file.read_text().split()[0]) if self.own and file.exists() else 0

    def toggle_times(self) -> list[float]:
        """Milliseconds from a toggle's request until a poll every 10 ms sees it, 30 times."""
        command = [sys.executable, str(PROPAGATION)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
        seen = ast.literal_eval(done.stdout[done.stdout.index("[") : done.stdout.index("]") + 1])
        return [one * 1e3 for one in seen]

    def _flags(self) -> int | None:
        with suppress(OSError):
            return flags_of(self.url, self.key)
        return None

    def _script(self, *arguments: str) -> str:
        """Run unleash.sh; what it starts keeps no pipe of ours open."""
        environment = {"UNLEASH_PG_PORT": str(POSTGRES_PORT), **os.environ}
        environment |= {"UNLEASH_WORK": str(self.folder), "UNLEASH_PORT": str(PORT)}
        with tempfile.TemporaryFile("w+") as output:
            try:
                done = subprocess.run(
                    [str(SCRIPT), *arguments],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                    timeout=900,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise PeerMissingError(f"unleash.sh {arguments[0]}: {error}") from error
            output.seek(0)
            said = output.read()
        if done.returncode and arguments != ("stop",):
            raise PeerMissingError(f"unleash.sh {arguments[0]}: {' '.join(said.split())[-200:]}")
        return said

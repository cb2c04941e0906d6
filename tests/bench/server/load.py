"""Runs of the load client, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from server.client import loaded

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[2].parent / "shared" / "bench" / "server"
CLIENT = SHARED / "loadclient.py"
PATIENCE = 120
"""Seconds after which a load client is ended that should be long over."""

Figures = dict[str, float]


class Target(Protocol):
    """A server under load; `pid` is 0 where nobody knows it."""

    pid: int


class Load:
    """The load client, ready to begin; to be used in a `with`, which ends it."""

    def __init__(self, target: Target, *arguments: str) -> None:
        command = [sys.executable, str(HERE / "client.py"), str(CLIENT), *arguments]
        self._process = subprocess.Popen(
            [*command, "--pid", str(target.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._guard = threading.Timer(PATIENCE, self._process.kill)
        self._guard.start()
        said = self._process.stdout.readline()
        if said != "ready\n":
            self.__exit__(None, None, None)
            raise RuntimeError(f"the load client did not begin: {arguments[:2]} {said}")

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._guard.cancel()
        self._process.kill()
        self._process.wait()

    def go(self) -> None:
        """Begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Both JSON objects as one, when it is over."""
        out, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the load client failed: {out}")
        found: dict[str, Any] = {}
        for line in out.splitlines():
            found.update(json.loads(line))
        return found


def memory(pid: int) -> Mapping[str, int]:
    """RSS and PSS in kB of a process and those that it started."""
    found: Mapping[str, int] = loaded(CLIENT).tree_mem(pid)
    return found


def cpu_seconds(pid: int) -> float:
    """CPU that a process and those that it started took so far."""
    found: float = loaded(CLIENT).cpu_s(pid)
    return found


def cores(found: Mapping[str, Any]) -> Figures:
    """How many cores client and server took while the load ran."""
    seconds = found["ended"] - found["began"]
    return {f"{side}_cores": found[f"{side}_cpu_s"] / seconds for side in ("client", "server")}


def authorized(key: str) -> tuple[str, str]:
    """The load client's option for this Authorization header."""
    return "-H", f"Authorization: {key}"


def requests(target: Target, url: str, key: str, seconds: float, *, etag: bool) -> Figures:
    """32 connections that ask again and again for a snapshot, or whether it is still the same."""
    more = ["--etag"] if etag else []
    with Load(target, "snapshot", url, *authorized(key), "-d", str(seconds), *more) as load:
        load.go()
        found = load.result()
    wanted = "304" if etag else "200"
    if set(found["status"]) != {wanted}:
        raise RuntimeError(f"{url} answered {found['status']}, not only {wanted}")
    return {
        "per_s": found["rps"],
        "bytes": found["bytes_per_response"],
        "p99_ms": found["ms"]["p99"],
        **cores(found),
    }

"""Durable ingest beside bare sqlite3: 16 connections x 200 events, acknowledged after the commit.

    .venv/bin/python tests/bench/ingest.py                   # five rounds into a fresh log
    .venv/bin/python tests/bench/ingest.py --held 10000000   # and into one that holds 10 million

The floor is `executemany` of the same rows into the same table, 5,000 a transaction, WAL and
synchronous=FULL, in the same minute and on the same disk. The load is ../shared/bench/server/
loadclient.py; client and server share the machine, so the CPU of both is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT.parent / "shared" / "bench" / "server" / "loadclient.py"
TRANSACTION = 5_000
HELD = 10_000_000

RUN = """
import runpy, sys, time, json
sys.argv[0] = sys.argv[1]; del sys.argv[1]
client = runpy.run_path(sys.argv[0], run_name="loadclient")
loop = client["closed_loop"]
def timed(*given, **named):
    began = time.process_time()
    result = loop(*given, **named)
    print(json.dumps({"client_cpu_s": time.process_time() - began}))
    return result
client["main"].__globals__["closed_loop"] = timed
client["main"]()
"""
"""The load client as it is, with the CPU that it takes while it sends."""


class Server(Protocol):
    """A running `flagloop serve`."""

    @property
    def url(self) -> str:
        """Its base URL, on the loopback."""

    @property
    def key(self) -> str:
        """A server key."""

    @property
    def pid(self) -> int:
        """Its process."""


def measure(server: Server, seconds: float, *, ids: str = "v7") -> Mapping[str, float]:
    """One run: events_per_s, p50_ms, p99_ms, server_cpu_s, client_cpu_s, seconds, rss_mb, refused.

    `ids` are v7 (in the order of time, as the SDK makes them) or v4 (random).
    """
    requests = str(max(200, int(seconds * 500)))
    command = [sys.executable, "-c", RUN, str(CLIENT), "ingest", f"{server.url}/api/v1/events"]
    command += ["-H", f"Authorization: Bearer {server.key}", "--pid", str(server.pid)]
    command += ["-c", "16", "--batch", "200", "-d", str(seconds), "--requests", requests]
    done = subprocess.run([*command, "--ids", ids], capture_output=True, text=True, check=True)
    cpu, found = map(json.loads, done.stdout.splitlines())
    return {
        "events_per_s": found["events_per_s"],
        "p50_ms": found["ack_ms"]["p50"],
        "p99_ms": found["ack_ms"]["p99"],
        "server_cpu_s": found["server_cpu_s"],
        "client_cpu_s": cpu["client_cpu_s"],
        "seconds": found["seconds"],
        "rss_mb": found["mem"]["rss_kb"] / 1024,
        "refused": sum(n for status, n in found["status"].items() if status != "200"),
    }


def floor(folder: Path, seconds: float) -> float:
    """Rows a second of bare `executemany` into a fresh file of ours in `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "events.db"
        make_log(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            written, taken = 0, 0.0
            while taken < seconds:
                made = list(rows(20 * TRANSACTION))
                began = time.perf_counter()
                for first in range(0, len(made), TRANSACTION):
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(INSERT, made[first : first + TRANSACTION])
                    connection.execute("COMMIT")
                taken += time.perf_counter() - began
                written += len(made)
    return written / taken


INSERT = (
    "INSERT OR IGNORE INTO event (id, environment_id, key_id, kind, at, skew, received, name,"
    " variant, unit, unit_by, rule, experiment, stage, holdout, held, revision, value, units,"
    " data) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)


def rows(number: int) -> Iterator[tuple[object, ...]]:
    """The rows that the load client's events become."""
    draw = random.Random(os.urandom(8))
    for _ in range(number):
        now = time.time_ns() // 1_000_000
        high = 0x7000 | draw.getrandbits(12)
        id_ = (now << 80 | high << 64 | 1 << 63 | draw.getrandbits(62)).to_bytes(16, "big")
        at = 1_760_000_000_000 + draw.randrange(10**9)
        data = f'{{"country": "{draw.choice(("DE", "FR", "CH"))}", "plan": "pro"}}'
        yield (
            *(id_, 1, 1, 0, at, 0, now),
            *(f"experiment-{draw.randrange(20)}", draw.choice(("control", "treatment"))),
            *(f"user-{draw.randrange(10**6)}", "key", f"rule-{draw.randrange(3)}"),
            *(None, None, None, None, str(draw.randrange(50)), None, None, data),
        )


def make_log(path: Path) -> None:
    """An empty event log as the server makes it."""
    from flagloop_server.store.events import EventLog

    EventLog(path).close()


def make_folder(data: Path) -> None:
    """What a server needs beside its log."""
    from flagloop_server.store import Store

    Store(data).close()


FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO event (id, environment_id, key_id, kind, at, skew, received, name, variant, unit,
    unit_by, rule, revision, data)
SELECT CAST(char(1) || printf('%015d', i) AS BLOB), 1, 1, 0,
    1760000000000 + abs(random() % 1000000000), 0, ?, 'experiment-' || (i % 20),
    iif(random() & 1, 'control', 'treatment'), 'user-' || abs(random() % 1000000), 'key',
    'rule-' || (i % 3), '' || (i % 50), '{"country": "DE", "plan": "pro"}'
FROM n
"""
"""Like `rows`, made by SQLite, which is quicker; the ids are of 2025."""


def fill(path: Path, number: int = HELD) -> None:
    """Make or extend a log by `number` older events (1.6 GB for 10 million); no server runs."""
    make_log(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(FILL, (number, time.time_ns() // 1_000_000 - 3_600_000))
        connection.execute("PRAGMA journal_mode = WAL")


class Running:
    """A `flagloop serve` of our own."""

    def __init__(self, data: Path) -> None:
        made = [sys.executable, "-m", "flagloop", "keys", "create", "--data", str(data)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flagloop", "serve", "--data", str(data), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = next(line for line in self._process.stdout if line.startswith("flagloop serves "))
        self.url = line.split()[2]
        self.pid = self._process.pid
        made += ["--env", "production", "--kind", "server", "--name", "bench"]
        said = subprocess.run(made, capture_output=True, text=True, check=True).stdout
        self.key = next(word for word in said.split() if word.startswith("fl_srv_"))

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


@contextmanager
def serving(data: Path) -> Iterator[Running]:
    """A server on a folder for the time of the block."""
    server = Running(data)
    try:
        yield server
    finally:
        server.stop()


def taken_in_turn(place: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Each round's figures by name: the floor, a fresh log and a log that holds many, in turn."""
    found: dict[str, list[float]] = {}
    full = place / "held"
    if options.held:
        full.mkdir(mode=0o700)
        make_folder(full)
        fill(full / "events.db", options.held)
    for number in range(options.rounds):
        found.setdefault("floor", []).append(floor(place, options.seconds / 2))
        for name, data in (("fresh", place / f"fresh-{number}"), ("held", full)):
            if name == "held" and not options.held:
                continue
            with serving(data) as server:
                for what, value in measure(server, options.seconds, ids=options.ids).items():
                    found.setdefault(f"{name} {what}", []).append(value)
    return found


def table(found: Mapping[str, list[float]]) -> Iterator[tuple[str, str]]:
    """What and how much, from medians; ratios are those of the same round."""
    middle = {name: statistics.median(values) for name, values in found.items()}
    for name in ("fresh", "held"):
        ours = found.get(f"{name} events_per_s")
        if ours is None:
            continue
        ratio = statistics.median(a / b for a, b in zip(ours, found["floor"], strict=True))
        yield f"{name} log, events/s", f"{middle[f'{name} events_per_s']:,.0f}"
        yield f"{name} log, of bare executemany", f"{ratio:.0%}"
        for what in ("p50", "p99"):
            yield f"{name} log, ack {what}", f"{middle[f'{name} {what}_ms']:.0f} ms"
        for what in ("server", "client"):
            cpu, seconds = middle[f"{name} {what}_cpu_s"], middle[f"{name} seconds"]
            yield f"{name} log, CPU of the {what}", f"{cpu / seconds:.2f} cores"
        yield f"{name} log, RSS of the server", f"{middle[f'{name} rss_mb']:.0f} MB"
        yield f"{name} log, requests refused", f"{max(found[f'{name} refused']):.0f}"
    yield "bare executemany, rows/s", f"{middle['floor']:,.0f}"
    if "held events_per_s" in found:
        pairs = zip(found["held events_per_s"], found["fresh events_per_s"], strict=True)
        yield "held log, of the fresh one", f"{statistics.median(a / b for a, b in pairs):.0%}"


def main() -> None:
    """Measure and print the rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--held", type=int, default=0, help="also into a log with so many events")
    parser.add_argument("--ids", choices=("v7", "v4"), default="v7")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for what, value in table(taken_in_turn(Path(place), options)):
            print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()

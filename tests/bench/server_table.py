"""The server's speed beside what it must be, Unleash OSS and the floor: the table in README.

    .venv/bin/python tests/bench/server_table.py [--quick] [--only ROW ...] [--json FILE]

Each round runs every row once, ours and the peer's in turn; the table shows medians of the rounds.
The load is ../shared/bench/server/loadclient.py with a key, the server is `flagloop serve` on a
temporary folder, Unleash comes from ../shared/bench/server/unleash.sh (PostgreSQL, node and npm
must be there; $UNLEASH_WORK, by default `unleash` in the folder for temporary files, is where it
is installed once and kept; port 4242). CPU is in cores, client and server apart, while the load
runs. Times are taken in the client and so contain its own work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from server.steps import QUICK, Bench, Plan, a_round
from server.table import ROWS, lines, markdown, middle
from server.unleash import PeerMissingError, Unleash


def machine() -> dict[str, str]:
    """On what it was measured."""
    lines_of_cpu = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    cpu = next((line.split(": ")[1] for line in lines_of_cpu if "model name" in line), "unknown")
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    return {
        "CPU": f"{os.cpu_count()} x {cpu}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "node": version("node", "--version"),
        "PostgreSQL": version("psql", "--version"),
        "load before": load,
    }


def version(*command: str) -> str:
    """What a program says of itself."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "absent"


def peer(options: argparse.Namespace, ending: ExitStack) -> tuple[Unleash | None, str]:
    """Unleash, started and held until it is measured, or why there is none."""
    if options.no_peer:
        return None, "not asked for"
    try:
        found = Unleash(options.unleash)
        ending.callback(found.close)
        found.prepare()
        found.rest()
    except PeerMissingError as missing:
        return None, f"not measured: {missing}"
    return found, ""


def per_core(bench: Bench, runs: str) -> float | None:
    """Answers for each second of the server's CPU: what the client's CPU has no part in."""
    rate, cores = (middle(bench.found, runs, one) for one in ("per_s", "server_cores"))
    return rate / cores if rate and cores else None


def notes(bench: Bench) -> list[str]:
    """What a reader of the table should know."""
    said = []
    sizes = {
        whose: middle(bench.found, runs, "bytes")
        for whose, runs in (("ours", "snapshot"), ("Unleash's", "snapshot peer"))
    }
    if sizes["ours"]:
        said.append(
            "an answer with the snapshot: "
            + ", ".join(f"{whose} {size:,.0f} bytes" for whose, size in sizes.items() if size)
        )
    for runs, what in (("not-modified", "304s"), ("snapshot", "200s")):
        rates = [per_core(bench, one) for one in (runs, f"{runs} peer")]
        if rates[0] and rates[1]:
            said.append(
                f"{what} for each second of the server's CPU: ours {rates[0]:,.0f},"
                f" Unleash's {rates[1]:,.0f} ({rates[0] / rates[1]:.1f}x)"
            )
    for runs, what in (("streams-304", "304s"), ("streams-ingest", "events")):
        rate, covered = (middle(bench.found, runs, one) for one in ("load_per_s", "covered"))
        if rate is not None and covered is not None:
            said.append(f"meanwhile {rate:,.0f} {what}/s, over {covered:.0%} of the changes")
    one = middle(bench.found, "streams", "kb_per_stream")
    if one is not None:
        said.append(f"memory for a stream of 1,000: {one:.1f} KB")
    postgres = middle(bench.found, "idle peer", "postgres_mb")
    if postgres:
        said.append(f"PostgreSQL of the idle Unleash: {postgres:,.0f} MB (PSS)")
    said += [f"failed: {failure}" for failure in bench.failures]
    refused = sum(run["refused"] for run in bench.found.get("ingest", ()))
    if refused:
        said.append(f"ingest refused {refused:.0f} requests")
    return said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    keys = [row.key for row in ROWS]
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=keys, default=[], metavar="ROW",
                        help=", ".join(keys))  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one short round: a smoke test")
    parser.add_argument("--unleash", metavar="URL", help="one that runs, seeded by unleash.sh")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--log", type=Path, help="a log of 10 million events; made if absent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every run")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that runs is ended
    began, on = time.monotonic(), machine()
    rounds = 1 if options.quick else options.rounds
    with ExitStack() as ending:
        unleash, missing = peer(options, ending)
        place = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        plan = QUICK if options.quick else Plan()
        bench = Bench(place, plan, frozenset(options.only), options.log, unleash)
        for number in range(rounds):
            print(f"round {number + 1}", file=sys.stderr)
            a_round(bench)
    if options.json:  # first: an hour's figures are not lost by how they are shown
        told = {"machine": on, "failures": bench.failures, "runs": bench.found}
        options.json.write_text(json.dumps(told, indent=1), "utf-8")
    shown = dict(lines(bench.found, bench.only, missing))
    print(markdown(list(shown.values())))
    print("", *(f"- {note}" for note in notes(bench)), sep="\n")
    print("\n" + "; ".join(f"{name} {value}" for name, value in on.items()), end="; ")
    print(f"{rounds} rounds, {(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()

"""The SDK beside its floor and Eppo's Rust core, as ratios: the table in README.

    .venv/bin/python ../shared/bench/peers/run.py install      # once, each peer in its own folder
    .venv/bin/python tests/bench/ratios.py

All of it comes from one run of ../shared/bench/peers/run.py, which wakes one process at a time
in turn, so that the noise of a shared machine falls on all alike; times are CPU of the evaluating
thread. Only the cost of importing is measured here, also in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT.parent / "shared" / "bench" / "peers" / "run.py"
BASE = "import dataclasses, json, logging, threading"
OURS = "import flagloop; flagloop.Client"
FLOOR, PEER, US = "floor_mmh3_hash", "eppo", "flagloop"


def harness(rounds: int, only: str, workloads: str) -> dict:
    """One run of the harness: its results by adapter."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results"
        command = [sys.executable, str(HARNESS), "bench", "--out", str(out)]
        command += ["--adapter", str(ROOT / "tests/bench/flagloop_adapter.py")]
        command += ["--rounds", str(rounds), "--workloads", workloads]
        if only:
            command += ["--only", only]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(out.with_suffix(".json").read_text("utf-8"))["results"]


def import_times(rounds: int) -> dict[str, float]:
    """Milliseconds of both imports, medians, taken in turn; .pyc files as usual."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    times: dict[str, list[float]] = {BASE: [], OURS: []}
    for _ in range(rounds + 1):
        for code, found in times.items():
            program = (
                f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
            )
            done = subprocess.run(
                [sys.executable, "-c", program],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            found.append(float(done.stdout) * 1e3)
    return {code: statistics.median(found[1:]) for code, found in times.items()}


MEMORY = """
import json, os, sys
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
before = resident()
import flagloop
text = open(sys.argv[1]).read()
client = flagloop.Client.from_document(json.loads(text), events=lambda batch: None)
loaded = resident()
client.decide_all("u-1")
print(before, loaded, resident())
"""


def memory() -> tuple[float, float]:
    """MB over a bare interpreter with 1,000 flags: loaded, and every flag used."""
    flags = {
        f"flag_{i:04d}": {
            "variants": {"a": "a", "b": "b"},
            "default": "a",
            "rules": [{"name": "split", "split": [["a", "50%"], ["b", "50%"]]}],
        }
        for i in range(1000)
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"format": 1, "revision": "bench.1", "flags": flags}, file)
        file.flush()
        command = [sys.executable, "-c", MEMORY, file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, loaded, used = map(float, done.stdout.split())
    return loaded - before, used - before


def rows(results: dict, imports: dict[str, float]) -> Iterator[tuple[str, str, str, str]]:
    """What, ours, as a multiple of the floor, as a multiple of Eppo."""
    ours, peer = results[US], results[PEER]
    floor = results[FLOOR]["w"]["W1"]["own_cpu_ns"]
    names = {
        "W1": "one 50/50 decision",
        "W2": "five rules, then 10/90",
        "W4": "exposures on, every unit new",
    }
    for workload, name in names.items():
        mine, theirs = (one["w"][workload]["own_cpu_ns"] for one in (ours, peer))
        yield (
            f"{workload} {name}",
            f"{mine:,.0f} ns",
            f"{mine / floor:.1f}x",
            f"{mine / theirs:.2f}x",
        )
    mine, theirs = (one["w"]["W4"]["cpu_ns"] for one in (ours, peer))
    yield "W4 whole process, with delivery", f"{mine:,.0f} ns", "", f"{mine / theirs:.2f}x"
    mine, theirs = (one["w"]["W3"]["all_cpu_us"] for one in (ours, peer))
    yield "W3 1,000 flags for one user", f"{mine:,.0f} us", "", f"{mine / theirs:.2f}x"
    mine, theirs = (one["load_ms"] for one in (ours, peer))
    yield "load 1,000 flags", f"{mine:.1f} ms", "", f"{mine / theirs:.2f}x"
    loaded, used = memory()
    yield "memory with 1,000 flags, loaded", f"{loaded:.1f} MB", "", ""
    yield "memory with 1,000 flags, each used", f"{used:.1f} MB", "", ""
    ratio = imports[OURS] / imports[BASE]
    yield f"`{OURS}`", f"{imports[OURS]:.1f} ms", f"{ratio:.2f}x `{BASE}`", ""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--imports", action="store_true", help="beside every peer, imports only")
    options = parser.parse_args()
    if options.imports:
        for name, row in harness(1, "", "LOAD").items():
            if "import_ms" in row:
                print(f"{name:20} {row['import_ms']:8.1f} ms  {row['core']}")
        return
    results = harness(options.rounds, f"{FLOOR},{PEER},{US}", "LOAD,W1,W2,W3,W4")
    print("| what | flagloop | x floor | x Eppo (Rust) |\n|---|---|---|---|")
    for row in rows(results, import_times(options.rounds * 2)):
        print("| " + " | ".join(row) + " |")
    exposures = results[US]["w"]["W4"]["exposures_seen"]
    floor = results[FLOOR]["w"]["W1"]["own_cpu_ns"]
    print(f"\nfloor {floor:.0f} ns; W4 delivered {exposures:,} exposures, none lost")


if __name__ == "__main__":
    main()

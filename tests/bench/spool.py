"""What a spool holds and how fast, and whether an hour of events survives a server that is away.

    python tests/bench/spool.py [--events 1800000] [--folder DIR]

One process records the events while nobody takes them, as batches of one second (500 events), and
is killed; the next one delivers. Prints bytes for each event, hours for each megabyte, rates in
and out, and what was lost or doubled. Not a test: it runs for minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flagloop import Client
from flagloop.errors import TransportError
from flagloop.events.batch import Batch
from flagloop.events.spool import Spool

SECOND = 500
LIMIT = 4_000
PLANS = ("free", "pro", "team")
COLORS = {"control": "blue", "treatment": "green"}
DOCUMENT = {
    "format": 1,
    "revision": "bench.1",
    "flags": {
        f"color_{n}": {
            "variants": COLORS,
            "default": "control",
            "rules": [
                {
                    "name": "colour-test",
                    "experiment": f"color_{n}",
                    "split": {"control": "50%", "treatment": "50%"},
                }
            ],
        }
        for n in range(10)
    },
    "experiments": {f"color_{n}": {"primary": "click"} for n in range(10)},
    "metrics": {"click": {"event": "click", "better": "higher"}},
}


def away(batch: bytes) -> None:
    """A server that is not there."""
    raise TransportError("no answer")


def client(folder: str, events: Any, **options: Any) -> Client:
    """A client with its spool there."""
    return Client.from_document(DOCUMENT, events=events, spool=folder, spool_mb=LIMIT, **options)


def unit(n: int) -> str:
    """A user's key as they are in practice: random hex digits that end in a number."""
    return f"{random.Random(n).getrandbits(96):024x}{n:08d}"


def record(folder: str, events: int, kind: str) -> None:
    """Record one of each of so many users, a batch for each second; then wait to be killed."""
    done = 0
    one = client(folder, away, clock=lambda: 1_767_225_600 + done / SECOND)
    began = time.perf_counter()
    for start in range(0, events, SECOND):
        stop = min(start + SECOND, events)
        for n in range(start, stop):
            done = n
            if kind == "exposures":
                one.variant(f"color_{n % 10}", unit(n))
            else:
                one.track("purchase", unit(n), n % 977 / 10, plan=PLANS[n % 3], items=n % 7)
        one.flush(0)  # the second is over
        while (status := one.status()["delivery"])["spool"]["events"] < stop:
            time.sleep(0.0005)
    took = time.perf_counter() - began
    print(json.dumps({**status["spool"], "lost": status["lost"], "seconds": took}), flush=True)
    signal.pause()


def deliver(folder: str, events: int, kind: str) -> None:
    """Deliver what is there and say how often each unit came."""
    seen, batches = bytearray(events), set()

    def take(body: bytes) -> None:
        batch = json.loads(body)
        batches.add(batch["batch"])
        for event in batch["events"]:
            user = event["unit"] if kind == "exposures" else event["units"]["key"]
            seen[int(user[24:])] += 1

    began = time.perf_counter()
    one = client(folder, take)
    while not one.flush(10):
        pass
    took = time.perf_counter() - began
    one.close()
    print(
        json.dumps(
            {
                "delivered": sum(seen),
                "missing": seen.count(0),
                "doubled": events - seen.count(0) - seen.count(1),
                "batches": len(batches),
                "seconds": took,
                "left": len(list(Path(folder).iterdir())),
            }
        )
    )


def rates(folder: Path, batches: int = 2_000) -> tuple[float, float]:
    """Batches of 500 exposures put on disk and taken back, each for a second."""
    text = '{{"type":"exposure","flag":"color_1","variant":"control","unit_by":"key",'
    text += '"rule":"colour-test","experiment":"color_1","revision":"bench.1",'
    text += '"id":"01987c3a-{0:04x}-7abc-9def-{1:012x}","at":1767225600000,"unit":"{2}"}}'
    made = [
        Batch({"sdk": "bench"}, [text.format(n % 65536, n, unit(n)) for n in range(i, i + SECOND)])
        for i in range(0, 20 * SECOND, SECOND)
    ]
    spool = Spool(folder, "rates", LIMIT)
    began = time.perf_counter()
    for n in range(batches):
        spool.put(made[n % len(made)])
    between = time.perf_counter()
    while spool.first() is not None:
        spool.remove()
    ended = time.perf_counter()
    spool.close()
    return batches / (between - began), batches / (ended - between)


def run(
    step: str, folder: Path, events: int, kind: str
) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start this script for one step; what it says first."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    program = subprocess.Popen(
        [*command, "--events", str(events), "--kind", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout is not None
    return program, json.loads(program.stdout.readline())


def report(folder: Path, events: int, kind: str) -> None:
    """Record, kill, deliver, and print how it went."""
    program, put = run("record", folder / "spool", events, kind)
    on_disk = sum(path.stat().st_size for path in (folder / "spool").iterdir())
    program.kill()
    program.wait()
    each = put["bytes"] / put["events"]
    hour = each * SECOND * 3600 / 1e6
    print(f"{put['events']:,} {kind} in {put['batches']:,} batches: {put['bytes'] / 1e6:.0f} MB")
    print(f"  with SQLite's log {on_disk / 1e6:.0f} MB; lost before: {put['lost'] or 'none'}")
    print(f"  {each:.0f} bytes for each event; {SECOND}/s: {hour:.0f} MB an hour,", end=" ")
    print(f"{60 / hour:.1f} minutes for each MB, {256 / hour:.1f} h in 256 MB")
    print(f"  recorded at {put['events'] / put['seconds']:,.0f} events/s, then killed")
    program, got = run("deliver", folder / "spool", events, kind)
    program.wait()
    rate = got["delivered"] / got["seconds"]
    print(f"the next process: {got['delivered']:,} delivered at {rate:,.0f} events/s, ", end="")
    print(f"missing {got['missing']}, doubled {got['doubled']}, files left {got['left']}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_800_000)
    parser.add_argument("--folder")
    parser.add_argument("--step", choices=["record", "deliver"])
    parser.add_argument("--kind", default="exposures", choices=["exposures", "events"])
    given = parser.parse_args()
    if given.step:
        step = {"record": record, "deliver": deliver}[given.step]
        step(given.folder, given.events, given.kind)
        return
    folder = Path(given.folder or tempfile.mkdtemp(prefix="flagloop-bench-"))
    try:
        into, out = rates(folder / "rates")
        print(f"batches of {SECOND}: {into:,.0f}/s in, {out:,.0f}/s out")
        report(folder, given.events, "exposures")
        report(folder, min(given.events, 100_000), "events")
    finally:
        if not given.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()

"""What is measured in each round; a step puts its figures under the row that shows them."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ingest
from server.load import Figures, Load, Target, authorized, cores, memory, requests
from server.unleash import PeerMissingError, Unleash

from server import ours

SHARE = "/api/v1/admin/environments/production/flags/flag-0/rules/rollout/share"
FIFTY_KB, THOUSAND = 477, 1_000
"""So many flags of ours make a snapshot of 50 KB; and those of the start."""

WARMING = 3.0
"""Seconds in which a new server makes its pages ready."""

PEERED = ("start", "idle", "not-modified", "snapshot", "kill", "ingest", "ack")


@dataclass(frozen=True)
class Plan:
    """How long each run takes, in seconds, and how large it is.

    Both servers are `warm` before they are measured; node, which compiles what runs often, was
    four times as fast after 12 s of load as in the first, so its first time takes longer.
    """

    seconds: float = 4.0
    warm: float = 1.0
    compile: float = 10.0
    loaded: float = 7.0
    floor: float = 2.0
    changes: int = 10
    kills: int = 30
    held: int = ingest.HELD
    many: int = 5_000


QUICK = Plan(1, 0.3, 1, 4, 0.5, changes=4, kills=6, held=100_000, many=2_000)


@dataclass
class Bench:
    """What the rounds share; `found` has each row's figures, one entry a round."""

    place: Path
    plan: Plan
    only: frozenset[str]
    log: Path | None
    unleash: Unleash | None
    found: dict[str, list[Figures]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    folders: dict[int, ours.Folder] = field(default_factory=dict)

    def wants(self, *rows: str) -> bool:
        """Whether one of these rows is to be measured."""
        return not self.only or not self.only.isdisjoint(rows)

    def note(self, row: str, **figures: float) -> None:
        """Keep the figures of one run, and tell that there are some."""
        shown = ", ".join(f"{name} {value:,.2f}" for name, value in figures.items())
        print(f"  {row}: {shown}", file=sys.stderr, flush=True)
        self.found.setdefault(row, []).append(figures)

    def folder(self, flags: int = FIFTY_KB) -> ours.Folder:
        """A server's data with so many flags, made once."""
        if flags not in self.folders:
            self.folders[flags] = ours.prepare(self.place, flags)
        return self.folders[flags]


def a_round(bench: Bench) -> None:
    """One run of each row, in turn; Unleash is there only while it is measured."""
    steps = (fill, start, start_peer, idle, snapshots, kills, counts, rest, *STREAMS, *EVENTS)
    for step in steps:
        try:
            step(bench)
        except (OSError, RuntimeError, subprocess.SubprocessError, PeerMissingError) as error:
            bench.failures.append(f"{step.__name__}: {error}")
            print(f"  {bench.failures[-1]}", file=sys.stderr, flush=True)


def fill(bench: Bench) -> None:
    """The log of many events, before anything is measured: its writing must not be felt."""
    if bench.wants("held"):
        held_log(bench)


def start_peer(bench: Bench) -> None:
    """Unleash goes on; what can be told of it only once, after its start, is noted."""
    peer = bench.unleash
    if peer is None or not bench.wants(*PEERED):
        return
    peer.wake()
    if peer.started is not None and "start peer" not in bench.found:
        bench.note("start peer", seconds=peer.started)
        mine, data = memory(peer.pid), memory(peer.postgres)
        bench.note("idle peer", mb=mine["rss_kb"] / 1024, postgres_mb=data["pss_kb"] / 1024)


def rest(bench: Bench) -> None:
    """Unleash is held, so that it takes nothing from what follows."""
    if bench.unleash is not None:
        bench.unleash.rest()


def start(bench: Bench) -> None:
    """From the start of the process to the first 200, from what is stored and with --flags."""
    if bench.wants("start"):
        folder = bench.folder(THOUSAND)
        with folder.serving() as server:
            bench.note("start", seconds=server.started)
        with folder.serving("--flags", str(folder.flags)) as server:
            bench.note("start-flags", seconds=server.started)


def idle(bench: Bench) -> None:
    """Memory before any load."""
    if not bench.wants("idle"):
        return
    with bench.folder().serving() as server:
        time.sleep(WARMING)
        bench.note("idle", mb=memory(server.pid)["rss_kb"] / 1024)


def snapshots(bench: Bench) -> None:
    """304s and 200s, ours and Unleash's in turn, both warm."""
    rows = [row for row in ("not-modified", "snapshot") if bench.wants(row)]
    if not rows:
        return
    peer, plan = bench.unleash, bench.plan
    with bench.folder().serving() as server:
        targets: dict[str, tuple[Target, str, str]] = {
            "": (server, server.url + ours.RULESET, f"Bearer {server.key}")
        }
        if peer is not None:
            targets[" peer"] = (peer, f"{peer.url}/api/client/features", peer.key)
        for row in rows:
            for whose, target in targets.items():
                cold = whose and f"{row}{whose}" not in bench.found
                warm = plan.compile if cold else plan.warm
                requests(*target, warm, etag=row == "not-modified")
                found = requests(*target, plan.seconds, etag=row == "not-modified")
                bench.note(row + whose, **found)


def kills(bench: Bench) -> None:
    """A kill until one stream has it and a toggle until a poll sees it: 30 each, once."""
    if not bench.wants("kill") or "kill" in bench.found:
        return
    folder = bench.folder()
    with folder.serving() as server:
        bench.note("kill", **spread(ours.kill_times(server, folder.admin, bench.plan.kills)))
    if bench.unleash is not None:
        bench.note("kill peer", **spread(bench.unleash.toggle_times()))


def spread(times: list[float]) -> Figures:
    """Median and worst of a list."""
    return {"ms": statistics.median(times), "max_ms": max(times), "times": len(times)}


def counts(bench: Bench) -> None:
    """What Unleash takes in: counts of flags, acknowledged from memory."""
    peer = bench.unleash
    if peer is None or not bench.wants("ingest", "ack"):
        return
    asked = ["ingest", f"{peer.url}/api/client/metrics", *authorized(peer.key)]
    asked += ["-c", "16", "--shape", "unleash", "-d", str(bench.plan.seconds)]
    with Load(peer, *asked, "--requests", str(int(500 * bench.plan.seconds))) as load:
        load.go()
        found = load.result()
    bench.note(
        "ingest peer",
        per_s=found["events_per_s"],
        p99_ms=found["ack_ms"]["p99"],
        **cores(found),
    )


def streams(bench: Bench) -> None:
    """A change to 1,000 streams on an idle machine."""
    if bench.wants("streams"):
        with bench.folder().serving() as server:
            bench.note("streams", **changed(bench, server, 1_000))


def streams_304(bench: Bench) -> None:
    """The same while 304s saturate the machine."""
    if bench.wants("streams-304"):
        with bench.folder().serving() as server:
            load = ["snapshot", server.url + ours.RULESET, "--etag"]
            bench.note("streams-304", **changed(bench, server, 1_000, load))


def streams_ingest(bench: Bench) -> None:
    """The same while ingest saturates it."""
    if bench.wants("streams-ingest"):
        with bench.folder().serving() as server:
            load = ["ingest", f"{server.url}/api/v1/events", "-c", "16", "--batch", "200"]
            load += ["--requests", str(int(400 * bench.plan.loaded))]
            bench.note("streams-ingest", **changed(bench, server, 1_000, load))


def streams_many(bench: Bench) -> None:
    """A change to 5,000 streams, and the memory that they take."""
    if bench.wants("streams-5000", "memory"):
        with bench.folder().serving() as server:
            bench.note("streams-5000", **changed(bench, server, bench.plan.many))


STREAMS = (streams, streams_304, streams_ingest, streams_many)


def changed(
    bench: Bench, server: ours.Server, number: int, load: list[str] | None = None
) -> Figures:
    """Changes to so many streams, maybe while another load client is at work."""
    time.sleep(WARMING)  # else its memory would count as that of the streams
    with ExitStack() as stack:
        other = stack.enter_context(Load(server, *load, *loaded(bench, server))) if load else None
        client = stack.enter_context(Load(server, *stream_client(bench, server, number)))
        if other is not None:
            other.go()
            time.sleep(0.5)
        client.go()
        found = client.result()
        under = other.result() if other is not None else None
    if found["failed"] or found["no_answer"] or found["missed"]:
        raise RuntimeError(f"streams failed: {found}")
    # Where every stream had the change before its answer came, the client did not wait for that.
    answered = found["change_ack_ms"] or found["last_ms"]
    return {
        "p99_ms": found["propagation_ms"]["p99"],
        "max_ms": found["propagation_ms"]["max"],
        "ack_ms": answered["p50"],
        "kb_per_stream": found["pss_kb_per_conn"],
        "connect_s": found["connect_s"],
        **(beside(found, under) if under else cores(found)),
    }


def loaded(bench: Bench, server: ours.Server) -> list[str]:
    """How the other load client comes in, and how long it is at work."""
    return [*authorized(f"Bearer {server.key}"), "-d", str(bench.plan.loaded)]


def beside(found: dict[str, Any], under: dict[str, Any]) -> Figures:
    """CPU of both clients, what the other load did, and which part of the changes fell into it."""
    covered = (under["ended"] - found["began"]) / (found["ended"] - found["began"])
    return {
        "load_per_s": under.get("rps") or under["events_per_s"],
        "client_cores": cores(found)["client_cores"] + cores(under)["client_cores"],
        "server_cores": cores(found)["server_cores"],
        "covered": min(1.0, covered),
    }


def stream_client(bench: Bench, server: ours.Server, number: int) -> list[str]:
    """How the load client opens streams and makes changes."""
    asked = ["sse", f"{server.url}/api/v1/stream", *authorized(f"Bearer {server.key}")]
    asked += ["-n", str(number), "--rounds", str(bench.plan.changes), "--settle", "1"]
    asked += ["--change", f"POST {server.url}{SHARE}", "--body", '{"share": "{n}%"}']
    asked += ["--change-header", f"Authorization: Bearer {bench.folder().admin}"]
    return [*asked, "--match", "event: change"]


def floor(bench: Bench) -> None:
    """Bare executemany of the same rows."""
    if bench.wants("ingest"):
        bench.note("ingest floor", per_s=ingest.floor(bench.place, bench.plan.floor))


def fresh(bench: Bench) -> None:
    """Durable ingest into an empty log."""
    if bench.wants("ingest", "ack", "held"):
        with bench.folder().serving() as server:
            bench.note("ingest", **taken(ingest.measure(server, bench.plan.seconds)))


def held(bench: Bench) -> None:
    """Durable ingest into a log that holds many events."""
    if bench.wants("held"):
        server = ours.Server(held_log(bench), bench.folder().key)
        try:
            server.settle()
            bench.note("held", **taken(ingest.measure(server, bench.plan.seconds)))
        finally:
            server.stop()


EVENTS = (floor, fresh, held)


def taken(found: Any) -> Figures:
    """One run of ingest.measure in the words of this table."""
    return {
        "per_s": found["events_per_s"],
        "p99_ms": found["p99_ms"],
        "refused": found["refused"],
        "rss_mb": found["rss_mb"],
        "client_cores": found["client_cpu_s"] / found["seconds"],
        "server_cores": found["server_cpu_s"] / found["seconds"],
    }


def held_log(bench: Bench) -> Path:
    """A server's folder whose log holds the many events, made once."""
    folder = bench.place / "held"
    if not folder.exists():
        made = bench.place / "held.db"
        if bench.log is not None and bench.log.exists():
            shutil.copy(bench.log, made)
        else:
            ingest.fill(made, bench.plan.held)
            if bench.log is not None:
                shutil.copy(made, bench.log)
        shutil.copytree(bench.folder().data, folder)
        for file in folder.glob("events.db*"):
            file.unlink()
        made.rename(folder / "events.db")
        with (folder / "events.db").open("rb") as file:  # else the first commits wait for it
            os.fsync(file.fileno())
    return folder

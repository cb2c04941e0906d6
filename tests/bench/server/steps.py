"""What is measured in each round; a step puts its figures under the row that shows them."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ingest
from server.load import Figures, Load, Target, authorized, cores, memory, requests
from server.unleash import Unleash

from server import ours

SHARE = "/api/v1/admin/environments/production/flags/flag-0/rules/rollout/share"
FIFTY_KB, THOUSAND = 477, 1_000
"""So many flags of ours make a snapshot of 50 KB; and those of the start."""

PEERED = ("start", "idle", "not-modified", "snapshot", "kill", "ingest")


@dataclass(frozen=True)
class Plan:
    """How long each run takes, in seconds, and how large it is."""

    seconds: float = 4.0
    warm: float = 1.0
    loaded: float = 7.0
    floor: float = 2.0
    changes: int = 10
    kills: int = 30
    held: int = ingest.HELD
    many: int = 5_000


QUICK = Plan(1, 0.3, 4, 0.5, changes=4, kills=6, held=100_000, many=2_000)


@dataclass
class Bench:
    """What the rounds share; `found` has each row's figures, one entry a round."""

    place: Path
    plan: Plan
    only: frozenset[str]
    log: Path | None
    unleash: Unleash | None
    found: dict[str, list[Figures]] = field(default_factory=dict)
    folders: dict[int, ours.Folder] = field(default_factory=dict)

    def wants(self, *rows: str) -> bool:
        """Whether one of these rows is to be measured."""
        return not self.only or not self.only.isdisjoint(rows)

    def note(self, row: str, **figures: float) -> None:
        """Keep the figures of one run."""
        self.found.setdefault(row, []).append(figures)

    def folder(self, flags: int = FIFTY_KB) -> ours.Folder:
        """A server's data with so many flags, made once."""
        if flags not in self.folders:
            self.folders[flags] = ours.prepare(self.place, flags)
        return self.folders[flags]


def a_round(bench: Bench) -> None:
    """One run of each row, in turn."""
    start(bench)
    if bench.unleash is not None and bench.wants(*PEERED):
        seconds = bench.unleash.start()
        bench.note("start peer", seconds=seconds)
    idle(bench)
    snapshots(bench)
    kills(bench)
    if bench.unleash is not None:
        counts(bench, bench.unleash)
        bench.unleash.rest()
    streams(bench)
    many_streams(bench)
    events(bench)


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
        bench.note("idle", mb=memory(server.pid)["rss_kb"] / 1024)
    peer = bench.unleash
    if peer is not None and peer.pid:
        postgres = memory(peer.postgres)["pss_kb"] / 1024 if peer.postgres else 0.0
        bench.note("idle peer", mb=memory(peer.pid)["rss_kb"] / 1024, postgres_mb=postgres)


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
                requests(*target, plan.warm, etag=row == "not-modified")
                found = requests(*target, plan.seconds, etag=row == "not-modified")
                bench.note(row + whose, **found)


def kills(bench: Bench) -> None:
    """A kill until one stream has it and a toggle until a poll sees it: 30 each, once."""
    if not bench.wants("kill") or "kill" in bench.found:
        return
    folder = bench.folder()
    with folder.serving() as server:
        for took in ours.kill_times(server, folder.admin, bench.plan.kills):
            bench.note("kill", ms=took)
    if bench.unleash is not None:
        for took in bench.unleash.toggle_times():
            bench.note("kill peer", ms=took)


def counts(bench: Bench, peer: Unleash) -> None:
    """What Unleash takes in: counts of flags, acknowledged from memory."""
    if not bench.wants("ingest"):
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
    """A change to 1,000 streams: on an idle machine, while 304s or ingest saturate it."""
    if not bench.wants("streams", "streams-304", "streams-ingest", "memory"):
        return
    seconds = bench.plan.loaded
    with bench.folder().serving() as server:
        key = authorized(f"Bearer {server.key}")
        if bench.wants("streams", "memory"):
            bench.note("streams", **changed(bench, server, 1_000))
        if bench.wants("streams-304"):
            load = ["snapshot", server.url + ours.RULESET, *key, "--etag", "-d", str(seconds)]
            bench.note("streams-304", **changed(bench, server, 1_000, load))
        if bench.wants("streams-ingest"):
            load = ["ingest", f"{server.url}/api/v1/events", *key, "-c", "16", "-d", str(seconds)]
            load += ["--batch", "200", "--requests", str(int(400 * seconds))]
            bench.note("streams-ingest", **changed(bench, server, 1_000, load))


def many_streams(bench: Bench) -> None:
    """A change to 5,000 streams, on a server that had none before."""
    if bench.wants("streams-5000", "memory"):
        with bench.folder().serving() as server:
            bench.note("streams-5000", **changed(bench, server, bench.plan.many))


def changed(
    bench: Bench, server: ours.Server, number: int, load: list[str] | None = None
) -> Figures:
    """Changes to so many streams, maybe while another load client is at work."""
    with ExitStack() as stack:
        other = stack.enter_context(Load(server, *load)) if load else None
        client = stack.enter_context(Load(server, *stream_client(bench, server, number)))
        if other is not None:
            other.go()
            time.sleep(0.5)
        client.go()
        found = client.result()
        under = other.result() if other is not None else None
    if found["failed"] or found["no_answer"] or found["missed"]:
        raise RuntimeError(f"streams failed: {found}")
    return {
        "p99_ms": found["propagation_ms"]["p99"],
        "max_ms": found["propagation_ms"]["max"],
        "ack_ms": found["change_ack_ms"]["p50"],
        "kb_per_stream": found["pss_kb_per_conn"],
        "connect_s": found["connect_s"],
        **(beside(found, under) if under else cores(found)),
    }


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


def events(bench: Bench) -> None:
    """Durable ingest beside its floor, into an empty log and into one that holds many events."""
    plan = bench.plan
    if bench.wants("ingest"):
        bench.note("ingest floor", per_s=ingest.floor(bench.place, plan.floor))
    if bench.wants("ingest", "ack", "held"):
        with bench.folder().serving() as server:
            bench.note("ingest", **taken(ingest.measure(server, plan.seconds)))
    if bench.wants("held"):
        server = ours.Server(held_log(bench), bench.folder().key)
        try:
            server.settle()
            bench.note("held", **taken(ingest.measure(server, plan.seconds)))
        finally:
            server.stop()


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
        shutil.copytree(bench.folder().data, folder)
        for file in folder.glob("events.db*"):
            file.unlink()
        kept = bench.log
        if kept is None or not kept.exists():
            ingest.fill(kept or folder / "events.db", bench.plan.held)
        if kept is not None:
            shutil.copy(kept, folder / "events.db")
    return folder

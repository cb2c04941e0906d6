"""How long every admin page takes with 2,000 flags and 10 million events.

    .venv/bin/python tests/bench/pages.py                   # builds all of it in a temporary folder
    .venv/bin/python tests/bench/pages.py --log ten.db      # with a log that ingest.py has filled

Beside the events lie the aggregates that pages read: a day of hourly counts for every flag, the
last 10,000 contexts, 200 instances, 300 archived flags. Each page is asked for 20 times through the
real server, one request after the other, after one that is not counted. `over` marks what takes
longer than the limit at p95. `CPU` is what the server took for one answer: on a machine that others
use as well it is what can be compared.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import ingest

from flagloop_server import changes as change
from flagloop_server.app import Application, create_app
from flagloop_server.config import Config
from flagloop_server.store import Actor

FLAGS = 2_000
ARCHIVED = 300
HOUR = 3_600_000
BEN = Actor("person", "ben@example.com")
COUNTRIES = ("DE", "FR", "US", "JP", "BR")
PRODUCTION = "/environments/production"
HEAD = """\
version: 1
recording: {attributes: [country, plan, app_version]}
"""


def sections(draw: random.Random) -> Iterator[str]:
    """Everything beside the flags: 200 segments, 100 metrics, 20 layers and holdouts, 200 tests."""
    yield "segments:\n"
    for number in range(200):
        country = draw.choice(COUNTRIES)
        yield f"  segment_{number}: {{when: {{plan: [pro, team], country: {country}}}}}\n"
    yield "layers:\n"
    yield from (f"  layer_{number}: {{}}\n" for number in range(20))
    yield "holdouts:\n"
    yield from (f"  holdout_{number}: {{share: 2%}}\n" for number in range(20))
    yield "metrics:\n"
    yield from (f"  metric_{n}: {{event: event_{n}, better: higher}}\n" for n in range(100))
    yield "experiments:\n"
    for number in range(200):
        low = 10 * (number // 20)
        place = f"{{name: layer_{number % 20}, range: [{low}%, {low + 10}%]}}"
        measured = f"primary: metric_{number % 100}, guardrails: [metric_{(number + 1) % 100}]"
        yield f"  experiment_{number}: {{hypothesis: It helps, {measured}, layer: {place}}}\n"


def flags(draw: random.Random, number: int) -> Iterator[str]:
    """Flags as they are met: conditions, tests, rollouts, some that need others or are old."""
    yield "flags:\n"
    for place in range(number):
        yield f"  flag_{place}:\n    description: What flag {place} is for\n"
        yield f"    owner: team-{place % 15}@example.com\n    tags: [tag_{place % 25}]\n"
        yield "    variants: {control: blue, treatment: green}\n    default: control\n"
        yield "    off: control\n"
        if place % 20 == 0:
            yield f"    holdout: holdout_{place // 20 % 20}\n"
        if place % 50 == 49:
            yield f"    requires: {{flag_{place - 1}: treatment}}\n"
        if place % 40 == 0:
            yield "    expires: 2026-01-31\n"
        yield "    rules:\n"
        yield f"      - {{name: staff, when: {{segment: segment_{place % 200}}},"
        yield " serve: treatment}\n"
        yield f"      - {{name: some, when: {{country: {draw.choice(COUNTRIES)}}}, share: 5%,"
        yield " serve: treatment}\n"
        if place < 200:
            yield f"      - {{name: test, experiment: experiment_{place},"
            yield " split: {control: 50%, treatment: 50%}}\n"
        elif place % 7 == 0:
            yield "      - {name: canary, rollout: {to: treatment, stages: [5%, 50%, 100%],"
            yield f" guardrails: [metric_{place % 100}], stage: 5%}}}}\n"


def define(app: Application, number: int) -> None:
    """The document and a history of it."""
    draw = random.Random(4)
    text = HEAD + "".join(sections(draw)) + "".join(flags(draw, number + ARCHIVED))
    app.changes.apply(change.push("production", text), BEN, "first")
    gone = [f"flag_{place}" for place in range(number, number + ARCHIVED)]
    app.changes.apply(change.archive_flags("production", gone), BEN, "not needed")
    for place in range(60):
        share = f"{5 + place % 40}%"
        planned = change.set_share("production", f"flag_{place % 5}", "some", share)
        app.changes.apply(planned, BEN, "healthy")
    app.changes.apply(change.kill("production", "flag_7"), BEN, "INC-77")


def count(path: Path, environment: int, number: int, now: int) -> None:
    """What the server would have kept beside the events: written as the schema has it."""
    draw = random.Random(5)
    outcomes = [("treatment", "staff", "TARGETING_MATCH"), ("treatment", "some", "SPLIT")]
    outcomes += [("control", "", "DEFAULT"), ("control", "test", "SPLIT")]
    hours = [now // HOUR - ago for ago in range(24)]
    contexts = [
        {
            "key": f"user-{n}",
            "country": draw.choice(COUNTRIES),
            "plan": draw.choice(("pro", "free")),
        }
        for n in range(10_000)
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO count_hour VALUES (?,?,?,?,?,?,?)",
            (
                (environment, hour, f"flag_{flag}", *outcome, draw.randrange(1, 5_000))
                for hour in hours
                for flag in range(number)
                for outcome in outcomes
            ),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO flag_seen VALUES (?,?,?)",
            ((environment, f"flag_{n}", now - 86_400_000 * (n % 60)) for n in range(number)),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO event_hour VALUES (?,?,?,?,?)",
            ((environment, f"event_{n}", hour, 50, now) for n in range(90) for hour in hours),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO context (environment_id, slot, n, at, body) VALUES (?,?,?,?,?)",
            (
                (environment, n, n, now - 360 * (10_000 - n), json.dumps(one))
                for n, one in enumerate(contexts)
            ),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO instance VALUES (?,?,?,?,?,?,?)",
            ((environment, f"i-{n}", f"web-{n}", n, "bench", None, now) for n in range(200)),
        )
        connection.commit()


def build(data: Path, number: int, log: Path | None) -> tuple[str, int]:
    """The folder of a server; returns a session's token and the newest revision."""
    data.mkdir(mode=0o700)
    if log is not None and log.exists():
        shutil.copyfile(log, data / "events.db")
    else:
        ingest.fill(data / "events.db")
    with create_app(Config(data=data)) as app:
        define(app, number)
        user, _ = app.auth.create_user("ana@example.com", "Ana", {"*": "admin"}, BEN)
        token = app.auth.use_sign_in_link(app.auth.sign_in_link(user.id)).token
        environment = app.store.environment("production")
    count(data / "events.db", environment.id, number, time.time_ns() // 1_000_000)
    return token, environment.revision


def addresses(newest: int) -> dict[str, str]:
    """Every page, and those that compute (`reports`)."""
    flag = f"{PRODUCTION}/flags/flag_3"
    chosen = "&".join(f"flag=flag_{n}" for n in range(1_000, 1_050))
    found = {
        "flags": f"{PRODUCTION}/flags",
        "flags, filtered": f"{PRODUCTION}/flags?q=flag_19&owner=team-4@example.com",
        "flags, stale": f"{PRODUCTION}/flags?stale=yes&sort=state",
        "flags, last page": f"{PRODUCTION}/flags?start=1801&sort=changed",
        "flag": flag,
        "flag, killed": f"{PRODUCTION}/flags/flag_7",
        **{f"flag, live {one}": f"{flag}/live/{one}" for one in ("state", "usage", "rules")},
        "flag's history": f"{flag}/history",
        "edit": f"{flag}/edit",
        "edit an experiment": f"{PRODUCTION}/items/experiments/experiment_3/edit",
        "new flag": f"{PRODUCTION}/new-flag",
        "share": f"{flag}/reports/share/some",
        "share, 40% of 10,000": f"{flag}/reports/share/some?share=40",
        "archive": f"{PRODUCTION}/archive",
        "archive 50 flags": f"{PRODUCTION}/reports/archive?{chosen}",
        "playground": f"{PRODUCTION}/playground",
        "instances": f"{PRODUCTION}/instances",
        "history": f"{PRODUCTION}/history",
        "history, compared": f"{PRODUCTION}/history?from={newest - 40}&to={newest}",
        "revision": f"{PRODUCTION}/revisions/{newest}",
        "revert an item": f"{PRODUCTION}/reports/revert?number=2&section=flags&key=flag_3",
        "document": f"{PRODUCTION}/document",
        "keys": f"{PRODUCTION}/keys",
        "environments": "/environments",
        "people": "/people",
        "audit": "/audit",
        "glossary": "/glossary",
    }
    for section in ("segments", "metrics", "layers", "holdouts", "experiments"):
        found[section] = f"{PRODUCTION}/{section}"
        found[section[:-1]] = f"{PRODUCTION}/{section}/{section[:-1]}_3"
    return found


def cpu_ms(pid: int) -> float:
    """What a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1000


def timed(server: ingest.Running, token: str, path: str, times: int) -> tuple[list[float], int]:
    """Milliseconds of each request, and the bytes of an answer."""
    place = urlsplit(server.url)
    taken, size = [], 0
    with closing(http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)) as line:
        for _ in range(times + 1):
            began = time.perf_counter()
            line.request("GET", path, headers={"Cookie": f"flagloop_session={token}"})
            answer = line.getresponse()
            size = len(answer.read())
            taken.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                sys.exit(f"{path}: {answer.status}")
    return taken[1:], size


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, help="a filled events.db; it is copied, not written")
    parser.add_argument("--flags", type=int, default=FLAGS)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--limit", type=float, default=100, metavar="MS")
    parser.add_argument("--only", nargs="+", default=[], metavar="PAGE")
    parser.add_argument(
        "--data", type=Path, help="keep the built folder here, or take it from here"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = options.data or Path(place) / "data"
        told = data.with_suffix(".json")
        if not data.exists():
            told.write_text(json.dumps(build(data, options.flags, options.log)))
        token, newest = json.loads(told.read_text())
        with ingest.serving(data) as server:
            print("| page | p50 ms | p95 ms | CPU ms | KB | |\n|---|--:|--:|--:|--:|---|")
            for name, path in addresses(newest).items():
                if options.only and name not in options.only:
                    continue
                timed(server, token, path, 1)
                began = cpu_ms(server.pid)
                taken, size = timed(server, token, path, options.times)
                cpu = (cpu_ms(server.pid) - began) / (options.times + 1)
                p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
                over = "over" if p95 > options.limit else ""
                figures = (statistics.median(taken), p95, cpu, size / 1024)
                row = " | ".join(f"{one:.0f}" for one in figures)
                print(f"| {name} | {row} | {over} |", flush=True)


if __name__ == "__main__":
    main()

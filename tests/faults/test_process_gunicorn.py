"""Real gunicorn, with and without `--preload`: workers decide, obey, deliver, die and come back."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from helpers.patience import Stopwatch

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

APPLICATION = """
import json
import os

from flagloop import Client

client = Client(spool=os.environ.get("SPOOL"))

def app(environ, start_response):
    assert client.wait(60), client.status()
    unit = environ["PATH_INFO"][1:]
    reason = client.decide("half", unit).reason if unit else None
    delivery = client.status()["delivery"]
    spooled = delivery["spool"]["events"] if delivery["spool"] else 0
    told = {"pid": os.getpid(), "reason": reason, "unsafe": delivery["queued"] - spooled}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""


class Farm:
    """A running gunicorn. `asked` are the units whose exposures must arrive, by worker.

    `dropped` are those whose connection a worker took just before its end, and nobody answered.
    """

    def __init__(self, site: Any, *options: str, spool: bool) -> None:
        (site.folder / "application.py").write_text(APPLICATION, "utf-8")
        if spool:
            site.environ["SPOOL"] = str(site.folder / "spool")
        command = [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", "--workers=2"]
        self.process = site.run([*command, *options, "application:app"], stdout=None)
        self.site = site
        self.said: list[str] = []
        self.asked: dict[int, list[str]] = {}
        self.dropped: set[str] = set()
        self._url = ""
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listens.wait(60), self.said

    def _read(self) -> None:
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if found := re.search(r"Listening at: (http://\S+)", line):
                self._url = found[1]
                self._listens.set()

    def ask(self, unit: str = "") -> Any:
        """What a worker answers: its pid, why it decided so, and what it could lose."""
        answer = requests.get(f"{self._url}/{unit}", timeout=60)
        assert answer.status_code == 200, self.said
        told = answer.json()
        if told["reason"] == "SPLIT":
            self.asked.setdefault(told["pid"], []).append(unit)
        return told

    def decide(self) -> Any:
        """Ask for another unit, until a worker answers."""
        for _ in range(20):
            unit = f"u-{next(COUNTER)}"
            with contextlib.suppress(requests.ConnectionError):
                return self.ask(unit)
            self.dropped.add(unit)
        raise AssertionError(self.said)

    def both(self, reason: str, without: int = 0) -> set[int]:
        """The pids of two workers that decide for that reason, neither of them `without`."""
        end = time.monotonic() + 60
        found: Counter[int] = Counter()
        while sum(n >= 3 for n in found.values()) < 2:
            assert time.monotonic() < end, (reason, found, self.said)
            told = self.decide()
            if told["reason"] == reason and told["pid"] != without:
                found[told["pid"]] += 1
        return set(found)

    def settle(self, pid: int) -> None:
        """Wait until that worker would lose nothing."""
        end = time.monotonic() + 60
        while (told := self.ask())["pid"] != pid or told["unsafe"]:
            assert time.monotonic() < end, told

    def stop(self) -> None:
        """End it as an operator does, which must go well."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        self._reader.join(60)
        assert "Traceback" not in "\n".join(self.said), self.said


COUNTER = iter(range(10**9))


@pytest.fixture
def farm(site: Any) -> Iterator[Callable[..., Farm]]:
    """`farm(*options, spool=...)`: gunicorn with two workers, ended after the test."""
    started: list[Farm] = []

    def start(*options: str, spool: bool = False) -> Farm:
        started.append(Farm(site, *options, spool=spool))
        return started[-1]

    yield start
    for one in started:
        one.process.terminate()
        one.process.wait(60)


@pytest.mark.parametrize(
    ("options", "spool"),
    [
        pytest.param(["--preload"], True, id="preload-sync-spool"),
        pytest.param(["--preload", "--threads=4"], False, id="preload-threads"),
        pytest.param([], False, id="sync"),
        pytest.param(["--threads=4"], True, id="threads-spool"),
    ],
)
def test_workers_obey_and_lose_nothing(
    site: Any, farm: Callable[..., Farm], options: list[str], spool: bool
) -> None:
    """A kill reaches each worker within seconds; those that end or are killed come back; each
    exposure arrives once. Without a spool a killed worker may lose what it had not sent.
    """
    gunicorn = farm(*options, spool=spool)
    gunicorn.both("SPLIT")
    watch = Stopwatch()
    site.rest("flags/half/kill", reason="test")
    gunicorn.both("DISABLED")
    assert watch.seconds < 5
    site.rest("flags/half/restore", reason="test")
    workers = gunicorn.both("SPLIT")

    ended = min(workers)
    os.kill(ended, signal.SIGTERM)
    workers = gunicorn.both("SPLIT", without=ended)
    killed = min(workers)
    if spool:
        gunicorn.settle(killed)
    os.kill(killed, signal.SIGKILL)
    gunicorn.both("SPLIT", without=killed)

    gunicorn.stop()
    safe = sorted(
        unit for pid, units in gunicorn.asked.items() if pid != killed or spool for unit in units
    )
    unsafe = [] if spool else gunicorn.asked[killed]
    stored = Counter(site.exposures(len(safe)))
    assert max(stored.values()) == 1
    assert sorted(unit for unit in stored if unit not in {*unsafe, *gunicorn.dropped}) == safe


@pytest.mark.parametrize("options", [["--preload"], ["--threads=4"]], ids=["preload", "threads"])
def test_workers_that_are_recycled_deliver_first(
    site: Any, farm: Callable[..., Farm], options: list[str]
) -> None:
    """With `--max-requests` each worker ends after a few requests, with SIGHUP all of them do:
    none leaves anything behind.
    """
    gunicorn = farm("--max-requests=5", "--max-requests-jitter=3", *options)
    for _ in range(2):
        for _ in range(20):
            gunicorn.decide()
        gunicorn.process.send_signal(signal.SIGHUP)
    gunicorn.both("SPLIT")
    assert len(gunicorn.asked) > 4
    gunicorn.stop()
    asked = sorted(unit for units in gunicorn.asked.values() for unit in units)
    stored = site.exposures(len(asked))
    assert [unit for unit in stored if unit not in gunicorn.dropped] == asked

"""Real processes on a real server: who has a kill, who has not, and how both are told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.patience import Stopwatch

APPLICATION = Path(__file__).with_name("obeying_application.py")
ON = {"rules": [{"name": "all", "serve": "on"}]}

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(place: Any) -> Iterator[Start]:
    """`start("stream")` or `start("poll")`: an application in a process of its own."""
    place.put({"flags": {"banner": ON}})
    started: list[subprocess.Popen[str]] = []

    def one(mode: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(APPLICATION), place.url, place.secret("server"), mode]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield one
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def known(place: Any) -> dict[int, Any]:
    """The instances of the environment, by pid."""
    told = place.rest("GET", f"revisions/{place.revision().rpartition('.')[2]}/instances").json()
    listed = place.rest("GET", f"../../instances?environment={place.name}").json()
    (found,) = listed["environments"]
    assert len(found["instances"]) == told["instances"]
    return {one["pid"]: one for one in found["instances"]}


def test_a_kill_names_the_one_process_that_does_not_obey(
    place: Any, start: Start, until: Callable[..., Any]
) -> None:
    """Streaming and polling ones are counted within the time, the stopped one is named."""
    running = {process.pid: process for process in (start("stream"), start("stream"))}
    polling, stopped = start("poll"), start("stream")
    everybody = {*running, polling.pid, stopped.pid}
    assert until(lambda: {*known(place)} == everybody), known(place)
    streaming = {*running, stopped.pid}
    assert until(lambda: {p for p, one in known(place).items() if one["stream"]} == streaming)
    stopped.send_signal(signal.SIGSTOP)

    watch = Stopwatch()
    done = place.cli("kill", "banner", "--reason", "INC-7", "--wait", "8", "--json")
    busy = watch.passed - watch.seconds
    assert done.exit_code == 5, done.output
    told = json.loads(done.stdout)["obedience"]
    assert (told["instances"], told["reached"]) == (4, 3), told
    assert 0 < told["seconds"] < 3 + busy
    assert [one["pid"] for one in told["missing"]] == [stopped.pid]
    host = told["missing"][0]["host"]
    assert told["sentence"].startswith("off on 3 of 4 instances in ")
    assert f": {host}:{stopped.pid} (revision " in told["sentence"]

    browser = place.browser()
    page = browser.get(f"/environments/{place.name}/flags/banner").text
    assert "Off on 3 of 4 instances in " in page
    assert f"{host}:{stopped.pid}" in page
    listed = browser.get(f"/environments/{place.name}/instances").text
    assert listed.count("data-instance=") == 4

    stopped.send_signal(signal.SIGCONT)
    done = place.cli("restore", "banner", "--wait", "60")
    assert done.exit_code == 0, done.output
    assert "restored on 4 of 4 instances in " in done.output


def test_who_ends_well_is_not_missed(place: Any, start: Start, until: Callable[..., Any]) -> None:
    """A deploy leaves no ghosts; who was killed is named, since nobody knows what became of it."""
    closing, killed, staying = start("stream"), start("stream"), start("poll")
    everybody = {closing.pid, killed.pid, staying.pid}
    assert until(lambda: {*known(place)} == everybody)
    assert until(lambda: {one["state"] for one in known(place).values()} == {"current"})
    closing.communicate("", timeout=60)
    assert closing.returncode == 0
    assert until(lambda: {*known(place)} == {killed.pid, staying.pid})
    killed.kill()
    killed.wait(60)
    assert until(lambda: not known(place)[killed.pid]["stream"])
    done = place.cli("kill", "banner", "--reason", "INC-7", "--wait", "5")
    assert done.exit_code == 5
    assert "off on 1 of 2 instances" in done.output
    assert f":{killed.pid} (revision " in done.output


def test_an_ordinary_change_is_told_by_polls_and_believed_of_streams(
    place: Any, start: Start, until: Callable[..., Any]
) -> None:
    """An idle process need not say that a new description reached it."""
    streaming, polling = start("stream"), start("poll")
    assert until(lambda: len(known(place)) == 2)
    assert until(lambda: known(place)[streaming.pid]["stream"])
    place.put({"flags": {"banner": {**ON, "description": "new", "off": "off"}}})
    assert until(lambda: known(place)[polling.pid]["state"] == "current")
    assert known(place)[streaming.pid]["state"] in ("sent", "current")
    assert place.metric(f'flagloop_instances{{environment="{place.name}",state="stale"}}') == 0

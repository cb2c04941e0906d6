"""The demo: a server, the landing page and visitors, and a kill that all of them obey."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from flagloop_server.commands.demo import demo
from flagloop_server.demo.visitors import SIGN_UP_RATE
from flagloop_server.demo.world import ENVIRONMENT, FLAG, World
from flagloop_server.store import Actor
from helpers.patience import until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running demo."""
    with World(tmp_path_factory.mktemp("demo"), port=0, rate=60) as running:
        yield running


def color(world: World) -> str:
    """The button's colour for a new visitor."""
    page = requests.get(world.app_url, timeout=60).text
    return next(name for name in ("blue", "green") if f'data-color="{name}"' in page)


def test_both_variants_are_seen_and_counted(world: World) -> None:
    """Visitors become exposures of both variants, and some of them sign up."""

    def full() -> bool:
        counts = world.counts()
        return {"control", "treatment"} <= counts.keys() and sum(c[1] for c in counts.values()) > 0

    assert until(full), world.counts()
    assert world.visitors.failures == 0


def test_green_converts_better() -> None:
    """The demo has a winner to find."""
    assert SIGN_UP_RATE["green"] > SIGN_UP_RATE["blue"] > 0


def test_a_kill_reaches_the_application_at_once_and_restore_undoes_it(world: World) -> None:
    """After the kill every button is blue; after restore some are green again."""
    admin = Actor("system", "test")
    _, key = world.store.create_key(ENVIRONMENT, "admin", "test", admin, role="editor")
    base = f"{world.url}/api/v1/admin/environments/{ENVIRONMENT}/flags/{FLAG}"
    headers = {"Authorization": f"Bearer {key}"}
    assert until(lambda: color(world) == "green")
    # When somebody obeyed is known only of those who were heard of before.
    assert until(lambda: "on 1 of 1 instance" in world.obeyed()), world.obeyed()

    killed = requests.post(f"{base}/kill", json={"reason": "test"}, headers=headers, timeout=60)
    assert killed.status_code == 200, killed.text
    # A poll would take up to eleven seconds: this is the stream, and time for a slow machine.
    assert until(lambda: {color(world) for _ in range(25)} == {"blue"}, 5)
    assert until(lambda: world.obeyed().startswith("off on 1 of 1 instance in ")), world.obeyed()

    restored = requests.post(f"{base}/restore", json={}, headers=headers, timeout=60)
    assert restored.status_code == 200, restored.text
    assert until(lambda: color(world) == "green", 5)
    assert until(lambda: "restored on 1 of 1 instance in " in world.obeyed()), world.obeyed()


def test_the_link_signs_in_once(world: World) -> None:
    """The printed link and one click open the flag's page signed in; it works once."""
    with requests.Session() as browser:
        form = browser.get(world.link, timeout=60)
        assert form.status_code == 200
        main = form.text.partition("<main")[2].partition("</main>")[0]
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', main))
        page = browser.post(world.link, data=fields, timeout=60)
        assert page.status_code == 200
        assert FLAG in page.text
        assert page.url.endswith(f"/environments/{ENVIRONMENT}/flags/{FLAG}")
    again = requests.get(world.link, timeout=60)
    assert again.status_code == 400
    assert "Sign out" not in again.text


def test_the_command_ends_by_itself_and_prints_the_counts(tmp_path: Path) -> None:
    """`flagloop demo --seconds N --json` is a smoke test of an installation."""
    command = [sys.executable, "-m", "flagloop", "demo", "--port", "0", "--json", "--seconds"]
    seen = 0
    for seconds in ("8", "60"):  # the second for a machine on which nobody came in time
        words, where = [*command, seconds], {"cwd": tmp_path, "timeout": 240}
        done = subprocess.run(words, **where, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Landing page    http://127.0.0.1:" in done.stdout
        variants = json.loads(done.stdout.splitlines()[-1])["variants"]
        seen = sum(row["seen"] for row in variants.values())
        if seen:
            break
    assert seen > 0


@pytest.mark.parametrize("number", ["-1", "nan"])
@pytest.mark.parametrize("option", ["--rate", "--seconds"])
def test_a_number_that_makes_no_demo_is_refused(option: str, number: str) -> None:
    """Before anything is started."""
    told = CliRunner().invoke(demo, ["--port", "0", option, number])
    assert told.exit_code == 2
    assert option in told.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_server_and_removes_the_folder(
    tmp_path: Path, number: signal.Signals
) -> None:
    """However the demo is asked to end, nothing of it runs on or stays; the counts are told."""
    command = [sys.executable, "-m", "flagloop", "demo", "--port", "0"]
    process = subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = ""
    while "Ctrl-C ends it" not in said:
        line = process.stdout.readline()
        assert line, "the demo ended by itself"
        said += line
    url = re.findall(r"^Admin UI +(http\S+)$", said, re.M)[0]
    process.send_signal(number)
    rest, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "variant" in rest
    assert "\ncta_color: in force on " in rest
    assert list(tmp_path.glob("flagloop-demo-*")) == []
    with pytest.raises(requests.ConnectionError):
        requests.get(url + "/healthz", timeout=60)

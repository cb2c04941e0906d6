"""Servers that fail in every way: the application keeps deciding and `status()` says what is wrong.

All of it over real connections on the loopback; the copy on disk helps out.
"""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flagloop import Client
from helpers.patience import Stopwatch

KEY = "fl_srv_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
FAULTS = [
    "error",
    "revoked",
    "forbidden",
    "elsewhere",
    "garbage",
    "other JSON",
    "other format",
    "bad section",
    "cut",
    "closed",
]


# The ruleset.


def test_all_is_well(stage: Any, connect: Any, until: Any) -> None:
    """Definitions come, changes follow at a poll, decisions are delivered."""
    client = connect()
    assert client.wait(60)
    assert client.variant("color", "u-1") in ("control", "treatment")
    stage.mapping = {"format": 1, "revision": "s.2", "flags": {"color": {}}}
    until(lambda: client.variant("color", "u-1") == "off")
    assert client.flush(10)
    assert len(stage.exposures) == 1
    status = client.status()
    assert (status["origin"], status["revision"], status["problem"]) == ("server", "s.2", None)
    assert status["age"] < 60


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_mid_way_changes_no_decision(
    stage: Any, connect: Any, until: Any, fault: str, faults: Any
) -> None:
    """The last good definitions stay, `status()` names the fault, and recovery is noticed."""
    client = connect()
    assert client.wait(60)
    before = [client.peek("color", f"u-{n}") for n in range(50)]
    good, (stage.ruleset, says) = stage.ruleset, faults[fault]
    until(lambda: client.status()["problem"])
    status = client.status()
    assert says in status["problem"]
    assert status["ready"]
    assert status["refresh"]["failures"] >= 1
    assert [client.peek("color", f"u-{n}") for n in range(50)] == before
    stage.ruleset = good
    until(lambda: client.status()["problem"] is None)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_from_the_start_leaves_the_defaults(
    stage: Any, connect: Any, until: Any, fault: str, faults: Any
) -> None:
    """Every flag gives the caller's default; `wait` says that there is nothing."""
    stage.ruleset, says = faults[fault]
    client = connect()
    until(lambda: client.status()["refresh"]["failures"])
    assert not client.wait(0)
    assert client.variant("color", "u-1", "mine") == "mine"
    assert client.value("color", "u-1", "blue") == "blue"
    assert not client.enabled("color", "u-1")
    assert client.decide_all("u-1") == {}
    status = client.status()
    assert not status["ready"]
    assert says in status["problem"]


def test_a_server_that_hangs_holds_up_nothing(stage: Any, connect: Any, hanging: Any) -> None:
    """Neither the constructor nor a verb nor `close` waits for it longer than it says."""
    stage.ruleset = hanging
    watch = Stopwatch()
    client = connect()
    assert client.variant("color", "u-1", "mine") == "mine"
    client.decide_all("u-1")
    client.track("click", "u-1")
    status = client.status()
    assert watch.seconds < 1
    assert status["problem"] == "definitions: none yet"
    assert stage.hanging.wait(60)
    assert not client.wait(0.05)
    # Its events are delivered although the other thread still sits in a request.
    watch = Stopwatch()
    assert client.close(60)
    assert watch.seconds < 2
    assert stage.counted == 1


def test_a_port_that_accepts_and_says_nothing_holds_up_nothing() -> None:
    """A listener that nobody serves: the connection stands, no byte ever comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as deaf:
        watch = Stopwatch()
        client = Client(f"http://127.0.0.1:{deaf.getsockname()[1]}", key=KEY)
        assert client.value("color", "u-1", "blue") == "blue"
        assert watch.seconds < 1
        client.close(0.1)
        assert watch.seconds < 2


def test_nobody_at_the_port(until: Any) -> None:
    """Refused connections are told and tried again."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    client = Client(url, key=KEY)
    until(lambda: client.status()["refresh"]["failures"])
    assert "refused" in client.status()["problem"].lower()
    client.close(1)


# The copy on disk.


def copies(folder: Path) -> list[Path]:
    """The kept rulesets."""
    return sorted(folder.glob("*.json"))


def test_a_copy_on_disk_stands_in_for_a_server_that_is_away(
    stage: Any, connect: Any, until: Any, tmp_path: Path, faults: Any
) -> None:
    """It decides at once as before; `status()` says which copy, how old, and why."""
    first = connect(cache=tmp_path)
    assert first.wait(60)
    wanted = [first.variant("color", f"u-{n}") for n in range(50)]
    first.close(5)
    (copy,) = copies(tmp_path)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert KEY not in copy.name
    assert KEY not in copy.read_text()
    stage.ruleset, _ = faults["away"]
    second = connect(cache=tmp_path)
    assert second.wait(0)
    assert [second.variant("color", f"u-{n}") for n in range(50)] == wanted
    until(lambda: second.status()["refresh"]["failures"])
    status = second.status()
    assert (status["origin"], status["revision"]) == ("cache", "s.1")
    assert 0 <= status["age"] < 60
    assert "answered 503" in status["problem"]


def test_a_copy_that_is_current_costs_a_304(
    stage: Any, connect: Any, tmp_path: Path, until: Any
) -> None:
    """The server is asked with the copy's revision and confirms it."""
    connect(cache=tmp_path).wait(60)
    client = connect(cache=tmp_path)
    until(lambda: client.status()["refresh"]["age"] is not None)
    assert client.status()["revision"] == "s.1"
    assert client.status()["problem"] is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: content.replace(b"50%", b"51%"),
        lambda content: b"",
        lambda content: b"\x00" * len(content),
        lambda content: content[content.index(b"\n") :],
    ],
    ids=["cut", "changed", "empty", "zeros", "headless"],
)
def test_a_damaged_copy_is_not_used(
    stage: Any,
    connect: Any,
    until: Any,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    hanging: Any,
) -> None:
    """Defaults rather than something that only looks right; the server mends it."""
    connect(cache=tmp_path).wait(60)
    (copy,) = copies(tmp_path)
    copy.write_bytes(damage(copy.read_bytes()))
    good, stage.ruleset = stage.ruleset, hanging
    client = connect(cache=tmp_path)
    assert client.variant("color", "u-1", "mine") == "mine"
    assert str(copy) in client.status()["problem"]
    assert "damaged" in client.status()["problem"]
    stage.ruleset = good
    stage.release.set()
    assert client.wait(60)
    until(lambda: client.status()["problem"] is None)
    assert client.variant("color", "u-1") is not None


def test_another_key_has_another_copy(
    stage: Any, connect: Any, tmp_path: Path, faults: Any
) -> None:
    """Two environments never start from each other's definitions."""
    connect(cache=tmp_path).wait(60)
    stage.ruleset, _ = faults["away"]
    with Client(stage.url, key=KEY[:-1] + "b", cache=tmp_path) as other:
        assert not other.status()["ready"]
    assert len(copies(tmp_path)) == 1


def test_a_bad_ruleset_does_not_replace_the_copy(
    stage: Any, connect: Any, until: Any, tmp_path: Path, faults: Any
) -> None:
    """What cannot decide is not kept for the next start."""
    client = connect(cache=tmp_path)
    assert client.wait(60)
    stage.ruleset = faults["bad section"][0]
    until(lambda: client.status()["problem"])
    client.close(5)
    again = connect(cache=tmp_path)
    assert again.status()["revision"] == "s.1"
    assert again.variant("color", "u-1") is not None


def test_a_folder_that_cannot_be_written_is_told(
    stage: Any, connect: Any, until: Any, tmp_path: Path
) -> None:
    """The client works without a copy and says so."""
    (tmp_path / "file").write_text("no folder")
    client = connect(cache=tmp_path / "file" / "below")
    assert client.wait(60)
    until(lambda: client.status()["problem"])
    assert "cache" in client.status()["problem"]
    assert client.variant("color", "u-1") is not None

"""The SDK on the stream of a real server: how fast a change comes, and what a restart leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flagloop_server.store import Store
from helpers.patience import LONG, Stopwatch

OTHERS = {
    f"flag-{n}": {"rules": [{"name": "half", "share": "50%", "serve": "on"}]} for n in range(50)
}
ON = {"rules": [{"name": "all", "serve": "on"}]}


def streaming(client: Any) -> bool:
    """Whether its definitions come by the stream."""
    return bool(client.status()["refresh"]["mode"] == "stream")


def test_a_kill_reaches_a_streaming_client_within_a_second(
    place: Any, until: Callable[..., Any]
) -> None:
    """From the call that kills to the application's own code, for kills and restores."""
    place.put({"flags": {**OTHERS, "banner": ON}})
    client = place.client(interval=3600)
    assert until(lambda: streaming(client))
    for verb, served in [("kill", False), ("restore", True)] * 3:
        told = threading.Event()
        stop = client.on_change(lambda changed, told=told: told.set())
        watch = Stopwatch()
        answer = place.rest("POST", f"flags/banner/{verb}", {"reason": "test"})
        assert answer.status_code == 200, answer.text
        assert told.wait(LONG), client.status()
        assert watch.seconds < 1.0
        assert client.enabled("banner", "u-1") is served
        stop()
    status = client.status()
    assert status["revision"] == place.revision()
    assert status["problem"] is None


def test_streamed_definitions_are_those_that_a_new_client_gets(
    place: Any, until: Callable[..., Any], root: Path
) -> None:
    """Change upon change, of every section, leaves what a snapshot is."""
    place.push(root / "flags.example.yaml")
    client = place.client(interval=3600)
    assert until(lambda: streaming(client))
    text = (root / "flags.example.yaml").read_text("utf-8")
    place.cli("kill", "cta_color")
    answer = place.rest("POST", "push", {"text": text, "state": True})
    assert answer.status_code == 200, answer.text
    place.put({"flags": OTHERS, "segments": {"staff": {"when": {"plan": "staff"}}}})
    place.put({"flags": {**OTHERS, "banner": ON}, "recording": {"attributes": ["plan"]}})
    place.put({"flags": {"banner": ON}, "layers": {"page": {}}})
    assert until(lambda: client.status()["revision"] == place.revision())
    fresh = place.client(stream=False)
    mine, its = (
        {name: part for name, part in one._mapping.items() if part} for one in (client, fresh)
    )
    assert mine == its
    assert streaming(client)


@pytest.mark.parametrize("stream", [True, False])
def test_an_environment_without_flags_is_no_trouble(
    place: Any, until: Callable[..., Any], stream: bool
) -> None:
    """Before the first flag and after the last one: nothing to decide by, and no problem."""
    client = place.client(stream=stream)
    assert (client.status()["flags"], client.status()["problem"]) == (0, None)
    place.put({"flags": {"banner": ON}})
    assert until(lambda: client.enabled("banner", "u-1"))
    place.put({})
    assert until(lambda: client.status()["flags"] == 0)
    assert client.status()["revision"] == place.revision()
    assert client.status()["problem"] is None
    assert streaming(client) is stream


def test_a_restart_of_the_server_is_survived_by_the_stream(
    tmp_path: Path, start_server: Any, new_place: Any, until: Callable[..., Any]
) -> None:
    """It ends, the SDK finds the new server within seconds and obeys it."""
    server = start_server(tmp_path / "data")
    with Store(tmp_path / "data") as store:
        place = new_place(server.url, tmp_path / "data", store)
        place.put({"flags": {"banner": ON}})
        client = place.client(interval=3600)
        assert until(lambda: streaming(client))
        server.kill()
        assert until(lambda: not streaming(client))
        assert client.enabled("banner", "u-1")
        port = server.url.rpartition(":")[2]
        again = start_server(tmp_path / "data", "--port", port)
        assert again.url == server.url
        watch = Stopwatch()
        assert until(lambda: streaming(client)), client.status()
        assert watch.seconds < 8
        told = threading.Event()
        client.on_change(lambda changed: told.set())
        assert place.rest("POST", "flags/banner/kill", {"reason": "x"}).status_code == 200
        assert told.wait(LONG)
        assert not client.enabled("banner", "u-1")
        client.close(5)


def test_a_revoked_key_loses_its_stream(place: Any, until: Callable[..., Any]) -> None:
    """The server cuts it at once, the status names the cause, decisions go on."""
    place.put({"flags": {"banner": ON}})
    client = place.client(interval=3600)
    assert until(lambda: streaming(client))
    done = place.cli("keys", "revoke", str(place.keys["server"][0]), "--data", place.data)
    assert done.exit_code == 0, done.output
    assert until(lambda: "revoked" in (client.status()["problem"] or ""))
    assert not streaming(client)
    assert client.enabled("banner", "u-1")

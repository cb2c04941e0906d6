"""An application whose server dies, whose key is revoked, whose copy on disk is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flagloop import Client
from flagloop_server.store import SYSTEM, Store

DOCUMENT = {
    "flags": {
        "half": {"rules": [{"name": "test", "split": {"off": "50%", "on": "50%"}}]},
        "all": {"rules": [{"name": "all", "serve": "on"}]},
    }
}
USERS = [f"u-{n}" for n in range(100)]


def served(client: Client) -> list[str | None]:
    """What everybody gets."""
    return [client.variant(flag, user) for flag in DOCUMENT["flags"] for user in USERS]


def revoke(place: Any, kind: str) -> None:
    """As an administrator does on another terminal."""
    done = place.cli("keys", "revoke", str(place.keys[kind][0]), "--data", place.data)
    assert done.exit_code == 0, done.output


def test_a_revoked_key(place: Any, until: Callable[..., Any]) -> None:
    """Decisions go on, nothing is stored any more, status() names the cause; a new key mends it."""
    place.put(DOCUMENT)
    client = place.client()
    before = served(client)
    assert set(before) == {"on", "off"}
    assert client.flush(60)
    stored = len(place.events())
    assert stored == len(USERS)
    revoke(place, "server")
    assert until(lambda: client.status()["refresh"]["error"])
    status = client.status()
    assert "revoked" in status["problem"]
    assert place.secret("server") not in repr(status)
    assert (status["ready"], status["origin"]) == (True, "server")
    place.put({"flags": {}})
    assert served(client) == before
    client.decide("half", "somebody new")
    assert not client.flush(0.5)
    assert client.status()["delivery"]["queued"] >= 1
    assert until(lambda: "revoked" in (client.status()["delivery"]["last_error"] or ""))
    assert len(place.events()) == stored
    assert client.status()["failures"] == {}
    assert not client.close(0.1)
    place.keys["server"] = make_key(place, "server")
    assert place.client().decide("half", "u-1").error == "FLAG_NOT_FOUND"


def make_key(place: Any, kind: str) -> tuple[int, str]:
    """One more key of the environment."""
    info, secret = place.store.create_key(place.name, kind, "another", SYSTEM)
    return info.id, secret


def test_an_archived_environment(place: Any, until: Callable[..., Any]) -> None:
    """It serves nothing new and says why; brought back, what waited is stored."""
    place.put(DOCUMENT)
    client = place.client()
    before = served(client)
    place.store.archive_environment(place.name, SYSTEM)
    assert until(lambda: client.status()["refresh"]["error"])
    assert "archived" in client.status()["problem"]
    assert "no flagloop server" not in client.status()["problem"]
    assert served(client) == before
    place.store.unarchive_environment(place.name, SYSTEM)
    assert until(lambda: client.status()["refresh"]["error"] is None)
    assert client.flush(60)
    assert len(place.events()) == len(USERS)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda content: content[:-30] + bytes([content[-30] ^ 1]) + content[-29:],
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "garbage": lambda content: b"\x00\xff" * 500,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_copy(place: Any, tmp_path: Path, until: Callable[..., Any], damage: str) -> None:
    """It is never decided by: the defaults until the server answers, then all is mended."""
    place.put(DOCUMENT)
    first = place.client(cache=tmp_path)
    before = served(first)
    first.close()
    (copy,) = tmp_path.iterdir()
    copy.write_bytes(DAMAGE[damage](copy.read_bytes()))
    second = Client(place.url, key=place.secret("server"), cache=tmp_path, interval=0.2)
    place.clients.append(second)
    for found, right in zip(served(second), before, strict=True):
        assert found in (None, right)  # the server may have answered in between
    assert second.wait(60)
    assert served(second) == before
    assert until(lambda: second.status()["problem"] is None), second.status()
    second.close()
    third = Client(place.url, key=place.secret("server"), cache=tmp_path, interval=3600)
    place.clients.append(third)
    assert served(third) == before  # at once, from the mended copy
    assert third.status()["origin"] in ("cache", "server")


def test_a_server_that_is_killed_and_comes_back(
    tmp_path: Path, start_server: Any, new_place: Any, until: Callable[..., Any]
) -> None:
    """Decisions go on, a restart uses the copy, events wait; afterwards each is stored once."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    server = start_server(data)
    with Store(data) as store:
        place = new_place(server.url, data, store)
        place.put(DOCUMENT)
        running = place.client(cache=cache)
        before = served(running)
        assert running.flush(60)
        server.kill()
        assert until(lambda: running.status()["refresh"]["error"])
        assert served(running) == before
        assert "definitions:" in running.status()["problem"]
        running.decide("half", "while it was away")
        running.track("done", "while it was away")
        assert not running.flush(0.3)
        restarted = Client(server.url, key=place.secret("server"), cache=cache, interval=0.2)
        assert served(restarted) == before
        status = restarted.status()
        assert (status["ready"], status["origin"]) == (True, "cache")
        assert status["age"] >= 0
        again = start_server(data, "--port", server.url.rsplit(":", 1)[1])
        assert again.url == server.url
        place.put({"flags": {**DOCUMENT["flags"], "new": {"default": "on"}}})
        for client in (running, restarted):
            assert until(lambda client=client: client.enabled("new", "u"))
            assert client.flush(60)
            # A poll may bring the news before the stream is tried again.
            assert until(lambda client=client: client.status()["problem"] is None)
            status = client.status()
            assert status["origin"] == "server"
            assert status["delivery"]["lost"] == {}
            assert client.close(60)
        check_stored(place)


def check_stored(place: Any) -> None:
    """Two processes' worth of exposures, and what waited for the server."""
    stored = place.events()
    assert len({row.id for row in stored}) == len(stored)
    units = [row.unit for row in stored if row.kind == 0]
    assert sorted(units) == sorted([*USERS, *USERS, "while it was away"])
    assert [row.name for row in stored if row.kind == 1] == ["done"]
    assert place.usage()["all"].today == 3 * len(USERS)
    assert place.usage()["half"].today == 3 * len(USERS) + 1

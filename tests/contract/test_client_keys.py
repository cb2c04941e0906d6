"""A client key is public: it may send events, and get no rules, change nothing, read nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from flagloop import Client
from flagloop_server.store import SYSTEM

DOCUMENT = {
    "flags": {"half": {"rules": [{"name": "test", "split": {"off": "50%", "on": "50%"}}]}},
}


def ask(place: Any, method: str, path: str, kind: str = "client", **more: Any) -> requests.Response:
    """One request with a key."""
    header = {"Authorization": f"Bearer {place.secret(kind)}"}
    return requests.request(method, place.url + path, headers=header, timeout=60, **more)


def test_events_yes(place: Any, tmp_path: Path) -> None:
    """A browser's or a script's events are stored, and say which key they came by."""
    place.put(DOCUMENT)
    batch = {"events": [{"type": "event", "event": "sign_up", "unit": "u-1"}]}
    answer = ask(place, "POST", "/api/v1/events", json=batch)
    assert answer.json() == {"accepted": 1, "duplicate": 0, "rejected": []}
    file = tmp_path / "flags.yaml"
    place.cli("pull", file)
    with Client.from_file(file, url=place.url, key=place.secret("client")) as client:
        client.decide("half", "u-2")
        assert client.flush(60)
    server = place.client()
    server.decide("half", "u-3")
    assert server.flush(60)
    by_unit = {row.unit or row.units["key"]: row.key_id for row in place.events()}
    client_id, server_id = place.keys["client"][0], place.keys["server"][0]
    assert by_unit == {"u-1": client_id, "u-2": client_id, "u-3": server_id}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/ruleset"),
        ("HEAD", "/api/v1/ruleset"),
        ("GET", "/api/v1/admin/whoami"),
        ("GET", "/api/v1/admin/environments"),
        ("GET", "/api/v1/admin/environments/{place}/document"),
        ("GET", "/api/v1/admin/environments/{place}/revisions"),
        ("GET", "/api/v1/admin/environments/{place}/keys"),
        ("POST", "/api/v1/admin/environments/{place}/push"),
        ("POST", "/api/v1/admin/environments/{place}/keys"),
        ("POST", "/api/v1/admin/environments/{place}/flags/half/kill"),
        ("GET", "/api/v1/admin/audit"),
    ],
)
@pytest.mark.parametrize("kind", ["client", "server"])
def test_everything_else_no(place: Any, method: str, path: str, kind: str) -> None:
    """No rule, text, key or change for a client key; of these only the rules for a server key."""
    place.put(DOCUMENT)
    before = place.text()
    body = {"text": "version: 1\n", "reason": "x", "kind": "admin", "name": "x", "role": "admin"}
    more = {"json": body} if method == "POST" else {}
    answer = ask(place, method, path.format(place=place.name), kind, **more)
    if kind == "server" and path == "/api/v1/ruleset":
        assert answer.status_code == 200
    else:
        assert answer.status_code in (401, 403), answer.text
        assert "half" not in answer.text
    assert place.text() == before


def test_no_key_opens_another_environment(place: Any, shared_server: Any, new_place: Any) -> None:
    """A server key gets its own rules only; an admin key of one place is none in another."""
    other = new_place(place.url, place.data, place.store)
    place.put(DOCUMENT)
    other.put({"flags": {"secret": {}}})
    assert ask(place, "GET", "/api/v1/ruleset", "server").json()["flags"].keys() == {"half"}
    for method, path, body in (
        ("GET", "document", None),
        ("POST", "flags/secret/kill", {"reason": "x"}),
        ("POST", "push", {"text": "version: 1\n"}),
    ):
        target = f"/api/v1/admin/environments/{other.name}/{path}"
        answer = ask(place, method, target, "admin", json=body)
        assert answer.status_code in (403, 404), answer.text
        assert "secret" not in answer.text.replace("flags/secret", "")
    assert "killed" not in other.text()


def test_an_sdk_with_a_client_key_says_so(place: Any, until: Callable[..., Any]) -> None:
    """It serves the caller's defaults, and status() names what is wrong with the key."""
    place.put(DOCUMENT)
    client = Client(place.url, key=place.secret("client"), interval=0.2)
    place.clients.append(client)
    assert until(lambda: client.status()["refresh"]["error"])
    assert not client.wait(0.1)
    assert client.variant("half", "u-1", "mine") == "mine"
    status = client.status()
    assert status["ready"] is False
    assert "client key" in status["problem"]
    client.track("sign_up", "u-1")
    assert client.flush(60)
    assert [row.name for row in place.events()] == ["sign_up"]


def test_a_revoked_client_key_sends_nothing(place: Any, until: Callable[..., Any]) -> None:
    """It is refused at once, and what it would have stored is not."""
    place.put(DOCUMENT)
    batch = {"events": [{"type": "event", "event": "sign_up", "unit": "u-1"}]}
    assert ask(place, "POST", "/api/v1/events", json=batch).status_code == 200
    place.store.revoke_key(place.keys["client"][0], SYSTEM)
    assert until(
        lambda: ask(place, "POST", "/api/v1/events", json={"events": []}).status_code == 401
    )
    stored = len(place.events())
    assert ask(place, "POST", "/api/v1/events", json=batch).status_code == 401
    assert len(place.events()) == stored == 1

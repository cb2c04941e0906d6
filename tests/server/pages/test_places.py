"""Keys that end by themselves or at once, and people who are signed out everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop_server.app import Application
from flagloop_server.store import SYSTEM, now_ms

DAY = 86_400_000
KEYS = "/environments/production/keys"


@pytest.mark.parametrize(
    ("kind", "lasts", "days"),
    [("server", "", None), ("server", "7", 7), ("admin", "", 90), ("admin", "365", 365)],
)
def test_a_key_ends_when_it_was_said(
    shop: Application, visit: Any, kind: str, lasts: str, days: int | None
) -> None:
    """Server keys go on until they are revoked where nothing is said, admin keys for 90 days."""
    admin = visit("admin")
    admin.get(KEYS)
    text = admin.post(KEYS, kind=kind, name="laptop", lasts=lasts).text
    (key,) = [one for one in shop.store.keys("production") if one.name == "laptop"]
    if days is None:
        assert key.expires_at is None
    else:
        assert key.expires_at is not None
        assert abs(key.expires_at - now_ms() - days * DAY) < 60_000
        assert "active until" in text


def test_a_time_that_is_not_offered_is_refused(shop: Application, visit: Any) -> None:
    """No key is made."""
    admin = visit("admin")
    admin.get(KEYS)
    before = shop.store.keys("production")
    answer = admin.post(KEYS, kind="server", name="x", lasts="1e9")
    assert answer.status_code == 400
    assert "365" in answer.text
    assert shop.store.keys("production") == before


def test_a_person_is_signed_out_everywhere(visit: Any) -> None:
    """Their next page asks them to sign in; the role stays."""
    viewer, owner = visit("viewer"), visit("admin", "*")
    page = "/environments/production/flags"
    assert viewer.get(page).status_code == 200
    owner.get("/people")
    owner.post("/people/viewer-production@example.com", action="sign-out")
    assert viewer.get(page).status_code == 303
    assert "viewer in production" in owner.get("/people").text


def test_what_pages_do_to_keys_and_environments_holds_at_once(
    shop: Application, visit: Any, call: Any
) -> None:
    """A revoked key and an archived environment serve nothing more when the page has answered."""
    made, secret = shop.store.create_key("production", "server", "old", SYSTEM)
    _, other = shop.store.create_key("development", "server", "sdk", SYSTEM)

    def status(key: str) -> int:
        header = [("authorization", f"Bearer {key}")]
        found: int = call(shop.asgi, "GET", "/api/v1/ruleset", header).status
        return found

    assert (status(secret), status(other)) == (200, 200)
    owner = visit("admin", "*")
    owner.get("/environments")
    owner.post(f"/environments/production/keys/{made.id}/revoke")
    owner.post("/environments/development/settings", action="archive")
    assert (status(secret), status(other)) == (401, 404)

"""A refused request changes nothing of what it asked for, and what was made can be reached."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop_server.store import now_ms


def test_an_environment_is_changed_whole_or_not_at_all(admin: Any) -> None:
    """A name that is taken keeps it from being archived or marked too."""
    body = {"production": True, "archived": True, "key": "production"}
    assert admin("PATCH", "/environments/development", body)[0] == 400
    _, now = admin("GET", "/environments/development")
    assert (now["production"], now["archived_at"]) == (False, None)


def test_a_person_is_changed_whole_or_not_at_all(admin: Any) -> None:
    """The last admin cannot be shut out, and keeps the other roles too."""
    auth = admin.app.auth
    token = (admin.app.setup_link or "").removeprefix("/setup/")
    auth.complete_setup(token, password="long enough, no?", email="ana@example.com")
    body = {"roles": {"*": "admin", "production": "viewer"}, "disabled": True}
    assert admin("PATCH", "/people/ana@example.com", body)[0] == 400
    assert auth.user("ana@example.com").roles == {"*": "admin"}


def test_a_person_with_a_slash_in_the_address_can_be_reached(admin: Any) -> None:
    """Who can be invited can be shut out, signed out and given another link."""
    email = "ops/night@example.com"
    assert admin("POST", "/people", {"email": email})[0] == 201
    assert admin("POST", f"/people/{email}/setup-link")[0] == 201
    assert admin("DELETE", f"/people/{email}/sessions")[0] == 200
    status, person = admin("PATCH", f"/people/{email}", {"disabled": True})
    assert (status, person["email"]) == (200, email)
    assert person["disabled_at"] is not None


@pytest.mark.parametrize("ahead", [0, -1, None])
def test_no_key_is_made_that_was_never_good(admin: Any, ahead: int | None) -> None:
    """A time that has passed, or one in seconds, is refused and says in what it is counted."""
    at = now_ms() // 1000 + 86_400 if ahead is None else now_ms() + ahead
    body = {"kind": "server", "name": "late", "expires_at": at}
    status, answer = admin("POST", "/environments/production/keys", body)
    assert (status, "milliseconds" in answer["error"]["message"]) == (400, True)

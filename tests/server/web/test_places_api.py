"""The admin API around documents, and who is let in at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.store import Actor


def test_whoami_tells_the_environment_of_a_key(caller: Callable[..., Any]) -> None:
    """The CLI asks this when --env is left out."""
    _, one = caller("production", "editor")("GET", "/whoami")
    assert (one["kind"], one["environment"], one["role"]) == ("admin", "production", "editor")
    assert one["environments"] == ["production"]
    _, everywhere = caller()("GET", "/whoami")
    assert everywhere["environment"] is None
    assert sorted(everywhere["environments"]) == ["development", "production"]


@pytest.mark.parametrize("kind", ["none", "garbage", "server", "client", "revoked", "expired"])
def test_without_a_good_admin_key_everything_is_401(app: Any, call: Any, kind: str) -> None:
    """JSON and WWW-Authenticate, never a redirect; SDK keys are no admin keys."""
    from flagloop_server.store import SYSTEM

    role = None if kind in ("server", "client") else "admin"
    key_kind = kind if kind in ("server", "client") else "admin"
    expires = 1 if kind == "expired" else None
    info, secret = app.store.create_key(
        "production", key_kind, kind, SYSTEM, role=role, expires_at=expires
    )
    if kind == "revoked":
        app.store.revoke_key(info.id, SYSTEM)
    text = {"none": "", "garbage": "Bearer \x7f"}.get(kind, f"Bearer {secret}")
    headers = [] if kind == "none" else [("authorization", text)]
    for method, path in (("GET", "whoami"), ("POST", "environments/production/push")):
        answer = call(app.asgi, method, f"/api/v1/admin/{path}", headers, b"{}")
        assert answer.status == 401
        assert json.loads(answer.body)["error"]["code"] == "unauthorized"
        assert "www-authenticate" in answer.headers


def test_environments_are_made_renamed_and_archived(caller: Any, app: Any) -> None:
    """Each step is served at once; an archived one leaves the list and the snapshots."""
    admin = caller()
    status, made = admin("POST", "/environments", {"key": "qa"})
    assert (status, made["key"], made["production"]) == (201, "qa", False)
    number = app.store.environment("qa").id
    assert app.publisher.snapshots.get(number).environment == "qa"
    _, renamed = admin("PATCH", "/environments/qa", {"key": "staging", "production": True})
    assert (renamed["key"], renamed["production"]) == ("staging", True)
    assert app.publisher.snapshots.get(number).environment == "staging"
    admin("PATCH", "/environments/staging", {"archived": True})
    assert app.publisher.snapshots.get(number) is None
    names = [item["key"] for item in admin("GET", "/environments")[1]["environments"]]
    assert "staging" not in names
    _, everything = admin("GET", "/environments", query="archived=1")
    assert "staging" in [item["key"] for item in everything["environments"]]
    admin("PATCH", "/environments/staging", {"archived": False})
    assert app.publisher.snapshots.get(number).environment == "staging"


def test_a_renamed_environment_is_no_longer_what_an_sdk_has(
    caller: Any, app: Any, call: Any
) -> None:
    """Its name is in the ruleset, so the entity tag of before gets the ruleset again, once."""
    from flagloop_server.changes import kill, push
    from flagloop_server.store import SYSTEM

    _, secret = app.store.create_key("production", "server", "sdk", SYSTEM)
    server = [("authorization", f"Bearer {secret}")]
    tag = call(app.asgi, "GET", "/api/v1/ruleset", server).headers["etag"]
    caller()("PATCH", "/environments/production", {"key": "live"})
    answer = call(app.asgi, "GET", "/api/v1/ruleset", [*server, ("if-none-match", tag)])
    assert (answer.status, json.loads(answer.body)["environment"]) == (200, "live")
    again = [*server, ("if-none-match", answer.headers["etag"])]
    assert call(app.asgi, "GET", "/api/v1/ruleset", again).status == 304
    app.changes.apply(push("live", "version: 1\nflags:\n  a: {}\n"), SYSTEM, "")
    assert app.changes.apply(kill("live", "a"), SYSTEM, "x").revision == 4


def test_a_taken_name_is_refused(caller: Any) -> None:
    """400 or 409 with a message, and nothing is made."""
    status, answer = caller()("POST", "/environments", {"key": "production"})
    assert status in (400, 409)
    assert "production" in answer["error"]["message"]


def test_a_key_is_shown_once_and_revoked_at_once(caller: Any, app: Any, call: Any) -> None:
    """Its secret is in the answer to its making only; the edge refuses it after the revocation."""
    admin = caller()
    status, made = admin(
        "POST", "/environments/production/keys", {"kind": "server", "name": "shop"}
    )
    assert status == 201
    header = [("authorization", f"Bearer {made['key']}")]
    assert call(app.asgi, "GET", "/api/v1/ruleset", header).status == 200
    _, listed = admin("GET", "/environments/production/keys")
    assert made["id"] in [key["id"] for key in listed["keys"]]
    assert made["key"] not in json.dumps(listed)
    assert admin("DELETE", f"/keys/{made['id']}")[0] == 200
    assert call(app.asgi, "GET", "/api/v1/ruleset", header).status == 401
    assert admin("DELETE", "/keys/9999")[0] == 404


def test_an_admin_of_one_environment_cannot_revoke_keys_of_another(caller: Any) -> None:
    """Nor learn that they exist; a wider key than one's own is forbidden."""
    made = caller()("POST", "/environments/production/keys", {"kind": "server", "name": "a"})[1]
    assert caller("development", "admin")("DELETE", f"/keys/{made['id']}")[0] == 404
    assert caller("production", "editor")("DELETE", f"/keys/{made['id']}")[0] == 403


def test_an_admin_key_is_never_wider_than_its_maker(caller: Any) -> None:
    """Made for the environment in the path, with a role, expiring."""
    admin = caller("production", "admin")
    body = {"kind": "admin", "name": "ci", "role": "editor"}
    _, made = admin("POST", "/environments/production/keys", body)
    assert made["environments"] == ["production"]
    assert made["expires_at"] is not None
    status, _ = admin("POST", "/environments/*/keys", body)
    assert status == 403


def test_the_ledger_is_listed(caller: Any) -> None:
    """Newest first, chained; without secrets."""
    admin = caller()
    made = admin("POST", "/environments/production/keys", {"kind": "server", "name": "shop"})[1]
    status, answer = admin("GET", "/audit", query="limit=5")
    assert status == 200
    assert answer["rows"][0]["seq"] > answer["rows"][1]["seq"]
    assert "shop" in json.dumps(answer["rows"])
    assert made["key"] not in json.dumps(answer)
    assert admin("GET", "/audit", query="limit=x")[0] == 400


def test_rows_of_the_whole_server_are_for_its_admins(caller: Any) -> None:
    """Others get those of the environments that they may see, whatever they ask for."""
    caller()("POST", "/environments", {"key": "qa"})
    admin = caller()("GET", "/audit")[1]["rows"]
    assert {row["environment"] for row in admin} == {"qa", "production", "development", None}
    for environment, role, places in (
        ("*", "viewer", {"qa", "production", "development"}),
        ("production", "admin", {"production"}),
    ):
        ask = caller(environment, role)
        _, answer = ask("GET", "/audit")
        assert {row["environment"] for row in answer["rows"]} == places
        assert ask("GET", "/audit", query="environment=production")[0] == 200
    assert ask("GET", "/audit", query="environment=qa")[0] == 403
    assert caller()("GET", "/audit", query="environment=never")[0] == 404


def test_environments_are_the_servers(caller: Any, app: Any) -> None:
    """An admin of one cannot rename, archive or mark it, as on the pages."""
    admin = caller("production", "admin")
    for body in ({"key": "mine"}, {"archived": True}, {"production": True}):
        assert admin("PATCH", "/environments/production", body)[0] == 403
    assert app.store.environment("production").archived_at is None


def test_people_are_invited_changed_and_shut_out(caller: Any, app: Any) -> None:
    """The setup link is in the answer alone; roles are checked, sessions end at once."""
    admin = caller()
    body = {"email": "ben@example.com", "name": "Ben", "roles": {"production": "editor"}}
    status, made = admin("POST", "/people", body)
    assert (status, made["person"]["roles"]) == (201, {"production": "editor"})
    token = made["setup_link"].rpartition("/setup/")[2]
    assert app.auth.link(token) is not None
    _, listed = admin("GET", "/people")
    assert [one["email"] for one in listed["people"]] == ["ben@example.com"]
    assert token not in json.dumps(listed)
    assert admin("POST", "/people/ben@example.com/setup-link")[0] == 201
    assert app.auth.link(token) is None
    user = app.auth.user("ben@example.com")
    app.auth.use_sign_in_link(app.auth.sign_in_link(user.id))
    assert admin("DELETE", "/people/ben@example.com/sessions")[1] == {"ended": 1}
    _, changed = admin("PATCH", "/people/ben@example.com", {"roles": {}, "disabled": True})
    assert (changed["roles"], changed["disabled_at"] is not None) == ({}, True)
    for wrong, expected in (({"nowhere": "editor"}, 404), ({"production": "king"}, 400)):
        assert admin("PATCH", "/people/ben@example.com", {"roles": wrong})[0] == expected
        assert admin("POST", "/people", {"email": "c@d.ef", "roles": wrong})[0] == expected
    assert admin("PATCH", "/people/nobody@example.com", {})[0] == 404


def test_the_ledger_is_exported_and_verified(caller: Any, app: Any, call: Any) -> None:
    """JSON lines, oldest first, from a row on; the head that was kept is found in the chain."""
    admin = caller()
    admin("POST", "/environments", {"key": "qa"})
    answer = call(app.asgi, "GET", "/api/v1/admin/reports/audit", admin.headers)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert rows[-1]["environment"] == "qa"
    _, page = admin("GET", "/audit", query="limit=500")
    assert page["rows"] == rows[::-1]
    after = f"after={rows[-2]['seq']}".encode()
    rest = call(app.asgi, "GET", "/api/v1/admin/reports/audit", admin.headers, query=after)
    assert [json.loads(line) for line in rest.body.splitlines()] == rows[-1:]
    _, whole = admin("GET", "/reports/audit/verify")
    assert whole == {"ok": True, "rows": len(rows), "head": rows[-1]["digest"], "problems": []}
    for head, ok in ((rows[0]["digest"], True), ("ab" * 32, False)):
        assert admin("GET", "/reports/audit/verify", query=f"head={head}")[1]["ok"] is ok
    own = caller("qa", "viewer")
    answer = call(app.asgi, "GET", "/api/v1/admin/reports/audit", own.headers)
    assert {json.loads(line)["environment"] for line in answer.body.splitlines()} == {"qa"}


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ("actor=BEN", ["kill"]),
        ("action=push", ["push"]),
        ("actor=ben&action=push", []),
        ("actor=an&until={at}", ["push"]),
        ("actor=ben&since={at}", ["kill"]),
        ("since=9007199254740991", []),
    ],
)
def test_history_and_ledger_are_sought_by_who_what_and_when(
    app: Any, call: Any, caller: Any, query: str, actions: list[str]
) -> None:
    """The same filters as those of the pages; what is left out asks for nothing."""
    text = "version: 1\nflags:\n  a: {}\n"
    app.changes.apply(change.push("production", text), Actor("person", "ana"), "")
    app.changes.apply(change.kill("production", "a"), Actor("person", "ben"), "INC-77")
    query = query.format(at=app.store.revisions("production", limit=1)[0].at)
    admin = caller()
    _, found = admin("GET", "/environments/production/revisions", query=query)
    assert [row["action"] for row in found["revisions"]] == actions
    query += "&environment=production"
    _, found = admin("GET", "/audit", query=query)
    assert [row["action"] for row in found["rows"]] == actions
    path = "/api/v1/admin/reports/audit"
    answer = call(app.asgi, "GET", path, admin.headers, query=query.encode())
    assert [json.loads(line)["action"] for line in answer.body.splitlines()] == actions

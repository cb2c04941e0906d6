"""No secret and no attribute of a user reaches a log, whatever is asked and whatever goes wrong."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.auth import csrf_token
from flagloop_server.store import SYSTEM

MARK = "zq7marker"
"""In everything that is nobody's business; it must not be found in any record."""

FLAGS = f"""\
version: 1
recording: {{attributes: [country]}}
flags:
  banner:
    log: [country]
    rules:
      - {{name: some, when: {{country: {MARK}-constant}}, serve: on}}
"""


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything from DEBUG on, of every library."""
    caplog.set_level(logging.DEBUG)
    return caplog


def told(logged: pytest.LogCaptureFixture) -> str:
    """All that was logged, with tracebacks and arguments."""
    form = logging.Formatter("%(name)s %(message)s %(exc_text)s")
    return "\n".join(f"{form.format(record)} {record.args!r}" for record in logged.records)


def test_signing_in_logs_no_secret(app: Application, logged: Any, csrf_of: Any) -> None:
    """Passwords, addresses, tokens of links, sessions and forms: right ones and wrong ones."""
    email, password = f"{MARK}@example.com", f"{MARK} long enough"
    client = app.flask.test_client()
    page = client.get(app.setup_link or "")
    fields = {"csrf_token": csrf_of(page.text), "email": email, "password": password}
    assert client.post(app.setup_link or "", data=fields).status_code == 303
    session = client.get_cookie("flagloop_session")
    assert session is not None
    client = app.flask.test_client()
    token = csrf_of(client.get("/login").text)
    for given in (f"{MARK} wrong", password):
        fields = {"csrf_token": token, "email": email, "password": given}
        client.post("/login", data=fields)
    client.get(f"/sign-in/{MARK}-token")
    client.post(f"/setup/{MARK}-token", data={"csrf_token": token, "password": MARK})
    client.get(f"/login?next=/{MARK}")
    for secret in (MARK, session.value, csrf_token(session.value), token, str(app.setup_link)[7:]):
        assert secret not in told(logged)
    assert "POST /login status=303" in told(logged)


def test_ingest_logs_nothing_of_what_it_takes(app: Application, call: Any, logged: Any) -> None:
    """Units, attributes, values and names of events; good batches, bad ones, and bad keys."""
    app.changes.apply(change.push("production", FLAGS), SYSTEM, "")
    _, secret = app.store.create_key("production", "server", "sdk", SYSTEM)
    key = [("authorization", f"Bearer {secret}"), ("x-flagloop-instance", f"{MARK}-instance")]
    batch = {
        "sdk": "x",
        "contexts": [{"key": f"{MARK}-user", "country": MARK}],
        "events": [
            {"type": "exposure", "flag": "banner", "unit": MARK, "attributes": {"country": MARK}},
            {"type": "event", "event": MARK, "unit": MARK, "properties": {"a": MARK}, "value": 1},
            {"type": "event", "event": MARK, "unit": 12, "id": MARK},
            {"type": MARK},
        ],
    }
    answer = call(app.asgi, "POST", "/api/v1/events", key, json.dumps(batch).encode())
    assert answer.status == 200
    for body in (f'{{"events": "{MARK}"}}', f"{MARK}", f'{{"events": [], "batch": "{MARK}"}}'):
        call(app.asgi, "POST", "/api/v1/events", key, body.encode())
    call(app.asgi, "GET", "/api/v1/ruleset", [("authorization", f"Bearer fl_srv_{MARK}")])
    call(app.asgi, "GET", f"/api/v1/ruleset/{MARK}", key, query=f"user={MARK}".encode())
    assert MARK not in told(logged)
    assert secret not in told(logged)


def test_asking_about_a_context_logs_nothing_of_it(
    app: Application, call: Any, logged: Any
) -> None:
    """The playground, previews and edits: neither contexts nor texts nor made secrets."""
    app.changes.apply(change.push("production", FLAGS), SYSTEM, "")
    _, secret = app.store.create_key("*", "admin", "admin", SYSTEM, role="admin")
    key = [("authorization", f"Bearer {secret}")]
    place = "/api/v1/admin/environments/production"
    context = {"key": f"{MARK}-user", "country": MARK}
    put = {"do": "put", "section": "flags", "key": "a", "text": f"a:\n  owner: {MARK}\n"}
    calls: list[tuple[str, str, Any]] = [
        ("POST", f"{place}/reports/decide", {"context": context}),
        ("POST", f"{place}/reports/explain", {"context": context, "flag": "banner"}),
        ("POST", f"{place}/reports/explain", {"context": context, "flag": MARK}),
        ("POST", f"{place}/reports/decide", {"context": MARK}),
        ("POST", f"{place}/reports/preview", {"steps": [put]}),
        ("POST", f"{place}/changes", {"steps": [put], "reason": MARK}),
        ("POST", f"{place}/flags/{MARK}/kill", {"reason": MARK}),
        ("POST", f"{place}/keys", {"kind": "server", "name": MARK}),
        ("POST", "/api/v1/admin/people", {"email": f"{MARK}@example.com", "name": MARK}),
        ("PATCH", f"/api/v1/admin/people/{MARK}@example.com", {"disabled": True}),
    ]
    answers = [
        call(app.asgi, method, path, key, json.dumps(body).encode()) for method, path, body in calls
    ]
    made = [json.loads(answers[place].body) for place in (7, 8)]
    for hidden in (MARK, secret, made[0]["key"], made[1]["setup_link"].rpartition("/")[2]):
        assert hidden not in told(logged)
    assert "reports/explain status=200" in told(logged)


@pytest.mark.parametrize("signed_in", [True, False])
def test_the_playground_logs_nothing_of_its_address(
    app: Application, call: Any, logged: Any, signed_in: bool
) -> None:
    """The context is in the query, right or wrong, also of those who are sent to sign in."""
    app.changes.apply(change.push("production", FLAGS), SYSTEM, "")
    user, _ = app.auth.create_user("a@example.com", "", {"*": "admin"}, SYSTEM)
    token = app.auth.use_sign_in_link(app.auth.sign_in_link(user.id)).token
    cookie = [("cookie", f"flagloop_session={token}")] if signed_in else []
    context = f"key={MARK}-user&name=country&value={MARK}"
    for more in (
        "",
        "&flag=banner",
        f"&flag={MARK}",
        f"&at={MARK}",
        f"&revision={MARK}",
        "&start=x",
    ):
        query = f"{context}{more}".encode()
        answer = call(app.asgi, "GET", "/environments/production/playground", cookie, query=query)
        assert answer.status == (200 if signed_in else 303)
    broken = f"context={{{MARK}".encode()
    call(app.asgi, "GET", "/environments/production/playground", cookie, query=broken)
    metrics = call(app.asgi, "GET", "/metrics").body.decode()
    assert MARK not in told(logged) + metrics

"""Browsers: session cookies, CSRF, headers, and errors as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flagloop_server.app import create_app
from flagloop_server.auth import csrf_token
from flagloop_server.config import Config

PASSWORD = "correct horse battery staple"
KILL = "/api/v1/admin/environments/production/flags/a/kill"


@pytest.fixture
def session(app: Any) -> str:
    """The session token of the first admin; production has flag `a`."""
    from flagloop_server.changes import push
    from flagloop_server.store import SYSTEM

    app.changes.apply(push("production", "version: 1\nflags:\n  a: {}\n"), SYSTEM, "test")
    token = app.setup_link.removeprefix("/setup/")
    made = app.auth.complete_setup(token, password=PASSWORD, email="ana@example.com", name="Ana")
    return str(made.token)


def browser(app: Any, session: str | None = None) -> Any:
    """A test client, signed in when a session is given."""
    client = app.flask.test_client()
    if session is not None:
        client.set_cookie("flagloop_session", session)
    return client


def test_a_signed_in_person_may_use_the_api_with_the_token(app: Any, session: str) -> None:
    """The ledger then names the person."""
    headers = {"X-CSRF-Token": csrf_token(session)}
    answer = browser(app, session).post(KILL, json={"reason": "errors"}, headers=headers)
    assert answer.status_code == 200, answer.json
    assert app.store.revisions("production")[0].actor.name == "ana@example.com"
    who = browser(app, session).get("/api/v1/admin/whoami").json
    assert (who["kind"], who["name"]) == ("person", "Ana")


@pytest.mark.parametrize("known", [True, False])
def test_a_large_form_needs_a_session(app: Any, session: str, call: Any, known: bool) -> None:
    """Before Flask sees a body the edge asks who sends it; a forged cookie is nobody's."""
    cookie = f"theme=dark; flagloop_session={session if known else 'x' * 43}"
    body = b"text=" + b"x" * app.config.stranger_limit
    headers = [("cookie", cookie), ("content-type", "application/x-www-form-urlencoded")]
    answer = call(app.asgi, "POST", "/environments/production/edit", headers, body)
    assert answer.status == (400 if known else 401)  # 400: the form has no token


@pytest.mark.parametrize("token", [None, "", "0" * 64, "ü"])
def test_a_session_without_the_token_changes_nothing(
    app: Any, session: str, token: str | None
) -> None:
    """400: the request may come from any other site."""
    headers = {} if token is None else {"X-CSRF-Token": token.encode().decode("latin1")}
    answer = browser(app, session).post(KILL, json={"reason": "errors"}, headers=headers)
    assert answer.status_code == 400
    assert app.store.revisions("production")[0].action == "push"


def test_a_token_of_another_session_is_no_good(app: Any, session: str) -> None:
    """It is bound to the cookie."""
    headers = {"X-CSRF-Token": csrf_token("somebody else's")}
    answer = browser(app, session).post(KILL, json={"reason": "errors"}, headers=headers)
    assert answer.status_code == 400


def test_a_wrong_key_hides_the_session(app: Any, session: str) -> None:
    """An Authorization header counts alone, so it cannot be used to skip the CSRF check."""
    headers = {"Authorization": "Bearer fl_adm_wrong"}
    answer = browser(app, session).post(KILL, json={"reason": "errors"}, headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer fl_adm_wrong"])
def test_no_header_excuses_a_form_from_its_token(app: Any, session: str, header: str) -> None:
    """Nobody is signed out or in by a form of another site, also with a password in its address."""
    client = browser(app, session)
    for form in ("/logout", "/login", "/theme"):
        assert client.post(form, headers={"Authorization": header}).status_code == 400
    assert app.auth.session(session) is not None


def test_an_ended_session_is_nobody(app: Any, session: str) -> None:
    """Signing out ends it at once, wherever the cookie is."""
    app.auth.sign_out(session)
    assert browser(app, session).get("/api/v1/admin/whoami").status_code == 401


def test_strict_headers_are_on_every_answer(app: Any) -> None:
    """No inline script, no framing, nothing kept by a cache."""
    answer = browser(app).get("/api/v1/admin/whoami")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"


def test_errors_outside_the_api_are_pages(app: Any, session: str) -> None:
    """People get HTML, programs JSON."""
    assert browser(app, session).get("/production/nothing/here").mimetype == "text/html"
    assert browser(app, session).get("/api/v1/admin/nothing").mimetype == "application/json"


def test_the_sign_in_form_works_through_the_edge(app: Any, call: Any, csrf_of: Any) -> None:
    """The token is bound to a cookie before there is a session, and a form needs it."""
    page = call(app.asgi, "GET", "/login")
    assert page.status == 200
    cookie = page.headers["set-cookie"].split(";")[0]
    assert "HttpOnly" in page.headers["set-cookie"]
    form = f"csrf_token={csrf_of(page.body.decode())}&email=x%40example.com&password=wrong"
    headers = [("cookie", cookie), ("content-type", "application/x-www-form-urlencoded")]
    told = [
        call(app.asgi, "POST", "/login", sent, form.encode()) for sent in (headers, headers[1:])
    ]
    assert b"wrong" in told[0].body
    assert b"out of date" not in told[0].body
    assert (told[1].status, b"out of date" in told[1].body) == (400, True)


@pytest.mark.parametrize(("url", "secure"), [(None, False), ("https://flags.example.com", True)])
def test_cookies_are_secure_where_the_url_is(tmp_path: Path, url: str | None, secure: bool) -> None:
    """By the public URL of the server."""
    with create_app(Config(data=tmp_path, url=url)) as app:
        answer = browser(app).get("/login")
        assert ("Secure" in answer.headers["Set-Cookie"]) is secure


def test_the_log_has_the_rule_not_the_path(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A setup link's token must not reach a log."""
    caplog.set_level("INFO")
    browser(app).post("/setup/very-secret", data={"password": "also-secret"})
    assert "POST /setup/<" in caplog.text
    assert "secret" not in caplog.text


def sign_in(client: Any, csrf_of: Any, email: str, password: str) -> Any:
    """Send the sign-in form."""
    fields = {"csrf_token": csrf_of(client.get("/login").text), "email": email}
    return client.post("/login", data={**fields, "password": password})


def test_a_new_sign_in_ends_the_session_that_the_browser_had(
    app: Any, session: str, csrf_of: Any
) -> None:
    """A cookie that somebody planted or copied before is worth nothing afterwards."""
    client = browser(app, session)
    other = app.auth.sign_in("ana@example.com", PASSWORD, "10.0.0.9")
    form = {"X-CSRF-Token": csrf_token(session)}
    fields = {"email": "ana@example.com", "password": PASSWORD}
    assert client.post("/login", data=fields, headers=form).status_code == 303
    fresh = client.get_cookie("flagloop_session").value
    assert fresh != session
    assert [app.auth.is_signed_in(one) for one in (session, fresh, other.token)] == [
        False,
        True,
        True,
    ]


def test_a_token_that_the_server_did_not_make_is_never_taken_over(app: Any, csrf_of: Any) -> None:
    """Signing in answers with a session of its own, whatever cookie came."""
    app.auth.complete_setup(
        app.setup_link.removeprefix("/setup/"), password=PASSWORD, email="ana@example.com"
    )
    client = browser(app, "planted-by-somebody")
    fields = {"email": "ana@example.com", "password": PASSWORD}
    form = {"X-CSRF-Token": csrf_token("planted-by-somebody")}
    assert client.post("/login", data=fields, headers=form).status_code == 303
    assert client.get_cookie("flagloop_session").value != "planted-by-somebody"
    assert browser(app, "planted-by-somebody").get("/api/v1/admin/whoami").status_code == 401


def test_other_roles_end_the_sessions_of_before(app: Any, session: str) -> None:
    """A session never gains a role: the person signs in anew. The same roles change nothing."""
    from flagloop_server.store import SYSTEM

    user, _ = app.auth.create_user("ben@example.com", "Ben", {"production": "viewer"}, SYSTEM)
    token = app.auth.use_sign_in_link(app.auth.sign_in_link(user.id)).token
    admin = browser(app, session)
    headers = {"X-CSRF-Token": csrf_token(session)}
    for roles, stays in (({"production": "viewer"}, True), ({"production": "editor"}, False)):
        answer = admin.patch(
            "/api/v1/admin/people/ben@example.com", json={"roles": roles}, headers=headers
        )
        assert (answer.status_code, answer.json["roles"]) == (200, roles)
        assert app.auth.is_signed_in(token) is stays
    assert app.auth.is_signed_in(session)


def test_the_sign_in_form_is_limited(app: Any, session: str, csrf_of: Any) -> None:
    """After five wrong passwords even the right one gets 429 there, and when to come again."""
    client = browser(app)
    for _ in range(5):
        assert sign_in(client, csrf_of, "ana@example.com", "wrong password").status_code == 400
    for password in ("wrong password", PASSWORD):
        answer = sign_in(client, csrf_of, "ana@example.com", password)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60
    elsewhere = {"REMOTE_ADDR": "10.1.2.3"}
    page = client.get("/login").text
    fields = {"csrf_token": csrf_of(page), "email": "ana@example.com", "password": PASSWORD}
    answer = client.post("/login", data=fields, environ_overrides=elsewhere)
    assert answer.status_code == 303

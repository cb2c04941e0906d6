"""Every route times everybody who may ask: refused below the least role, and nobody forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flagloop_server import changes as change
from flagloop_server.app import Application, create_app
from flagloop_server.auth import csrf_token
from flagloop_server.config import Config
from flagloop_server.store import SYSTEM
from helpers.routes import (
    ANYBODY_SIGNED_IN,
    API_KNOWN,
    API_NEEDS,
    API_OPEN,
    API_VALUES,
    EDGE,
    NEEDS,
    OPEN,
    VALUES,
)

ROLES = ("nobody", "viewer", "editor", "admin", "owner")
SOMEWHERE = {"pages.audit", "pages.export_audit", "places.audit", "places.export_audit"}
"""They show rows of the environments that the asker may see: with a role in one of them."""

SAFE = {"GET", "HEAD", "OPTIONS"}
FLAGS = """\
version: 1
flags:
  cta_color:
    rules:
      - {name: half, share: 50%, serve: on}
"""


@dataclass(frozen=True)
class Asker:
    """Somebody: `place` and `role` of a person or a key; `kind` is person, key, or of an SDK.

    `role` None: a person without a role, or a key that is no admin key.
    """

    kind: str
    place: str = ""
    role: str | None = None

    @property
    def known(self) -> bool:
        """Whether the admin API knows them at all."""
        return self.kind == "person" or (self.kind == "key" and self.role is not None)

    @property
    def rank(self) -> int:
        """Their place in `ROLES`, in production."""
        if self.role is None or self.place not in ("production", "*"):
            return 0
        everywhere = self.place == "*" and self.role == "admin"
        return ROLES.index("owner" if everywhere else self.role)


ASKERS = {
    "anonymous": Asker("nobody"),
    "person without a role": Asker("person"),
    **{
        f"{kind} {role} of {place}": Asker(kind, place, role)
        for kind in ("person", "key")
        for place in ("production", "development", "*")
        for role in ("viewer", "editor", "admin")
    },
    "server key": Asker("server", "production"),
    "client key": Asker("client", "production"),
    "revoked key": Asker("revoked", "*", "admin"),
    "expired key": Asker("expired", "*", "admin"),
    "ended session": Asker("ended", "*", "admin"),
    "disabled person": Asker("disabled", "*", "admin"),
}


@dataclass(frozen=True)
class Route:
    """One route of Flask, ready to be called."""

    endpoint: str
    method: str
    path: str

    @property
    def is_page(self) -> bool:
        """Pages take no keys and send strangers to the sign-in."""
        return self.endpoint.startswith("pages.")

    @property
    def least(self) -> str:
        """What the table says: a role, `open`, `known` or `somewhere`."""
        name = self.endpoint.removeprefix("pages.")
        if self.endpoint in SOMEWHERE:
            return "somewhere"
        if self.endpoint in API_OPEN or (self.is_page and name in OPEN):
            return "open"
        if self.endpoint in API_KNOWN or (self.is_page and name in ANYBODY_SIGNED_IN):
            return "known"
        return NEEDS[name] if self.is_page else API_NEEDS[self.endpoint]


def routes_of(app: Application) -> list[Route]:
    """Every route of the application, from its own map."""
    found = []
    for rule in app.flask.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            values = VALUES if rule.endpoint.startswith("pages.") else API_VALUES
            arguments = {name: values[name] for name in rule.arguments}
            path = app.flask.url_map.bind("").build(rule.endpoint, arguments, method=method)
            found.append(Route(rule.endpoint, method, path))
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """One server for all askers, with a flag in production and somebody who is admin."""
    with create_app(Config(data=tmp_path_factory.mktemp("access"))) as app:
        app.changes.apply(change.push("production", FLAGS), SYSTEM, "first flags")
        yield app


def client_of(app: Application, asker: Asker) -> tuple[FlaskClient, dict[str, str]]:
    """A browser or a program, and the headers that it sends along (with the right token)."""
    client = app.flask.test_client()
    if asker.kind in ("person", "ended", "disabled"):
        roles: Any = {asker.place: asker.role} if asker.role else {}
        email = f"{asker.kind}-{asker.role}-{len(app.auth.users())}@example.com"
        user, _ = app.auth.create_user(email, "", roles, SYSTEM)
        session = app.auth.use_sign_in_link(app.auth.sign_in_link(user.id))
        client.set_cookie("flagloop_session", session.token)
        if asker.kind == "ended":
            app.auth.sign_out(session.token)
        if asker.kind == "disabled":
            app.auth.disable_user(email, SYSTEM)
        return client, {"X-CSRF-Token": csrf_token(session.token)}
    client.set_cookie("flagloop_csrf", "c" * 40)
    headers = {"X-CSRF-Token": csrf_token("c" * 40)}
    if asker.kind != "nobody":
        headers["Authorization"] = f"Bearer {secret_of(app, asker)}"
    return client, headers


def secret_of(app: Application, asker: Asker) -> str:
    """A new key of that kind."""
    kind: Any = asker.kind if asker.kind in ("server", "client") else "admin"
    role: Any = asker.role
    expires = 1 if asker.kind == "expired" else None
    info, secret = app.store.create_key(
        asker.place, kind, asker.kind, SYSTEM, role=role, expires_at=expires
    )
    if asker.kind == "revoked":
        app.store.revoke_key(info.id, SYSTEM)
    return secret


def refused(route: Route, answer: TestResponse) -> bool:
    """Whether nothing was shown or done: for pages also by way of the sign-in page."""
    if route.is_page and answer.status_code == 303:
        return "/login" in answer.location
    return answer.status_code in (401, 403)


def should_be_refused(route: Route, asker: Asker) -> bool:
    """What the tables say."""
    if route.least == "open":
        return False
    entered = asker.kind == "person" if route.is_page else asker.known
    if not entered:
        return True
    if route.least == "somewhere":
        return asker.role is None
    return route.least != "known" and asker.rank < ROLES.index(route.least)


def state_of(app: Application) -> tuple[Any, ...]:
    """What no refused request may change."""
    store = app.store
    return (
        [(one.key, one.revision, one.archived_at) for one in store.environments(archived=True)],
        [(one.id, one.revoked_at) for one in store.keys(revoked=True)],
        [(one.email, dict(one.roles), one.disabled_at) for one in app.auth.users()],
    )


def test_no_route_is_without_a_line_in_the_table(shop: Application) -> None:
    """Routes are derived from the application: a new one has to say who may use it."""
    pages = {f"pages.{name}" for name in (OPEN | ANYBODY_SIGNED_IN | NEEDS.keys())}
    table = pages | API_OPEN | API_KNOWN | API_NEEDS.keys()
    assert {one.endpoint for one in routes_of(shop)} == table
    assert set(shop.edge._routes) == set(EDGE)


@pytest.mark.parametrize("name", ASKERS)
def test_everybody_is_let_in_where_the_table_says_and_nowhere_else(
    shop: Application, name: str
) -> None:
    """Refused: 401 or 403 (pages: the sign-in page), and nothing is changed. Else: neither."""
    asker = ASKERS[name]
    client, headers = client_of(shop, asker)
    before = state_of(shop)
    routes = [one for one in routes_of(shop) if one.least != "open"]
    shut = [one for one in routes if should_be_refused(one, asker)]
    wrong = [one for one in shut if not refused(one, ask(client, one, headers))]
    assert wrong == []
    assert state_of(shop) == before
    open_ = [one for one in routes if one not in shut]
    wrong = [one for one in open_ if refused(one, ask(client, one, headers))]
    assert wrong == []


def ask(client: FlaskClient, route: Route, headers: dict[str, str]) -> TestResponse:
    """One request without a body: it is refused for its role before for its words."""
    answer = client.open(route.path, method=route.method, headers=headers)
    assert answer.status_code < 500, (route, answer.text)
    return answer


@pytest.mark.parametrize("token", [None, "0" * 64, csrf_token("somebody else's")])
def test_no_session_changes_anything_without_its_token(
    shop: Application, token: str | None
) -> None:
    """Every unsafe route, pages and API, answers 400 to a browser that another site sends."""
    client, _ = client_of(shop, Asker("person", "*", "admin"))
    headers = {} if token is None else {"X-CSRF-Token": token}
    before = state_of(shop)
    unsafe = [one for one in routes_of(shop) if one.method not in SAFE]
    assert len(unsafe) > 40
    statuses = {one: ask(client, one, headers).status_code for one in unsafe}
    assert {one: status for one, status in statuses.items() if status != 400} == {}
    assert state_of(shop) == before


@pytest.mark.parametrize("kind", ["none", "server", "client", "admin", "unknown"])
def test_the_edge_takes_the_kinds_of_keys_that_it_names(
    shop: Application, call: Any, kind: str
) -> None:
    """Rules are for server keys, events also for client keys, health for everybody."""
    headers = []
    if kind == "unknown":
        headers = [("authorization", f"Bearer fl_srv_{'x' * 43}")]
    elif kind != "none":
        asker = Asker(kind, "production", "admin" if kind == "admin" else None)
        headers = [("authorization", f"Bearer {secret_of(shop, asker)}")]
    for path, kinds in EDGE.items():
        if path == "/api/v1/stream" and kind == "server":
            continue  # it has no end; test_stream.py reads it
        method = "POST" if path.endswith("events") else "GET"
        answer = call(shop.asgi, method, path, headers, b'{"events": []}' * (method == "POST"))
        if kinds is None or kind in kinds:
            assert answer.status == 200, (path, answer.body)
        else:
            assert answer.status == (401 if kind in ("none", "unknown") else 403), path


def test_a_push_by_a_viewer_is_a_dry_run(shop: Application) -> None:
    """The one route whose role depends on its body."""
    client, headers = client_of(shop, Asker("key", "production", "viewer"))
    path = "/api/v1/admin/environments/production/push"
    for dry_run, status in ((True, 200), (False, 403)):
        body = {"text": FLAGS, "dry_run": dry_run}
        assert client.post(path, json=body, headers=headers).status_code == status


def test_another_environment_is_read_only_by_those_who_may(shop: Application) -> None:
    """Comparing and promoting name a second environment: a role there is needed too."""
    base = "/api/v1/admin/environments/production"
    step = {"do": "promote", "from": "development", "section": "flags", "key": "x"}
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"{base}/reports/compare?with=development", None),
        ("GET", f"{base}/reports/compare/flags/cta_color?with=development", None),
        ("POST", f"{base}/reports/preview", {"steps": [step]}),
        ("POST", f"{base}/reports/validate", {"steps": [step]}),
        ("POST", f"{base}/changes", {"steps": [step]}),
    ]
    for place, allowed in (("production", False), ("*", True)):
        client, headers = client_of(shop, Asker("key", place, "admin"))
        for method, path, body in calls:
            answer = client.open(path, method=method, json=body, headers=headers)
            assert (answer.status_code == 403) is not allowed, (path, answer.text)

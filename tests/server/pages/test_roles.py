"""Every route asks for the right role; no route was forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop_server.app import Application
from helpers.routes import ANYBODY_SIGNED_IN, NEEDS, OPEN, VALUES

ORDER = ("nobody", "viewer", "editor", "admin", "owner")
NOT_DONE = {303, 401, 403}


def pages_of(app: Application) -> list[tuple[str, str, str]]:
    """(endpoint, method, path) of each route of the pages."""
    found = []
    for rule in app.flask.url_map.iter_rules():
        if rule.endpoint.startswith("pages."):
            method = "POST" if "POST" in (rule.methods or ()) else "GET"
            arguments = {name: VALUES[name] for name in rule.arguments}
            path = app.flask.url_map.bind("").build(rule.endpoint, arguments, method=method)
            found.append((rule.endpoint.removeprefix("pages."), method, path))
    return found


def test_each_route_has_a_least_role(shop: Application) -> None:
    """A new route without a line in tests/helpers/routes.py fails here."""
    endpoints = {endpoint for endpoint, _, _ in pages_of(shop)}
    assert endpoints == OPEN | ANYBODY_SIGNED_IN | set(NEEDS)


@pytest.mark.parametrize("role", ORDER)
def test_roles_hold_on_every_route(shop: Application, visit: Any, role: str) -> None:
    """Below the least role nothing is shown or done; from it on the route answers."""
    visitor = {
        "nobody": lambda: visit(None),
        "owner": lambda: visit("admin", "*"),
    }.get(role, lambda: visit(role))()
    before = shop.store.environment("production").revision
    people = len(shop.auth.users())
    for endpoint, method, path in pages_of(shop):
        if endpoint not in NEEDS or ORDER.index(NEEDS[endpoint]) <= ORDER.index(role):
            continue
        if method == "GET":
            response = visitor.client.get(path)
        else:
            visitor.get("/glossary")
            response = visitor.client.post(path, data={"csrf_token": token(visitor.html)})
        assert response.status_code in NOT_DONE, (endpoint, response.status_code)
        if response.status_code == 303:
            assert role == "nobody", endpoint
            assert "/login" in response.location
    assert shop.store.environment("production").revision == before
    assert len(shop.auth.users()) == people


@pytest.mark.parametrize("role", ORDER[1:])
def test_pages_open_for_those_who_may(shop: Application, visit: Any, role: str) -> None:
    """Every page that the role may see answers 200."""
    visitor = visit("admin", "*") if role == "owner" else visit(role)
    if role != "viewer":
        shop.auth.create_user("viewer-production@example.com", "v", {}, app_actor())
    for endpoint, method, path in pages_of(shop):
        if method != "GET" or endpoint in OPEN or endpoint == "start":
            continue
        if endpoint in NEEDS and ORDER.index(NEEDS[endpoint]) > ORDER.index(role):
            continue
        query = {"number": "2"} if endpoint == "revert_page" else {}
        assert visitor.client.get(path, query_string=query).status_code == 200, endpoint


def test_a_role_counts_in_its_environment_only(visit: Any) -> None:
    """An admin of development sees nothing of production, and no link to it."""
    visitor = visit("admin", "development")
    assert visitor.client.get("/environments/development/keys").status_code == 200
    assert visitor.client.get("/environments/production/flags").status_code == 403
    listed = visitor.client.get("/environments").text.lower()
    assert "/environments/development/" in listed
    assert "/environments/production" not in listed
    assert "first flags" not in visitor.client.get("/audit").text


def test_the_audit_log_leads_to_where_an_environment_is_now(shop: Application, visit: Any) -> None:
    """Under its present name; one that took the old name has nothing to do with it."""
    shop.store.rename_environment("production", "live", app_actor())
    shop.store.create_environment("production", app_actor())
    owner = visit("admin", "*")
    html = owner.get("/audit?environment=live").text
    assert 'href="/environments/live/revisions/2">production, revision 2<' in html
    assert "first flags" in html
    assert "first flags" not in owner.get("/audit?environment=production").text
    assert "rows fit together" in owner.get("/reports/audit").text


def test_people_and_sign_ins_are_for_admins_of_the_server(visit: Any) -> None:
    """A viewer of everything sees every environment's rows, and those alone."""
    owner, viewer = visit("admin", "*"), visit("viewer", "*")
    for visitor, seen in ((owner, True), (viewer, False)):
        html = visitor.get("/audit").text
        assert "first flags" in html
        assert ("create-user" in html) is seen


def test_forms_without_the_token_are_refused(shop: Application, visit: Any) -> None:
    """A form that another site sends changes nothing."""
    visitor = visit("editor")
    path = "/environments/production/flags/cta_color/kill"
    assert visitor.client.post(path, data={"reason": "evil"}).status_code == 400
    assert "killed" not in shop.store.document("production").document.text


def app_actor() -> Any:
    """Somebody to invite people."""
    from flagloop_server.store import Actor

    return Actor("person", "ben@example.com")


def token(html: str) -> str:
    """The token of the page's forms."""
    return html.partition('name="csrf_token" value="')[2].partition('"')[0]

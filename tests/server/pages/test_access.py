"""Links that sign in, and one's own page."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop_server.app import Application
from flagloop_server.store import SYSTEM

FLAG = "/environments/production/flags/cta_color"
OLD, NEW = "a long sentence", "another long sentence"


@pytest.fixture
def link(shop: Application) -> str:
    """A one-time sign-in link that leads to a flag."""
    user, _ = shop.auth.create_user("ana@example.com", "Ana", {"*": "viewer"}, SYSTEM)
    return f"/sign-in/{shop.auth.sign_in_link(user.id)}?next={FLAG}"


def test_a_link_may_be_looked_at_before_it_is_used(visit: Any, link: str) -> None:
    """A preview of the link signs nobody in; the one click of a person then does, once."""
    for _ in range(2):
        looked = visit(None)
        assert looked.get(link).status_code == 200
        assert looked.client.head(link).status_code == 200
        assert looked.client.get_cookie("flagloop_session") is None
    visitor = visit(None)
    assert visitor.get(link).text.count('<button class="primary"') == 1
    landed = visitor.post(link, next=FLAG)
    assert (landed.status_code, landed.request.path) == (200, FLAG)
    again = visit(None)
    assert again.get(link).status_code == 400
    assert "used already" in again.html
    assert again.client.get_cookie("flagloop_session") is None


def test_two_clicks_on_one_link_are_one_session(visit: Any, link: str) -> None:
    """Who opened the page before it was used is refused in words."""
    first, second = visit(None), visit(None)
    first.get(link)
    second.get(link)
    assert first.post(link, next="/").status_code == 200
    late = second.post(link, next="/")
    assert late.status_code == 400
    assert "used already" in late.text


def test_a_sign_in_link_leads_nowhere_else(visit: Any, link: str) -> None:
    """`next` is a path of this server, in the address and in the form."""
    visitor = visit(None)
    page = visitor.get(link.replace(FLAG, "//evil.example/x"))
    assert 'name="next" value="/">' in page.text
    assert visitor.post(link, next="https://evil.example/").request.path != "/"
    assert visitor.client.get_cookie("flagloop_session") is not None


def test_a_setup_link_may_be_looked_at_before_it_is_used(shop: Application, visit: Any) -> None:
    """Only the form with a password uses it up."""
    _, token = shop.auth.create_user("ana@example.com", "Ana", {"*": "viewer"}, SYSTEM)
    for _ in range(2):
        assert visit(None).get(f"/setup/{token}").status_code == 200
    visitor = visit(None)
    visitor.get(f"/setup/{token}")
    assert visitor.post(f"/setup/{token}", password=OLD).status_code == 200
    assert visit(None).get(f"/setup/{token}").status_code == 404


@pytest.fixture
def ana(shop: Application, visit: Any) -> Any:
    """A viewer with a password, on the page of their own."""
    visitor = visit("viewer")
    shop.auth.set_password("viewer-production@example.com", OLD, SYSTEM)
    visitor.get("/login")
    visitor.post("/login", email="viewer-production@example.com", password=OLD)
    visitor.get("/account")
    return visitor


def test_ones_own_page_says_who_one_is_and_is_in_the_menu(ana: Any) -> None:
    """Address and roles; reached from every page."""
    assert "viewer-production@example.com: viewer in production." in ana.html
    assert 'href="/account"' in ana.get("/environments/production/flags").text


def test_the_password_is_changed_and_other_browsers_are_signed_out(
    shop: Application, ana: Any, visit: Any
) -> None:
    """This browser stays signed in; the old password is of no use any more."""
    other = visit(None)
    user = shop.auth.user("viewer-production@example.com")
    session = shop.auth.use_sign_in_link(shop.auth.sign_in_link(user.id))
    other.client.set_cookie("flagloop_session", session.token)
    assert other.get("/account").status_code == 200
    done = ana.post("/account", old=OLD, new=NEW)
    assert (done.status_code, "Your password is changed" in done.text) == (200, True)
    assert ana.get("/account").status_code == 200
    assert other.get("/account").status_code == 303
    visitor = visit(None)
    visitor.get("/login")
    assert visitor.post("/login", email=user.email, password=OLD).status_code == 400
    assert visitor.post("/login", email=user.email, password=NEW).status_code == 200


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("wrong wrong", NEW, "The present password is wrong."), (OLD, "short", "at least 10")],
)
def test_a_password_that_will_not_do_changes_nothing(
    shop: Application, ana: Any, old: str, new: str, said: str
) -> None:
    """The page says what is wrong; no password is in it."""
    refused = ana.post("/account", old=old, new=new)
    assert refused.status_code == 400
    assert said in refused.text
    assert old not in refused.text
    assert shop.auth.sign_in("viewer-production@example.com", OLD, "x").user.signed_up


def test_guessing_the_present_password_is_stopped(ana: Any) -> None:
    """Somebody at an open browser has five tries."""
    statuses = [ana.post("/account", old=f"wrong {n}", new=NEW).status_code for n in range(6)]
    assert statuses == [400] * 5 + [429]

"""No page answers 500, whatever comes in its address, its query or its form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.routing import Rule

from flagloop_server import changes as change
from flagloop_server.app import create_app
from flagloop_server.auth import csrf_token
from flagloop_server.config import Config
from flagloop_server.store import SYSTEM
from helpers.routes import VALUES

if TYPE_CHECKING:
    from flagloop_server.app import Application

FLAGS = """\
version: 1
segments:
  staff: {when: {plan: staff}}
flags:
  cta_color:
    rules:
      - {name: half, share: 5%, serve: on}
      - {name: climb, rollout: {to: on, stages: [1%, 100%]}}
"""

TAKEN_AWAY = {"pages.sign_out", "pages.change_password", "pages.set_theme"}
"""They end the session that the others need."""

FIELDS = (
    *("reason", "share", "opened", "text", "flag", "section", "key", "number", "action", "name"),
    *("email", "role", "environment", "kind", "production", "q", "state", "owner", "tag", "start"),
    *("before", "from", "to", "revision", "target", "next", "fragment", "done", "force", "context"),
    *("at", "with", "do", "path", "value", "saved", "part", "expected", "base"),
)
GOOD = ("cta_color", "flags", "2", "production", "kill", "editor", "50", "a: {}", "server", "staff")
HUGE = [2**31, 2**53 + 1, 2**63, 10**30, 10**400]
ODD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "\x00", "..", "ÿ", "²", "%", "x" * 5000, "1e3", "*", "null", "- [", "&a"]),
    st.sampled_from(HUGE).map(str),
    st.integers(-3, 9).map(str),
)
VALUE = st.one_of(st.sampled_from(GOOD), st.sampled_from(GOOD), ODD)
PAIRS = st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=6)
PIECES = st.lists(st.one_of(st.just(None), st.just(None), ODD), min_size=4, max_size=4)


class Site:
    """The pages of one application, seen by an admin of everything."""

    def __init__(self, app: Application) -> None:
        app.changes.apply(change.put_document("production", FLAGS), SYSTEM, "")
        app.auth.create_user(VALUES["email"], "Ben", {"production": "viewer"}, SYSTEM)
        self.app = app
        self.number = 0
        self.sign_in()
        rules = [one for one in app.flask.url_map.iter_rules() if one.endpoint[:6] == "pages."]
        self.rules = [one for one in rules if one.endpoint not in TAKEN_AWAY]
        self.rules.sort(key=lambda rule: (rule.rule, sorted(rule.methods or ())))

    def sign_in(self) -> None:
        """As somebody new: the one before may have been shut out by a form."""
        self.number += 1
        user, _ = self.app.auth.create_user(f"o{self.number}@b.cd", "O", {"*": "admin"}, SYSTEM)
        session = self.app.auth.use_sign_in_link(self.app.auth.sign_in_link(user.id))
        self.client = self.app.flask.test_client()
        self.client.set_cookie("flagloop_session", session.token)
        self.headers = {"X-CSRF-Token": csrf_token(session.token)}

    def path(self, rule: Rule, pieces: list[str | None]) -> str:
        """The address with a piece for each variable; environments are not archived or renamed."""
        rest = iter(pieces)
        settings_ = rule.endpoint == "pages.change_environment"

        def fill(found: re.Match[str]) -> str:
            piece = next(rest)
            good = "development" if settings_ else VALUES[found[1]]
            return quote(good if piece is None else piece, safe="")

        return re.sub(r"<(?:[^>]*:)?(\w+)>", fill, rule.rule)

    def status(self, rule: Rule, pieces: list[str | None], fields: dict[str, str]) -> int:
        """One request: fields in the query and, for a form, in the body."""
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        options: dict[str, Any] = {"data": fields} if method == "POST" else {}
        answer = self.client.open(
            self.path(rule, pieces),
            method=method,
            query_string=fields if method == "GET" else None,
            headers=self.headers,
            **options,
        )
        answer.close()
        if answer.status_code == 303 and "/login" in answer.location:
            self.sign_in()
        return answer.status_code


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One application for all examples: what they do to it is part of the fuzz."""
    with create_app(Config(data=tmp_path_factory.mktemp("pages"))) as app:
        yield Site(app)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, 999), pieces=PIECES, fields=PAIRS)
def test_no_page_is_a_500(
    site: Site, number: int, pieces: list[str | None], fields: dict[str, str]
) -> None:
    """Odd keys, huge numbers, broken forms: a page that says whose mistake it is."""
    rule = site.rules[number % len(site.rules)]
    assert 200 <= site.status(rule, pieces, fields) < 500

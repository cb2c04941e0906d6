"""A server without a socket, and people with each role who look at its pages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor

BEN = Actor("person", "ben@example.com")

FLAGS = """\
version: 1

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}

flags:
  # asked for by marketing
  cta_color:
    description: Colour of the sign-up button
    owner: growth@example.com
    tags: [landing]
    variants: {control: blue, treatment: green}
    default: control
    off: control
    rules:
      - {name: staff, when: {segment: staff}, serve: treatment}
      - {name: half, share: 50%, serve: treatment}   # keep this comment

  new_checkout:
    rules:
      - {name: canary, share: 5%, serve: on}
"""


class Visitor:
    """A browser without a window: keeps cookies, and sends the token of the page it saw last."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.html = ""

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        return self._seen(self.client.get(path, **options))

    def post(self, path: str, **fields: str) -> TestResponse:
        """Send a form from the page seen last; redirects are followed."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.html)
        if token is not None:
            fields["csrf_token"] = token[1]
        return self._seen(self.client.post(path, data=fields, follow_redirects=True))

    def _seen(self, response: TestResponse) -> TestResponse:
        if response.mimetype == "text/html":
            self.html = response.text
        return response


@pytest.fixture
def shop(app: Application) -> Application:
    """The server with two flags in production."""
    app.changes.apply(change.push("production", FLAGS), BEN, "first flags")
    return app


@pytest.fixture
def visit(shop: Application) -> Any:
    """`visit("editor")` is a signed-in visitor with that role in production; None: nobody."""

    def make(role: str | None, environment: str = "production") -> Visitor:
        visitor = Visitor(shop.flask.test_client())
        if role is not None:
            email = f"{role}-{environment.strip('*')}@example.com"
            user, _ = shop.auth.create_user(email, role, {environment: role}, BEN)
            # a link costs no password hash, which takes 64 MB and a tenth of a second
            session = shop.auth.use_sign_in_link(shop.auth.sign_in_link(user.id))
            visitor.client.set_cookie("flagloop_session", session.token)
            visitor.get("/glossary")
        return visitor

    return make

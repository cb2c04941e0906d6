"""The admin API through the edge, as the CLI calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flagloop_server.app import Application
    from flagloop_server.store import Role

FLAGS = """\
version: 1

flags:
  # the button of the landing page
  cta_color:
    variants: {control: blue, treatment: green}
    default: control
    off: control
    rules:
      - {name: staff, when: {email: {ends_with: "@example.com"}}, serve: treatment}
      - {name: canary, share: 5%, serve: treatment}

  new_checkout: {}
"""


class Caller:
    """Calls the API of one application with one key; JSON in, (status, JSON) out."""

    def __init__(self, app: Application, secret: str, call: Callable[..., Any]) -> None:
        self.app = app
        self.headers = [("authorization", f"Bearer {secret}"), ("content-type", "application/json")]
        self._call = call

    def __call__(
        self, method: str, path: str, body: object = None, *, query: str = ""
    ) -> tuple[int, Any]:
        """One request; the path is under /api/v1/admin."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = self._call(
            self.app.asgi,
            method,
            "/api/v1/admin" + path,
            self.headers,
            data,
            query=query.encode(),
        )
        assert answer.headers["content-type"] == "application/json"
        return answer.status, json.loads(answer.body)


@pytest.fixture
def caller(app: Application, call: Callable[..., Any]) -> Callable[..., Caller]:
    """`caller(environment, role)`: an API caller with a new admin key."""

    def make(environment: str = "*", role: Role = "admin") -> Caller:
        from flagloop_server.store import SYSTEM

        _, secret = app.store.create_key(environment, "admin", "laptop", SYSTEM, role=role)
        return Caller(app, secret, call)

    return make


@pytest.fixture
def admin(caller: Callable[..., Caller]) -> Caller:
    """An admin of everything, with `FLAGS` pushed to production."""
    made = caller()
    status, answer = made("POST", "/environments/production/push", {"text": FLAGS})
    assert (status, answer["applied"]) == (200, True), answer
    return made

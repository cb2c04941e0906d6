"""A database that is locked or away is the server's trouble: 503 and when to come again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from flagloop_server import changes as change
from flagloop_server.store import SYSTEM, database

if TYPE_CHECKING:
    from flagloop_server.app import Application

FLAGS = "version: 1\nflags:\n  f: {}\n"
REST = "/api/v1/admin/environments/production/flags/f/kill"
PAGE = "/environments/production/flags/f"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """A server that does not wait long for a lock."""
    from flagloop_server.app import create_app
    from flagloop_server.config import Config

    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with create_app(Config(data=tmp_path)) as app:
        app.changes.apply(change.put_document("production", FLAGS), SYSTEM, "")
        yield app


@pytest.fixture
def browser(shop: Application) -> FlaskClient:
    """A signed-in editor."""
    user, _ = shop.auth.create_user("ana@example.com", "Ana", {"*": "editor"}, SYSTEM)
    session = shop.auth.use_sign_in_link(shop.auth.sign_in_link(user.id))
    client = shop.flask.test_client()
    client.set_cookie("flagloop_session", session.token)
    return client


@contextmanager
def locked(app: Application) -> Iterator[None]:
    """Another process writes and does not come to an end."""
    with closing(sqlite3.connect(app.config.data / "config.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_kill_by_rest_is_told_to_come_again(shop: Application) -> None:
    """503 in JSON while locked; the same request works afterwards."""
    _, secret = shop.store.create_key("production", "admin", "k", SYSTEM, role="editor")
    client, headers = shop.flask.test_client(), {"Authorization": f"Bearer {secret}"}
    with locked(shop):
        answer = client.post(REST, json={"reason": "INC-1"}, headers=headers)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.get_json()["error"]["code"] == "unavailable"
    assert client.post(REST, json={"reason": "INC-1"}, headers=headers).status_code == 200


def test_a_kill_by_page_is_told_to_come_again(
    shop: Application, browser: FlaskClient, csrf_of
) -> None:
    """503 as a page in its frame; nothing was killed."""
    form = {"reason": "INC-1", "csrf_token": csrf_of(browser.get(PAGE).text)}
    with locked(shop):
        answer = browser.post(f"{PAGE}/kill", data=form)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "The database is busy or full" in answer.text
    assert "Sign out" in answer.text
    assert shop.store.document("production").document.text == FLAGS


def test_a_database_that_cannot_be_read_is_told_without_a_page(
    shop: Application, browser: FlaskClient
) -> None:
    """The frame of a page needs the database; the answer is plain text then, not a 500."""
    with shop.store._file.write() as connection:
        connection.execute("ALTER TABLE session RENAME TO gone")
    answer = browser.get(PAGE)
    assert (answer.status_code, answer.mimetype) == (503, "text/plain")
    assert int(answer.headers["Retry-After"]) > 0

"""`flagloop users` on a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flagloop.commands.main import cli
from flagloop_server.auth import Auth, SignInError
from flagloop_server.store import Store

PASSWORD = "correct horse battery staple"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder in which a server was started once."""
    from flagloop_server.auth import first_start

    with Store(tmp_path) as store:
        first_start(store, Auth(store))
    return tmp_path


def run(data: Path, *arguments: str, code: int = 0, typed: str | None = None) -> Result:
    """Run `flagloop users ...`."""
    result = CliRunner().invoke(cli, ["users", *arguments, "--data", str(data)], input=typed)
    assert result.exit_code == code, result.output
    return result


def created(data: Path, *arguments: str) -> Any:
    """Make a person and return the JSON."""
    return json.loads(run(data, "create", "--json", *arguments).stdout)


def test_a_person_is_made_with_a_link_that_works_once(data: Path) -> None:
    """The link sets the password; then the person may sign in."""
    made = created(data, "ana@example.com", "--role", "editor", "--env", "production")
    assert made["roles"] == {"production": "editor"}
    assert made["state"] == "invited"
    token = made["setup_link"].removeprefix("http://127.0.0.1:8377/setup/")
    with Store(data) as store:
        auth = Auth(store)
        auth.complete_setup(token, password=PASSWORD)
        assert auth.sign_in("ana@example.com", PASSWORD, "127.0.0.1").user.name is not None
        with pytest.raises(SignInError):
            auth.complete_setup(token, password=PASSWORD)
    assert "active" in run(data, "list").stdout


def test_people_are_listed(data: Path) -> None:
    """As a table or JSON, never with anything secret."""
    created(data, "ana@example.com", "--name", "Ana")
    (user,) = json.loads(run(data, "list", "--json").stdout)
    assert user["email"] == "ana@example.com"
    assert set(user) == {"id", "email", "name", "roles", "state", "last_seen_at"}
    assert "viewer in *" in run(data, "list").stdout


def test_a_password_is_set_from_standard_input(data: Path) -> None:
    """One line where there is no terminal; the old one is no longer good."""
    created(data, "ana@example.com")
    run(data, "passwd", "ana@example.com", typed=PASSWORD + "\n")
    with Store(data) as store:
        auth = Auth(store)
        assert auth.sign_in("ana@example.com", PASSWORD, "127.0.0.1").user.signed_up
    run(data, "passwd", "ana@example.com", typed=PASSWORD + " too\n")
    with Store(data) as store, pytest.raises(SignInError):
        Auth(store).sign_in("ana@example.com", PASSWORD, "127.0.0.1")


def test_a_password_link_is_printed_instead(data: Path) -> None:
    """For somebody who lost the first one; it begins with the server's URL."""
    created(data, "ana@example.com")
    result = run(data, "passwd", "ana@example.com", "--link", "--url", "https://flags.example.com/")
    link = result.stdout.strip()
    assert link.startswith("https://flags.example.com/setup/")
    with Store(data) as store:
        auth = Auth(store)
        auth.complete_setup(link.rsplit("/", 1)[1], password=PASSWORD)
        assert auth.sign_in("ana@example.com", PASSWORD, "127.0.0.1")


def test_without_a_server_links_begin_with_the_public_url(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `serve` would take it; --url wins."""
    monkeypatch.setenv("FLAGLOOP_PUBLIC_URL", "https://flags.example.com/")
    made = created(data, "ana@example.com")
    assert made["setup_link"].startswith("https://flags.example.com/setup/")
    made = created(data, "bob@example.com", "--url", "http://other.example.com")
    assert made["setup_link"].startswith("http://other.example.com/setup/")


def test_nobody_is_asked_for_the_password_of_somebody_unknown(data: Path) -> None:
    """The person is looked up first: a terminal that never answers does not hold it."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "flagloop", "users", "passwd", "bob@example.com"]
    with os.fdopen(ours, "rb") as never, os.fdopen(theirs, "wb"):
        done = subprocess.run(
            [*command, "--data", str(data)],
            stdin=never,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "bob@example.com" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("passwd", "bob@example.com", "--link"), 1, "bob@example.com"),
        (("passwd", "bob@example.com"), 1, "bob@example.com"),
        (("create", "no address"), 2, "address"),
        (("create", "bob@example.com", "--env", "qa"), 1, "qa"),
    ],
)
def test_mistakes_are_told(data: Path, arguments: tuple[str, ...], code: int, text: str) -> None:
    """With an exit code and a message that names the mistake."""
    assert text in run(data, *arguments, code=code, typed=PASSWORD + "\n").output


def test_a_weak_password_is_refused(data: Path) -> None:
    """And nothing is changed."""
    created(data, "ana@example.com")
    run(data, "passwd", "ana@example.com", typed="short\n", code=2)
    assert "invited" in run(data, "list").stdout

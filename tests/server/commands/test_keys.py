"""`flagloop keys` on a folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flagloop.commands.main import cli
from flagloop_server.store import SYSTEM, Store


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder in which a server was started once."""
    from flagloop_server.auth import Auth, first_start

    with Store(tmp_path) as store:
        first_start(store, Auth(store))
    return tmp_path


def run(data: Path, *arguments: str, code: int = 0) -> Result:
    """Run `flagloop keys ...`."""
    result = CliRunner().invoke(cli, ["keys", *arguments, "--data", str(data)])
    assert result.exit_code == code, result.output
    return result


def created(data: Path, *arguments: str) -> Any:
    """Make a key and return the JSON."""
    return json.loads(run(data, "create", "--json", *arguments).stdout)


@pytest.mark.parametrize(
    ("kind", "prefix", "role"),
    [("server", "fl_srv_", None), ("client", "fl_cli_", None), ("admin", "fl_adm_", "editor")],
)
def test_a_key_of_each_kind_is_made(data: Path, kind: str, prefix: str, role: str | None) -> None:
    """The JSON has the secret; the store knows it with its kind and place."""
    made = created(data, "--env", "production", "--kind", kind)
    assert made["key"].startswith(prefix)
    assert (made["kind"], made["environments"], made["role"]) == (kind, ["production"], role)
    with Store(data) as store:
        from flagloop_server.store import hash_key

        found = store.find_key(hash_key(made["key"]))
    assert found is not None
    assert found.id == made["id"]


def test_without_json_the_secret_alone_is_on_standard_output(data: Path) -> None:
    """So that `KEY=$(flagloop keys create ...)` works."""
    result = run(data, "create", "--env", "production", "--name", "shop")
    assert result.stdout.startswith("fl_srv_")
    assert len(result.stdout.splitlines()) == 1
    assert "shown this once" in result.stderr


def test_an_admin_key_may_be_for_everything_and_expires(data: Path) -> None:
    """`--env '*'`, a role and a life."""
    made = created(data, "--env", "*", "--kind", "admin", "--role", "viewer", "--expires", "2h")
    assert made["environments"] == ["*"]
    assert 7100 < made["expires_at"] / 1000 - time.time() <= 7200


def test_keys_are_listed_without_secrets(data: Path) -> None:
    """As a table or JSON; by environment; revoked ones only when asked for."""
    made = created(data, "--env", "production", "--name", "shop")
    other = created(data, "--env", "development", "--name", "laptop")
    table = run(data, "list", "--env", "production").stdout
    assert "shop" in table
    assert "laptop" not in table
    assert made["key"] not in table
    run(data, "revoke", str(other["id"]))
    ids = {key["id"] for key in json.loads(run(data, "list", "--json").stdout)}
    assert made["id"] in ids
    assert other["id"] not in ids
    assert "revoked 2" in run(data, "list", "--revoked").stdout


def test_a_revoked_key_is_no_longer_active(data: Path) -> None:
    """The store says when it ended."""
    made = created(data, "--env", "production")
    revoked = json.loads(run(data, "revoke", str(made["id"]), "--json").stdout)
    assert revoked["revoked_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("create", "--env", "qa"), 1, "qa"),
        (("create", "--env", "*"), 2, "one environment"),
        (("create", "--env", "production", "--role", "admin"), 2, "--role"),
        (("create", "--env", "production", "--expires", "soon"), 2, "--expires"),
        (("create", "--env", "production", "--expires", "0s"), 2, "36500d"),
        (("create", "--env", "production", "--expires", "9999999d"), 2, "36500d"),
        (("revoke", "999"), 1, "999"),
    ],
)
def test_mistakes_are_told(data: Path, arguments: tuple[str, ...], code: int, text: str) -> None:
    """With an exit code and a message that names the mistake."""
    assert text in run(data, *arguments, code=code).output


def test_another_folder_is_not_made_into_a_server(tmp_path: Path) -> None:
    """A mistyped --data is told."""
    assert "config.db" in run(tmp_path / "typo", "list", code=2).output
    assert not (tmp_path / "typo").exists()


def test_the_ledger_names_the_command(data: Path) -> None:
    """Who made a key by command line is on record."""
    created(data, "--env", "production", "--name", "shop")
    with Store(data) as store:
        newest = store.audit(limit=1)[0]
    assert newest.actor.kind == "command"
    assert newest.actor != SYSTEM

"""What needs nobody to sign in: places, roles, tokens of forms, the first start."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from flagloop_server.auth import (
    Auth,
    FirstStart,
    allows,
    check_csrf,
    csrf_token,
    first_start,
    place_of,
)
from flagloop_server.store import Store, hash_key

PASSWORD = "correct horse battery"


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix" * 1000, "unix" * 63 + "uni"),
    ],
)
def test_a_place_is_what_one_sender_cannot_change(address: str, place: str) -> None:
    """An IPv6 subscriber has 2^64 addresses, which are one place."""
    assert place_of(address) == place


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (None, []),
        ("viewer", ["view"]),
        ("editor", ["view", "edit", "kill"]),
        ("admin", ["view", "edit", "kill", "admin"]),
    ],
)
def test_what_roles_allow(role, may: list[str]) -> None:
    """Viewers look, editors operate, admins rule."""
    assert [one for one in ("view", "edit", "kill", "admin") if allows(role, one)] == may  # type: ignore[arg-type]


def test_csrf_tokens_belong_to_one_browser() -> None:
    """A token of another session, a cut one and none at all are refused."""
    token = csrf_token("secret")
    assert check_csrf("secret", token)
    for wrong in (csrf_token("other"), token[:-1], "", "ü\ud800"):
        assert not check_csrf("secret", wrong)
    assert "secret" not in token


def test_the_first_start_makes_what_a_store_lacks(tmp_path: Path) -> None:
    """Two environments, a key for each, a setup link; later starts only renew the link."""
    with Store(tmp_path) as store:
        auth = Auth(store, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        made = first_start(store, auth)
        assert [(one.key, one.production) for one in store.environments()] == [
            ("development", False),
            ("production", True),
        ]
        for environment, secret in made.keys.items():
            info = store.find_key(hash_key(secret))
            assert info is not None
            assert (info.kind, info.environment) == ("server", environment)
        again = first_start(store, auth)
        assert (again.keys, again.setup_token != made.setup_token) == ({}, True)
        assert again.setup_token is not None
        auth.complete_setup(again.setup_token, password=PASSWORD, email="a@b.c")
        assert first_start(store, auth) == FirstStart({}, None)

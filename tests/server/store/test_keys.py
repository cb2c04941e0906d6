"""Keys: shown once, stored as digests, revocable."""

from __future__ import annotations

import hashlib

import pytest

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store import Actor, Store, hash_key


@pytest.fixture(autouse=True)
def environments(store: Store, ana: Actor) -> None:
    """Two environments to make keys for."""
    store.create_environment("production", ana)
    store.create_environment("staging", ana)


@pytest.mark.parametrize(("kind", "prefix"), [("server", "fl_srv_"), ("client", "fl_cli_")])
def test_a_key_is_found_by_its_digest(store: Store, ana: Actor, kind: str, prefix: str) -> None:
    """The secret has 32 random bytes behind its prefix, and its SHA-256 finds it."""
    info, secret = store.create_key("production", kind, "shop", ana)  # type: ignore[arg-type]
    assert secret.startswith(prefix)
    assert len(secret) == len(prefix) + 43
    assert hash_key(secret) == hashlib.sha256(secret.encode()).digest()
    assert store.find_key(hash_key(secret)) == info
    assert store.find_key(hash_key(secret + "x")) is None
    assert (info.environment, info.role, info.created_by) == ("production", None, ana.name)


def test_the_secret_is_nowhere_in_the_file(store: Store, ana: Actor) -> None:
    """Who reads the database learns no key."""
    _, secret = store.create_key("production", "server", "shop", ana)
    raw = b"".join(path.read_bytes() for path in store.folder.iterdir())
    assert secret.encode() not in raw
    assert secret[len("fl_srv_") + 8 :].encode() not in raw


def test_a_revoked_key_says_so_at_once(store: Store, ana: Actor, clock: object) -> None:
    """Revocation is seen by the next look-up and is written down once."""
    info, secret = store.create_key("production", "server", "shop", ana)
    assert info.active(store.clock())
    store.revoke_key(info.id, ana)
    store.revoke_key(info.id, ana)
    found = store.find_key(hash_key(secret))
    assert found is not None
    assert not found.active(store.clock())
    assert store.keys("production") == []
    assert [key.id for key in store.keys("production", revoked=True)] == [info.id]
    assert [row.action for row in store.audit(limit=2)] == ["revoke-key", "create-key"]
    with pytest.raises(NotFoundError):
        store.revoke_key(999, ana)


def test_admin_keys_have_scope_role_and_end(store: Store, ana: Actor, clock) -> None:
    """An admin key covers its environments only, and expires by itself."""
    info, _ = store.create_key(["staging"], "admin", "ci", ana, role="editor")
    assert (info.covers("staging"), info.covers("production")) == (True, False)
    assert info.environment == "staging"
    assert info.active(clock.now)
    clock.now += 91 * 24 * 3600 * 1000
    assert not info.active(clock.now)


def test_a_key_for_everything_covers_later_environments(store: Store, ana: Actor) -> None:
    """`*` is not a list of the environments of today."""
    info, _ = store.create_key("*", "admin", "ops", ana, role="admin")
    store.create_environment("new", ana)
    assert info.covers("new")
    assert info.environment is None
    assert [key.id for key in store.keys("new")] == [info.id]


@pytest.mark.parametrize(
    ("scope", "kind", "role"),
    [
        ("*", "server", None),
        (["production", "staging"], "client", None),
        ("production", "admin", None),
        ("production", "admin", "boss"),
        ("production", "server", "admin"),
        ([], "admin", "admin"),
        ("production", "robot", None),
    ],
)
def test_what_does_not_fit_together_is_refused(store: Store, ana: Actor, scope, kind, role) -> None:
    """No key is made of contradictions."""
    with pytest.raises(ConfigError):
        store.create_key(scope, kind, "x", ana, role=role)
    assert store.keys(revoked=True) == []


def test_an_unknown_environment_makes_no_key(store: Store, ana: Actor) -> None:
    """Half a key would be worse than none."""
    with pytest.raises(NotFoundError):
        store.create_key(["production", "nowhere"], "admin", "x", ana, role="admin")
    assert store.keys(revoked=True) == []


def test_last_use_only_moves_forward(store: Store, ana: Actor) -> None:
    """Late reports of a use do not turn time back."""
    info, _ = store.create_key("production", "server", "shop", ana)
    store.touch_keys({info.id: 2000})
    store.touch_keys({info.id: 1000, 999: 5})
    store.touch_keys({})
    assert store.keys()[0].last_used_at == 2000


def test_names_have_an_end(store: Store, ana: Actor) -> None:
    """Of keys and of people; spaces around them do not count, and an empty one says the kind."""
    for make in (
        lambda name: store.create_key("production", "server", name, ana)[0].name,
        lambda name: store.people.create("bob@example.com", name, {}, ana).name,
    ):
        with pytest.raises(ConfigError, match="at most 100 characters, not 1,000"):
            make("n" * 1000)
        assert make(" " + "n" * 100 + " ") == "n" * 100
    assert store.create_key("production", "client", " ", ana)[0].name == "client key"

"""Passwords, sessions, links and roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Literal

import pytest
from argon2 import PasswordHasher

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.auth import (
    Auth,
    Session,
    SignInError,
    TooManyAttemptsError,
    role_of,
)
from flagloop_server.store import SYSTEM, Actor, Store

PASSWORD = "correct horse battery"
MINUTE = 60_000


class Clock:
    """Epoch milliseconds that only move by hand."""

    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The store's clock; set `.now`."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """A store with one environment."""
    with Store(tmp_path / "data", clock=clock) as made:
        made.create_environment("production", SYSTEM)
        made.create_environment("staging", SYSTEM)
        yield made


@pytest.fixture
def auth(store: Store) -> Auth:
    """With cheap hashes."""
    return Auth(store, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def admin(auth: Auth) -> Session:
    """The first admin, signed in."""
    token = auth.setup_link(None)
    return auth.complete_setup(token, password=PASSWORD, email="Ana@Example.com", name="Ana")


def test_the_first_admin_is_made_by_the_setup_link(auth: Auth, admin: Session) -> None:
    """Address in any case, role admin everywhere, signed in at once."""
    assert (admin.user.email, admin.user.name) == ("ana@example.com", "Ana")
    assert dict(admin.user.roles) == {"*": "admin"}
    found = auth.session(admin.token)
    assert found is not None
    assert found.user.id == admin.user.id
    assert auth.sign_in("ANA@example.com", PASSWORD, "1.2.3.4").user.id == admin.user.id


def test_a_setup_link_works_once(auth: Auth) -> None:
    """Used up, it is no link any more, for nobody."""
    token = auth.setup_link(None)
    assert auth.link(token) is not None
    auth.complete_setup(token, password=PASSWORD, email="a@b.c")
    assert auth.link(token) is None
    with pytest.raises(SignInError, match="used already"):
        auth.complete_setup(token, password=PASSWORD, email="eve@b.c")


def test_a_second_first_admin_cannot_be_made(auth: Auth, store: Store, admin: Session) -> None:
    """An old link for the first admin is worth nothing once there is one."""
    token = auth.setup_link(None)
    with pytest.raises(SignInError):
        auth.complete_setup(token, password=PASSWORD, email="eve@b.c")
    assert [user.email for user in auth.users()] == ["ana@example.com"]


def test_a_setup_link_expires(auth: Auth, clock: Clock) -> None:
    """After a day it has to be asked for again."""
    token = auth.setup_link(None)
    clock.now += 24 * 60 * MINUTE
    assert auth.link(token) is None
    with pytest.raises(SignInError):
        auth.complete_setup(token, password=PASSWORD, email="a@b.c")


def test_a_newer_setup_link_ends_the_older(auth: Auth) -> None:
    """One link at a time is enough to keep safe."""
    old = auth.setup_link(None)
    new = auth.setup_link(None)
    assert (auth.link(old), auth.link(new) is not None) == (None, True)


@pytest.mark.parametrize(
    ("password", "email"), [("short", "a@b.c"), ("x" * 1001, "a@b.c"), (PASSWORD, "no address")]
)
def test_a_refused_form_leaves_the_link_good(auth: Auth, password: str, email: str) -> None:
    """Who mistypes may try again."""
    token = auth.setup_link(None)
    with pytest.raises(ConfigError):
        auth.complete_setup(token, password=password, email=email)
    assert auth.complete_setup(token, password=PASSWORD, email="a@b.c").user.email == "a@b.c"


def test_a_taken_address_leaves_the_first_admins_link_good(auth: Auth) -> None:
    """What fails halfway is rolled back as a whole."""
    auth.create_user("bob@b.c", "", {"*": "viewer"}, SYSTEM)
    token = auth.setup_link(None)
    with pytest.raises(ConfigError, match="already"):
        auth.complete_setup(token, password=PASSWORD, email="bob@b.c")
    assert auth.complete_setup(token, password=PASSWORD, email="ana@b.c")


def test_secrets_are_nowhere_in_the_file(auth: Auth, store: Store, admin: Session) -> None:
    """Neither passwords nor session or link tokens can be read out of the database."""
    link = auth.setup_link(admin.user.id)
    raw = b"".join(path.read_bytes() for path in store.folder.iterdir())
    for secret in (PASSWORD, admin.token, link):
        assert secret.encode() not in raw
    assert b"$argon2id$" in raw


def test_wrong_passwords_and_unknown_people_look_alike(auth: Auth, admin: Session) -> None:
    """The answer does not tell whether somebody has an account."""
    with pytest.raises(SignInError) as wrong:
        auth.sign_in("ana@example.com", "wrong password", "1.2.3.4")
    with pytest.raises(SignInError) as unknown:
        auth.sign_in("eve@example.com", PASSWORD, "1.2.3.4")
    assert str(wrong.value) == str(unknown.value)


def test_guessing_is_stopped_and_forgiven_after_a_while(
    auth: Auth, admin: Session, clock: Clock
) -> None:
    """Five failures in 15 minutes, then even the right password has to wait in that place."""
    for _ in range(5):
        with pytest.raises(SignInError):
            auth.sign_in("ana@example.com", "wrong password", "1.2.3.4")
    with pytest.raises(TooManyAttemptsError) as caught:
        auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    assert 0 < caught.value.retry_after <= 900
    clock.now += 15 * MINUTE
    assert auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")


def test_one_address_cannot_try_many_people(auth: Auth, admin: Session) -> None:
    """Thirty failures from an address stop that address, not the person elsewhere."""
    for n in range(30):
        with pytest.raises(SignInError):
            auth.sign_in(f"user{n}@example.com", "wrong password", "6.6.6.6")
    with pytest.raises(TooManyAttemptsError):
        auth.sign_in("ana@example.com", PASSWORD, "6.6.6.6")
    assert auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")


def test_failures_are_remembered_in_little_memory(auth: Auth) -> None:
    """An address of megabytes is nobody's, and is not kept whole."""
    for n in range(3):
        with pytest.raises(SignInError):
            auth.sign_in("x" * 1_000_000 + str(n), PASSWORD, "6.6.6.6")
    throttle = auth._throttle
    for kept in (throttle._here, throttle._person):
        assert sum(map(len, kept._failed)) < 1000


def test_guessing_elsewhere_locks_nobody_out(auth: Auth, admin: Session, clock: Clock) -> None:
    """Forty addresses can stop a person in new places only, not where they were before."""
    auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    clock.now += 29 * 24 * 60 * MINUTE
    for n in range(40):
        auth._throttle.check("ana@example.com", f"6.6.6.{n}")
        for _ in range(5):
            auth._throttle.fail("ana@example.com", f"6.6.6.{n}")
    for _ in range(3):
        assert auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    for stranger in ("6.6.6.0", "7.7.7.7"):
        with pytest.raises(TooManyAttemptsError):
            auth.sign_in("ana@example.com", PASSWORD, stranger)
    link = auth.sign_in_link(admin.user.id)
    assert auth.use_sign_in_link(link).user.id == admin.user.id
    clock.now += 15 * MINUTE
    assert auth.sign_in("ana@example.com", PASSWORD, "7.7.7.7")


def test_a_success_elsewhere_gives_a_guesser_nothing(auth: Auth, admin: Session) -> None:
    """The owner's sign-ins do not refill the attempts of others."""
    for _ in range(5):
        with pytest.raises(SignInError):
            auth.sign_in("ana@example.com", "wrong password", "6.6.6.6")
    auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    with pytest.raises(TooManyAttemptsError):
        auth.sign_in("ana@example.com", PASSWORD, "6.6.6.6")
    assert auth._throttle._person.count("ana@example.com") == 5


def test_a_success_forgets_earlier_failures(auth: Auth, admin: Session) -> None:
    """Mistyping now and then never locks anybody out."""
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(SignInError):
                auth.sign_in("ana@example.com", "wrong password", "1.2.3.4")
        assert auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")


def test_each_sign_in_has_a_token_of_its_own(auth: Auth, admin: Session) -> None:
    """Tokens are never reused, and signing out ends only one."""
    first = auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    second = auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    assert len({admin.token, first.token, second.token}) == 3
    auth.sign_out(first.token)
    assert auth.session(first.token) is None
    assert auth.session(second.token) is not None
    assert auth.session("nonsense") is None


def test_sessions_end_by_time_and_by_hand(auth: Auth, admin: Session, clock: Clock) -> None:
    """After a week, or everywhere at once."""
    auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    assert len(auth.sessions(admin.user.id)) == 2
    assert auth.sign_out_everywhere(admin.user.id, admin.user.actor) == 2
    assert auth.session(admin.token) is None
    late = auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    clock.now += 7 * 24 * 60 * MINUTE
    assert auth.session(late.token) is None


def test_use_of_a_session_is_seen_but_not_at_every_page(
    auth: Auth, store: Store, admin: Session, clock: Clock
) -> None:
    """One write in ten minutes is enough."""
    before = auth.sessions(admin.user.id)[0].last_seen_at
    clock.now += 9 * MINUTE
    auth.session(admin.token)
    assert auth.sessions(admin.user.id)[0].last_seen_at == before
    clock.now += 2 * MINUTE
    auth.session(admin.token)
    assert auth.sessions(admin.user.id)[0].last_seen_at == clock.now
    assert auth.user("ana@example.com").last_seen_at == clock.now


def test_a_new_person_comes_in_by_a_setup_link(auth: Auth, admin: Session) -> None:
    """Without a default password; the roles are the given ones."""
    user, token = auth.create_user("bob@b.c", "Bob", {"staging": "editor"}, admin.user.actor)
    assert not user.signed_up
    with pytest.raises(SignInError):
        auth.sign_in("bob@b.c", "", "1.2.3.4")
    session = auth.complete_setup(token, password=PASSWORD)
    assert session.user.email == "bob@b.c"
    assert (role_of(session.user, "staging"), role_of(session.user, "production")) == (
        "editor",
        None,
    )
    with pytest.raises(ConfigError, match="already"):
        auth.create_user("BOB@b.c", "Bob", {}, admin.user.actor)


def test_a_setup_link_for_somebody_known_is_a_new_password(auth: Auth, admin: Session) -> None:
    """Setting it ends the sessions of before."""
    token = auth.setup_link(admin.user.id)
    fresh = auth.complete_setup(token, password="another long one")
    assert auth.session(admin.token) is None
    assert auth.session(fresh.token) is not None
    with pytest.raises(SignInError):
        auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")


def test_a_disabled_person_is_out_at_once(auth: Auth, admin: Session) -> None:
    """Sessions, password, links and roles are worth nothing, until enabled again."""
    user, token = auth.create_user("bob@b.c", "", {"*": "editor"}, admin.user.actor)
    bob = auth.complete_setup(token, password=PASSWORD)
    link = auth.sign_in_link(user.id)
    disabled = auth.disable_user("bob@b.c", admin.user.actor)
    assert role_of(disabled, "production") is None
    assert auth.session(bob.token) is None
    with pytest.raises(SignInError):
        auth.sign_in("bob@b.c", PASSWORD, "1.2.3.4")
    with pytest.raises(SignInError):
        auth.use_sign_in_link(link)
    auth.enable_user("bob@b.c", admin.user.actor)
    assert auth.session(bob.token) is None
    assert auth.sign_in("bob@b.c", PASSWORD, "1.2.3.4")


def test_the_last_admin_stays(auth: Auth, admin: Session) -> None:
    """Nobody can saw off the branch that everybody sits on."""
    me = admin.user.actor
    with pytest.raises(ConfigError, match="last admin"):
        auth.disable_user("ana@example.com", me)
    with pytest.raises(ConfigError, match="last admin"):
        auth.set_roles("ana@example.com", {"*": "viewer"}, me)
    _, token = auth.create_user("bob@b.c", "", {"*": "admin"}, me)
    with pytest.raises(ConfigError, match="last admin"):
        auth.disable_user("ana@example.com", me)  # bob has not been here yet
    auth.complete_setup(token, password=PASSWORD)
    assert dict(auth.set_roles("ana@example.com", {"staging": "viewer"}, me).roles) == {
        "staging": "viewer"
    }


@pytest.mark.parametrize("how", ["roles", "disable"])
def test_of_two_admins_who_shut_each_other_out_one_stays(
    auth: Auth, store: Store, admin: Session, how: str
) -> None:
    """Both are on their way at once: what the first one did counts for the second."""
    _, token = auth.create_user("bo@example.com", "Bo", {"*": "admin"}, admin.user.actor)
    auth.complete_setup(token, password=PASSWORD)

    def shut_out(email: str) -> str:
        try:
            if how == "roles":
                auth.set_roles(email, {"*": "viewer"}, SYSTEM)
            else:
                auth.disable_user(email, SYSTEM)
        except ConfigError as refused:
            return str(refused)
        return "done"

    emails = [user.email for user in auth.users()]
    with ThreadPoolExecutor(2) as threads:
        with store.exclusive():
            both = [threads.submit(shut_out, email) for email in emails]
            wait(both, timeout=0.3)  # they stand at the lock, having looked or not
        found = {one.result().rpartition("last admin")[1] for one in both}
    assert found == {"", "last admin"}
    assert sum(role_of(one, "production") == "admin" for one in auth.users()) == 1


def test_roles_are_checked(auth: Auth, admin: Session) -> None:
    """Unknown roles and environments are refused, and nothing is left of them."""
    with pytest.raises(ConfigError, match="no role"):
        auth.create_user("bob@b.c", "", {"*": "boss"}, admin.user.actor)  # type: ignore[dict-item]
    with pytest.raises(NotFoundError):
        auth.create_user("bob@b.c", "", {"nowhere": "viewer"}, admin.user.actor)
    assert len(auth.users()) == 1


def test_a_password_can_be_changed_by_its_owner(auth: Auth, admin: Session) -> None:
    """Who knows the old one; other browsers are signed out."""
    other = auth.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    with pytest.raises(SignInError):
        auth.change_password(admin, "wrong password", "another long one")
    with pytest.raises(ConfigError):
        auth.change_password(admin, PASSWORD, "short")
    fresh = auth.change_password(admin, PASSWORD, "another long one")
    assert [auth.session(one.token) is None for one in (admin, other, fresh)] == [True, True, False]


def test_a_password_can_be_set_by_an_operator(auth: Auth, admin: Session) -> None:
    """The command line's way in; it is written down."""
    auth.set_password("ana@example.com", "another long one", Actor("command", "root"))
    assert auth.session(admin.token) is None
    assert auth.sign_in("ana@example.com", "another long one", "1.2.3.4")
    with pytest.raises(NotFoundError):
        auth.set_password("nobody@b.c", "another long one", SYSTEM)


@pytest.mark.parametrize("how", ["set", "change", "setup", "disable"])
def test_a_new_password_ends_the_links_that_are_open(auth: Auth, admin: Session, how: str) -> None:
    """Whoever holds one from before does not come in by it; nor after the person was shut out."""
    user, setup = auth.create_user("bo@example.com", "Bo", {}, admin.user.actor)
    session = auth.complete_setup(setup, password=PASSWORD)
    old, way_in, fresh = auth.setup_link(user.id), auth.sign_in_link(user.id), ""
    if how == "set":
        auth.set_password("bo@example.com", "another password", SYSTEM)
    elif how == "change":
        auth.change_password(session, PASSWORD, "another password")
    elif how == "setup":
        auth.complete_setup(old, password="another password")
    else:
        auth.disable_user("bo@example.com", SYSTEM)
        auth.enable_user("bo@example.com", SYSTEM)
        fresh = auth.setup_link(user.id)
    assert auth.link(old) is None
    with pytest.raises(SignInError):
        auth.use_sign_in_link(way_in)
    assert not fresh or auth.link(fresh) is not None


def test_weak_hashes_are_renewed_at_sign_in(auth: Auth, store: Store, admin: Session) -> None:
    """A stronger setting reaches everyone who comes by."""
    stronger = Auth(store, hasher=PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    old = store.people.password(admin.user.id)
    stronger.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    new = store.people.password(admin.user.id)
    assert old != new
    assert "t=2" in (new or "")
    assert stronger.sign_in("ana@example.com", PASSWORD, "1.2.3.4")


class Meanwhile(PasswordHasher):
    """Something happens while a password is checked, once."""

    happens: Callable[[], object] | None = None

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return super().verify(hash, password)


@pytest.mark.parametrize("settings", [{"time_cost": 1}, {"time_cost": 2}])
@pytest.mark.parametrize("how", ["sign_in", "change"])
def test_a_password_that_is_replaced_while_it_is_checked_opens_nothing(
    auth: Auth, store: Store, admin: Session, how: str, settings: dict[str, int]
) -> None:
    """Its sessions have ended by then; and the old one never comes back, not as a better hash."""
    hasher = Meanwhile(memory_cost=8, parallelism=1, **settings)
    slow = Auth(store, hasher=hasher)
    hasher.happens = lambda: auth.set_password("ana@example.com", "another long one", SYSTEM)
    with pytest.raises(SignInError):
        if how == "sign_in":
            slow.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
        else:
            slow.change_password(admin, PASSWORD, "one of a thief")
    assert store.people.sessions(admin.user.id) == []
    assert auth.sign_in("ana@example.com", "another long one", "1.2.3.4")


def test_a_password_that_only_gets_a_better_hash_meanwhile_is_still_right(
    auth: Auth, store: Store, admin: Session
) -> None:
    """Two browsers sign in at once after an update."""
    hasher = Meanwhile(time_cost=2, memory_cost=8, parallelism=1)
    slow = Auth(store, hasher=hasher)
    hasher.happens = lambda: slow.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    assert slow.sign_in("ana@example.com", PASSWORD, "1.2.3.4")
    assert len(store.people.sessions(admin.user.id)) == 3


def test_the_standard_hash_is_argon2id(store: Store) -> None:
    """Without a setting the library's recommended parameters hold."""
    real = Auth(store)
    session = real.complete_setup(real.setup_link(None), password=PASSWORD, email="a@b.c")
    hashed = store.people.password(session.user.id) or ""
    assert hashed.startswith("$argon2id$v=19$m=65536,")


def test_a_sign_in_link_works_once_within_an_hour(auth: Auth, admin: Session, clock: Clock) -> None:
    """What the demo prints."""
    token = auth.sign_in_link(admin.user.id)
    assert auth.link(token) is None  # it sets no passwords
    assert auth.use_sign_in_link(token).user.id == admin.user.id
    with pytest.raises(SignInError):
        auth.use_sign_in_link(token)
    late = auth.sign_in_link(admin.user.id)
    clock.now += 60 * MINUTE
    with pytest.raises(SignInError):
        auth.use_sign_in_link(late)
    with pytest.raises(SignInError):
        auth.use_sign_in_link(auth.setup_link(admin.user.id))


def test_roles_of_people_and_keys(auth: Auth, store: Store, admin: Session) -> None:
    """The higher of the role everywhere and the role here; keys have theirs where they cover."""
    user, _ = auth.create_user("b@b.c", "", {"*": "viewer", "staging": "admin"}, admin.user.actor)
    assert (role_of(user, "staging"), role_of(user, "production")) == ("admin", "viewer")
    key, _ = store.create_key("staging", "admin", "ci", SYSTEM, role="editor")
    assert (role_of(key, "staging"), role_of(key, "production")) == ("editor", None)
    server, _ = store.create_key("staging", "server", "app", SYSTEM)
    assert role_of(server, "staging") is None


def test_sign_ins_and_changes_of_people_are_written_down(
    auth: Auth, store: Store, admin: Session
) -> None:
    """The ledger tells who came in and who changed whom, and no secret."""
    auth.create_user("bob@b.c", "", {"staging": "viewer"}, admin.user.actor)
    auth.set_roles("bob@b.c", {"staging": "editor"}, admin.user.actor)
    rows = store.audit(limit=5)
    assert [row.action for row in rows] == [
        "set-roles",
        "create-user",
        "sign-in",
        "set-password",
        "create-user",
    ]
    assert {row.actor.name for row in rows} == {"ana@example.com"}
    assert store.verify().ok

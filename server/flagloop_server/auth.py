"""Who may do what: passwords, sessions, one-time links, roles.

Tokens (session cookies, links) are 32 random bytes and stored as SHA-256; passwords are stored
as argon2id. Times are epoch milliseconds.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Literal, TypeAlias

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from flagloop.errors import ConfigError, FlagloopError, NotFoundError
from flagloop_server.store import (
    EVERYWHERE,
    SYSTEM,
    Actor,
    KeyInfo,
    Link,
    LinkPurpose,
    Role,
    SessionRow,
    Store,
    User,
    hash_key,
)

Action: TypeAlias = Literal["view", "edit", "kill", "admin"]

_MAY: Mapping[Role, frozenset[str]] = {
    "viewer": frozenset({"view"}),
    "editor": frozenset({"view", "edit", "kill"}),
    "admin": frozenset({"view", "edit", "kill", "admin"}),
}
_RANK: Mapping[Role, int] = {"viewer": 0, "editor": 1, "admin": 2}

MINUTE = 60_000
FIRST_ENVIRONMENTS = {"development": False, "production": True}
"""What a first start makes, and whether it is marked as production."""

SESSION_LIFE = 7 * 24 * 60 * MINUTE
SETUP_LIFE = 24 * 60 * MINUTE
SIGN_IN_LIFE = 60 * MINUTE
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 1_000
LONGEST_EMAIL = 255

_SEEN_EVERY = 10 * MINUTE
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_HASHES_AT_ONCE = 2


class SignInError(FlagloopError):
    """No entry; the text does not say whether the person, the password or the link is wrong."""


class TooManyAttemptsError(FlagloopError):
    """Too many failed sign-ins; try again after `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many failed attempts; try again in {round(retry_after)} s")


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. `token` goes into the cookie and is stored nowhere else."""

    token: str
    user: User
    expires_at: int


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the first start made: secrets by environment, and the first admin's setup token.

    Later starts make nothing, but a new token as long as nobody can sign in.
    """

    keys: Mapping[str, str]
    setup_token: str | None


def allows(role: Role | None, action: Action) -> bool:
    """Whether the role may `view`, `edit`, `kill` or `admin` (keys, people, environments)."""
    return role is not None and action in _MAY[role]


def role_of(who: User | KeyInfo, environment: str) -> Role | None:
    """The role of a person or an admin key in an environment; the higher of `*` and its own."""
    if isinstance(who, KeyInfo):
        return who.role if who.covers(environment) else None
    if who.disabled_at is not None:
        return None
    roles = [who.roles[key] for key in (EVERYWHERE, environment) if key in who.roles]
    return max(roles, key=_RANK.__getitem__, default=None)


def csrf_token(secret: str) -> str:
    """The token for forms of the browser that holds `secret` (its session or a cookie)."""
    return hmac.new(secret.encode(), b"flagloop csrf", sha256).hexdigest()


def check_csrf(secret: str, token: str) -> bool:
    """Whether a form's token belongs to `secret`, in constant time."""
    return hmac.compare_digest(csrf_token(secret).encode(), token.encode("utf-8", "replace"))


class Attempts:
    """Counts attempts by name in a sliding window, in memory, bounded."""

    def __init__(
        self, clock: Callable[[], int], *, most: int, window: int = 15 * MINUTE, names: int = 10_000
    ) -> None:
        self._clock = clock
        self._most = most
        self._window = window
        self._names = names
        self._failed: OrderedDict[str, list[int]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Raises TooManyAttemptsError while `name` has used up its attempts."""
        with self._lock:
            failed = self._recent(name)
            if len(failed) >= self._most:
                raise TooManyAttemptsError((failed[0] + self._window - self._clock()) / 1000)

    def count(self, name: str) -> int:
        """How many there were, up to `most`."""
        with self._lock:
            return len(self._recent(name))

    def fail(self, name: str) -> None:
        """Count one."""
        with self._lock:
            self._failed[name] = [*self._recent(name), self._clock()][-self._most :]
            self._failed.move_to_end(name)
            while len(self._failed) > self._names:
                self._failed.popitem(last=False)

    def forget(self, name: str) -> None:
        """A success: start anew."""
        with self._lock:
            self._failed.pop(name, None)

    def _recent(self, name: str) -> list[int]:
        since = self._clock() - self._window
        return [at for at in self._failed.get(name, ()) if at > since]


class Throttle:
    """Who may try a password: guessing stays hopeless, and nobody can lock another person out.

    Three counts of failures in 15 minutes, each of which has to have room:

    - 5 for a person from one place. A place is an IPv4 address or the /64 of an IPv6 one, which
      is what a subscriber gets. This is the hard one, and it stops only who guesses there.
    - 30 for a place, over all people, so that one password cannot be tried on everybody.
    - 200 for a person from everywhere, against many places at once (40 to reach it). It does not
      hold where the person signed in within 30 days: who floods an account from elsewhere must
      not keep its owner from a kill at night. Nor does it hold for one-time links, which an
      operator prints with `flagloop users passwd --link`.

    So at most 19,200 guesses a day at one account, 7 million a year. The 10 characters that a
    password has at least are more than 10^14 even if they are lower-case letters only; what
    such a rate can find is one of the commonest passwords, and that takes many places and shows.
    All is kept in memory, bounded: a restart forgives.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._here = Attempts(clock, most=5)
        self._place = Attempts(clock, most=30)
        self._person = Attempts(clock, most=200)
        self._at_home = Attempts(clock, most=1, window=30 * 24 * 60 * MINUTE)

    def check(self, email: str, address: str) -> None:
        """Raises TooManyAttemptsError."""
        place = place_of(address)
        here = f"{place} {email}"
        self._here.check(here)
        self._place.check(place)
        if not self._at_home.count(here):
            self._person.check(email)

    def fail(self, email: str, address: str) -> None:
        """A wrong password."""
        place = place_of(address)
        self._here.fail(f"{place} {email}")
        self._place.fail(place)
        self._person.fail(email)

    def succeed(self, email: str, address: str) -> None:
        """The right one: mistyping before it is forgotten, but no failures from elsewhere."""
        here = f"{place_of(address)} {email}"
        self._here.forget(here)
        self._at_home.fail(here)


def place_of(address: str) -> str:
    """Where an address is, as far as one sender can change it: of IPv6 the /64."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:LONGEST_EMAIL]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)


class Auth:
    """Signs people in and out. Threads may share it."""

    def __init__(self, store: Store, *, hasher: PasswordHasher | None = None) -> None:
        self._store = store
        self._people = store.people
        self._hasher = hasher or PasswordHasher()
        # argon2 takes 64 MB for each password: a crowd at the door must not exhaust the memory
        self._hashing = threading.BoundedSemaphore(_HASHES_AT_ONCE)
        self._throttle = Throttle(store.clock)
        self._changes = Attempts(store.clock, most=5)

    @cached_property
    def _decoy(self) -> str:
        """What an unknown person's password is checked against; a hash, so not made at start."""
        return self._hash(secrets.token_urlsafe(16))

    # Sessions

    def sign_in(self, email: str, password: str, address: str) -> Session:
        """A new session for the right password; `address` is where the browser comes from.

        Raises SignInError, and TooManyAttemptsError as Throttle says.
        """
        email = email.strip().lower()[: LONGEST_EMAIL + 1]  # a longer one is nobody's; it is kept
        self._throttle.check(email, address)
        decoy = self._decoy  # first, so that it tells nothing by its time
        user = self._user(email)
        hashed = self._people.password(user.id) if user is not None else None
        right = self._verify(hashed or decoy, password)
        if user is None or hashed is None or not right or user.disabled_at is not None:
            self._throttle.fail(email, address)
            raise SignInError("the address or the password is wrong")
        self._throttle.succeed(email, address)
        fresh = self._hash(password) if self._hasher.check_needs_rehash(hashed) else None
        with self._store.exclusive():
            if self._people.password(user.id) == hashed:
                if fresh is not None:
                    self._people.set_password(user.id, fresh, user.actor, note=False)
                return self._open(user)
        return self.sign_in(email, password, address)  # another was set while this was checked

    def session(self, token: str) -> Session | None:
        """The session of a cookie, None when it is over or its person is disabled."""
        found = self._found(token)
        if found is None:
            return None
        row, user = found
        if self._store.clock() - row.last_seen_at >= _SEEN_EVERY:
            self._people.touch_session(row)
        return Session(token, user, row.expires_at)

    def is_signed_in(self, token: str) -> bool:
        """Whether `session` would find one; writes nothing, so that it never waits for a lock."""
        return self._found(token) is not None

    def _found(self, token: str) -> tuple[SessionRow, User] | None:
        row = self._people.session(hash_key(token))
        if row is None or row.expires_at <= self._store.clock():
            return None
        user = self._people.get(row.user_id)
        return None if user.disabled_at is not None else (row, user)

    def sessions(self, user_id: int) -> list[SessionRow]:
        """The open sessions of a person."""
        return self._people.sessions(user_id)

    def sign_out(self, token: str) -> None:
        """End one session."""
        self._people.end_session(hash_key(token))

    def sign_out_everywhere(self, user_id: int, actor: Actor) -> int:
        """End every session of a person; returns how many there were."""
        ended = self._people.end_sessions(user_id)
        self._people.note(actor, "sign-out-everywhere", self._people.get(user_id).email)
        return ended

    # One-time links

    def setup_link(self, user_id: int | None) -> str:
        """A token to set a password with, for 24 hours; an older one ends.

        `user_id` None is for the first admin, who also says the address.
        """
        return self._link("setup", user_id, SETUP_LIFE)

    def sign_in_link(self, user_id: int) -> str:
        """A token that signs a person in once, within an hour."""
        return self._link("sign_in", user_id, SIGN_IN_LIFE)

    def link(self, token: str, purpose: LinkPurpose = "setup") -> Link | None:
        """The link of a token if it can still be used; looking does not use it up."""
        return self._people.link(hash_key(token), purpose)

    def complete_setup(
        self, token: str, *, password: str, email: str = "", name: str = ""
    ) -> Session:
        """Set the password by a setup link and sign in; other sessions of the person end.

        The first admin gives `email` too. Raises SignInError for a link that is used up or
        expired, ConfigError for a password or an address that will not do (the link stays good).
        """
        link = self.link(token)
        if link is None:
            raise SignInError("this link was used already or has expired; ask for a new one")
        check_password(password)
        email = check_email(email) if link.user_id is None else ""
        hashed = self._hash(password)
        with self._store.exclusive():  # whatever fails leaves the link good
            if not self._people.use_link(link):
                raise SignInError("this link was used already or has expired; ask for a new one")
            if link.user_id is None:
                user = self._first_admin(email, name)
            else:
                user = self._people.get(link.user_id)
            if user.disabled_at is not None:
                raise SignInError("this person is disabled")
            self._people.set_password(user.id, hashed, user.actor)
            self._people.end_sessions(user.id)
            return self._open(user)

    def use_sign_in_link(self, token: str) -> Session:
        """Sign in by a one-time link; SignInError if it is used up or expired."""
        link = self.link(token, "sign_in")
        with self._store.exclusive():
            if link is None or link.user_id is None or not self._people.use_link(link):
                raise SignInError("this link was used already or has expired")
            user = self._people.get(link.user_id)
            if user.disabled_at is not None:
                raise SignInError("this person is disabled")
            return self._open(user)

    # People

    def users(self) -> list[User]:
        """Everyone, oldest first."""
        return self._people.all()

    def user(self, email: str) -> User:
        """The person of an address; NotFoundError if there is none."""
        return self._people.by_email(email.strip())

    def create_user(
        self, email: str, name: str, roles: Mapping[str, Role], actor: Actor
    ) -> tuple[User, str]:
        """A new person, and the token of their setup link. `roles`: environment or `*` -> role."""
        user = self._people.create(check_email(email), name, roles, actor)
        return user, self.setup_link(user.id)

    def set_password(self, email: str, password: str, actor: Actor) -> None:
        """Set somebody's password; their sessions and open links end."""
        check_password(password)
        user, hashed = self.user(email), self._hash(password)
        with self._store.exclusive():
            self._people.set_password(user.id, hashed, actor)
            self._people.end_sessions(user.id)

    def change_password(self, session: Session, old: str, new: str) -> Session:
        """Change one's own password: all sessions and open links end, a new session is opened.

        Raises SignInError when `old` is wrong (TooManyAttemptsError after 5 times, which only
        who is signed in can reach), ConfigError when `new` will not do.
        """
        user = session.user
        self._changes.check(user.email)
        hashed = self._people.password(user.id)
        if not self._verify(hashed or self._decoy, old):
            self._changes.fail(user.email)
            raise SignInError("the present password is wrong")
        check_password(new)
        fresh = self._hash(new)
        with self._store.exclusive():
            if self._people.password(user.id) == hashed:
                self._people.set_password(user.id, fresh, user.actor)
                self._people.end_sessions(user.id)
                return self._open(user)
        return self.change_password(session, old, new)

    def set_roles(self, email: str, roles: Mapping[str, Role], actor: Actor) -> User:
        """Replace somebody's roles; the last admin of everything cannot be taken away.

        Other roles end the person's sessions: whoever got hold of one gains nothing by it.
        """
        with self._store.exclusive():  # or two admins could take it from each other
            user = self.user(email)
            if roles.get(EVERYWHERE) != "admin":
                self._keep_an_admin(user)
            if dict(roles) != dict(user.roles):
                self._people.end_sessions(user.id)
            return self._people.set_roles(user.id, roles, actor)

    def disable_user(self, email: str, actor: Actor) -> User:
        """Shut somebody out at once; their sessions end."""
        with self._store.exclusive():
            user = self.user(email)
            self._keep_an_admin(user)
            return self._people.set_disabled(user.id, actor, disabled=True)

    def enable_user(self, email: str, actor: Actor) -> User:
        """Let somebody in again."""
        return self._people.set_disabled(self.user(email).id, actor, disabled=False)

    def _keep_an_admin(self, user: User) -> None:
        admins = [one for one in self.users() if _is_admin(one)]
        if [one.id for one in admins] == [user.id]:
            raise ConfigError(f"'{user.email}' is the last admin of every environment")

    def _first_admin(self, email: str, name: str) -> User:
        if self._people.any_signed_up():
            raise SignInError("there is somebody already; ask them to let you in")
        actor = Actor("person", email)
        return self._people.create(email, name, {EVERYWHERE: "admin"}, actor)

    def _link(self, purpose: LinkPurpose, user_id: int | None, life: int) -> str:
        token = secrets.token_urlsafe(32)
        expires_at = self._store.clock() + life
        self._people.add_link(hash_key(token), purpose, user_id, expires_at)
        return token

    def _open(self, user: User) -> Session:
        token = secrets.token_urlsafe(32)
        expires_at = self._store.clock() + SESSION_LIFE
        self._people.add_session(hash_key(token), user.id, expires_at)
        self._people.note(user.actor, "sign-in", user.email)
        return Session(token, user, expires_at)

    def _user(self, email: str) -> User | None:
        try:
            return self._people.by_email(email)
        except NotFoundError:
            return None

    def _hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    def _verify(self, hashed: str, password: str) -> bool:
        if len(password) > LONGEST_PASSWORD:
            return False
        with self._hashing:
            try:
                return self._hasher.verify(hashed, password)
            except (VerificationError, InvalidHashError):
                return False


def check_password(password: str) -> None:
    """Raises ConfigError for a password that will not do."""
    if len(password) < SHORTEST_PASSWORD:
        raise ConfigError(f"a password needs at least {SHORTEST_PASSWORD} characters")
    if len(password) > LONGEST_PASSWORD:
        raise ConfigError(f"a password has at most {LONGEST_PASSWORD:,} characters")


def check_email(email: str) -> str:
    """The address in its stored form; ConfigError when it is none."""
    found = email.strip().lower()
    if not _EMAIL.fullmatch(found):
        raise ConfigError(f"'{found}' is no e-mail address")
    return found


def first_start(store: Store, auth: Auth) -> FirstStart:
    """Make what a new store lacks: two environments, a server key for each, a setup link."""
    keys: dict[str, str] = {}
    with store.exclusive():
        if not store.environments(archived=True):
            for key, production in FIRST_ENVIRONMENTS.items():
                store.create_environment(key, SYSTEM, production=production)
                _, keys[key] = store.create_key(key, "server", "first server key", SYSTEM)
        token = None if store.people.any_signed_up() else auth.setup_link(None)
    return FirstStart(keys, token)


def _is_admin(user: User) -> bool:
    return user.roles.get(EVERYWHERE) == "admin" and user.disabled_at is None and user.signed_up

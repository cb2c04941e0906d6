"""Who is asking: a bearer key or a signed-in person."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import Response, g, request
from werkzeug.exceptions import Unauthorized
from werkzeug.http import parse_cookie

from flagloop.errors import ForbiddenError
from flagloop_server.auth import Action, Auth, Session, allows, role_of
from flagloop_server.store import EVERYWHERE, Actor, KeyInfo, Role, User, hash_key
from flagloop_server.web import application

SESSION_COOKIE = "flagloop_session"
ROLES: tuple[Role, ...] = ("viewer", "editor", "admin")
LONGEST = 200
"""A longer bearer token is no key of ours and is not hashed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody known: exactly one of `key` and `session` is set."""

    key: KeyInfo | None = None
    session: Session | None = None

    @property
    def user(self) -> User | None:
        """The signed-in person; None for a key."""
        return self.session.user if self.session is not None else None

    @property
    def actor(self) -> Actor:
        """Who the ledger names."""
        if self.user is not None:
            return self.user.actor
        assert self.key is not None
        return Actor("key", f"{self.key.name} (key {self.key.id})")

    def role(self, environment: str) -> Role | None:
        """The role in that environment; None without any."""
        holder = self.user if self.user is not None else self.key
        assert holder is not None
        return role_of(holder, environment)

    def may(self, action: Action, environment: str) -> bool:
        """Whether the role allows `action` (view, edit, kill, admin) there."""
        return allows(self.role(environment), action)


def identity() -> Identity | None:
    """Who sent this request; an Authorization header, also a wrong one, hides the session."""
    if "identity" not in g:
        g.identity = by_key() if "Authorization" in request.headers else by_session()
    found: Identity | None = g.identity
    return found


def by_key() -> Identity | None:
    """The admin key of the Authorization header."""
    scheme, _, secret = request.headers["Authorization"].partition(" ")
    if scheme.lower() != "bearer" or len(secret) > LONGEST:
        return None
    app = application()
    key = app.store.find_key(hash_key(secret.strip()))
    now = time.time_ns() // 1_000_000
    if key is None or key.kind != "admin" or not key.active(now):
        return None
    app.edge.used[key.id] = now
    return Identity(key=key)


def by_session() -> Identity | None:
    """The person of the session cookie."""
    token = request.cookies.get(SESSION_COOKIE)
    session = application().auth.session(token) if token else None
    return Identity(session=session) if session is not None else None


def has_session(auth: Auth, cookies: bytes) -> bool:
    """Whether a Cookie header has the cookie of an open session; for before there is a request."""
    token = parse_cookie(cookies.decode("latin-1")).get(SESSION_COOKIE)
    return token is not None and auth.is_signed_in(token)


def known() -> Identity:
    """Who is asking; raises Unauthorized."""
    found = identity()
    if found is None:
        raise Unauthorized("sign in, or send 'Authorization: Bearer fl_adm_...'")
    return found


def require(action: Action, environment: str) -> Identity:
    """Who is asking, if `action` is allowed there; raises Unauthorized or ForbiddenError."""
    found = known()
    if not found.may(action, environment):
        role = found.role(environment)
        who = "you are" if found.key is None else "this key is"
        have = f"{who} {role} there" if role else "you have no role there"
        if role is None and found.key is not None:
            have = f"this key is for {', '.join(found.key.environments)}"
        mend = _mend(found, action, environment)
        raise ForbiddenError(f"'{action}' in {environment} is not allowed: {have}; {mend}")
    return found


def _mend(who: Identity, action: Action, environment: str) -> str:
    role = next(one for one in ROLES if allows(one, action))
    if who.key is None:
        return f"an admin can make you {role} there, under People"
    return (
        "make another on the server: "
        f"flagloop keys create --kind admin --env {environment} --role {role}"
    )


def require_server_admin() -> Identity:
    """Who is asking, if they are admin of every environment, also of those made later.

    What is the server's and not one environment's needs it: people, and which environments
    there are and what they are called.
    """
    return require("admin", EVERYWHERE)


def public_url() -> str:
    """The address under which people and applications reach this server."""
    return (application().config.url or request.host_url).rstrip("/")


def start_session(response: Response, token: str) -> None:
    """Put the session's token into its cookie; the one that the browser had before ends."""
    before = request.cookies.get(SESSION_COOKIE)
    if before and before != token:
        application().auth.sign_out(before)
    response.set_cookie(
        SESSION_COOKIE,
        token,
        httponly=True,
        samesite="Lax",
        secure=application().config.secure_cookies or request.is_secure,
        path="/",
    )


def end_session(response: Response) -> None:
    """Delete the session's cookie."""
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="Lax")

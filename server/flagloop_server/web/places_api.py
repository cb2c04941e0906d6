"""The admin API around documents: who am I, environments, keys, people, the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
from flask import Blueprint
from msgspec import UNSET, UnsetType

from flagloop.errors import ConfigError, ForbiddenError, NotFoundError
from flagloop_server.auth import allows
from flagloop_server.store import EVERYWHERE, KeyInfo, Role
from flagloop_server.web import application, records, wire
from flagloop_server.web.audit import audit_rows, exported_rows
from flagloop_server.web.identity import Identity, public_url
from flagloop_server.web.rest import operation

blueprint = Blueprint("places", __name__, url_prefix="/api/v1/admin")


class Archived(wire.Query, frozen=True):
    """With `archived` those that were archived too."""

    archived: bool = False


class Revoked(wire.Query, frozen=True):
    """With `revoked` those that were revoked too."""

    revoked: bool = False


class Ledger(wire.SeekingPage, frozen=True):
    """Rows of one environment, about one target, by somebody, of a time; `before` is a `seq`."""

    environment: str | None = None
    target: str | None = None


class LedgerOf(wire.Seeking, frozen=True):
    """Rows of one environment, else of all that the asker may see; from `after` (a `seq`) on."""

    environment: str | None = None
    target: str | None = None
    after: wire.Number = 0


class Head(wire.Query, frozen=True):
    """A head that was kept elsewhere, as hex: the chain must contain it."""

    head: str | None = None


class NewEnvironment(wire.Body, frozen=True):
    """An environment to be made."""

    key: str
    production: bool = False


class EditEnvironment(wire.Body, frozen=True):
    """What is to be another: left out stays."""

    key: str | None = None
    production: bool | None = None
    archived: bool | None = None


class NewKey(wire.Body, frozen=True):
    """A key to be made; `role` is for admin keys, `expires_at` is in epoch ms."""

    kind: Literal["server", "client", "admin"]
    name: str
    role: Role | None = None
    expires_at: wire.Number | None = None


class NewPerson(wire.Body, frozen=True):
    """Somebody to be invited; `roles` maps environments (`*`: every one) to roles."""

    email: str
    name: str = ""
    roles: dict[str, Role] = msgspec.field(default_factory=dict)


class EditPerson(wire.Body, frozen=True):
    """What is to be another: left out stays. `roles` replaces all roles of the person."""

    roles: dict[str, Role] | None = None
    disabled: bool | None = None


class Whoami(records.Record, frozen=True):
    """The key or person of this request; `environments` are those that it may see.

    `environment` and `role` are those of a key with one environment, `roles` those of a person.
    """

    kind: Literal["person", "admin"]
    id: int
    name: str
    environment: str | None
    role: str | None
    environments: list[str]
    roles: dict[str, str] | UnsetType = UNSET


class Ended(records.Record, frozen=True):
    """How many sessions were ended."""

    ended: int


@operation(blueprint.get, "/whoami", may="known")
def whoami(who: Identity) -> Whoami:
    """The key or person of this request and what it may touch."""
    places = [e.key for e in application().store.environments() if who.may("view", e.key)]
    if who.user is not None:
        user = who.user
        roles: dict[str, str] = {**user.roles}
        return Whoami("person", user.id, user.name, None, None, places, roles)
    assert who.key is not None
    key = who.key
    return Whoami("admin", key.id, key.name, key.environment, key.role, places)


@operation(blueprint.get, "/environments", may="known")
def environments(who: Identity, query: Archived) -> records.Environments:
    """The environments that the asker may see."""
    listed = application().store.environments(archived=query.archived)
    seen = [records.environment(item) for item in listed if who.may("view", item.key)]
    return records.Environments(seen)


@operation(blueprint.post, "/environments", may="server", status=201)
def create_environment(who: Identity, body: NewEnvironment) -> records.Environment:
    """Make an environment, empty."""
    app = application()
    made = app.store.create_environment(body.key, who.actor, production=body.production)
    app.publisher.refresh()
    return records.environment(made)


@operation(blueprint.get, "/environments/<env>", may="view")
def environment(env: str) -> records.Environment:
    """One environment."""
    return records.environment(application().store.environment(env))


@operation(blueprint.patch, "/environments/<env>", may="server")
def edit_environment(env: str, who: Identity, body: EditEnvironment) -> records.Environment:
    """Mark as production, archive or bring back, rename (in this order)."""
    app, store = application(), application().store
    with store.exclusive():  # whatever is refused leaves the rest as it was
        if body.production is not None:
            store.set_production(env, body.production, who.actor)
        if body.archived is not None:
            move = store.archive_environment if body.archived else store.unarchive_environment
            move(env, who.actor)
        if body.key is not None:
            store.rename_environment(env, body.key, who.actor)
    app.publisher.refresh()
    return records.environment(store.environment(env if body.key is None else body.key))


@operation(blueprint.get, "/environments/<env>/keys", may="admin")
def keys(env: str, query: Revoked) -> records.Keys:
    """The keys of an environment, without their secrets."""
    listed = application().store.keys(env, revoked=query.revoked)
    return records.Keys([records.key(item) for item in listed])


@operation(blueprint.post, "/environments/<env>/keys", may="admin", status=201)
def create_key(env: str, who: Identity, body: NewKey) -> records.MadeKey:
    """Make a key; `key` of the answer is the secret, shown this once."""
    app = application()
    if body.expires_at is not None and body.expires_at <= app.store.clock():
        raise ConfigError("expires_at has passed already; it is in epoch milliseconds")
    made, secret = app.store.create_key(
        env, body.kind, body.name, who.actor, role=body.role, expires_at=body.expires_at
    )
    app.publisher.refresh()
    return records.made_key(made, secret)


@operation(blueprint.delete, f"/keys/<{wire.INTEGER}:key_id>", may="known")
def revoke_key(key_id: int, who: Identity) -> records.Key:
    """Revoke a key at once; it needs the role admin wherever the key is good."""
    app = application()
    key = next((item for item in app.store.keys(revoked=True) if item.id == key_id), None)
    if key is None or not any(who.may("view", env) for env in key.environments):
        raise NotFoundError(f"no key {key_id}")
    may_revoke(who, key)
    revoked = app.store.revoke_key(key_id, who.actor)
    app.publisher.refresh()
    return records.key(revoked)


def may_revoke(who: Identity, key: KeyInfo) -> None:
    """Raise ForbiddenError unless `who` is admin wherever `key` is good."""
    if not all(allows(who.role(env), "admin") for env in key.environments):
        raise ForbiddenError(f"revoking key {key.id} needs the role admin")


@operation(blueprint.get, "/people", may="server")
def people() -> records.People:
    """Everyone who may sign in, and their roles."""
    return records.People([records.person(user) for user in application().auth.users()])


@operation(blueprint.post, "/people", may="server", status=201)
def invite(who: Identity, body: NewPerson) -> records.Invited:
    """Make a person; `setup_link` of the answer lets them set a password, once."""
    _check_places(body.roles)
    user, token = application().auth.create_user(body.email, body.name, body.roles, who.actor)
    return records.Invited(records.person(user), _setup_link(token))


@operation(blueprint.patch, "/people/<path:email>", may="server")
def edit_person(email: str, who: Identity, body: EditPerson) -> records.Person:
    """Give other roles, shut out, let in again."""
    app, auth = application(), application().auth
    with app.store.exclusive():  # whatever is refused leaves the rest as it was
        user = auth.user(email)
        if body.roles is not None:
            _check_places(body.roles)
            user = auth.set_roles(email, body.roles, who.actor)
        if body.disabled is not None:
            change = auth.disable_user if body.disabled else auth.enable_user
            user = change(email, who.actor)
    return records.person(user)


@operation(blueprint.post, "/people/<path:email>/setup-link", may="server", status=201)
def setup_link(email: str) -> records.Invited:
    """A new one-time address to set a password; an older one ends."""
    auth = application().auth
    user = auth.user(email)
    return records.Invited(records.person(user), _setup_link(auth.setup_link(user.id)))


@operation(blueprint.delete, "/people/<path:email>/sessions", may="server")
def end_sessions(email: str, who: Identity) -> Ended:
    """Sign a person out of every browser."""
    auth = application().auth
    return Ended(auth.sign_out_everywhere(auth.user(email).id, who.actor))


@operation(blueprint.get, "/audit", may="known")
def audit(query: Ledger) -> records.Ledger:
    """The ledger, newest first: rows of the environments that the asker may see."""
    rows = audit_rows(
        limit=query.size,
        before=query.before,
        environment=query.environment,
        target=query.target,
        sought=query.sought,
    )
    return records.Ledger([records.ledger_row(row) for row in rows])


@operation(blueprint.get, "/reports/audit", may="known")
def export_audit(query: LedgerOf) -> Iterator[records.LedgerRow]:
    """The ledger as JSON lines, oldest first, from `after` on."""
    rows = exported_rows(
        after=query.after,
        environment=query.environment,
        target=query.target,
        sought=query.sought,
    )
    return (records.ledger_row(row) for row in rows)


@operation(blueprint.get, "/reports/audit/verify", may="server")
def verify_audit(query: Head) -> records.Verification:
    """Walk along the whole hash chain; with `head` it must contain that digest."""
    found = application().store.verify(query.head)
    return records.Verification(found.ok, found.rows, found.head, list(found.problems))


def _check_places(roles: dict[str, Role]) -> None:
    """Raises NotFoundError for a role in an environment that there is not."""
    if len(roles) > 1_000:
        raise ConfigError("a person has at most 1,000 roles")
    for environment in roles:
        if environment != EVERYWHERE:
            application().store.environment(environment)


def _setup_link(token: str) -> str:
    return f"{public_url()}/setup/{token}"

"""The admin API around documents: who am I, environments, keys, the ledger."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint, request

from flagloop.errors import ForbiddenError, NotFoundError
from flagloop_server.auth import allows
from flagloop_server.store import KeyInfo
from flagloop_server.web import application, wire
from flagloop_server.web.audit import audit_rows
from flagloop_server.web.identity import Identity, known, require, require_server_admin

blueprint = Blueprint("places", __name__, url_prefix="/api/v1/admin")


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
    role: Literal["viewer", "editor", "admin"] | None = None
    expires_at: wire.Number | None = None


@blueprint.get("/whoami")
def whoami() -> dict[str, Any]:
    """The key or person of this request and what it may touch."""
    who = known()
    places = [e.key for e in application().store.environments() if who.may("view", e.key)]
    if who.user is not None:
        return {
            "kind": "person",
            "id": who.user.id,
            "name": who.user.name,
            "environment": None,
            "role": None,
            "roles": dict(who.user.roles),
            "environments": places,
        }
    assert who.key is not None
    return {
        "kind": who.key.kind,
        "id": who.key.id,
        "name": who.key.name,
        "environment": who.key.environment,
        "role": who.key.role,
        "environments": places,
    }


@blueprint.get("/environments")
def environments() -> dict[str, Any]:
    """The environments that the caller may see (`?archived=1`: archived ones too)."""
    who = known()
    everything = application().store.environments(archived=request.args.get("archived") == "1")
    return {
        "environments": [wire.environment(item) for item in everything if who.may("view", item.key)]
    }


@blueprint.post("/environments")
def create_environment() -> tuple[dict[str, Any], int]:
    """Make an environment."""
    who = require_server_admin()
    body = wire.decode(NewEnvironment)
    app = application()
    made = app.store.create_environment(body.key, who.actor, production=body.production)
    app.publisher.refresh()
    return wire.environment(made), 201


@blueprint.get("/environments/<env>")
def environment(env: str) -> dict[str, Any]:
    """One environment."""
    require("view", env)
    return wire.environment(application().store.environment(env))


@blueprint.patch("/environments/<env>")
def edit_environment(env: str) -> dict[str, Any]:
    """Mark as production, archive or bring back, rename (in this order)."""
    who = require_server_admin()
    body = wire.decode(EditEnvironment)
    app = application()
    if body.production is not None:
        app.store.set_production(env, body.production, who.actor)
    if body.archived is not None:
        move = app.store.archive_environment if body.archived else app.store.unarchive_environment
        move(env, who.actor)
    if body.key is not None:
        app.store.rename_environment(env, body.key, who.actor)
    app.publisher.refresh()
    return wire.environment(app.store.environment(body.key or env))


@blueprint.get("/environments/<env>/keys")
def keys(env: str) -> dict[str, Any]:
    """The keys of an environment (`?revoked=1`: revoked ones too), without their secrets."""
    require("admin", env)
    listed = application().store.keys(env, revoked=request.args.get("revoked") == "1")
    return {"keys": [wire.key(item) for item in listed]}


@blueprint.post("/environments/<env>/keys")
def create_key(env: str) -> tuple[dict[str, Any], int]:
    """Make a key; `key` of the answer is the secret, shown this once."""
    who = require("admin", env)
    body = wire.decode(NewKey)
    app = application()
    made, secret = app.store.create_key(
        env, body.kind, body.name, who.actor, role=body.role, expires_at=body.expires_at
    )
    app.publisher.refresh()
    return {"key": secret, **wire.key(made)}, 201


@blueprint.delete(f"/keys/<{wire.INTEGER}:key_id>")
def revoke_key(key_id: int) -> dict[str, Any]:
    """Revoke a key at once."""
    who = known()
    app = application()
    key = next((item for item in app.store.keys(revoked=True) if item.id == key_id), None)
    if key is None or not any(who.may("view", env) for env in key.environments):
        raise NotFoundError(f"no key {key_id}")
    may_revoke(who, key)
    revoked = app.store.revoke_key(key_id, who.actor)
    app.publisher.refresh()
    return wire.key(revoked)


def may_revoke(who: Identity, key: KeyInfo) -> None:
    """Raise ForbiddenError unless `who` is admin wherever `key` is good."""
    if not all(allows(who.role(env), "admin") for env in key.environments):
        raise ForbiddenError(f"revoking key {key.id} needs the role admin")


@blueprint.get("/audit")
def audit() -> dict[str, Any]:
    """The ledger, newest first (`?limit=`, `?before=`, `?environment=`, `?target=`)."""
    known()
    rows = audit_rows(
        limit=wire.page_size(),
        before=wire.number("before"),
        environment=request.args.get("environment"),
        target=request.args.get("target"),
    )
    return {"rows": [wire.ledger_row(row) for row in rows]}

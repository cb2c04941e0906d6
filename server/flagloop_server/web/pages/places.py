"""Keys, environments, people. Thin handlers; all but the list of environments are for admins."""

from __future__ import annotations

from typing import Any, cast

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue

from flagloop.errors import ConfigError
from flagloop_server.store import EVERYWHERE, KeyKind, Role, now_ms
from flagloop_server.web import application
from flagloop_server.web.identity import known, public_url, require, require_server_admin
from flagloop_server.web.pages.frame import blueprint, enter, page, visible

KINDS = {
    "server": "reads the rules and sends events, from your own servers; secret",
    "client": "sends events only, may be public",
    "admin": "changes flags from the command line or by REST; secret",
}
LASTS = {
    "": "the default",
    "7": "7 days",
    "30": "30 days",
    "90": "90 days",
    "365": "a year",
}
"""For how many days a key is good."""

DAY_MS = 86_400_000

ROLES = {"viewer": "sees", "editor": "changes flags", "admin": "also keys, people, environments"}


@blueprint.get("/environments/<environment>/keys")
def keys(environment: str) -> ResponseReturnValue:
    """The keys of an environment."""
    enter("admin", environment)
    return _keys(environment)


def _keys(environment: str, **values: Any) -> ResponseReturnValue:
    env, _ = enter("admin", environment)
    listed = application().store.keys(environment, revoked=True)
    return page(
        "keys.html",
        env,
        keys=listed,
        kinds=KINDS,
        roles=ROLES,
        lasts=LASTS,
        url=public_url(),
        **values,
    )


@blueprint.post("/environments/<environment>/keys")
def create_key(environment: str) -> ResponseReturnValue:
    """Make a key; its secret is in this answer and nowhere else."""
    _, who = enter("admin", environment)
    kind = request.form.get("kind", "")
    if kind not in KINDS:
        raise ConfigError(f"no kind of key '{kind}'; there are {', '.join(KINDS)}")
    role = cast("Role", request.form.get("role", "editor")) if kind == "admin" else None
    lasts = request.form.get("lasts", "")
    if lasts not in LASTS:
        raise ConfigError(f"no time '{lasts}'; there are {', '.join(filter(None, LASTS))} (days)")
    made, secret = application().store.create_key(
        environment,
        cast("KeyKind", kind),
        request.form.get("name", "").strip(),
        who.actor,
        role=role,
        expires_at=now_ms() + int(lasts) * DAY_MS if lasts else None,
    )
    return _keys(environment, made=made, secret=secret)


@blueprint.post("/environments/<environment>/keys/<int(max=9007199254740992):number>/revoke")
def revoke_key(environment: str, number: int) -> ResponseReturnValue:
    """End a key at once."""
    _, who = enter("admin", environment)
    app, store = application(), application().store
    found = next((key for key in store.keys(environment) if key.id == number), None)
    if found is None:
        raise ConfigError(f"no active key {number} in {environment}")
    for scope in found.environments:
        require("admin", scope)
    store.revoke_key(number, who.actor)
    app.publisher.refresh()
    return redirect(url_for("pages.keys", environment=environment), 303)


@blueprint.get("/environments")
def environment_list() -> ResponseReturnValue:
    """The environments that one may see."""
    who = known()
    store = application().store
    shown = visible(store.environments(archived=True), who)
    flags = {
        one.key: sum(section == "flags" for section, _ in store.document(one.key).document.items)
        for one in shown
    }
    return page("environments.html", shown=shown, flags=flags)


@blueprint.post("/environments")
def create_environment() -> ResponseReturnValue:
    """A new, empty environment."""
    who = require_server_admin()
    key = request.form.get("key", "").strip()
    production = "production" in request.form
    app = application()
    app.store.create_environment(key, who.actor, production=production)
    app.publisher.refresh()
    return redirect(url_for("pages.flag_list", environment=key), 303)


@blueprint.post("/environments/<environment>/settings")
def change_environment(environment: str) -> ResponseReturnValue:
    """Rename, archive, take back into use, mark as production."""
    who = require_server_admin()
    app, store = application(), application().store
    match request.form.get("action"):
        case "rename":
            store.rename_environment(environment, request.form.get("key", "").strip(), who.actor)
        case "archive":
            store.archive_environment(environment, who.actor)
        case "unarchive":
            store.unarchive_environment(environment, who.actor)
        case "production" | "not-production" as action:
            store.set_production(environment, action == "production", who.actor)
        case other:
            raise ConfigError(f"no action '{other}'")
    app.publisher.refresh()
    return redirect(url_for("pages.environment_list"), 303)


@blueprint.get("/people")
def people() -> ResponseReturnValue:
    """Everyone and their roles."""
    return _people()


def _people(**values: Any) -> ResponseReturnValue:
    require_server_admin()
    app = application()
    return page("people.html", users=app.auth.users(), roles=ROLES, everywhere=EVERYWHERE, **values)


@blueprint.post("/people")
def invite() -> ResponseReturnValue:
    """Make a person; the answer shows the setup link, once."""
    who = require_server_admin()
    email = request.form.get("email", "").strip()
    user, token = application().auth.create_user(
        email, request.form.get("name", "").strip(), _asked_roles(), who.actor
    )
    return _people(invited=user, link=f"{public_url()}/setup/{token}")


def _asked_roles() -> dict[str, Role]:
    """`environment` and `role` of the form, checked against what there is."""
    scope, role = request.form.get("environment", EVERYWHERE), request.form.get("role", "")
    if role not in ROLES:
        raise ConfigError(f"no role '{role}'; there are {', '.join(ROLES)}")
    if scope != EVERYWHERE:
        application().store.environment(scope)
    return {scope: cast("Role", role)}


@blueprint.post("/people/<path:email>")
def change_person(email: str) -> ResponseReturnValue:
    """Give a role, take one, make a new setup link, end all sessions, disable, enable."""
    who = require_server_admin()
    auth = application().auth
    user = auth.user(email)
    match request.form.get("action"):
        case "role":
            auth.set_roles(email, {**user.roles, **_asked_roles()}, who.actor)
        case "take":
            scope = request.form.get("environment", "")
            kept = {one: role for one, role in user.roles.items() if one != scope}
            auth.set_roles(email, kept, who.actor)
        case "link":
            token = auth.setup_link(user.id)
            return _people(invited=user, link=f"{public_url()}/setup/{token}")
        case "sign-out":
            auth.sign_out_everywhere(user.id, who.actor)
        case "disable":
            auth.disable_user(email, who.actor)
        case "enable":
            auth.enable_user(email, who.actor)
        case other:
            raise ConfigError(f"no action '{other}'")
    return redirect(url_for("pages.people"), 303)

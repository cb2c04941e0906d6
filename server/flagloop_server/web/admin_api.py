"""The admin API of one environment's document: read, push, kill, restore, share, revert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Blueprint, request
from werkzeug.exceptions import BadRequest

from flagloop.document.merge import Merge
from flagloop.document.problem import Problem, errors, path_text
from flagloop.errors import DocumentError
from flagloop_server import changes
from flagloop_server.changes import Change, MergeConflictError, find_item
from flagloop_server.web import application, wire
from flagloop_server.web.identity import Identity, require

blueprint = Blueprint("admin", __name__, url_prefix="/api/v1/admin/environments/<env>")


class Push(wire.Body, frozen=True):
    """A file to be merged; `base` (a revision) wins over `base_text`."""

    text: str
    base: wire.Number | None = None
    base_text: str | None = None
    state: bool = False
    dry_run: bool = False
    reason: str = ""


class Share(wire.Reason, frozen=True, kw_only=True):
    """A percentage as text, `25%`."""

    share: str


class Item(wire.Reason, frozen=True, kw_only=True):
    """An item's YAML text; `expected` is the revision that it was read at, 0 for a new item."""

    text: str
    expected: wire.Number | None = None


class Revert(wire.Reason, frozen=True):
    """`state` also takes the runtime words of the old revision."""

    state: bool = False


def apply(change: Change, who: Identity, reason: str) -> dict[str, Any]:
    """Make one change and tell what became of it."""
    return wire.applied(application().changes.apply(change, who.actor, reason))


@blueprint.get("/document")
def document(env: str) -> dict[str, Any]:
    """The text at a revision (`?revision=N`), byte for byte."""
    require("view", env)
    stored = application().store.document(env, wire.number("revision"))
    return {
        "environment": stored.environment,
        "lineage": stored.lineage,
        "revision": stored.revision,
        "text": stored.document.raw.decode("utf-8"),
    }


@blueprint.post("/push")
def push(env: str) -> dict[str, Any]:
    """Merge a file by item; with `dry_run` only tell what would happen."""
    require("view", env)
    body = wire.decode(Push)
    who = require("view" if body.dry_run else "edit", env)
    base = body.base if body.base is not None else body.base_text
    change = changes.push(env, body.text, base=base, state=body.state)
    if body.dry_run:
        return preview(env, change, who)
    done = application().changes.apply(change, who.actor, body.reason)
    return {
        "environment": done.environment,
        "lineage": done.lineage,
        "revision": done.revision,
        "applied": done.applied,
        **merged(done.merge, done.problems),
        "undoes": done.details.get("undoes", []),
    }


def preview(env: str, change: Change, who: Identity) -> dict[str, Any]:
    """What a push would do; raises as the push itself would."""
    seen = application().changes.preview(change, who.actor)
    if seen.merge is not None and seen.merge.conflicts:
        raise MergeConflictError(env, seen.merge.conflicts)
    if errors(seen.problems):
        raise DocumentError(seen.problems)
    return {
        "environment": seen.environment,
        "lineage": seen.base.lineage,
        "revision": seen.base.revision,
        "applied": False,
        **merged(seen.merge, seen.problems),
        "undoes": seen.details.get("undoes", []),
    }


@blueprint.post("/flags/<flag>/kill")
def kill(env: str, flag: str) -> dict[str, Any]:
    """Serve `off` to everyone; a reason is required."""
    who = require("kill", env)
    body = wire.decode(wire.Reason)
    if not body.reason.strip():
        raise BadRequest("a kill needs a reason")
    return apply(changes.kill(env, flag), who, body.reason)


@blueprint.post("/flags/<flag>/restore")
def restore(env: str, flag: str) -> dict[str, Any]:
    """Undo a kill."""
    who = require("kill", env)
    return apply(changes.restore(env, flag), who, wire.decode(wire.Reason).reason)


@blueprint.post("/flags/<flag>/rules/<rule>/share")
def share(env: str, flag: str, rule: str) -> dict[str, Any]:
    """Set the share of a rule, or the stage of a rollout."""
    who = require("edit", env)
    body = wire.decode(Share)
    return apply(changes.set_share(env, flag, rule, body.share), who, body.reason)


@blueprint.post("/flags/<flag>/rules/<rule>/pause")
def pause(env: str, flag: str, rule: str) -> dict[str, Any]:
    """Hold a rollout at its stage."""
    who = require("edit", env)
    return apply(changes.pause(env, flag, rule), who, wire.decode(wire.Reason).reason)


@blueprint.post("/flags/<flag>/rules/<rule>/resume")
def resume(env: str, flag: str, rule: str) -> dict[str, Any]:
    """Let a rollout go on."""
    who = require("edit", env)
    return apply(changes.resume(env, flag, rule), who, wire.decode(wire.Reason).reason)


@blueprint.put("/items/<section>/<key>")
def put_item(env: str, section: str, key: str) -> dict[str, Any]:
    """Write one item's text; with `expected` only if nobody changed it since."""
    who = require("edit", env)
    body = wire.decode(Item)
    change = changes.put_item(env, section, key, body.text)
    expected = None if body.expected is None else {(section, key): body.expected}
    done = application().changes.apply(change, who.actor, body.reason, expected)
    return wire.applied(done)


@blueprint.delete("/items/<section>/<key>")
def remove_item(env: str, section: str, key: str) -> dict[str, Any]:
    """Archive a flag, remove another item."""
    who = require("edit", env)
    flag = section == "flags"
    change = changes.archive_flag(env, key) if flag else changes.remove_item(env, section, key)
    return apply(change, who, wire.decode(wire.Reason).reason)


@blueprint.get("/revisions")
def revisions(env: str) -> dict[str, Any]:
    """The history, newest first (`?limit=`, `?before=`, `?flag=`)."""
    require("view", env)
    flag = request.args.get("flag")
    rows = application().store.revisions(
        env,
        section="flags" if flag else None,
        key=flag,
        limit=wire.page_size(),
        before=wire.number("before"),
    )
    return {"environment": env, "revisions": [wire.revision(row) for row in rows]}


@blueprint.get(f"/revisions/<{wire.INTEGER}:revision>")
def revision(env: str, revision: int) -> dict[str, Any]:
    """One revision with the texts of its items before and after."""
    require("view", env)
    store = application().store
    items = [
        {"section": item.section, "key": item.key, "before": item.before, "after": item.after}
        for item in store.item_versions(env, revision)
    ]
    row = wire.revision(store.revision(env, revision))
    return {"environment": env, **row, "items": items}


@blueprint.post(f"/revisions/<{wire.INTEGER}:revision>/revert")
def revert(env: str, revision: int) -> dict[str, Any]:
    """Bring the text of an old revision back as a new one."""
    who = require("edit", env)
    body = wire.decode(Revert)
    return apply(changes.revert(env, revision, state=body.state), who, body.reason)


def merged(merge: Merge | None, problems: Sequence[Problem]) -> dict[str, Any]:
    """What a push took, kept, dropped and ignored, and the warnings."""
    removed = merge.removed if merge is not None else ()
    return {
        "taken": wire.refs(merge.taken) if merge is not None else [],
        "kept": wire.refs(merge.kept) if merge is not None else [],
        "archived": wire.refs(ref for ref in removed if ref[0] == "flags"),
        "removed": wire.refs(ref for ref in removed if ref[0] != "flags"),
        "ignored": [
            {
                "section": section,
                "key": key,
                "path": path_text(path),
                "mine": mine,
                "theirs": theirs,
            }
            for section, key, path, mine, theirs in (merge.ignored if merge is not None else ())
        ],
        "problems": [problem.to_mapping() for problem in problems],
    }


@blueprint.get("/flags/<flag>/live")
def live(env: str, flag: str) -> dict[str, Any]:
    """Units exposed to each variant and what they did since the server started."""
    require("view", env)
    store = application().store
    find_item(store.document(env), "flags", flag)
    seen = store.events.live(store.environment(env).id, flag)
    return {"environment": env, "flag": flag, **msgspec.to_builtins(seen)}

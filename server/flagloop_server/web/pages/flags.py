"""The flag list and a flag's page, kill, restore, undo. Thin handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue

from flagloop.document.problem import did_you_mean
from flagloop.errors import ConflictError, NotFoundError
from flagloop_server import changes as change
from flagloop_server import overview
from flagloop_server.definitions import definitions
from flagloop_server.itemtext import dedented
from flagloop_server.store import Environment, RevisionRow, StoredDocument, now_ms
from flagloop_server.web import application
from flagloop_server.web.pages.frame import (
    back_to_flag,
    blueprint,
    enter,
    fragment,
    page,
    public_url,
    whole,
)

PAGE = 200
"""Rows of the flag list that are shown at once."""

RECENT_MS = 120_000
"""An instance that was heard of within this time counts as running."""

DONE = {
    "kill": "Killed {target}.",
    "restore": "Restored {target}: its rules apply again.",
    "share": "Changed the share of {target}.",
    "stage": "Changed the stage of {target}.",
    "edit": "Saved {target}.",
    "add": "Added {target}.",
    "revert": "Reverted {target}.",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What the confirmation message says, and whether it can still be undone."""

    number: int
    at: int
    sentence: str
    reason: str
    undoable: bool
    notes: tuple[str, ...] = ()


@blueprint.get("/environments/<environment>/flags")
def flag_list(environment: str) -> ResponseReturnValue:
    """Every flag of the environment, or those that the filter in the address asks for."""
    env, _ = enter("view", environment)
    app = application()
    parsed = definitions(app.store.document(environment))
    rows = overview.flag_rows(parsed, app.store.events.usage(env.id), now_ms())
    wanted = overview.Filter(
        text=request.args.get("q", ""),
        state=request.args.get("state", ""),
        owner=request.args.get("owner", ""),
        tag=request.args.get("tag", ""),
    )
    found = overview.select(rows, wanted)
    first = max(0, request.args.get("start", 1, type=whole) - 1)
    return page(
        "flag_list.html",
        env,
        rows=rows,
        found=found,
        shown=found[first : first + PAGE],
        first=first,
        step=PAGE,
        wanted=wanted,
        summary=overview.summary(rows),
        owners=sorted({row.flag.owner for row in rows if row.flag.owner}),
        tags=sorted({tag for row in rows for tag in row.flag.tags}),
        sparkline=overview.sparkline,
        url=public_url(),
    )


def _live(env: Environment, stored: StoredDocument, flag: str) -> dict[str, Any]:
    """What the live parts of a flag's page show."""
    parsed = definitions(stored)
    if flag not in parsed.flags:
        known = did_you_mean(flag, parsed.flags)
        raise NotFoundError(f"no flag '{flag}' in {env.key}" + (f"; {known}" if known else ""))
    events = application().store.events
    now = now_ms()
    usage = events.usage(env.id, flag).get(flag, overview.NO_USAGE)
    counts = events.live(env.id, flag)
    running = [one for one in events.instances(env.id) if now - one.last_seen_ms <= RECENT_MS]
    needed = stored.item_revisions.get(("flags", flag), 0)
    last = application().store.revisions(env.key, section="flags", key=flag, limit=1)
    return {
        "environment": env.key,
        "changed": last[0] if last else None,
        "row": overview.flag_row(flag, parsed.flags[flag], parsed, usage, now),
        "usage": usage,
        "variants": overview.variant_rows(parsed.flags[flag], usage, counts),
        "counts": counts,
        "lost": sum(one.n for one in events.losses(env.id) if one.flag == flag),
        "instances": len(running),
        "reached": sum(
            overview.has_revision(one.revision, stored.lineage, needed) for one in running
        ),
    }


@blueprint.get("/environments/<environment>/flags/<flag>")
def flag_page(environment: str, flag: str) -> ResponseReturnValue:
    """One flag: state, usage, rules, YAML, history."""
    env, _ = enter("view", environment)
    store = application().store
    stored = store.document(environment)
    live = _live(env, stored, flag)
    parsed = definitions(stored)
    definition = parsed.flags[flag]
    rest, off = overview.unserved_parts(live["usage"])
    revisions = store.revisions(environment, section="flags", key=flag, limit=10)
    last_kill = next((one for one in revisions if one.action == "kill"), None)
    return page(
        "flag.html",
        env,
        **live,
        rules=overview.rule_rows(definition, parsed, live["usage"]),
        rest=rest,
        off=off,
        text=dedented(stored.document.items["flags", flag].text),
        revisions=revisions,
        killed_at=last_kill.at if definition.killed is not None and last_kill else None,
        dependents=overview.dependents(parsed, "flags", flag),
        done=_done(stored, flag, request.args.get("done", type=whole)),
        open_kill="kill" in request.args,
    )


@blueprint.get("/environments/<environment>/flags/<flag>/live")
def flag_live(environment: str, flag: str) -> ResponseReturnValue:
    """A part of a flag's page that is refreshed every few seconds: its state, or its usage."""
    env, _ = enter("view", environment)
    stored = application().store.document(environment)
    template = "flag_state.html" if request.args.get("part") == "state" else "flag_usage.html"
    return fragment(template, **_live(env, stored, flag))


def _done(stored: StoredDocument, flag: str, number: int | None) -> Done | None:
    """The confirmation of revision `number`, if it touched this flag."""
    if number is None or not 0 < number <= stored.revision:
        return None
    row = application().store.revision(stored.environment, number)
    ref = ("flags", flag)
    if ref not in row.changed:
        return None
    action = row.action if _existed(row, ref) else "add"
    sentence = DONE.get(action, "Changed {target}.").format(target=flag)
    undoable = stored.item_revisions.get(ref) == number and len(row.changed) == 1
    return Done(number, row.at, sentence, row.reason, undoable)


@blueprint.post("/environments/<environment>/flags/<flag>/kill")
def kill_flag(environment: str, flag: str) -> ResponseReturnValue:
    """Serve `off` to everyone; needs a reason, never conflicts."""
    _, who = enter("kill", environment)
    reason = request.form.get("reason", "").strip()
    applied = application().changes.apply(change.kill(environment, flag), who.actor, reason)
    return back_to_flag(environment, flag, applied)


@blueprint.post("/environments/<environment>/flags/<flag>/restore")
def restore_flag(environment: str, flag: str) -> ResponseReturnValue:
    """Take a kill back."""
    _, who = enter("kill", environment)
    reason = request.form.get("reason", "").strip()
    applied = application().changes.apply(change.restore(environment, flag), who.actor, reason)
    return back_to_flag(environment, flag, applied)


@blueprint.post("/environments/<environment>/revisions/<int(max=9007199254740992):number>/undo")
def undo(environment: str, number: int) -> ResponseReturnValue:
    """Bring the one item of a revision back to what it was before, unless it changed since."""
    _, who = enter("edit", environment)
    app = application()
    row = app.store.revision(environment, number)
    section, key = _only_item(row)
    applied = app.changes.apply(
        _opposite(row, section, key),
        who.actor,
        f"undo of revision {number}",
        expected={(section, key): number},
    )
    if (section, key) in applied.document.document.items and section == "flags":
        return back_to_flag(environment, key, applied)
    return redirect_to_revision(environment, applied.revision)


def redirect_to_revision(environment: str, number: int) -> ResponseReturnValue:
    """To the page of one revision."""
    from flask import redirect

    return redirect(url_for("pages.revision", environment=environment, number=number), 303)


def _only_item(row: RevisionRow) -> tuple[str, str]:
    if len(row.changed) != 1 or not row.changed[0][0]:
        raise ConflictError("only a change of one item can be undone so; revert the document")
    return row.changed[0]


def _existed(row: RevisionRow, ref: tuple[str, str]) -> bool:
    """Whether the item was there before the revision."""
    versions = application().store.item_versions(row.environment, row.number)
    return any((one.section, one.key) == ref and one.before is not None for one in versions)


def _opposite(row: RevisionRow, section: str, key: str) -> change.Change:
    if not _existed(row, (section, key)):
        if section == "flags":
            return change.archive_flag(row.environment, key)
        return change.remove_item(row.environment, section, key)
    match row.action:
        case "kill":
            return change.restore(row.environment, key)
        case "restore":
            return change.kill(row.environment, key)
        case "archive":
            return change.unarchive_flag(row.environment, key)
        case _:
            return change.revert_item(row.environment, section, key, row.number - 1, state=True)

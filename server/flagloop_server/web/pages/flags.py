"""The flag list and a flag's page, kill, restore, undo. Thin handlers."""

from __future__ import annotations

from dataclasses import asdict

from flask import request, url_for
from flask.typing import ResponseReturnValue

from flagloop_server import changes as change
from flagloop_server import overview
from flagloop_server.definitions import definitions
from flagloop_server.editing import disturbed_without
from flagloop_server.itemtext import dedented
from flagloop_server.staleness import settled_flags
from flagloop_server.store import Environment, now_ms
from flagloop_server.web import application
from flagloop_server.web.identity import Identity, public_url
from flagloop_server.web.pages import live
from flagloop_server.web.pages.confirmation import confirmation
from flagloop_server.web.pages.frame import (
    back_to_flag,
    blueprint,
    drop_notes,
    enter,
    first_row,
    page,
    take_notes,
    whole,
)

PAGE = 100
"""Rows of the flag list that are shown at once."""


@blueprint.get("/environments/<environment>/flags")
def flag_list(environment: str) -> ResponseReturnValue:
    """Every flag of the environment, or those that the filter in the address asks for."""
    env, _ = enter("view", environment)
    app = application()
    stored = app.store.document(environment)
    parsed = definitions(stored)
    settled = settled_flags(app.store, stored, parsed)
    seen = app.events.last_seen(env.id)
    rows = overview.flag_rows(parsed, seen, now_ms(), settled, stored=stored)
    wanted, order = _wanted()
    found = overview.ordered(overview.select(rows, wanted), order)
    first = first_row(len(found))
    shown = found[first : first + PAGE]
    return page(
        "flag_list.html",
        env,
        rows=rows,
        found=found,
        shown=shown,
        hours=app.events.hours(env.id, [row.key for row in shown]),
        first=first,
        step=PAGE,
        wanted=wanted,
        order=order,
        query=_query(wanted, order),
        summary=overview.summary(rows),
        owners=sorted({row.flag.owner for row in rows if row.flag.owner}),
        tags=sorted({tag for row in rows for tag in row.flag.tags}),
        types=sorted({row.flag.type for row in rows}),
        sparkline=overview.sparkline,
        url=public_url(),
    )


def _wanted() -> tuple[overview.Filter, overview.Order]:
    """What the address asks for, and in which order."""
    given = {
        name: request.args.get(name, "") for name in ("state", "owner", "tag", "type", "stale")
    }
    order = request.args.get("sort", "")
    known = next((one for one in overview.ORDERS if one == order), overview.ORDERS[0])
    return overview.Filter(request.args.get("q", ""), **given), known


def _query(wanted: overview.Filter, order: overview.Order) -> dict[str, str]:
    """The same as an address's words."""
    words = {**asdict(wanted), "q": wanted.text, "sort": "" if order == "document" else order}
    return {name: word for name, word in words.items() if word and name != "text"}


@blueprint.get("/environments/<environment>/flags/<flag>")
def flag_page(environment: str, flag: str) -> ResponseReturnValue:
    """One flag: state, usage, rules, YAML, history."""
    env, who = enter("view", environment)
    seen = live.subject(env, who, flag)
    revisions = application().store.revisions(environment, section="flags", key=flag, limit=10)
    last_kill = next((one for one in revisions if one.action == "kill"), None)
    response = page(
        "flag.html",
        env,
        environment=environment,
        **live.state(seen),
        **live.usage(seen),
        **live.rules(seen),
        text=dedented(seen.stored.document.items["flags", flag].text),
        revisions=revisions,
        killed_at=last_kill.at if seen.flag.killed is not None and last_kill else None,
        dependents=overview.dependents(seen.document, flag),
        further=overview.dependents_of_dependents(seen.document, flag),
        done=confirmation(seen.stored, ("flags", flag), request.args.get("done", type=whole)),
        notes=take_notes(),
        open_kill="kill" in request.args,
        promote_to=_promote_to(env, who, flag),
        named_by=application().changes.named_by(seen.stored, ("flags", flag)),
        disturbs=disturbed_without(seen.document, ("flags", flag)),
        opened=seen.stored.item_revisions.get(("flags", flag), 0),
    )
    return drop_notes(response)


def _promote_to(env: Environment, who: Identity, flag: str) -> list[tuple[str, str]]:
    """The other environments that this person may change, with what promoting there would do."""
    here = env.key
    others = [one.key for one in application().store.environments() if one.key != here]
    return [
        (
            name,
            url_for("pages.promote_page", environment=name, other=here, section="flags", key=flag),
        )
        for name in others
        if who.may("edit", name)
    ]


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

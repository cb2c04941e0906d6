"""Flags that left the document: archiving several, the archive, bringing one back. Thin."""

from __future__ import annotations

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from flagloop.errors import ConfigError
from flagloop_server import changes as change
from flagloop_server import overview, promoting, undoing
from flagloop_server.archiving import archiving
from flagloop_server.definitions import definitions
from flagloop_server.disturbance import guarded
from flagloop_server.itemtext import dedented
from flagloop_server.store import Environment, now_ms
from flagloop_server.web import application
from flagloop_server.web.pages.confirmation import Done
from flagloop_server.web.pages.frame import back_to_flag, blueprint, enter, first_row, page, whole
from flagloop_server.web.pages.proposals import reason

PAGE = 100
"""Archived flags that are shown at once."""

MOST = 500
"""Flags that are archived at once."""


@blueprint.get("/environments/<environment>/reports/archive")
def archive_preview(environment: str) -> ResponseReturnValue:
    """What archiving the chosen flags would do, which cannot go, and what refers to them."""
    env, _ = enter("edit", environment)
    app = application()
    stored = app.store.document(environment)
    parsed, now = definitions(stored), now_ms()
    chosen = _chosen(request.args)
    found = archiving(stored, chosen, lambda ref: app.changes.named_by(stored, ref))
    keys = [*found.ready, *found.refused]
    seen = app.events.last_seen(env.id)
    return page(
        "archive_preview.html",
        env,
        found=found,
        opened=stored.revision,
        rows={
            key: overview.flag_row(parsed.flags[key], parsed, seen.get(key), now) for key in keys
        },
        hours=app.events.hours(env.id, keys),
    )


@blueprint.get("/environments/<environment>/archive")
def archive(environment: str) -> ResponseReturnValue:
    """The archived flags: who archived each, when and why, with the text that it had."""
    env, _ = enter("view", environment)
    store, text = application().store, request.args.get("q", "")
    total, newest = store.archive_page(environment, "", start=0, limit=1)
    first = first_row(total)
    found, shown = store.archive_page(environment, text, start=first, limit=PAGE)
    return page(
        "archive.html",
        env,
        total=total,
        newest=next(iter(newest), None),
        found=found,
        shown=[(row, dedented(row.text)) for row in shown],
        first=first,
        step=PAGE,
        text=text,
        done=_done(env, request.args.get("done", type=whole)),
    )


@blueprint.post("/environments/<environment>/archive")
def archive_flags(environment: str) -> ResponseReturnValue:
    """Archive several flags as one revision: all of them, or none; none that others changed."""
    _, who = enter("edit", environment)
    app, form = application(), request.form
    keys, opened = _chosen(form), form.get("opened", type=whole)
    refs = [("flags", key) for key in keys]
    seen = promoting.expected(app.store, environment, opened, refs) if opened is not None else None
    guard = guarded(change.archive_flags(environment, keys), force="force" in form)
    applied = app.changes.apply(guard, who.actor, reason(), seen)
    place = url_for("pages.archive", environment=environment, done=applied.revision)
    return redirect(place, 303)


@blueprint.post("/environments/<environment>/archive/<flag>/restore")
def unarchive_flag(environment: str, flag: str) -> ResponseReturnValue:
    """Bring an archived flag back with the text that it had."""
    _, who = enter("edit", environment)
    planned = change.unarchive_flag(environment, flag)
    applied = application().changes.apply(planned, who.actor, reason())
    return back_to_flag(environment, flag, applied)


def _chosen(given: MultiDict[str, str]) -> list[str]:
    """The flags that an address or a form names; ConfigError for more than go at once."""
    keys = list(dict.fromkeys(given.getlist("flag")))
    if len(keys) > MOST:
        raise ConfigError(
            f"at most {MOST} flags are archived at once, these are {len(keys):,}: choose fewer, "
            "and the others after that"
        )
    return keys


def _done(env: Environment, number: int | None) -> Done | None:
    """The confirmation of a revision that archived flags."""
    store = application().store
    current = store.document(env.key)
    if number is None or not 0 < number <= current.revision:
        return None
    row = store.revision(env.key, number)
    if row.action != "archive":
        return None
    names = ", ".join(key for _, key in row.changed[:5])
    more = f" and {len(row.changed) - 5:,} more" if len(row.changed) > 5 else ""
    undoable = undoing.can_be_undone(store, row, current)
    return Done(number, row.at, f"Archived {names}{more}.", row.reason, undoable)

"""Revisions: lists, differences, revert; the whole document; the audit log. Thin handlers."""

from __future__ import annotations

from typing import Any

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from flagloop.document.merge import item_diff
from flagloop.document.schema import SECTIONS
from flagloop.errors import NotFoundError
from flagloop_server import changes as change
from flagloop_server.disturbance import guarded
from flagloop_server.store import Environment
from flagloop_server.undoing import can_be_undone
from flagloop_server.web import application
from flagloop_server.web.audit import audit_rows
from flagloop_server.web.identity import public_url, require_server_admin
from flagloop_server.web.pages.frame import (
    back_to_flag,
    blueprint,
    enter,
    page,
    whole,
)
from flagloop_server.web.pages.proposals import ItemDiff, propose, reason, text_of

PAGE = 50


@blueprint.get("/environments/<environment>/history")
def history(environment: str) -> ResponseReturnValue:
    """Every revision of the environment's document; two of them compared."""
    env, _ = enter("view", environment)
    return _history(env, "", "")


@blueprint.get("/environments/<environment>/flags/<flag>/history")
def flag_history(environment: str, flag: str) -> ResponseReturnValue:
    """The revisions that changed one flag; two of them compared."""
    env, _ = enter("view", environment)
    return _history(env, "flags", flag)


def _history(env: Environment, section: str, key: str) -> ResponseReturnValue:
    before = request.args.get("before", type=whole)
    revisions = application().store.revisions(
        env.key, section=section or None, key=key or None, limit=PAGE + 1, before=before
    )
    if key and not revisions and before is None:
        raise NotFoundError(f"no flag '{key}' in {env.key}")
    older = None
    if len(revisions) > PAGE:
        arguments = {**(request.view_args or {}), "before": revisions[PAGE - 1].number}
        older = url_for(request.endpoint or "", **arguments)
    low, high = _range(env.revision, [one.number for one in revisions])
    compare = "from" in request.args
    return page(
        "history.html",
        env,
        section=section,
        key=key,
        revisions=revisions[:PAGE],
        older=older,
        low=low,
        high=high,
        items=_compare(env, (section, key), low, high) if compare else None,
    )


def _range(newest: int, numbers: list[int]) -> tuple[int, int]:
    """Which revisions are compared: those asked for, else the last change."""
    high = request.args.get("to", type=whole) or (numbers[0] if numbers else newest)
    low = request.args.get("from", type=whole) or (numbers[1] if len(numbers) > 1 else high)
    return min(low, high), max(low, high)


def _compare(env: Environment, ref: tuple[str, str], low: int, high: int) -> list[ItemDiff]:
    store = application().store
    old, new = store.document(env.key, low).document, store.document(env.key, high).document
    if ref[1]:
        before, after = text_of(old, *ref), text_of(new, *ref)
        return [ItemDiff(*ref, before, after)] if before != after else []
    return [ItemDiff(one.section, one.key, one.before, one.after) for one in item_diff(old, new)]


@blueprint.get("/environments/<environment>/revisions/<int(max=9007199254740992):number>")
def revision(environment: str, number: int) -> ResponseReturnValue:
    """One revision: who, when, why, and the difference of each item."""
    env, _ = enter("view", environment)
    store = application().store
    row = store.revision(environment, number)
    current = store.document(environment)
    return page(
        "revision.html",
        env,
        row=row,
        items=store.item_versions(environment, number),
        undoable=can_be_undone(store, row, current),
    )


@blueprint.get("/environments/<environment>/reports/revert")
def revert_page(environment: str) -> ResponseReturnValue:
    """What going back to a revision would do."""
    env, _ = enter("edit", environment)
    number = request.args.get("number", 0, type=whole)
    section, key = request.args.get("section", ""), request.args.get("key", "")
    planned = _revert(environment, section, key, number)
    proposal = propose(env, planned)
    return page("revert.html", env, number=number, section=section, key=key, proposal=proposal)


@blueprint.post("/environments/<environment>/revert")
def save_revert(environment: str) -> ResponseReturnValue:
    """Go back to a revision, of one item or of the whole document."""
    _, who = enter("edit", environment)
    number = request.form.get("number", 0, type=whole)
    section, key = request.form.get("section", ""), request.form.get("key", "")
    planned = _revert(environment, section, key, number)
    why = reason() or f"back to revision {number}"
    guard = guarded(planned, force="force" in request.form)
    applied = application().changes.apply(guard, who.actor, why)
    if section == "flags" and (section, key) in applied.document.document.items:
        return back_to_flag(environment, key, applied)
    return redirect(
        url_for("pages.revision", environment=environment, number=applied.revision), 303
    )


def _revert(environment: str, section: str, key: str, number: int) -> change.Change:
    if key:
        return change.revert_item(environment, section, key, number)
    return change.revert(environment, number)


@blueprint.get("/environments/<environment>/document")
def document(environment: str) -> ResponseReturnValue:
    """The whole text, now or as of a revision."""
    env, _ = enter("view", environment)
    store = application().store
    stored = store.document(environment, request.args.get("revision", type=whole))
    text = stored.document.text
    return page(
        "document.html",
        env,
        stored=stored,
        row=store.revision(environment, stored.revision) if stored.revision else None,
        text=text,
        lines=len(text.splitlines()),
        flags=sum(section == "flags" for section, _ in stored.document.items),
        sections={
            section: [key for where, key in stored.document.items if where == section]
            for section in SECTIONS
            if section != "flags"
        },
        url=public_url(),
    )


@blueprint.get("/environments/<environment>/document.yaml")
def document_text(environment: str) -> ResponseReturnValue:
    """The document's bytes as a file."""
    enter("view", environment)
    stored = application().store.document(environment, request.args.get("revision", type=whole))
    name = f"{environment}.{stored.revision}.yaml"
    return Response(
        stored.document.raw,
        mimetype="application/yaml",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@blueprint.get("/audit")
def audit() -> ResponseReturnValue:
    """The ledger of the environments that one may see; all of it for admins of the server."""
    return _audit()


@blueprint.get("/reports/audit")
def check_audit() -> ResponseReturnValue:
    """The ledger after a walk along its whole chain."""
    require_server_admin()
    return _audit(checked=application().store.verify())


def _audit(**values: Any) -> ResponseReturnValue:
    wanted, target = request.args.get("environment"), request.args.get("target")
    rows = audit_rows(
        limit=PAGE + 1,
        before=request.args.get("before", type=whole),
        environment=wanted or None,
        target=target or None,
    )
    places = {one.id: one.key for one in application().store.environments(archived=True)}
    return page(
        "audit.html",
        rows=rows[:PAGE],
        places=places,
        wanted=wanted,
        target=target or "",
        older=rows[PAGE - 1].seq if len(rows) > PAGE else None,
        **values,
    )

"""Revisions: lists, differences, revert; the whole document; the audit log. Thin handlers."""

from __future__ import annotations

from typing import Any

from flask import Response, redirect, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from flagloop.document.merge import item_diff
from flagloop.document.schema import SECTIONS
from flagloop.errors import ConfigError, ConflictError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server import promoting, undoing
from flagloop_server.disturbance import DisturbedError, guarded
from flagloop_server.ledgerfile import csv_text, ndjson
from flagloop_server.store import Environment, Ref, Sought
from flagloop_server.web import application
from flagloop_server.web.audit import audit_actions, audit_rows, exported_rows
from flagloop_server.web.identity import public_url, require_server_admin
from flagloop_server.web.pages.frame import (
    back_to_flag,
    blueprint,
    enter,
    page,
    whole,
)
from flagloop_server.web.pages.moments import read_moment
from flagloop_server.web.pages.proposals import ItemDiff, Proposal, propose, reason, text_of

PAGE = 50

FILTERS = ("item", "environment", "target", "actor", "action", "since", "until")
"""What an address may ask for; a page's links to itself keep these."""


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
    wanted, item = sought(), request.args.get("item", "").strip()
    store = application().store
    ref = (section, key) if key else _item(item)
    revisions = store.revisions(
        env.key,
        section=ref[0] if ref else None,
        key=ref[1] if ref else None,
        limit=PAGE + 1,
        before=before,
        sought=wanted,
    )
    filtered = bool(wanted.terms) or bool(item)
    if key and not revisions and before is None and not filtered:
        raise NotFoundError(f"no flag '{key}' in {env.key}")
    low, high = _range(env.revision, [one.number for one in revisions])
    compare = "from" in request.args
    return page(
        "history.html",
        env,
        section=section,
        key=key,
        revisions=revisions[:PAGE],
        older=_again(before=revisions[PAGE - 1].number) if len(revisions) > PAGE else None,
        low=low,
        high=high,
        items=_compare(env, (section, key), low, high) if compare else None,
        wanted=wanted,
        item=item,
        filtered=filtered,
        kept=_kept(),
        actions=store.revision_actions(env.key),
    )


def sought() -> Sought:
    """What the address asks for; ConfigError for a time that is none."""
    args = request.args
    return Sought(
        actor=args.get("actor", "").strip(),
        action=args.get("action", ""),
        since=read_moment(args.get("since", "")),
        until=read_moment(args.get("until", "")),
    )


def _item(text: str) -> Ref | None:
    """`segments.staff`, or a key of any section, as people type it."""
    section, _, key = text.partition(".")
    if section in SECTIONS and key:
        return section, key
    return ("", text) if text else None


def _kept() -> dict[str, str]:
    """The filters that the address has."""
    return {name: request.args[name] for name in FILTERS if request.args.get(name)}


def _again(before: int) -> str:
    """The address of the rows that are older than these, with the filters."""
    arguments: dict[str, Any] = {**(request.view_args or {}), **_kept(), "before": before}
    return url_for(request.endpoint or "", **arguments)


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
    return _revision(env, number)


def _revision(
    env: Environment, number: int, status: int = 200, **values: Any
) -> ResponseReturnValue:
    store = application().store
    row = store.revision(env.key, number)
    return page(
        "revision.html",
        env,
        status,
        row=row,
        items=store.item_versions(env.key, number),
        undoable=undoing.can_be_undone(store, row, store.document(env.key)),
        **values,
    )


@blueprint.post("/environments/<environment>/revisions/<int(max=9007199254740992):number>/undo")
def undo(environment: str, number: int) -> ResponseReturnValue:
    """Bring the items of a revision back to what they were before, unless they changed since."""
    env, who = enter("edit", environment)
    app = application()
    planned, expected = undoing.undo(app.store, environment, number)
    guard = guarded(planned, force="force" in request.form, given=reason())
    why = reason() or f"undo of revision {number}"
    try:
        applied = app.changes.apply(guard, who.actor, why, expected)
    except DisturbedError as error:
        return _revision(env, number, 409, refusal=str(error), running=error.disturbances)
    return _back(environment, next(iter(expected)) if len(expected) == 1 else ("", ""), applied)


def _back(environment: str, ref: Ref, applied: change.Applied) -> ResponseReturnValue:
    """To the one flag that was brought back, where there is one, else to what was done."""
    if ref[0] == "flags" and ref in applied.document.document.items:
        return back_to_flag(environment, ref[1], applied)
    place = url_for("pages.revision", environment=environment, number=applied.revision)
    return redirect(place, 303)


@blueprint.get("/environments/<environment>/reports/revert")
def revert_page(environment: str) -> ResponseReturnValue:
    """What going back to a revision would do."""
    env, _ = enter("edit", environment)
    number = request.args.get("number", 0, type=whole)
    return _reverting(env, (request.args.get("section", ""), request.args.get("key", "")), number)


def _reverting(
    env: Environment, ref: Ref, number: int, status: int = 200, **values: Any
) -> ResponseReturnValue:
    # Read before the preview: what is changed between the two is found when it is saved.
    values["opened"] = application().store.environment(env.key).revision
    if "proposal" not in values:
        values["proposal"] = propose(env, _revert(env.key, *ref, number))
    return page("revert.html", env, status, number=number, section=ref[0], key=ref[1], **values)


@blueprint.post("/environments/<environment>/revert")
def save_revert(environment: str) -> ResponseReturnValue:
    """Go back to a revision, of one item or of the whole document, unless others changed it."""
    env, who = enter("edit", environment)
    form = request.form
    number = form.get("number", 0, type=whole)
    section, key = ref = (form.get("section", ""), form.get("key", ""))
    why, forced = reason() or f"back to revision {number}", "force" in form
    planned = _revert(environment, section, key, number)
    guard = guarded(planned, force=forced, given=reason())
    app, opened = application(), form.get("opened", type=whole)
    expected = None if opened is None else promoting.everything(app.store, environment, opened)
    try:
        applied = app.changes.apply(guard, who.actor, why, expected)
    except DocumentError as error:
        shown = Proposal(problems=tuple(error.problems))
        return _reverting(env, ref, number, 422, proposal=shown, why=reason())
    except ConflictError as error:
        return _reverting(env, ref, number, 409, refusal=str(error), why=reason())
    except ConfigError as error:
        told = {"refusal": str(error), "forced": forced, "why": reason()}
        return _reverting(env, ref, number, 400, **told)
    return _back(environment, ref, applied)


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
    """The ledger after a walk along its whole chain; `head` is one that was kept elsewhere."""
    require_server_admin()
    head = request.args.get("head", "").strip().lower()
    return _audit(checked=application().store.verify(head or None), head=head)


@blueprint.get("/reports/audit/export")
def export_audit() -> ResponseReturnValue:
    """The rows that the filters ask for as a file, the oldest first: JSON lines, or CSV."""
    form = request.args.get("format", "ndjson")
    if form not in ("ndjson", "csv"):
        raise ConfigError(f"no format '{form}'; there are ndjson and csv")
    rows = exported_rows(after=0, **_ledger_filter(), sought=sought())
    text = csv_text(rows) if form == "csv" else ndjson(rows)
    kind = "text/csv" if form == "csv" else "application/x-ndjson"
    name = {"Content-Disposition": f'attachment; filename="audit.{form}"'}
    return Response(stream_with_context(text), mimetype=kind, headers=name)


def _ledger_filter() -> dict[str, Any]:
    wanted, target = request.args.get("environment"), request.args.get("target", "").strip()
    return {"environment": wanted or None, "target": target or None}


def _audit(**values: Any) -> ResponseReturnValue:
    wanted, asked = sought(), _ledger_filter()
    before = request.args.get("before", type=whole)
    rows = audit_rows(limit=PAGE + 1, before=before, **asked, sought=wanted)
    store = application().store
    return page(
        "audit.html",
        rows=rows[:PAGE],
        places={one.id: one.key for one in store.environments(archived=True)},
        asked=asked,
        kept=_kept(),
        wanted=wanted,
        actions=audit_actions(asked["environment"]),
        older=_again(before=rows[PAGE - 1].seq) if len(rows) > PAGE else None,
        **values,
    )

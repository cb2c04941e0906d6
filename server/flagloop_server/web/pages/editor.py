"""The editor of an item: its YAML, and for flags and segments cards beside it. Thin handlers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from flagloop.document.schema import SECTIONS
from flagloop.errors import ConfigError, ConflictError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server.definitions import definitions
from flagloop_server.disturbance import DisturbedError, guarded
from flagloop_server.drafts import Side, taken
from flagloop_server.editing import (
    Edited,
    Meanwhile,
    disturbed_without,
    meanwhile,
    starter,
)
from flagloop_server.proposals import Proposal, text_of
from flagloop_server.store import Environment
from flagloop_server.web import application
from flagloop_server.web.pages.confirmation import confirmation
from flagloop_server.web.pages.drafting import drawn
from flagloop_server.web.pages.frame import back_to_flag, blueprint, enter, page, whole
from flagloop_server.web.pages.proposals import propose, reason


@dataclass(frozen=True, slots=True)
class Seen:
    """What the editor shows beside the text."""

    status: int = 200
    proposal: Proposal | None = None
    meanwhile: Meanwhile | None = None
    before: str = ""
    refusal: str = ""
    forced: bool = False
    why: str = ""


def _known_section(section: str) -> str:
    if section not in SECTIONS:
        raise NotFoundError(f"no section '{section}'; there are {', '.join(SECTIONS)}")
    return section


def _edited() -> Edited:
    form = request.form
    return Edited(
        _known_section(form.get("section", "flags")),
        form.get("key", ""),
        form.get("text", "").replace("\r\n", "\n"),
        form.get("opened", 0, type=whole),
    )


@blueprint.get("/environments/<environment>/items/<section>/new")
def new_item(environment: str, section: str) -> ResponseReturnValue:
    """The editor with an item to begin with."""
    env, _ = enter("edit", environment)
    return _editor(env, Edited(_known_section(section), "", starter(section), 0), Seen())


@blueprint.get("/environments/<environment>/items/<section>/<key>/edit")
def edit_item(environment: str, section: str, key: str) -> ResponseReturnValue:
    """An item's text in the editor."""
    env, _ = enter("edit", environment)
    stored = application().store.document(environment)
    item = change.find_item(stored, _known_section(section), key)
    opened = stored.item_revisions.get((section, key), 0)
    text = text_of(stored.document, section, key) or item.text
    return _editor(env, Edited(section, key, text, opened), Seen())


@blueprint.get("/environments/<environment>/new-flag")
def new_flag(environment: str) -> ResponseReturnValue:
    """The editor of a new flag."""
    return new_item(environment, "flags")


@blueprint.get("/environments/<environment>/flags/<flag>/edit")
def edit_flag(environment: str, flag: str) -> ResponseReturnValue:
    """The editor of a flag."""
    return edit_item(environment, "flags", flag)


@blueprint.post("/environments/<environment>/reports/edit")
def preview_edit(environment: str) -> ResponseReturnValue:
    """What the edited text would do, brought together with what others saved meanwhile."""
    env, _ = enter("edit", environment)
    edited = _edited()
    found = meanwhile(application().store, env.key, edited, _choices())
    if found is not None:
        return _together(env, edited, found)
    return _editor(env, edited, Seen(proposal=_proposal(env, edited), why=reason()))


@blueprint.post("/environments/<environment>/edit")
def save_edit(environment: str) -> ResponseReturnValue:
    """Save the edited text, unless somebody else changed the item since it was opened."""
    env, who = enter("edit", environment)
    edited = _edited()
    forced = "force" in request.form
    try:
        planned = guarded(edited.change(env.key), force=forced)
        expected = {edited.ref: edited.opened}  # 0: there must be none yet
        applied = application().changes.apply(planned, who.actor, reason(), expected=expected)
    except DocumentError as error:
        shown = Proposal(problems=tuple(error.problems))
        return _editor(env, edited, Seen(422, shown, why=reason()))
    except DisturbedError as error:
        return _refused(env, edited, Seen(409, refusal=str(error), why=reason()))
    except ConfigError as error:
        return _refused(env, edited, Seen(400, refusal=str(error), forced=forced, why=reason()))
    except ConflictError as error:
        found = meanwhile(application().store, env.key, edited)
        if found is None:
            return _editor(env, edited, Seen(409, refusal=str(error), why=reason()))
        return _together(env, edited, found, 409)
    return _back(environment, edited, applied)


@blueprint.post("/environments/<environment>/items/<section>/<key>/remove")
def remove_item(environment: str, section: str, key: str) -> ResponseReturnValue:
    """Archive a flag or take another item out; refused while something names it."""
    env, who = enter("edit", environment)
    app = application()
    planned = change.remove_item(env.key, _known_section(section), key)
    names = app.changes.named_by(app.store.document(environment), (section, key))
    if names:
        shown = ", ".join(f"{where}.{name}" for where, name in names)
        raise ConflictError(f"{section}.{key} is named by {shown}; change these first")
    guard = guarded(planned, force="force" in request.form)
    opened = request.form.get("opened", type=whole)
    expected = None if opened is None else {(section, key): opened}
    applied = app.changes.apply(guard, who.actor, reason(), expected=expected)
    place = url_for("pages.revision", environment=environment, number=applied.revision)
    return redirect(place, 303)


def _choices() -> dict[str, Side]:
    """Field -> whose value shall stand, as the conflict's form says."""
    found = {}
    for name, side in request.form.items():
        if name.startswith("choice:") and side in ("mine", "theirs"):
            found[name.removeprefix("choice:")] = cast(Side, side)
    return found


def _proposal(env: Environment, edited: Edited) -> Proposal:
    try:
        section, key = edited.ref
        if not edited.key and edited.ref in application().store.document(env.key).document.items:
            return Proposal(problems=(taken(section, key),))
        return propose(env, edited.change(env.key))
    except DocumentError as error:
        return Proposal(problems=tuple(error.problems))


def _together(env: Environment, edited: Edited, found: Meanwhile, status: int = 200) -> Response:
    """The editor after somebody else saved: the merged text where that can be had."""
    if found.merged is None:
        return _editor(env, edited, Seen(409, meanwhile=found, why=reason()))
    merged = replace(edited, text=found.merged, opened=found.now)
    shown = Seen(status, _proposal(env, merged), found, edited.text, why=reason())
    return _editor(env, merged, shown)


def _refused(env: Environment, edited: Edited, seen: Seen) -> Response:
    """The editor with what it would do, and why it was not done."""
    return _editor(env, edited, replace(seen, proposal=_proposal(env, edited)))


def _back(environment: str, edited: Edited, applied: change.Applied) -> Response:
    section, key = edited.ref
    if section == "flags":
        return back_to_flag(environment, key, applied)
    place = url_for("pages.section_item", environment=environment, kind=section, name=key)
    done = f"?done={applied.revision}" if applied.applied else ""
    return redirect(place + done, 303)


def _home(env: Environment, edited: Edited, *, exists: bool) -> tuple[str, str]:
    """Where one came from, as (what it is called, address)."""
    place, section = env.key, edited.section
    if section == "flags":
        if exists:
            return edited.key, url_for("pages.flag_page", environment=place, flag=edited.key)
        return "Flags", url_for("pages.flag_list", environment=place)
    if exists:
        address = url_for("pages.section_item", environment=place, kind=section, name=edited.key)
        return edited.key, address
    return section.capitalize(), url_for("pages.section_list", environment=place, kind=section)


def _editor(env: Environment, edited: Edited, seen: Seen) -> Response:
    app = application()
    stored = app.store.document(env.key)
    values: dict[str, Any] = {}
    ref = (edited.section, edited.key)
    exists = ref in stored.document.items
    before = text_of(stored.document, *ref) if exists else starter(edited.section)
    if edited.key:
        values["opened"] = edited.opened
        values["done"] = confirmation(stored, ref, request.args.get("done", type=whole))
        values["named_by"] = app.changes.named_by(stored, ref)
        values["exists"] = exists
        values["disturbs"] = disturbed_without(definitions(stored), ref)
    return page(
        "edit.html",
        env,
        seen.status,
        edited=edited,
        seen=seen,
        home=_home(env, edited, exists=exists),
        proposal=seen.proposal,
        unsaved=edited.text != (before or "").replace("\r\n", "\n"),
        **drawn(env, edited, stored),
        **values,
    )

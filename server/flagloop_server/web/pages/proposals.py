"""Changes that are looked at before they are saved: the preview, and the share control.

Addresses with `reports` in them may compute for long; the server keeps workers free for a kill.
"""

from __future__ import annotations

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from flagloop.errors import ConflictError, NotFoundError
from flagloop_server import changes as change
from flagloop_server import overview, proposals
from flagloop_server.definitions import definitions
from flagloop_server.disturbance import DisturbedError, guarded
from flagloop_server.drafts import typed
from flagloop_server.proposals import ItemDiff, Proposal, text_of
from flagloop_server.store import Environment
from flagloop_server.web import application
from flagloop_server.web.pages.frame import (
    back_to_flag,
    blueprint,
    enter,
    fragment,
    page,
    whole,
)

__all__ = ["ItemDiff", "Proposal", "propose", "reason", "text_of"]


def propose(env: Environment, planned: change.Change) -> Proposal:
    """Preview a change: its diff, its problems, and what recorded contexts would get."""
    app = application()
    return proposals.propose(app.store, app.changes, env, planned)


SHARE_PAGE = "/environments/<environment>/flags/<flag>/reports/share/<rule>"


@blueprint.get(SHARE_PAGE)
def share_page(environment: str, flag: str, rule: str) -> ResponseReturnValue:
    """The share control: with `share` in the address also what it would do."""
    env, _ = enter("edit", environment)
    return _share(env, flag, rule, typed.percent(request.args.get("share", "")))


def _share(
    env: Environment, flag: str, rule: str, wanted: str, status: int = 200, **values: Any
) -> ResponseReturnValue:
    environment = env.key
    # Read before the preview: what is changed between the two is found when it is saved.
    stored = application().store.document(environment)
    parsed = definitions(stored)
    definition = parsed.flags.get(flag)
    found = (
        next((one for one in definition.rules if one.name == rule), None) if definition else None
    )
    if definition is None or found is None:
        raise NotFoundError(f"no rule '{rule}' in flag '{flag}' of {environment}")
    values.update(
        environment=environment,
        flag=flag,
        rule=rule,
        share=wanted,
        opened=stored.item_revisions.get(("flags", flag), 0),
        proposal=propose(env, change.set_share(environment, flag, rule, wanted))
        if wanted
        else None,
    )
    if "fragment" in request.args:
        return fragment("share_proposal.html", **values)
    row = overview.rule_rows(definition, parsed, overview.NO_USAGE)[definition.rules.index(found)]
    return page("share.html", env, status, row=row, **values)


@blueprint.post("/environments/<environment>/flags/<flag>/pause/<rule>")
def pause_rollout(environment: str, flag: str, rule: str) -> ResponseReturnValue:
    """Hold a rollout at its stage; never conflicts."""
    _, who = enter("edit", environment)
    planned = change.pause(environment, flag, rule)
    applied = application().changes.apply(planned, who.actor, reason())
    return back_to_flag(environment, flag, applied)


@blueprint.post("/environments/<environment>/flags/<flag>/resume/<rule>")
def resume_rollout(environment: str, flag: str, rule: str) -> ResponseReturnValue:
    """Let a paused rollout go on."""
    _, who = enter("edit", environment)
    planned = change.resume(environment, flag, rule)
    applied = application().changes.apply(planned, who.actor, reason())
    return back_to_flag(environment, flag, applied)


@blueprint.post("/environments/<environment>/flags/<flag>/share/<rule>")
def save_share(environment: str, flag: str, rule: str) -> ResponseReturnValue:
    """Move the share of a rule (of a rollout: its stage), unless the flag is not as it was seen."""
    env, who = enter("edit", environment)
    share = typed.percent(request.form.get("share", ""))
    opened = request.form.get("opened", type=whole)
    expected = None if opened is None else {("flags", flag): opened}
    forced = "force" in request.form
    planned = guarded(change.set_share(environment, flag, rule, share), force=forced)
    app = application()
    try:
        applied = app.changes.apply(planned, who.actor, reason(), expected)
    except DisturbedError as error:
        return _share(env, flag, rule, share, 409, refusal=str(error), why=reason())
    except ConflictError:
        last = app.store.revisions(environment, section="flags", key=flag, limit=1)
        told = {"conflict": True, "other": last[0] if last else None, "why": reason()}
        return _share(env, flag, rule, share, 409, **told)
    return back_to_flag(environment, flag, applied)


def reason() -> str:
    """The reason that the form gives."""
    return request.form.get("reason", "").strip()

"""Changes that are looked at before they are saved: the preview, and the share control.

Addresses with `reports` in them may compute for long; the server keeps workers free for a kill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from flagloop.document.problem import Problem, errors
from flagloop.document.yamlfile import DocumentText
from flagloop.errors import ConfigError, ConflictError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server import overview, whatif
from flagloop_server.definitions import definitions
from flagloop_server.itemtext import dedented
from flagloop_server.recording import recording
from flagloop_server.store import Environment, now_ms
from flagloop_server.web import application
from flagloop_server.web.pages.frame import (
    back_to_flag,
    blueprint,
    enter,
    fragment,
    page,
    whole,
)


@dataclass(frozen=True, slots=True)
class ItemDiff:
    """The text of one item before and after; None where it does not exist."""

    section: str
    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a change would do: text, traffic, and what stands against it."""

    items: tuple[ItemDiff, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    effect: whatif.WhatIf | None = None
    dependents: tuple[str, ...] = ()
    running: tuple[str, ...] = ()

    @property
    def changes_something(self) -> bool:
        """Whether there is anything to save."""
        return bool(self.items)


def propose(env: Environment, planned: change.Change) -> Proposal:
    """Preview a change: its diff, its problems, and what recorded contexts would get."""
    app = application()
    try:
        preview = app.changes.preview(planned)
    except (DocumentError, ConfigError) as error:
        found = getattr(error, "problems", None) or [Problem(str(error))]
        return Proposal(problems=tuple(found))
    before, after = preview.base.document, preview.document
    items = tuple(
        ItemDiff(section, key, text_of(before, section, key), text_of(after, section, key))
        for section, key in preview.changed
    )
    wrong = errors(preview.problems)
    effect = None
    if not wrong and items:
        effect = whatif.what_if(
            before.mapping,
            after.mapping,
            recording(app.store, env, app.events.contexts(env.id)),
            preview.changed,
            now_ms() / 1000,
        )
    parsed = definitions(preview.base)
    needed_by = [
        name
        for section, key in preview.changed
        for name in overview.dependents(parsed, section, key)
    ]
    return Proposal(
        items=items,
        problems=tuple(wrong),
        warnings=tuple(one for one in preview.problems if one.severity == "warning"),
        notes=preview.notes,
        effect=effect,
        dependents=tuple(dict.fromkeys(needed_by)),
        running=overview.disturbed(parsed, preview.changed),
    )


def text_of(document: DocumentText, section: str, key: str) -> str | None:
    """The text of an item as people edit it, None where it does not exist."""
    item = document.items.get((section, key))
    return dedented(item.text) if item is not None else None


SHARE_PAGE = "/environments/<environment>/flags/<flag>/reports/share/<rule>"


@blueprint.get(SHARE_PAGE)
def share_page(environment: str, flag: str, rule: str) -> ResponseReturnValue:
    """The share control: with `share` in the address also what it would do."""
    env, _ = enter("edit", environment)
    return _share(env, flag, rule, _percent_text(request.args.get("share", "")))


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


@blueprint.post("/environments/<environment>/flags/<flag>/share/<rule>")
def save_share(environment: str, flag: str, rule: str) -> ResponseReturnValue:
    """Move the share of a rule (of a rollout: its stage), unless the flag is not as it was seen."""
    env, who = enter("edit", environment)
    share = _percent_text(request.form.get("share", ""))
    opened = request.form.get("opened", type=whole)
    expected = None if opened is None else {("flags", flag): opened}
    planned = change.set_share(environment, flag, rule, share)
    app = application()
    try:
        applied = app.changes.apply(planned, who.actor, reason(), expected)
    except ConflictError:
        last = app.store.revisions(environment, section="flags", key=flag, limit=1)
        told = {"conflict": True, "other": last[0] if last else None, "why": reason()}
        return _share(env, flag, rule, share, 409, **told)
    return back_to_flag(environment, flag, applied)


def _percent_text(text: str) -> str:
    """`25` as people type it is `25%`."""
    text = text.strip().replace(" ", "").replace(",", ".")
    return f"{text}%" if text and not text.endswith("%") else text


def reason() -> str:
    """The reason that the form gives."""
    return request.form.get("reason", "").strip()

"""The text of an item while it is edited: cards and problems for it, as a page and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from flask.typing import ResponseReturnValue

from flagloop.document.problem import Problem, errors, path_text
from flagloop.document.schema import SECTIONS, WORDS
from flagloop.errors import DocumentError, NotFoundError
from flagloop_server.definitions import definitions
from flagloop_server.drafts import Desk, Draft, Step, edit_draft, read_draft
from flagloop_server.editing import Edited
from flagloop_server.store import Environment, StoredDocument
from flagloop_server.web import application, wire
from flagloop_server.web.pages.frame import blueprint, enter, fragment
from flagloop_server.web.pages.visual import FlagCards, SegmentCard, flag_cards, known_in
from flagloop_server.web.pages.visual.board import Known, identity
from flagloop_server.web.pages.visual.segments import segment_card

VISUAL = ("flags", "segments")
"""Sections that have cards."""

MOST_CONTEXTS = 500
MOST_STEPS = 50


class StepBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One step of the visual editor."""

    do: str
    path: list[str | int]
    value: Any = None
    kind: str = ""
    to: int = 0


class DraftBody(wire.Body, frozen=True):
    """A text and the steps on it; none where the text itself was edited."""

    section: str
    text: str
    key: str = ""
    opened: int = 0
    steps: list[StepBody] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Told:
    """A problem as a line of a list: `line` of the text, if it lies there."""

    line: int | None
    text: str
    severity: str


def told(problem: Problem, section: str, key: str) -> Told:
    """A problem in words; the item's own name is left out of its path."""
    own = problem.path[:2] == (section, key)
    place = path_text(problem.path[2:] if own else problem.path)
    hint = f" ({problem.hint})" if problem.hint else ""
    text = f"{place}: {problem.message}{hint}" if place else f"{problem.message}{hint}"
    return Told(problem.line, text, problem.severity)


def shown(draft: Draft) -> tuple[Problem, ...]:
    """The problems that help: what a broken item makes of others follows from it."""
    own = [one for one in draft.problems if one.path[:2] == (draft.section, draft.key)]
    return tuple(own if errors(own) or (not draft.readable and own) else draft.problems)


def known(env: Environment, stored: StoredDocument) -> Known:
    """What fields can offer in this environment."""
    contexts = application().events.contexts(env.id, MOST_CONTEXTS)
    return known_in(definitions(stored), [one.context for one in contexts])


def cards_of(draft: Draft, found: Known, stored: StoredDocument) -> FlagCards | SegmentCard | None:
    """The cards of a draft; None for a section without, or a text that cannot be read."""
    if draft.mapping is None or draft.section not in VISUAL:
        return None
    problems = shown(draft)
    if draft.section == "segments":
        return segment_card(draft.mapping, problems, found)
    return flag_cards(draft.key, draft.mapping, problems, found, definitions(stored))


def drawn(env: Environment, edited: Edited, stored: StoredDocument) -> dict[str, Any]:
    """What the page of an editor needs to show the text with its cards."""
    desk = Desk(application().changes, env.key, edited.section, edited.key)
    draft = read_draft(desk, edited.text)
    found = known(env, stored)
    return {
        "environment": env.key,
        "draft": draft,
        "is_new": not edited.key,
        "known": found,
        "cards": cards_of(draft, found, stored),
        "visual": edited.section in VISUAL,
        "words": WORDS[edited.section.removesuffix("s")],
        "told": [told(one, draft.section, draft.key) for one in shown(draft)],
    }


@blueprint.post("/environments/<environment>/reports/draft")
def draft(environment: str) -> ResponseReturnValue:
    """The text after the steps, its cards and its problems, as JSON."""
    env, _ = enter("edit", environment)
    body = wire.decode(DraftBody)
    if body.section not in SECTIONS:
        raise NotFoundError(f"no section '{body.section}'")
    stored = application().store.document(environment)
    desk = Desk(application().changes, environment, body.section, body.key)
    made, refusal = _made(desk, body, stored)
    found = known(env, stored)
    cards = cards_of(made, found, stored)
    html = fragment(
        "editor_cards.html",
        cards=cards,
        known=found,
        draft=made,
        is_new=not body.key,
        environment=environment,
    )
    return {
        "text": made.text,
        "readable": made.readable,
        "html": html if cards is not None else "",
        "problems": [msgspec.to_builtins(told(one, made.section, made.key)) for one in shown(made)],
        "refusal": refusal,
        "reformatted": made.reformatted,
        "focus": ":".join(filter(None, (identity(made.focus), made.part))) if made.focus else "",
        "meanwhile": bool(body.key) and _revision(stored, desk) != body.opened,
    }


def _made(desk: Desk, body: DraftBody, stored: StoredDocument) -> tuple[Draft, str]:
    """The draft, and why a step was not possible."""
    if not body.steps:
        return read_draft(desk, body.text), ""
    try:
        return edit_draft(desk, body.text, _steps(body), _saved(desk, stored)), ""
    except DocumentError as error:
        return read_draft(desk, body.text), _refusal(error)
    except (ValueError, TypeError) as error:
        return read_draft(desk, body.text), f"Not done: {error}."


def _refusal(error: DocumentError) -> str:
    told = "; ".join(one.message for one in error.problems)
    return f"Not done: {told}."


def _steps(body: DraftBody) -> list[Step]:
    return [
        Step(one.do, tuple(one.path), one.value, one.kind, one.to)
        for one in body.steps[:MOST_STEPS]
    ]


def _saved(desk: Desk, stored: StoredDocument) -> list[str]:
    """The names of the rules that the stored flag has."""
    parsed = definitions(stored).flags.get(desk.key) if desk.section == "flags" else None
    return [rule.name for rule in parsed.rules] if parsed is not None else []


def _revision(stored: StoredDocument, desk: Desk) -> int:
    return stored.item_revisions.get((desk.section, desk.key), 0)

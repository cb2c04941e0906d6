"""The parts of a flag's page that are refreshed every few seconds: state, usage, rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask.typing import ResponseReturnValue

from flagloop.document.definition import Document, Flag
from flagloop.document.problem import did_you_mean
from flagloop.errors import NotFoundError
from flagloop_server import overview
from flagloop_server.definitions import definitions
from flagloop_server.obedience import TOGGLES, Obedience, look
from flagloop_server.staleness import settled_flags
from flagloop_server.store import Environment, RevisionRow, StoredDocument, now_ms
from flagloop_server.store.events import Usage
from flagloop_server.web import application
from flagloop_server.web.identity import Identity
from flagloop_server.web.pages.frame import blueprint, enter, fragment

RECENT = 20
"""How many changes of a flag are looked through for its kill."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One flag as it is now, and who looks at it."""

    env: Environment
    who: Identity
    stored: StoredDocument
    document: Document
    flag: Flag
    usage: Usage


def subject(env: Environment, who: Identity, key: str) -> Subject:
    """The flag of an environment; NotFoundError names the nearest."""
    stored = application().store.document(env.key)
    document = definitions(stored)
    flag = document.flags.get(key)
    if flag is None:
        near = did_you_mean(key, document.flags)
        raise NotFoundError(f"no flag '{key}' in {env.key}" + (f"; {near}" if near else ""))
    usage = application().store.events.usage(env.id, key).get(key, overview.NO_USAGE)
    return Subject(env, who, stored, document, flag, usage)


def state(seen: Subject) -> dict[str, Any]:
    """The first lines: who gets what, who changed it last, who obeys."""
    store = application().store
    now = now_ms()
    key = seen.flag.key
    changed = store.revisions(seen.env.key, section="flags", key=key, limit=RECENT)
    last = changed[0] if changed else None
    return {
        "row": overview.flag_row(
            seen.flag,
            seen.document,
            seen.usage.last_seen_ms,
            now,
            settled_flags(store, seen.stored, seen.document).get(key),
        ),
        "changed": last,
        "told": _obeyed(seen, changed),
    }


def _obeyed(seen: Subject, changed: Sequence[RevisionRow]) -> Obedience | None:
    """Who has the kill of a flag that is killed, and the last change of any other."""
    toggles = [one for one in changed if one.action in TOGGLES][:1]
    # A flag may also be killed by an edit: then an earlier kill, since restored, says nothing.
    kills = [one for one in toggles if one.action == "kill" and seen.flag.killed is not None]
    asked = [*kills, *changed][:1]
    app = application()
    return look(app.store, app.instances, seen.env.key, asked[0].number) if asked else None


def usage(seen: Subject) -> dict[str, Any]:
    """Evaluations, units and events of each variant."""
    events = application().store.events
    counts = events.live(seen.env.id, seen.flag.key)
    return {
        "counts": counts,
        "variants": overview.variant_rows(seen.flag, seen.usage, counts),
        "lost": sum(one.n for one in events.losses(seen.env.id) if one.flag == seen.flag.key),
    }


def rules(seen: Subject) -> dict[str, Any]:
    """The rules in order, with what each took."""
    rest, off = overview.unserved_parts(seen.usage)
    return {
        "flag": seen.flag,
        "rules": overview.rule_rows(seen.flag, seen.document, seen.usage),
        "rest": rest,
        "off": off,
        "may_edit": seen.who.may("edit", seen.env.key),
    }


PARTS = {"state": state, "usage": usage, "rules": rules}


@blueprint.get("/environments/<environment>/flags/<flag>/live/<part>")
def flag_live(environment: str, flag: str, part: str) -> ResponseReturnValue:
    """One part, without the frame of the page."""
    env, who = enter("view", environment)
    if part not in PARTS:
        raise NotFoundError(f"no part '{part}'; there are {', '.join(PARTS)}")
    values = PARTS[part](subject(env, who, flag))
    return fragment(f"flag_{part}.html", environment=environment, **values)

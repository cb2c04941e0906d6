"""The parts of a flag's page that are refreshed every few seconds: state, usage, rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.typing import ResponseReturnValue

from flagloop.document.definition import Document, Flag
from flagloop.document.problem import did_you_mean
from flagloop.errors import NotFoundError
from flagloop_server import overview
from flagloop_server.definitions import definitions
from flagloop_server.staleness import settled_flags
from flagloop_server.store import Environment, StoredDocument, now_ms
from flagloop_server.store.events import Usage
from flagloop_server.web import application
from flagloop_server.web.identity import Identity
from flagloop_server.web.pages.frame import blueprint, enter, fragment

RECENT_MS = 120_000
"""An instance that was heard of within this time counts as running."""


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
    """The first lines: who gets what, who changed it last, who has the change."""
    store = application().store
    now = now_ms()
    key = seen.flag.key
    last = store.revisions(seen.env.key, section="flags", key=key, limit=1)
    instances = store.events.instances(seen.env.id)
    running = [one for one in instances if now - one.last_seen_ms <= RECENT_MS]
    lineage, needed = seen.stored.lineage, seen.stored.item_revisions.get(("flags", key), 0)
    return {
        "row": overview.flag_row(
            seen.flag,
            seen.document,
            seen.usage.last_seen_ms,
            now,
            settled_flags(store, seen.stored, seen.document).get(key),
        ),
        "changed": last[0] if last else None,
        "instances": len(running),
        "reached": sum(overview.has_revision(one.revision, lineage, needed) for one in running),
    }


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

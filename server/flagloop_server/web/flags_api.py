"""The admin API of flags as people see them: the list, one flag, its usage, the archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint

from flagloop.document.definition import Document, Flag
from flagloop.document.problem import did_you_mean
from flagloop.errors import NotFoundError
from flagloop_server import changes, overview
from flagloop_server.changes import find_item
from flagloop_server.definitions import definitions
from flagloop_server.itemtext import dedented
from flagloop_server.staleness import Stale, settled_flags
from flagloop_server.store import StoredDocument, now_ms
from flagloop_server.store.events import EventTotal
from flagloop_server.web import application, records, wire
from flagloop_server.web.admin_api import apply
from flagloop_server.web.identity import Identity
from flagloop_server.web.rest import operation

blueprint = Blueprint("flags", __name__, url_prefix="/api/v1/admin/environments/<env>")


class Wanted(wire.Query, frozen=True):
    """Which flags: every word of `q` in key, description, owner, tags or variants.

    `stale` is yes, no or a reason. `sort` by state puts those first that need a person, by seen
    and changed the latest. `start` is the place in the list to begin at, 0 for the first.
    """

    q: str = ""
    state: Literal["", "live", "canary", "paused", "off", "killed", "stale"] = ""
    owner: str = ""
    tag: str = ""
    type: Literal["", "boolean", "string", "integer", "number", "json"] = ""
    stale: Literal["", "yes", "no", "expired", "unused", "settled"] = ""
    sort: overview.Order = "document"
    start: wire.Number = 0
    limit: wire.Number = wire.PAGE


class StaleReason(records.Record, frozen=True):
    """Why a flag looks ready to be removed, what that rests on, and since which `revision`."""

    kind: Literal["expired", "unused", "settled"]
    reason: str
    proof: str
    since: int
    revision: int | None


class FlagLine(records.Record, frozen=True):
    """One flag of the list; `sentence` says who gets what, `hours` are the last 24, oldest first.

    `revision` is the one that changed it last.
    """

    key: str
    state: Literal["live", "canary", "paused", "off", "killed"]
    sentence: str
    description: str
    owner: str
    tags: list[str]
    expires: str | None
    variants: list[str]
    revision: int
    last_seen_at: int | None
    evaluations: int
    hours: list[int]
    stale: list[StaleReason]


class Flags(records.Record, frozen=True):
    """A part of the list as of `at`; `found` flags match, `total` there are."""

    environment: str
    lineage: str
    revision: int
    at: int
    total: int
    found: int
    start: int
    flags: list[FlagLine]


class RuleLine(records.Record, frozen=True):
    """A rule in words; `took` evaluations of the last 24 hours, `part` of all (null: no data)."""

    name: str
    who: str
    outcome: list[tuple[str, str]]
    notes: list[str]
    share: str
    serves: bool
    rollout: bool
    took: int
    part: float | None


class VariantLine(records.Record, frozen=True):
    """A variant; `units` were exposed to it, `events` of how many of them."""

    name: str
    value: Any
    evaluations: int
    part: float | None
    units: int
    events: dict[str, int]


class FlagView(FlagLine, frozen=True, kw_only=True):
    """One flag with its text and mapping, rules and variants.

    `dependents` require it, `further` require it through these: all may change when it is killed.
    """

    environment: str
    at: int
    text: str
    mapping: Any
    default: str | None
    off: str | None
    rules: list[RuleLine]
    by_variant: list[VariantLine]
    dependents: list[str]
    further: list[str]


class Live(records.Record, frozen=True):
    """Units exposed to each variant since `since`; `mixed` of them saw several variants.

    `events` is event -> variant -> what such units did; not `complete` when too many units were
    seen to follow all.
    """

    environment: str
    flag: str
    since: int
    units: dict[str, int]
    mixed: int
    events: dict[str, dict[str, EventTotal]]
    complete: bool


class ArchivedFlag(records.Record, frozen=True):
    """A flag that left the document, with the text that it had."""

    key: str
    text: str
    at: int
    revision: int
    actor: records.Actor
    reason: str


class Archive(records.Record, frozen=True):
    """The flags that left the document; their keys stay reserved."""

    environment: str
    flags: list[ArchivedFlag]


class ArchiveFlags(wire.Forced, frozen=True, kw_only=True):
    """Flags to be archived as one revision; they may require each other.

    `expected` says at which revisions they were read: 409 when one is at another.
    """

    flags: Annotated[list[str], msgspec.Meta(extra_json_schema={"minItems": 1})]
    expected: list[wire.ExpectedItem] = msgspec.field(default_factory=list)


@operation(blueprint.get, "/flags", may="view")
def flags(env: str, query: Wanted) -> Flags:
    """The flags: state, who gets what, usage, and which look stale and why."""
    app = application()
    environment, stored = app.store.environment(env), app.store.document(env)
    parsed, now = definitions(stored), now_ms()
    settled = settled_flags(app.store, stored, parsed)
    seen = app.events.last_seen(environment.id)
    rows = overview.flag_rows(parsed, seen, now, settled, stored=stored)
    wanted = overview.Filter(
        query.q, query.state, query.owner, query.tag, type=query.type, stale=query.stale
    )
    found = overview.ordered(overview.select(rows, wanted), query.sort)
    size = min(query.limit or wire.PAGE, wire.LARGEST_PAGE)
    shown = found[query.start : query.start + size]
    hours = app.events.hours(environment.id, [row.key for row in shown])
    return Flags(
        environment=env,
        lineage=stored.lineage,
        revision=stored.revision,
        at=now,
        total=len(rows),
        found=len(found),
        start=query.start,
        flags=[FlagLine(**_line(row, stored, hours[row.key])) for row in shown],
    )


@operation(blueprint.get, "/flags/<flag>", may="view")
def flag(env: str, flag: str) -> FlagView:
    """One flag: text, rules with the part of evaluations that each took, variants, dependents."""
    app = application()
    environment, stored = app.store.environment(env), app.store.document(env)
    parsed, now = definitions(stored), now_ms()
    found = _find(parsed, env, flag)
    usage = app.events.usage(environment.id, flag).get(flag, overview.NO_USAGE)
    settled = settled_flags(app.store, stored, parsed).get(flag)
    row = overview.flag_row(found, parsed, usage.last_seen_ms, now, settled)
    counts = app.events.live(environment.id, flag)
    item = stored.document.items["flags", flag]
    return FlagView(
        **_line(row, stored, usage.hours),
        environment=env,
        at=now,
        text=dedented(item.text),
        mapping=item.mapping,
        default=found.default,
        off=found.off,
        rules=[_rule(rule) for rule in overview.rule_rows(found, parsed, usage)],
        by_variant=[_variant(one) for one in overview.variant_rows(found, usage, counts)],
        dependents=overview.dependents(parsed, flag),
        further=overview.dependents_of_dependents(parsed, flag),
    )


@operation(blueprint.get, "/flags/<flag>/live", may="view")
def live(env: str, flag: str) -> Live:
    """Units exposed to each variant and what they did since the server started."""
    store = application().store
    find_item(store.document(env), "flags", flag)
    seen = store.events.live(store.environment(env).id, flag)
    return Live(
        environment=env,
        flag=flag,
        since=seen.since,
        units=dict(seen.units),
        mixed=seen.mixed,
        events={event: dict(by_variant) for event, by_variant in seen.events.items()},
        complete=seen.complete,
    )


@operation(blueprint.get, "/archive", may="view")
def archived(env: str) -> Archive:
    """The archived flags."""
    rows = application().store.archived_flags(env)
    return Archive(
        env,
        [
            ArchivedFlag(
                key=row.key,
                text=dedented(row.text),
                at=row.at,
                revision=row.revision,
                actor=records.actor(row.actor),
                reason=row.reason,
            )
            for row in rows
        ],
    )


@operation(blueprint.post, "/archive", may="edit")
def archive_flags(env: str, who: Identity, body: ArchiveFlags) -> records.Applied:
    """Archive several flags as one revision; none of them where one cannot go."""
    change = changes.archive_flags(env, body.flags)
    return apply(change, who, body, wire.expectations(body.expected))


def _find(parsed: Document, env: str, flag: str) -> Flag:
    found = parsed.flags.get(flag)
    if found is None:
        near = did_you_mean(flag, parsed.flags)
        raise NotFoundError(f"no flag '{flag}' in {env}" + (f"; {near}" if near else ""))
    return found


def _line(row: overview.FlagRow, stored: StoredDocument, hours: Sequence[int]) -> dict[str, Any]:
    flag = row.flag
    return {
        "key": row.key,
        "state": row.state,
        "sentence": row.sentence,
        "description": flag.description,
        "owner": flag.owner,
        "tags": list(flag.tags),
        "expires": flag.expires,
        "variants": list(flag.variants),
        "revision": stored.item_revisions.get(("flags", row.key), 0),
        "last_seen_at": row.last_seen_ms,
        "evaluations": sum(hours),
        "hours": list(hours),
        "stale": [_reason(one) for one in row.stale],
    }


def _reason(one: Stale) -> StaleReason:
    return StaleReason(one.kind, one.reason, one.proof, one.since, one.revision)


def _rule(rule: overview.RuleRow) -> RuleLine:
    return RuleLine(
        name=rule.name,
        who=rule.who,
        outcome=list(rule.outcome),
        notes=list(rule.notes),
        share=rule.share,
        serves=rule.serves,
        rollout=rule.is_rollout,
        took=rule.took,
        part=rule.part,
    )


def _variant(row: overview.VariantRow) -> VariantLine:
    return VariantLine(
        name=row.name,
        value=row.value,
        evaluations=row.evaluations,
        part=row.part,
        units=row.units,
        events=dict(row.events),
    )

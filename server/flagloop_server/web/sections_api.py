"""The admin API of segments, metrics, layers, holdouts and experiments as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from flask import Blueprint
from msgspec import UNSET, UnsetType

from flagloop.document.definition import Metric
from flagloop.document.percent import format_percent
from flagloop.errors import NotFoundError
from flagloop_server import sections
from flagloop_server.definitions import definitions
from flagloop_server.promoting import promotion
from flagloop_server.store.events import EventUsage
from flagloop_server.web import application, records, wire
from flagloop_server.web.identity import require
from flagloop_server.web.rest import operation

blueprint = Blueprint("sections", __name__, url_prefix="/api/v1/admin/environments/<env>")


class Search(wire.Query, frozen=True):
    """Every word of `q` in key, sentence, description or users."""

    q: str = ""


class From(wire.Query, frozen=True, rename={"source": "from"}):
    """The item, and the environment that it would come from."""

    source: str
    section: str
    key: str


class Use(records.Record, frozen=True):
    """One place that names an item: `role` says as what, `rule` in which rule of a flag."""

    section: str
    key: str
    role: str
    rule: str | None


class Came(records.Record, frozen=True):
    """Events of a metric: `hours` are the last 24, oldest first; the last came at `last_at`."""

    event: str
    hours: list[int]
    last_at: int | None


class SectionItem(records.Record, frozen=True):
    """One item in a sentence, with who uses it and the revision that changed it last.

    `came` is told of a metric.
    """

    key: str
    sentence: str
    description: str
    revision: int
    uses: list[Use]
    came: Came | UnsetType = UNSET


class SectionItems(records.Record, frozen=True):
    """The items of a section, in the document's order; `summary` says what they come to."""

    environment: str
    section: str
    revision: int
    summary: str
    items: list[SectionItem]


class Range(records.Record, frozen=True, rename={"low": "from", "high": "to"}):
    """A part of a layer, as percentages."""

    low: str
    high: str


class RangeHolder(Range, frozen=True, kw_only=True):
    """An experiment and the range that it holds; a draft takes nobody yet."""

    experiment: str
    status: Literal["draft", "running", "decided"]


class LayerRanges(records.Record, frozen=True):
    """Who holds which range of a layer, and what is free."""

    environment: str
    layer: str
    unit: str
    holders: list[RangeHolder]
    free: list[Range]
    unused: str


class Promotable(records.Record, frozen=True):
    """What promoting an item meets: `missing` has to come along, what is named comes first.

    `differing` are items that it names and that mean something else in the target.
    """

    environment: str
    source: str
    section: str
    key: str
    missing: list[records.Ref]
    differing: list[records.Ref]


@operation(blueprint.get, "/sections/<section>", may="view")
def section(env: str, section: str, query: Search) -> SectionItems:
    """Segments, metrics, layers, holdouts or experiments in words, and who uses each."""
    if section not in sections.SECTIONS:
        known = ", ".join(sections.SECTIONS)
        raise NotFoundError(f"no section '{section}' in words; there are {known}")
    app = application()
    stored = app.store.document(env)
    parsed = definitions(stored)
    used = sections.uses(parsed)
    rows = sections.item_rows(parsed, section, used, stored.item_revisions)
    shown = sections.search(rows, query.q)
    events = {row.item.event for row in shown if isinstance(row.item, Metric)}
    came = app.events.event_usage(app.store.environment(env).id, events)
    return SectionItems(
        environment=env,
        section=section,
        revision=stored.revision,
        summary=sections.summary(section, rows),
        items=[_item(row, came) for row in shown],
    )


@operation(blueprint.get, "/layers/<layer>", may="view")
def layer(env: str, layer: str) -> LayerRanges:
    """The map of a layer: which experiment holds which range, and what is free."""
    parsed = definitions(application().store.document(env))
    if layer not in parsed.layers:
        raise NotFoundError(f"no layer '{layer}' in {env}")
    found = sections.layer_map(parsed, layer)
    return LayerRanges(
        environment=env,
        layer=layer,
        unit=found.layer.unit,
        holders=[
            RangeHolder(
                *_range(one.low, one.high),
                experiment=one.experiment.key,
                status=one.experiment.status,
            )
            for one in found.holders
        ],
        free=[Range(*_range(*one)) for one in found.free],
        unused=format_percent(found.unused),
    )


@operation(blueprint.get, "/reports/promotion", may="view")
def promotable(env: str, query: From) -> Promotable:
    """What promoting an item to this environment would need and meet; see `changes` to do it."""
    require("view", query.source)
    store = application().store
    found = promotion(store.document(query.source), store.document(env), query.section, query.key)
    return Promotable(
        environment=env,
        source=query.source,
        section=query.section,
        key=query.key,
        missing=records.refs(found.missing),
        differing=records.refs(found.differing),
    )


def _item(row: sections.ItemRow, came: Mapping[str, EventUsage]) -> SectionItem:
    event = row.item.event if isinstance(row.item, Metric) else None
    return SectionItem(
        key=row.key,
        sentence=row.words,
        description=row.item.description,
        revision=row.revision,
        uses=[Use(one.section, one.key, one.role, one.rule) for one in row.uses],
        came=UNSET if event is None else Came(event, list(came[event].hours), came[event].last_ms),
    )


def _range(low: int, high: int) -> tuple[str, str]:
    return format_percent(low), format_percent(high)

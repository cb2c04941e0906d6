"""Segments, metrics, layers, holdouts, experiments: a list of each and a page of each item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from flask import request
from flask.typing import ResponseReturnValue

from flagloop.document.definition import Document, Experiment, Holdout, Layer, Metric, Segment
from flagloop.document.problem import did_you_mean
from flagloop.errors import NotFoundError
from flagloop_server import overview, sections, wording
from flagloop_server.definitions import definitions
from flagloop_server.editing import disturbed_without
from flagloop_server.perrevision import PerRevision
from flagloop_server.proposals import text_of
from flagloop_server.sections import ItemRow, Section, Use
from flagloop_server.store import Environment, Ref, now_ms
from flagloop_server.web import application
from flagloop_server.web.pages.confirmation import confirmation
from flagloop_server.web.pages.frame import blueprint, enter, first_row, page, whole

PAGE = 100
"""Rows of a list that are shown at once."""

REVISIONS = 20

_USES: PerRevision[Mapping[Ref, tuple[Use, ...]]] = PerRevision()

EXAMPLES = {
    "segments": 'segments:\n  staff:\n    when: {email: {ends_with: "@example.com"}}',
    "metrics": "metrics:\n  sign_up: {event: sign_up, better: higher}",
    "layers": "layers:\n  landing_page: {}",
    "holdouts": "holdouts:\n  growth_2026: {share: 2%}",
    "experiments": "experiments:\n  cta_color_2026:\n"
    "    hypothesis: A green button raises sign-ups, because it stands out.\n"
    "    primary: sign_up",
}
"""What an empty list teaches."""

KIND = "<any(segments, metrics, layers, holdouts, experiments):kind>"


@blueprint.get(f"/environments/<environment>/{KIND}")
def section_list(environment: str, kind: str) -> ResponseReturnValue:
    """Every item of a section, or those that the search in the address asks for."""
    env, _ = enter("view", environment)
    app, section = application(), cast("Section", kind)
    stored = app.store.document(environment)
    parsed = definitions(stored)
    used = _USES.of(stored, lambda: sections.uses(parsed))
    rows = sections.item_rows(parsed, section, used, stored.item_revisions)
    text = request.args.get("q", "")
    found = sections.search(rows, text)
    first = first_row(len(found))
    shown = found[first : first + PAGE]
    return page(
        "section_list.html",
        env,
        section=section,
        rows=rows,
        found=found,
        shown=shown,
        first=first,
        step=PAGE,
        text=text,
        summary=sections.summary(section, rows),
        counted=sections.counted,
        example=EXAMPLES[section],
        changed=app.store.revision_times(environment, {row.revision for row in shown}),
        sparkline=overview.sparkline,
        **_beside(env, parsed, shown),
    )


@blueprint.get(f"/environments/<environment>/{KIND}/<name>")
def section_item(environment: str, kind: str, name: str) -> ResponseReturnValue:
    """One item: what it says in words, who uses it, its text and its history."""
    env, _ = enter("view", environment)
    app, section = application(), cast("Section", kind)
    stored = app.store.document(environment)
    parsed = definitions(stored)
    known = sections.items_of(parsed, section)
    if name not in known:
        near = did_you_mean(name, known)
        one = sections.ONE[section]
        raise NotFoundError(f"no {one} '{name}' in {environment}" + (f"; {near}" if near else ""))
    used = _USES.of(stored, lambda: sections.uses(parsed))
    row = sections.item_row(parsed, (section, name), used, stored.item_revisions)
    revisions = app.store.revisions(environment, section=section, key=name, limit=REVISIONS + 1)
    return page(
        "section_item.html",
        env,
        section=section,
        key=name,
        row=row,
        one=sections.ONE[section],
        text=text_of(stored.document, section, name),
        revisions=revisions[:REVISIONS],
        added=revisions[-1] if 0 < len(revisions) <= REVISIONS else None,
        done=confirmation(stored, (section, name), request.args.get("done", type=whole)),
        named_by=app.changes.named_by(stored, (section, name)),
        used=used,
        disturbs=disturbed_without(parsed, (section, name)),
        opened=stored.item_revisions.get((section, name), 0),
        sparkline=overview.sparkline,
        **{
            **_beside(env, parsed, [row]),
            **_own(env, parsed, row, sections.deciding(used, (section, name))),
        },
    )


def _beside(env: Environment, parsed: Document, rows: list[ItemRow]) -> dict[str, Any]:
    """What rows need that does not stand in the document: maps of layers, events of metrics."""
    items = [row.item for row in rows]
    maps = {one.key: sections.layer_map(parsed, one.key) for one in items if isinstance(one, Layer)}
    events = {one.event for one in items if isinstance(one, Metric)}
    return {"maps": maps, "events": application().events.event_usage(env.id, events)}


def _own(env: Environment, parsed: Document, row: ItemRow, deciding: set[str]) -> dict[str, Any]:
    """What only the page of one kind of item shows."""
    if isinstance(row.item, Experiment):
        return _of_experiment(env, parsed, row)
    if not isinstance(row.item, Segment | Holdout):
        return {}
    last_seen, now = application().events.last_seen(env.id), now_ms()
    shown = [(key, flag) for key, flag in parsed.flags.items() if key in deciding][:PAGE]
    return {
        "deciding": len(deciding),
        "flags": [overview.flag_row(flag, parsed, last_seen.get(key), now) for key, flag in shown],
    }


def _of_experiment(env: Environment, parsed: Document, row: ItemRow) -> dict[str, Any]:
    app, experiment = application(), cast("Experiment", row.item)
    measured = sections.measured(experiment, parsed)
    values: dict[str, Any] = {
        "measured": measured,
        "metric_words": sections.metric_words,
        "events": app.events.event_usage(env.id, {metric.event for _, metric in measured}),
        "plan": sections.plan_words(experiment.plan) if experiment.plan else "",
    }
    place = next((one for one in row.uses if one.rule is not None), None)
    if place is None:
        return values
    flag = parsed.flags[place.key]
    rule = next(one for one in flag.rules if one.name == place.rule)
    counts = app.events.live(env.id, flag.key)
    return {
        **values,
        "flag": flag,
        "rule": rule,
        "who": wording.who_words(rule.when),
        "portions": wording.portions(rule),
        "given": app.events.given_by_rule(env.id, flag.key, rule.name),
        "counts": counts,
        "variants": overview.variant_rows(flag, overview.NO_USAGE, counts),
    }

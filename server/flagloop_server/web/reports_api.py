"""The admin API's questions: two environments compared, decisions of any context at any time.

Contexts come in bodies, never in addresses: those end up in logs.
"""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint

from flagloop.errors import NotFoundError
from flagloop.evaluation.explain import Position, Reached
from flagloop_server import playground
from flagloop_server.compare import ComparedItem, compare, compare_item
from flagloop_server.web import application, records, wire
from flagloop_server.web.identity import require
from flagloop_server.web.rest import operation

STATES = {
    "only left": "only here",
    "only right": "only there",
    "differs": "differs",
    "same": "same",
}
"""The states of a comparison, as seen from the environment in the address."""

blueprint = Blueprint("questions", __name__, url_prefix="/api/v1/admin/environments/<env>")


class With(wire.Query, frozen=True, rename={"other": "with"}):
    """The environment to compare with; `all` lists what is the same too."""

    other: str
    all: bool = False


class WithItem(wire.Query, frozen=True, rename={"other": "with"}):
    """The environment to compare with."""

    other: str


class RuntimeWord(records.Record, frozen=True):
    """A word of operation that the two have differently; null where it is not written."""

    path: str
    here: Any
    there: Any


class ComparedLine(records.Record, frozen=True):
    """One item; `state` tells its meaning without runtime words."""

    section: str
    key: str
    state: Literal["only here", "only there", "differs", "same"]
    runtime: list[RuntimeWord]


class ComparedTexts(ComparedLine, frozen=True, kw_only=True):
    """One item with both texts, without runtime words; null where it does not exist."""

    here: str | None
    there: str | None


class Comparison(records.Record, frozen=True):
    """Items of two environments at two revisions; `counts` are by state."""

    environment: str
    revision: int
    other: str
    other_revision: int
    counts: dict[str, int]
    items: list[ComparedLine]


class Sample(wire.Query, frozen=True):
    """How many (500 at most)."""

    limit: wire.Number = wire.PAGE


class Decide(wire.Body, frozen=True, kw_only=True):
    """A context: `{"key": "u-42", "country": "DE"}`; at a past revision or time (epoch ms).

    With `flags` those alone are decided.
    """

    context: dict[str, Any]
    revision: wire.Number | None = None
    at: wire.Number | None = None
    flags: list[str] | None = None


class Explain(wire.Body, frozen=True, kw_only=True):
    """A flag and a context, at a past revision or time (epoch ms)."""

    flag: str
    context: dict[str, Any]
    revision: wire.Number | None = None
    at: wire.Number | None = None


class Decision(records.Record, frozen=True, omit_defaults=True):
    """What a flag serves and why; no variant: the caller's default."""

    flag: str
    variant: str | None
    value: Any
    reason: Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED", "ERROR"]
    rule: str | None = None
    experiment: str | None = None
    holdout: str | None = None
    prerequisite: str | None = None
    message: str | None = None
    error: str | None = None
    missing_unit: bool = False


class Recorded(records.Record, frozen=True):
    """A context that an application asked about, with what `recording` keeps of it."""

    at: int
    context: dict[str, Any]


class Contexts(records.Record, frozen=True):
    """Recorded contexts, the newest first: a sample that previews are judged by."""

    environment: str
    contexts: list[Recorded]


class UnitPosition(records.Record, frozen=True):
    """Where a unit fell: `at` and the edges, of 2^32; `by` names what was asked."""

    by: str
    at: int | None
    low: int
    high: int
    text: str


class ExplainedStep(records.Record, frozen=True):
    """One step on the way to a decision."""

    kind: Literal["flag", "killed", "requires", "holdout", "rule", "default"]
    name: str
    outcome: Literal["served", "passed", "not reached"]
    why: str
    positions: list[UnitPosition]


class Moment(records.Record, frozen=True):
    """Which rules decided: a revision, and the time that windows were held against."""

    environment: str
    revision: int
    current: bool
    at: int


class Decisions(Moment, frozen=True, kw_only=True):
    """What flags decide for a context; nothing of this is counted."""

    decisions: list[Decision]


class Explanation(Moment, frozen=True, kw_only=True):
    """Why a flag decides so, step by step."""

    decision: Decision
    steps: list[ExplainedStep]


@operation(blueprint.get, "/reports/compare", may="view")
def compare_environments(env: str, query: With) -> Comparison:
    """What differs between this environment and another one, item by item."""
    require("view", query.other)
    store = application().store
    found = compare(store.document(env), store.document(query.other))
    shown = [one for one in found.items if query.all or one.state != "same" or one.runtime]
    return Comparison(
        environment=env,
        revision=found.left.revision,
        other=query.other,
        other_revision=found.right.revision,
        counts={STATES[state]: n for state, n in found.counts.items()},
        items=[ComparedLine(**_compared(one)) for one in shown],
    )


@operation(blueprint.get, "/reports/compare/<section>/<key>", may="view")
def compare_one(env: str, section: str, key: str, query: WithItem) -> ComparedTexts:
    """One item here and in another environment, with both texts."""
    require("view", query.other)
    store = application().store
    found = compare_item(store.document(env), store.document(query.other), section, key)
    if found is None:
        raise NotFoundError(f"no {section}.{key} in {env}, nor in {query.other}")
    return ComparedTexts(**_compared(found), here=found.left, there=found.right)


@operation(blueprint.get, "/reports/contexts", may="edit")
def contexts(env: str, query: Sample) -> Contexts:
    """Contexts that applications asked about: a sample, for editors, to try changes on."""
    app = application()
    limit = min(query.limit or wire.PAGE, wire.LARGEST_PAGE)
    rows = app.events.contexts(app.store.environment(env).id, limit)
    return Contexts(env, [Recorded(one.at, dict(one.context)) for one in rows])


@operation(blueprint.post, "/reports/decide", may="view")
def decide(env: str, body: Decide) -> Decisions:
    """What every flag decides for a context, now or at a past time."""
    scene = playground.look(application().store, env, revision=body.revision, at=body.at)
    context = playground.check_context(body.context)
    names = None if body.flags is None else set(body.flags)
    made = scene.decisions(context, names)
    return Decisions(**_moment(scene), decisions=[Decision(**one.to_mapping()) for one in made])


@operation(blueprint.post, "/reports/explain", may="view")
def explain(env: str, body: Explain) -> Explanation:
    """Why a flag decides so for a context, rule by rule, now or at a past time."""
    scene = playground.look(application().store, env, revision=body.revision, at=body.at)
    found = scene.explain(body.flag, playground.check_context(body.context))
    return Explanation(
        **_moment(scene),
        decision=Decision(**found.decision.to_mapping()),
        steps=[_reason(step) for step in found.steps],
    )


def _compared(one: ComparedItem) -> dict[str, Any]:
    return {
        "section": one.section,
        "key": one.key,
        "state": STATES[one.state],
        "runtime": [RuntimeWord(word.path, word.left, word.right) for word in one.runtime],
    }


def _moment(scene: playground.Scene) -> dict[str, Any]:
    return {
        "environment": scene.stored.environment,
        "revision": scene.stored.revision,
        "current": scene.current,
        "at": scene.at,
    }


def _reason(step: Reached) -> ExplainedStep:
    places = [_place(one) for one in step.positions]
    return ExplainedStep(step.kind, step.name, step.outcome, step.why, places)


def _place(one: Position) -> UnitPosition:
    return UnitPosition(one.by, one.at, one.low, one.high, one.render())

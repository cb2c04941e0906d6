"""The admin API of items: read, write, remove, revert; changes of several kinds, and previews.

A change is one of `put`, `archive`, `share`, `promote`, ... (see `Step`); several of them are made
as one revision. What they would do is asked by `POST .../reports/preview` with the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from flask import Blueprint
from werkzeug.exceptions import BadRequest

from flagloop.errors import ConflictError
from flagloop_server import changes, promoting, proposals, undoing
from flagloop_server.changes import Change, find_item
from flagloop_server.editing import Edited, meanwhile
from flagloop_server.store import Ref
from flagloop_server.web import application, records, wire
from flagloop_server.web.admin_api import AtRevision, apply
from flagloop_server.web.identity import Identity, require
from flagloop_server.web.rest import operation

blueprint = Blueprint("items", __name__, url_prefix="/api/v1/admin/environments/<env>")

MOST_STEPS = 500


class ItemLine(records.Record, frozen=True):
    """An item, and the revision that changed it last: what `expected` of a change compares."""

    section: str
    key: str
    revision: int


class Items(records.Record, frozen=True):
    """Every item of a document, in its order."""

    environment: str
    lineage: str
    revision: int
    items: list[ItemLine]


class Item(records.Record, frozen=True):
    """One item: its text from the first column, its plain form, and what names it."""

    environment: str
    section: str
    key: str
    revision: int
    text: str
    mapping: Any
    named_by: list[records.Ref]


class PutItem(wire.Expecting, frozen=True, kw_only=True):
    """An item's YAML text; `expected` is the revision that it was read at, 0 for a new item."""

    text: str


class RevertItem(wire.Expecting, frozen=True, kw_only=True):
    """The revision whose text is to come back; `state` also takes its runtime words.

    `expected` is the revision that the item was read at.
    """

    revision: wire.Number
    state: bool = False


class Step(wire.Body, frozen=True, tag_field="do"):
    """One step of a change; `do` says which."""


class Put(Step, frozen=True, tag="put"):
    """Write an item's YAML text, or with null archive a flag and remove another item."""

    section: str
    key: str
    text: str | None


class Kill(Step, frozen=True, tag="kill"):
    """Serve `off` to everyone."""

    flag: str


class Restore(Step, frozen=True, tag="restore"):
    """Undo a kill."""

    flag: str


class SetShare(Step, frozen=True, tag="share"):
    """Set the share of a rule, or the stage of a rollout."""

    flag: str
    rule: str
    share: str


class Pause(Step, frozen=True, tag="pause"):
    """Hold a rollout at its stage."""

    flag: str
    rule: str


class Resume(Step, frozen=True, tag="resume"):
    """Let a rollout go on."""

    flag: str
    rule: str


class ArchiveStep(Step, frozen=True, tag="archive"):
    """Take flags out of the document."""

    flags: list[str]


class Unarchive(Step, frozen=True, tag="unarchive"):
    """Bring an archived flag back."""

    flag: str


class Promote(Step, frozen=True, tag="promote", rename={"source": "from"}):
    """Copy an item's text from another environment, without runtime words.

    `seen` is the revision of that environment's document that was looked at: 409 when the item was
    changed there since.
    """

    source: str
    section: str
    key: str
    seen: wire.Number | None = None


class RevertTo(Step, frozen=True, tag="revert"):
    """Bring back an old revision of the document, or of one item."""

    revision: wire.Number
    section: str | None = None
    key: str | None = None
    state: bool = False


class Undo(Step, frozen=True, tag="undo"):
    """Take a revision back."""

    revision: wire.Number


AnyStep: TypeAlias = (
    Put
    | Kill
    | Restore
    | SetShare
    | Pause
    | Resume
    | ArchiveStep
    | Unarchive
    | Promote
    | RevertTo
    | Undo
)


Listed: TypeAlias = Annotated[
    list[AnyStep], msgspec.Meta(extra_json_schema={"minItems": 1, "maxItems": MOST_STEPS})
]


class Plan(wire.Body, frozen=True):
    """Steps, made one after the other and judged together."""

    steps: Listed


class Steps(wire.Forced, frozen=True, kw_only=True):
    """Steps as one revision; 409 when an item is not at the revision that is expected."""

    steps: Listed
    expected: list[wire.ExpectedItem] = msgspec.field(default_factory=list)


class Move(records.Record, frozen=True):
    """So many recorded contexts would get another variant of a flag."""

    flag: str
    before: str
    after: str
    n: int


class Group(records.Record, frozen=True):
    """Of the `n` recorded contexts with this value so many move."""

    value: str
    moved: int
    n: int


class Breakdown(records.Record, frozen=True):
    """Who moves, by an attribute; `others` is how many values are left out."""

    attribute: str
    groups: list[Group]
    others: int


class Effect(records.Record, frozen=True):
    """What recorded contexts would get; `unjudged` names rules that cannot be known, and why.

    `groups` tell by which attributes those who move differ most from those who stay.
    """

    contexts: int
    period: str
    sentence: str
    moves: list[Move]
    unjudged: list[str]
    groups: list[Breakdown]


class Proposal(records.Record, frozen=True):
    """What a change would do; `problems` refuse it. `effect` is null where nothing is judged.

    `expected` is what to send with the change, so that nobody's change is overwritten.
    `dependents` are flags that name a changed item, also through others; `disturbed` tells running
    experiments.
    """

    environment: str
    items: list[records.Difference]
    problems: list[records.Problem]
    warnings: list[records.Problem]
    notes: list[str]
    effect: Effect | None
    dependents: list[str]
    disturbed: list[str]
    expected: list[ItemLine]


class MergeItem(wire.Body, frozen=True, kw_only=True):
    """An edit of an item that was read at revision `opened`; `choices` settle fields that clash."""

    section: str
    key: str
    text: str
    opened: wire.Number
    choices: dict[str, Literal["mine", "theirs"]] = msgspec.field(default_factory=dict)


class FieldClash(records.Record, frozen=True):
    """A field that both changed, each in another way; `name` is what `choices` takes."""

    name: str
    base: str
    mine: str
    theirs: str


class MergedItem(records.Record, frozen=True):
    """The edit with what others saved since (`revisions`); `text` is null while fields clash.

    `revision` is what to send as `expected` with the merged text.
    """

    section: str
    key: str
    revision: int
    text: str | None
    theirs: str | None
    clashes: list[FieldClash]
    problem: str
    revisions: list[records.Revision]


class Judgement(records.Record, frozen=True):
    """What the validator says of a document after the steps."""

    valid: bool
    problems: list[records.Problem]
    warnings: list[records.Problem]


@operation(blueprint.get, "/items", may="view")
def items(env: str, query: AtRevision) -> Items:
    """Every item of the document with the revision that changed it last."""
    stored = application().store.document(env, query.revision)
    listed = [ItemLine(*ref, stored.item_revisions.get(ref, 0)) for ref in stored.document.items]
    return Items(env, stored.lineage, stored.revision, listed)


@operation(blueprint.get, "/items/<section>/<key>", may="view")
def item(env: str, section: str, key: str, query: AtRevision) -> Item:
    """One item: text, mapping, revision, and what names it."""
    app = application()
    stored = app.store.document(env, query.revision)
    found = find_item(stored, section, key)
    return Item(
        environment=env,
        section=section,
        key=key,
        revision=stored.item_revisions.get((section, key), 0),
        text=proposals.text_of(stored.document, section, key) or "",
        mapping=found.mapping,
        named_by=records.refs(app.changes.named_by(stored, (section, key))),
    )


@operation(blueprint.put, "/items/<section>/<key>", may="edit")
def put_item(env: str, section: str, key: str, who: Identity, body: PutItem) -> records.Applied:
    """Write one item's text; with `expected` only if nobody changed it since."""
    change = changes.put_item(env, section, key, body.text)
    return apply(change, who, body, body.of(section, key))


@operation(blueprint.delete, "/items/<section>/<key>", may="edit")
def remove_item(
    env: str, section: str, key: str, who: Identity, body: wire.Expecting
) -> records.Applied:
    """Archive a flag, remove another item."""
    return apply(changes.remove_item(env, section, key), who, body, body.of(section, key))


@operation(blueprint.post, "/items/<section>/<key>/revert", may="edit")
def revert_item(
    env: str, section: str, key: str, who: Identity, body: RevertItem
) -> records.Applied:
    """Bring back one item's text of an old revision."""
    change = changes.revert_item(env, section, key, body.revision, state=body.state)
    return apply(change, who, body, body.of(section, key))


@operation(blueprint.post, "/changes", may="edit")
def change(env: str, who: Identity, body: Steps) -> records.Applied:
    """Make several steps as one revision: all of them, or none."""
    planned, expected = _planned(env, body.steps)
    return apply(planned, who, body, {**expected, **wire.expectations(body.expected)})


@operation(blueprint.post, "/reports/preview", may="view")
def preview(env: str, body: Plan) -> Proposal:
    """What steps would do: texts, problems, who of the recorded contexts moves, dependents."""
    app = application()
    planned, _ = _planned(env, body.steps)
    found = proposals.propose(app.store, app.changes, app.store.environment(env), planned)
    effect = found.effect
    return Proposal(
        environment=env,
        items=records.differences(found.items),
        problems=records.problems(found.problems),
        warnings=records.problems(found.warnings),
        notes=list(found.notes),
        effect=None if effect is None else msgspec.convert(effect, Effect, from_attributes=True),
        dependents=list(found.dependents),
        disturbed=list(found.running),
        expected=[ItemLine(*ref, number) for ref, number in found.expected.items()],
    )


@operation(blueprint.post, "/reports/validate", may="view")
def validate(env: str, body: Plan) -> Judgement:
    """Only what the validator says of the steps; quicker than a preview."""
    planned, _ = _planned(env, body.steps)
    problems, warnings = proposals.judge(application().changes, planned)
    return Judgement(not problems, records.problems(problems), records.problems(warnings))


@operation(blueprint.post, "/reports/merge", may="edit")
def merge(env: str, body: MergeItem) -> MergedItem:
    """Bring an edit of an item together with what others saved meanwhile, field by field."""
    edited = Edited(body.section, body.key, body.text, body.opened)
    found = meanwhile(application().store, env, edited, body.choices)
    if found is None:
        place = (body.section, body.key, body.opened)
        return MergedItem(*place, body.text, None, [], "", [])
    return MergedItem(
        section=body.section,
        key=body.key,
        revision=found.now,
        text=found.merged,
        theirs=found.after,
        clashes=[FieldClash(one.name, one.base, one.mine, one.theirs) for one in found.clashes],
        problem=found.problem,
        revisions=[records.revision(row) for row in found.rows],
    )


def _planned(env: str, steps: Sequence[AnyStep]) -> tuple[Change, Mapping[Ref, int]]:
    """The steps as one change; what a step itself expects comes along."""
    if not 0 < len(steps) <= MOST_STEPS:
        raise BadRequest(f"a change has 1 to {MOST_STEPS} steps")
    puts = {(one.section, one.key): one.text for one in steps if isinstance(one, Put)}
    if len(puts) == len(steps):  # problems then have lines of each text
        return changes.put_items(env, puts), {}
    made: list[Change] = []
    expected: dict[Ref, int] = {}
    for step in steps:
        change, needed = _step(env, step)
        made.append(change)
        expected.update(needed)
    if len(made) == 1:
        return made[0], expected
    actions = {change.action for change in made}
    action = actions.pop() if len(actions) == 1 else "edit"
    return changes.together(env, action, made), expected


def _step(env: str, step: AnyStep) -> tuple[Change, Mapping[Ref, int]]:
    match step:
        case Undo(revision):
            return undoing.undo(application().store, env, revision)
        case Promote(source, section, key, seen):
            require("view", source)
            now = application().store.document(source)
            if seen is not None and promoting.moved_on(now, seen, [(section, key)]):
                raise ConflictError(
                    f"{section}.{key} was changed in {source} since revision {seen}"
                )
            return changes.promote(source, env, section, key), {}
        case RevertTo(revision, section, key, state) if section and key:
            return changes.revert_item(env, section, key, revision, state=state), {}
        case RevertTo(section=section, key=key) if section or key:
            raise BadRequest("steps: to revert one item needs its section and its key")
        case RevertTo(revision=revision, state=state):
            return changes.revert(env, revision, state=state), {}
        case Put(section, key, text):
            put = changes.remove_item(env, section, key)
            return put if text is None else changes.put_item(env, section, key, text), {}
        case _:
            return _operated(env, step), {}


def _operated(
    env: str, step: Kill | Restore | SetShare | Pause | Resume | ArchiveStep | Unarchive
) -> Change:
    match step:
        case Kill(flag):
            return changes.kill(env, flag)
        case Restore(flag):
            return changes.restore(env, flag)
        case SetShare(flag, rule, share):
            return changes.set_share(env, flag, rule, share)
        case Pause(flag, rule):
            return changes.pause(env, flag, rule)
        case Resume(flag, rule):
            return changes.resume(env, flag, rule)
        case ArchiveStep(flags):
            return changes.archive_flags(env, flags)
        case Unarchive(flag):
            return changes.unarchive_flag(env, flag)

"""The admin API of one environment: its document, operating flags, history, revert and undo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from flask import Blueprint
from werkzeug.exceptions import BadRequest

from flagloop.document.merge import item_diff
from flagloop.document.problem import errors
from flagloop.errors import DocumentError
from flagloop_server import changes, disturbance, promoting, undoing
from flagloop_server.changes import Change, MergeConflictError
from flagloop_server.proposals import ItemDiff, text_of
from flagloop_server.store import Ref
from flagloop_server.web import application, records, wire
from flagloop_server.web.identity import Identity, require
from flagloop_server.web.rest import operation

blueprint = Blueprint("admin", __name__, url_prefix="/api/v1/admin/environments/<env>")


class AtRevision(wire.Query, frozen=True):
    """The present document, or that of a past revision."""

    revision: wire.Number | None = None


class Push(wire.Body, frozen=True):
    """A file to be merged; `base` (a revision) wins over `base_text`."""

    text: str
    base: wire.Number | None = None
    base_text: str | None = None
    state: bool = False
    dry_run: bool = False
    reason: str = ""


class KillReason(wire.Body, frozen=True):
    """Why; more than white space."""

    reason: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": r"\S"})]


class Share(wire.Expecting, frozen=True, kw_only=True):
    """A percentage as text, `25%`; `expected` is the revision that the flag was read at."""

    share: str


class Revert(wire.Forced, frozen=True):
    """`state` also takes the runtime words of the old revision.

    `expected` is the document's revision that was looked at: 409 when something that would be
    written was changed since.
    """

    state: bool = False
    expected: wire.Number | None = None


class History(wire.SeekingPage, frozen=True):
    """All revisions, or those of one flag or item, by somebody, of a time; `before` a number.

    `key` without `section` is any item of that key.
    """

    flag: str | None = None
    section: str | None = None
    key: str | None = None


class Between(wire.Query, frozen=True, rename={"low": "from", "high": "to"}):
    """Two revisions (`to`: the present one); of one item when section and key are given."""

    low: wire.Number
    high: wire.Number | None = None
    section: str | None = None
    key: str | None = None


class DocumentText(records.Record, frozen=True):
    """A document, byte for byte."""

    environment: str
    lineage: str
    revision: int
    text: str


class Differences(records.Record, frozen=True, rename={"low": "from", "high": "to"}):
    """What differs between two revisions."""

    environment: str
    low: int
    high: int
    items: list[records.Difference]


def apply(
    change: Change, who: Identity, body: wire.Reason, expected: Mapping[Ref, int] | None = None
) -> records.Applied:
    """Make one change and tell what became of it."""
    planned = change
    if isinstance(body, wire.Forced):
        planned = disturbance.guarded(change, force=body.force)
    done = application().changes.apply(planned, who.actor, body.reason, expected)
    return records.applied(done)


@operation(blueprint.get, "/document", may="view")
def document(env: str, query: AtRevision) -> DocumentText:
    """The text at a revision, byte for byte."""
    stored = application().store.document(env, query.revision)
    text = stored.document.raw.decode("utf-8")
    return DocumentText(stored.environment, stored.lineage, stored.revision, text)


@operation(blueprint.post, "/push", may="view")
def push(env: str, who: Identity, body: Push) -> records.Pushed:
    """Merge a file by item; with `dry_run` only tell what would happen.

    Without `dry_run` it needs the role editor.
    """
    base = body.base if body.base is not None else body.base_text
    change = changes.push(env, body.text, base=base, state=body.state)
    if body.dry_run:
        return _preview(env, change, who)
    require("edit", env)
    done = application().changes.apply(change, who.actor, body.reason)
    place = (done.environment, done.lineage, done.revision)
    old = done.previous.document.mapping if done.previous is not None else {}
    told = disturbance.warnings(old, done.document.document.mapping, done.changed)
    problems = (*done.problems, *told)
    return records.pushed(place, done.applied, done.merge, problems, done.details)


def _preview(env: str, change: Change, who: Identity) -> records.Pushed:
    """What a push would do; raises as the push itself would."""
    seen = application().changes.preview(change, who.actor)
    if seen.merge is not None and seen.merge.conflicts:
        raise MergeConflictError(env, seen.merge.conflicts)
    if errors(seen.problems):
        raise DocumentError(seen.problems)
    place = (seen.environment, seen.base.lineage, seen.base.revision)
    old, new = seen.base.document.mapping, seen.document.mapping
    problems = (*seen.problems, *disturbance.warnings(old, new, seen.changed))
    return records.pushed(place, False, seen.merge, problems, seen.details)


@operation(blueprint.post, "/flags/<flag>/kill", may="kill")
def kill(env: str, flag: str, who: Identity, body: KillReason) -> records.Applied:
    """Serve `off` to everyone; a reason is required."""
    if not body.reason.strip():
        raise BadRequest("a kill needs a reason")
    return apply(changes.kill(env, flag), who, wire.Reason(body.reason))


@operation(blueprint.post, "/flags/<flag>/restore", may="kill")
def restore(env: str, flag: str, who: Identity, body: wire.Reason) -> records.Applied:
    """Undo a kill."""
    return apply(changes.restore(env, flag), who, body)


@operation(blueprint.post, "/flags/<flag>/archive", may="edit")
def archive(env: str, flag: str, who: Identity, body: wire.Expecting) -> records.Applied:
    """Take a flag out of the document; its key stays reserved."""
    return apply(changes.archive_flag(env, flag), who, body, body.of("flags", flag))


@operation(blueprint.post, "/flags/<flag>/unarchive", may="edit")
def unarchive(env: str, flag: str, who: Identity, body: wire.Reason) -> records.Applied:
    """Bring an archived flag back with the text that it had."""
    return apply(changes.unarchive_flag(env, flag), who, body)


@operation(blueprint.post, "/flags/<flag>/rules/<rule>/share", may="edit")
def share(env: str, flag: str, rule: str, who: Identity, body: Share) -> records.Applied:
    """Set the share of a rule, or the stage of a rollout."""
    change = changes.set_share(env, flag, rule, body.share)
    return apply(change, who, body, body.of("flags", flag))


@operation(blueprint.post, "/flags/<flag>/rules/<rule>/pause", may="edit")
def pause(env: str, flag: str, rule: str, who: Identity, body: wire.Reason) -> records.Applied:
    """Hold a rollout at its stage."""
    return apply(changes.pause(env, flag, rule), who, body)


@operation(blueprint.post, "/flags/<flag>/rules/<rule>/resume", may="edit")
def resume(env: str, flag: str, rule: str, who: Identity, body: wire.Reason) -> records.Applied:
    """Let a rollout go on."""
    return apply(changes.resume(env, flag, rule), who, body)


@operation(blueprint.get, "/revisions", may="view")
def revisions(env: str, query: History) -> records.Revisions:
    """The history, newest first, of the document or of one flag or item."""
    section, key = ("flags", query.flag) if query.flag else (query.section or "", query.key)
    rows = application().store.revisions(
        env,
        section=section if key else None,  # empty words of a query ask for nothing
        key=key or None,
        limit=query.size,
        before=query.before,
        sought=query.sought,
    )
    return records.Revisions(env, [records.revision(row) for row in rows])


@operation(blueprint.get, f"/revisions/<{wire.INTEGER}:revision>", may="view")
def revision(env: str, revision: int) -> records.RevisionDetail:
    """One revision with the texts of its items before and after."""
    store = application().store
    row = store.revision(env, revision)
    undoable = undoing.can_be_undone(store, row, store.document(env))
    return records.revision_detail(row, store.item_versions(env, revision), undoable=undoable)


@operation(blueprint.post, f"/revisions/<{wire.INTEGER}:revision>/revert", may="edit")
def revert(env: str, revision: int, who: Identity, body: Revert) -> records.Applied:
    """Bring the whole text of an old revision back as a new one."""
    change = changes.revert(env, revision, state=body.state)
    seen = body.expected
    expected = None if seen is None else promoting.everything(application().store, env, seen)
    return apply(change, who, body, expected)


@operation(blueprint.post, f"/revisions/<{wire.INTEGER}:revision>/undo", may="edit")
def undo(env: str, revision: int, who: Identity, body: wire.Forced) -> records.Applied:
    """Take a revision back; 409 when one of its items was changed since."""
    planned, expected = undoing.undo(application().store, env, revision)
    planned = disturbance.guarded(planned, force=body.force, given=body.reason)
    why = wire.Reason(body.reason or f"undo of revision {revision}")
    return apply(planned, who, why, expected)


@operation(blueprint.get, "/reports/diff", may="view")
def diff(env: str, query: Between) -> Differences:
    """Each item that differs between two revisions, with both texts."""
    store = application().store
    high = store.document(env, query.high)
    old, new = store.document(env, query.low).document, high.document
    if query.section and query.key:
        ref = (query.section, query.key)
        before, after = text_of(old, *ref), text_of(new, *ref)
        found = [ItemDiff(*ref, before, after)] if before != after else []
    else:
        found = [
            ItemDiff(one.section, one.key, one.before, one.after) for one in item_diff(old, new)
        ]
    return Differences(env, query.low, high.revision, records.differences(found))

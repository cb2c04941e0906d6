"""What the admin API answers about environments, keys, people, revisions and the ledger.

Each class stands under its name in the OpenAPI document; times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from flagloop.document.merge import Merge
from flagloop.document.problem import Problem as DocumentProblem
from flagloop.document.problem import path_text
from flagloop_server import store
from flagloop_server.changes import Applied as AppliedChange
from flagloop_server.proposals import ItemDiff


class Record(msgspec.Struct, frozen=True):
    """The root of all answers."""


class Ref(Record, frozen=True):
    """An item; `key` is empty for a top-level word, and both for the rest of the document."""

    section: str
    key: str


class Actor(Record, frozen=True):
    """Who did something: a person, a key, a command, a controller or the system."""

    kind: str
    name: str


class Problem(Record, frozen=True):
    """What is wrong with a document, where (`line` of the text that was sent), and the mend."""

    path: str
    line: int | None
    message: str
    hint: str | None
    severity: Literal["error", "warning"]


class Conflict(Record, frozen=True):
    """An item that both sides changed: its three texts, null where it does not exist."""

    section: str
    key: str
    base: str | None
    mine: str | None
    theirs: str | None


class ErrorBody(Record, frozen=True, omit_defaults=True):
    """What went wrong, in words that name the place and the mend."""

    code: str
    message: str
    problems: list[Problem] = []
    conflicts: list[Conflict] = []


class Error(Record, frozen=True):
    """Every refusal."""

    error: ErrorBody


class Applied(Record, frozen=True):
    """What became of a change; `changed` is false when there was nothing to do.

    `before` and `after` are told of a share.
    """

    environment: str
    lineage: str
    revision: int
    changed: bool
    notes: list[str]
    before: str | UnsetType = UNSET
    after: str | UnsetType = UNSET


class Ignored(Record, frozen=True):
    """A runtime word of the file that was not taken over."""

    section: str
    key: str
    path: str
    mine: Any
    theirs: Any


class Undone(Record, frozen=True):
    """What somebody else changed and a push without a base takes back."""

    section: str
    key: str
    revision: int
    actor: str
    action: str


class Pushed(Record, frozen=True):
    """What a push did, or with `dry_run` would do."""

    environment: str
    lineage: str
    revision: int
    applied: bool
    taken: list[Ref]
    kept: list[Ref]
    archived: list[Ref]
    removed: list[Ref]
    ignored: list[Ignored]
    problems: list[Problem]
    undoes: list[Undone]


class Environment(Record, frozen=True):
    """One environment."""

    key: str
    lineage: str
    revision: int
    production: bool
    created_at: int
    archived_at: int | None


class Environments(Record, frozen=True):
    """Those that the asker may see, oldest first."""

    environments: list[Environment]


class Key(Record, frozen=True):
    """A key without its secret; `hint` is how the secret begins."""

    id: int
    kind: Literal["server", "client", "admin"]
    name: str
    hint: str
    environments: list[str]
    role: str | None
    created_at: int
    created_by: str
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


class MadeKey(Key, frozen=True, kw_only=True):
    """A new key; `key` is its secret, in this answer and nowhere else."""

    key: str


class Keys(Record, frozen=True):
    """The keys of an environment."""

    keys: list[Key]


class Person(Record, frozen=True):
    """Somebody who may sign in; `roles` maps environments (`*`: every one) to roles."""

    id: int
    email: str
    name: str
    roles: dict[str, str]
    signed_up: bool
    created_at: int
    disabled_at: int | None
    last_seen_at: int | None


class People(Record, frozen=True):
    """Everyone, oldest first."""

    people: list[Person]


class Invited(Record, frozen=True):
    """A person and the one-time address where they set a password; it is not shown again."""

    person: Person
    setup_link: str


class Revision(Record, frozen=True):
    """One revision of a document: who changed which items, when and why."""

    revision: int
    at: int
    actor: Actor
    action: str
    target: str
    reason: str
    changed: list[Ref]


class Revisions(Record, frozen=True):
    """The history, newest first."""

    environment: str
    revisions: list[Revision]


class Difference(Record, frozen=True):
    """One item's text before and after; null where it does not exist."""

    section: str
    key: str
    before: str | None
    after: str | None


class RevisionDetail(Revision, frozen=True, kw_only=True):
    """A revision with the texts of its items; `undoable`: nothing of it was changed since."""

    environment: str
    items: list[Difference]
    undoable: bool


class LedgerRow(Record, frozen=True):
    """A link of the hash chain; `payload` is null after a redaction, digests are hex."""

    seq: int
    at: int
    kind: str
    action: str
    actor: Actor
    environment: str | None
    target: str
    revision: int | None
    reason: str
    payload: dict[str, Any] | None
    payload_digest: str
    digest: str


class Ledger(Record, frozen=True):
    """Rows of the ledger, newest first."""

    rows: list[LedgerRow]


class Verification(Record, frozen=True):
    """The walk along the whole chain; `head` is its last digest, to be kept elsewhere."""

    ok: bool
    rows: int
    head: str
    problems: list[str]


def refs(items: Iterable[store.Ref]) -> list[Ref]:
    """Item references."""
    return [Ref(section, key) for section, key in items]


def actor(who: store.Actor) -> Actor:
    """Who did it."""
    return Actor(who.kind, who.name)


def problems(found: Iterable[DocumentProblem]) -> list[Problem]:
    """Problems of a document."""
    return [
        Problem(path_text(one.path), one.line, one.message, one.hint, one.severity) for one in found
    ]


def differences(items: Iterable[ItemDiff | store.ItemVersion]) -> list[Difference]:
    """The texts of items before and after."""
    return [Difference(one.section, one.key, one.before, one.after) for one in items]


def applied(change: AppliedChange) -> Applied:
    """What became of a change."""
    return Applied(
        environment=change.environment,
        lineage=change.lineage,
        revision=change.revision,
        changed=change.applied,
        notes=list(change.notes),
        before=change.details.get("before", UNSET),
        after=change.details.get("after", UNSET),
    )


def pushed(
    place: tuple[str, str, int],
    applied: bool,
    merge: Merge | None,
    found: Iterable[DocumentProblem],
    details: Mapping[str, Any],
) -> Pushed:
    """What a push did at `place` (environment, lineage, revision)."""
    removed: Sequence[store.Ref] = merge.removed if merge is not None else ()
    ignored = merge.ignored if merge is not None else ()
    return Pushed(
        *place,
        applied=applied,
        taken=refs(merge.taken) if merge is not None else [],
        kept=refs(merge.kept) if merge is not None else [],
        archived=refs(ref for ref in removed if ref[0] == "flags"),
        removed=refs(ref for ref in removed if ref[0] != "flags"),
        ignored=[
            Ignored(section, key, path_text(path), mine, theirs)
            for section, key, path, mine, theirs in ignored
        ],
        problems=problems(found),
        undoes=[Undone(**one) for one in details.get("undoes", ())],
    )


def environment(item: store.Environment) -> Environment:
    """An environment."""
    return Environment(
        key=item.key,
        lineage=item.lineage,
        revision=item.revision,
        production=item.production,
        created_at=item.created_at,
        archived_at=item.archived_at,
    )


def key(item: store.KeyInfo) -> Key:
    """A key without its secret."""
    return Key(**_key(item))


def made_key(item: store.KeyInfo, secret: str) -> MadeKey:
    """A new key with its secret."""
    return MadeKey(**_key(item), key=secret)


def _key(item: store.KeyInfo) -> dict[str, Any]:
    values = {name: getattr(item, name) for name in Key.__struct_fields__}
    return {**values, "environments": list(item.environments)}


def person(user: store.User) -> Person:
    """A person."""
    values = {name: getattr(user, name) for name in Person.__struct_fields__}
    return Person(**{**values, "roles": dict(user.roles)})


def revision(row: store.RevisionRow) -> Revision:
    """A revision."""
    return Revision(
        revision=row.number,
        at=row.at,
        actor=actor(row.actor),
        action=row.action,
        target=row.target,
        reason=row.reason,
        changed=refs(row.changed),
    )


def revision_detail(
    row: store.RevisionRow, items: Iterable[store.ItemVersion], *, undoable: bool
) -> RevisionDetail:
    """A revision with its items."""
    plain = revision(row)
    values = {name: getattr(plain, name) for name in Revision.__struct_fields__}
    return RevisionDetail(
        **values, environment=row.environment, items=differences(items), undoable=undoable
    )


def ledger_row(row: store.LedgerRow) -> LedgerRow:
    """A link of the ledger."""
    values = {name: getattr(row, name) for name in LedgerRow.__struct_fields__}
    payload = None if row.payload is None else dict(row.payload)
    return LedgerRow(**{**values, "actor": actor(row.actor), "payload": payload})

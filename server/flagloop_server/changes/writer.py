"""The one writer of definitions."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flagloop.document.merge import Merge
from flagloop.document.problem import Problem, errors
from flagloop.document.yamlfile import DocumentText
from flagloop.errors import ConfigError, ConflictError, DocumentError, FlagloopError
from flagloop_server.changes.change import (
    Change,
    Draft,
    MergeConflictError,
    Scene,
    changed_refs,
)
from flagloop_server.changes.judge import Judge
from flagloop_server.store import (
    SYSTEM,
    Actor,
    NewRevision,
    Ref,
    Store,
    StoredDocument,
)

_LOG = logging.getLogger(__name__)

_FAILURES = (
    FlagloopError,
    sqlite3.Error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a listener may raise without making a committed change look failed."""

LONGEST_REASON = 500
"""Characters; the pages' forms take no more either."""

_FREE_ATTEMPTS = 3
"""How often a change is computed without holding up others before it takes the lock first."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a change.

    `applied` is False when there was nothing to do: no new revision, `document` is the present
    one. `problems` are warnings about the changed items. `previous` is None for the first
    revision of an environment. `details` of a share have `before` and `after`.
    """

    environment: str
    environment_id: int
    action: str
    target: str
    actor: Actor
    reason: str
    at: int
    document: StoredDocument
    previous: StoredDocument | None
    changed: tuple[Ref, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    merge: Merge | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    applied: bool = True

    @property
    def lineage(self) -> str:
        """The chain of revisions."""
        return self.document.lineage

    @property
    def revision(self) -> int:
        """The number of the document after the change."""
        return self.document.revision

    @property
    def name(self) -> str:
        """`<lineage>.<n>`."""
        return self.document.name


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do to `base`; conflicts of a push are in `merge`."""

    environment: str
    base: StoredDocument
    document: DocumentText
    changed: tuple[Ref, ...]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    merge: Merge | None
    details: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it could be applied."""
        conflicts = self.merge is not None and bool(self.merge.conflicts)
        return not conflicts and not errors(self.problems)


Listener: TypeAlias = Callable[[Applied], None]


@dataclass(frozen=True, slots=True)
class _Work:
    scene: Scene
    draft: Draft
    changed: tuple[Ref, ...]
    problems: tuple[Problem, ...]


class Changes:
    """Applies changes, one after the other, and tells listeners in the order of revisions.

    Listeners run on the thread that applied (or polled) and must be quick. One that fails is
    logged and counted in `failed_calls`: the change is committed, whatever it says.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._judge = Judge()
        self._listeners: list[Listener] = []
        self._queue: deque[Applied] = deque()
        self._committing = threading.RLock()
        self._telling = threading.RLock()
        self._inside = False
        self.failed_calls = 0
        self._queued = {
            one.id: (one.lineage, one.revision) for one in store.environments(archived=True)
        }

    def listen(self, callback: Listener) -> None:
        """Call `callback` after each commit, also for revisions that `poll` finds."""
        self._listeners.append(callback)

    def apply(
        self,
        change: Change,
        actor: Actor,
        reason: str,
        expected: Mapping[Ref, int] | None = None,
    ) -> Applied:
        """Make one change: draft, judge, commit, tell.

        `expected` says at which revision each item was read; an item that was changed since is
        a conflict. Raises ConflictError (MergeConflictError for a push), DocumentError with the
        lines of what the author wrote, NotFoundError, ConfigError (no reason or one over
        `LONGEST_REASON`, archived environment); then nothing was changed. The reason of an
        urgent change is cut instead: a kill is never refused for its words.
        """
        reason = _checked_reason(change, reason)
        attempts = 0
        done: Applied | None = None
        while done is None:
            attempts += 1
            alone = attempts > _FREE_ATTEMPTS
            done = self._attempt(change, actor, reason, expected, alone=alone)
        self._tell()
        return done

    def preview(self, change: Change, actor: Actor = SYSTEM, reason: str = "") -> Preview:
        """What `apply` would do, without doing it; problems and conflicts are not raised.

        Raises NotFoundError and, where nothing can be read at all, DocumentError.
        """
        work = self._work(change, actor, reason)
        return Preview(
            environment=change.environment,
            base=work.scene.stored,
            document=work.draft.document,
            changed=work.changed,
            notes=work.draft.notes,
            problems=work.problems,
            merge=work.draft.merge,
            details=work.draft.details,
        )

    def named_by(self, stored: StoredDocument, ref: Ref) -> tuple[Ref, ...]:
        """The items of a stored document that name one; while there are any it cannot go."""
        return self._judge.named_by(stored, ref)

    def poll(self) -> int:
        """Tell listeners what other processes changed; returns how many revisions that were."""
        found = 0
        with self._committing:
            for environment in self._store.environments(archived=True):
                place = (environment.lineage, environment.revision)
                found += self._catch_up(environment.key, environment.id, place)
        self._tell()
        return found

    def _attempt(
        self,
        change: Change,
        actor: Actor,
        reason: str,
        expected: Mapping[Ref, int] | None,
        *,
        alone: bool,
    ) -> Applied | None:
        """One try, with `alone` while nobody else may write; None if somebody was faster."""
        if not alone:
            work = self._judged(change, actor, reason, expected)
            with self._committing:
                return self._noted(change, work, self._written(change, work))
        with self._committing:
            with self._store.exclusive():
                work = self._judged(change, actor, reason, expected)
                stored = self._written(change, work)
            # Only now it is committed: nobody may hear of it before.
            return self._noted(change, work, stored)

    def _judged(
        self, change: Change, actor: Actor, reason: str, expected: Mapping[Ref, int] | None
    ) -> _Work:
        work = self._work(change, actor, reason)
        _refuse(change, work, expected or {})
        return work

    def _written(self, change: Change, work: _Work) -> StoredDocument | None:
        """The document after the change; None if it was computed on one that is no longer."""
        if work.changed:
            return self._store.commit(_new_revision(change, work))
        if work.draft.pushed is not None:
            self._store.set_push_base(change.environment, work.draft.pushed, work.draft.source)
        return work.scene.stored

    def _noted(self, change: Change, work: _Work, stored: StoredDocument | None) -> Applied | None:
        """What is committed, queued to be told."""
        if stored is None:
            return None
        done = _applied(change, work, stored)
        if work.changed:
            self._judge.accept(work.scene.stored, stored, work.changed)
            place = (stored.lineage, stored.revision - 1)
            self._catch_up(stored.environment, stored.environment_id, place)
            self._queued[stored.environment_id] = (stored.lineage, stored.revision)
            self._queue.append(done)
        return done

    def _work(self, change: Change, actor: Actor, reason: str) -> _Work:
        stored = self._store.document(change.environment)
        scene = Scene(stored, self._store, actor, reason, self._store.clock())
        draft = change.draft(scene)
        changed = changed_refs(stored.document, draft.document)
        problems = [
            *self._judge.problems(stored, draft.document, changed, urgent=change.urgent),
            *self._reserved(scene, draft, changed),
        ]
        locate = draft.locate or draft.document.locate
        return _Work(scene, draft, changed, tuple(locate(problems)))

    def _reserved(self, scene: Scene, draft: Draft, changed: tuple[Ref, ...]) -> list[Problem]:
        before = scene.document.items
        fresh = [
            key
            for section, key in changed
            if section == "flags" and ("flags", key) not in before and key not in draft.unarchived
        ]
        return [
            Problem(
                f"flag '{key}' is archived, its key stays reserved",
                ("flags", key),
                hint="bring it back from the archive, or take another key",
            )
            for key in self._store.reserved(scene.stored.environment, fresh)
        ]

    def _catch_up(self, key: str, number: int, place: tuple[str, int]) -> int:
        """Queue the revisions up to `place` that nobody was told of."""
        lineage, last = self._queued.get(number, ("", 0))
        if (lineage, last) == place:
            return 0
        first = last + 1 if lineage == place[0] else place[1]
        for missing in range(first, place[1] + 1):
            self._queue.append(self._foreign(key, missing))
        self._queued[number] = place
        return max(0, place[1] + 1 - first)

    def _foreign(self, key: str, number: int) -> Applied:
        row = self._store.revision(key, number)
        document = self._store.document(key, number)
        return Applied(
            environment=key,
            environment_id=document.environment_id,
            action=row.action,
            target=row.target,
            actor=row.actor,
            reason=row.reason,
            at=row.at,
            document=document,
            previous=self._store.document(key, number - 1) if number > 1 else None,
            changed=row.changed,
        )

    def _tell(self) -> None:
        with self._telling:
            if self._inside:
                return  # a listener made a change: the loop that called it goes on with that
            self._inside = True
            try:
                while self._queue:
                    done = self._queue.popleft()
                    for listener in self._listeners:
                        self._call(listener, done)
            finally:
                self._inside = False

    def _call(self, listener: Listener, done: Applied) -> None:
        try:
            listener(done)
        except _FAILURES:
            self.failed_calls += 1
            _LOG.exception("a listener failed environment=%s revision=%s", *_place(done))


def _checked_reason(change: Change, reason: str) -> str:
    reason = reason.strip()
    if change.needs_reason and not reason:
        raise ConfigError(f"{change.action} needs a reason")
    if len(reason) <= LONGEST_REASON:
        return reason
    if change.urgent:
        return f"{reason[: LONGEST_REASON - 1]}…"
    raise ConfigError(
        f"a reason has at most {LONGEST_REASON} characters, this one has {len(reason):,}"
    )


def _place(done: Applied) -> tuple[str, str]:
    return done.environment, done.name


def _refuse(change: Change, work: _Work, expected: Mapping[Ref, int]) -> None:
    merged = work.draft.merge
    if merged is not None and merged.conflicts:
        raise MergeConflictError(change.environment, merged.conflicts)
    if not change.urgent:
        now = work.scene.stored.item_revisions
        stale = [
            f"{section}.{key}"
            for section, key in work.changed
            if (section, key) in expected and now.get((section, key), 0) != expected[section, key]
        ]
        if stale:
            new = all(expected.get(ref) == 0 for ref in work.changed)
            said = "exists already" if new else "changed by somebody else since you opened it"
            raise ConflictError(f"{said}: {', '.join(stale)}", stale)
    if errors(work.problems):
        raise DocumentError(work.problems)


def _new_revision(change: Change, work: _Work) -> NewRevision:
    scene, draft = work.scene, work.draft
    items = draft.document.items
    return NewRevision(
        base=scene.stored,
        document=draft.document,
        changed=work.changed,
        actor=scene.actor,
        action=change.action,
        target=change.target,
        reason=scene.reason,
        at=scene.at,
        pushed=draft.pushed,
        source=draft.source,
        archived=tuple(k for s, k in work.changed if s == "flags" and (s, k) not in items),
        unarchived=tuple(key for key in draft.unarchived if ("flags", key) in items),
        details=draft.details,
    )


def _applied(change: Change, work: _Work, stored: StoredDocument) -> Applied:
    scene = work.scene
    return Applied(
        environment=stored.environment,
        environment_id=stored.environment_id,
        action=change.action,
        target=change.target,
        actor=scene.actor,
        reason=scene.reason,
        at=scene.at,
        document=stored,
        previous=scene.stored,
        changed=work.changed,
        notes=work.draft.notes,
        problems=work.problems,
        merge=work.draft.merge,
        details=work.draft.details,
        applied=bool(work.changed),
    )

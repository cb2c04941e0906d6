"""What a change would do, before it is saved: text, traffic, and what stands against it.

Pages and the admin API ask here, so both tell the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flagloop.document.problem import Problem, errors
from flagloop.document.yamlfile import DocumentText
from flagloop.errors import ConfigError, DocumentError
from flagloop_server import whatif
from flagloop_server.changes import Change, Changes, Preview
from flagloop_server.disturbance import Disturbance, disturbed
from flagloop_server.itemtext import dedented
from flagloop_server.recording import recording
from flagloop_server.store import Environment, Ref, Store, now_ms


@dataclass(frozen=True, slots=True)
class ItemDiff:
    """The text of one item before and after; None where it does not exist."""

    section: str
    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a change would do: text, traffic, and what stands against it.

    `expected` are the items' revisions that it was made for; a save that sends them along
    overwrites nobody.
    """

    items: tuple[ItemDiff, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    effect: whatif.WhatIf | None = None
    dependents: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    expected: Mapping[Ref, int] = field(default_factory=dict)

    @property
    def changes_something(self) -> bool:
        """Whether there is anything to save."""
        return bool(self.items)


def propose(store: Store, changes: Changes, env: Environment, planned: Change) -> Proposal:
    """Preview a change: its diff, its problems, and what recorded contexts would get.

    A change that cannot be read is a proposal of nothing but problems. Raises NotFoundError and,
    where the change names a taken key, ConflictError.
    """
    preview = _preview(changes, planned)
    if not isinstance(preview, Preview):
        return Proposal(problems=preview)
    wrong = errors(preview.problems)
    effect = None if wrong else _effect(store, env, preview)
    reached = effect.flags if effect is not None else ()
    return Proposal(
        items=diffs(preview),
        problems=tuple(wrong),
        warnings=tuple(one for one in preview.problems if one.severity == "warning"),
        notes=preview.notes,
        effect=effect,
        dependents=tuple(key for key in reached if ("flags", key) not in preview.changed),
        running=tuple(str(one) for one in _disturbed(preview)),
        expected={ref: preview.base.item_revisions.get(ref, 0) for ref in preview.changed},
    )


def judge(changes: Changes, planned: Change) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """The errors and the warnings of a change, without its effect on traffic."""
    preview = _preview(changes, planned)
    if not isinstance(preview, Preview):
        return preview, ()
    warnings = [one for one in preview.problems if one.severity == "warning"]
    return errors(preview.problems), warnings


def _preview(changes: Changes, planned: Change) -> Preview | tuple[Problem, ...]:
    try:
        return changes.preview(planned)
    except (DocumentError, ConfigError) as error:
        return tuple(getattr(error, "problems", None) or [Problem(str(error))])


def diffs(preview: Preview) -> tuple[ItemDiff, ...]:
    """The texts of the items that a change touches, as people edit them."""
    before, after = preview.base.document, preview.document
    return tuple(
        ItemDiff(section, key, text_of(before, section, key), text_of(after, section, key))
        for section, key in preview.changed
    )


def text_of(document: DocumentText, section: str, key: str) -> str | None:
    """The text of an item as people edit it, None where it does not exist."""
    item = document.items.get((section, key))
    return dedented(item.text) if item is not None else None


def _disturbed(preview: Preview) -> tuple[Disturbance, ...]:
    before, after = preview.base.document.mapping, preview.document.mapping
    return disturbed(before, after, preview.changed)


def _effect(store: Store, env: Environment, preview: Preview) -> whatif.WhatIf | None:
    if not preview.changed:
        return None
    return whatif.what_if(
        preview.base.document.mapping,
        preview.document.mapping,
        recording(store, env, store.events.contexts(env.id)),
        preview.changed,
        now_ms() / 1000,
    )

"""Several changes as one: one draft, one judgement, one revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flagloop_server.changes.change import Change, Draft, Scene

_NAMED = 3


def together(env: str, action: str, parts: Sequence[Change]) -> Change:
    """All of `parts` (of one environment), one after the other, as a revision of its own.

    Only the last document is judged, so a part may need what a later one brings. Raises what
    the parts raise; then nothing was changed.
    """

    def draft(scene: Scene) -> Draft:
        made = Draft(scene.document)
        for part in parts:
            stored = replace(scene.stored, document=made.document)
            step = part.draft(replace(scene, stored=stored))
            made = Draft(
                step.document,
                (*made.notes, *step.notes),
                unarchived=(*made.unarchived, *step.unarchived),
            )
        return made

    return Change(
        env,
        action,
        _target([part.target for part in parts]),
        draft,
        urgent=all(part.urgent for part in parts),
        needs_reason=any(part.needs_reason for part in parts),
    )


def _target(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown

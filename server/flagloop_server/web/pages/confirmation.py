"""What was just done to an item, said on the page that one comes back to, with its undo."""

from __future__ import annotations

from dataclasses import dataclass

from flagloop_server import undoing
from flagloop_server.store import Ref, StoredDocument
from flagloop_server.web import application

DONE = {
    "kill": "Killed {target}.",
    "restore": "Restored {target}: its rules apply again.",
    "share": "Changed the share of {target}.",
    "stage": "Changed the stage of {target}.",
    "pause": "Paused the rollout of {target}.",
    "resume": "Resumed the rollout of {target}.",
    "edit": "Saved {target}.",
    "add": "Added {target}.",
    "revert": "Reverted {target}.",
    "promote": "Promoted {target}.",
    "unarchive": "Brought {target} back from the archive.",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What the confirmation message says, and whether it can still be undone."""

    number: int
    at: int
    sentence: str
    reason: str
    undoable: bool


def confirmation(stored: StoredDocument, ref: Ref, number: int | None) -> Done | None:
    """The confirmation of revision `number`, if it touched this item."""
    if number is None or not 0 < number <= stored.revision:
        return None
    row = application().store.revision(stored.environment, number)
    if ref not in row.changed:
        return None
    is_new = row.action not in ("promote", "unarchive") and undoing.added(
        application().store, row, ref
    )
    action = "add" if is_new else row.action
    sentence = DONE.get(action, "Changed {target}.").format(target=ref[1])
    undoable = undoing.can_be_undone(application().store, row, stored)
    return Done(number, row.at, sentence, row.reason, undoable)

"""Undo: the change that takes a revision back, unless something of it was changed since."""

from __future__ import annotations

from collections.abc import Mapping

from flagloop.errors import ConflictError
from flagloop_server import changes
from flagloop_server.changes import Change
from flagloop_server.store import ItemVersion, Ref, RevisionRow, Store, StoredDocument


def undo(store: Store, environment: str, number: int) -> tuple[Change, Mapping[Ref, int]]:
    """The opposite of a revision, and the item revisions that it expects.

    Each item gets its text of before, runtime words too: a kill is restored, an archived flag
    comes back, what was added goes. Raises NotFoundError, and ConflictError for a revision that
    changed more than items (then the whole document can be reverted).
    """
    row = store.revision(environment, number)
    if not _of_items(row):
        raise ConflictError("only a change of items can be undone so; revert the document")
    versions = store.item_versions(environment, number)
    parts = [_opposite(row, version) for version in versions]
    expected = {(one.section, one.key): _left_at(one) for one in versions}
    if len(parts) == 1:
        return parts[0], expected
    return changes.together(environment, "revert", parts), expected


def can_be_undone(store: Store, row: RevisionRow, current: StoredDocument) -> bool:
    """Whether the revision has an opposite, and none of its items was changed since."""
    return _of_items(row) and all(
        current.item_revisions.get((one.section, one.key), 0) == _left_at(one)
        for one in store.item_versions(row.environment, row.number)
    )


def added(store: Store, row: RevisionRow, ref: Ref) -> bool:
    """Whether the item was not there before the revision."""
    versions = store.item_versions(row.environment, row.number)
    return not any((one.section, one.key) == ref and one.before is not None for one in versions)


def _of_items(row: RevisionRow) -> bool:
    return bool(row.changed) and all(key for _, key in row.changed)


def _left_at(version: ItemVersion) -> int:
    """The item's revision after the change; 0 for an item that it took out."""
    return 0 if version.after is None else version.number


def _opposite(row: RevisionRow, version: ItemVersion) -> Change:
    env, section, key = row.environment, version.section, version.key
    if version.before is None:
        return changes.remove_item(env, section, key)
    match row.action:
        case "kill":
            return changes.restore(env, key)
        case "restore":
            return changes.kill(env, key)
        case "archive":
            return changes.unarchive_flag(env, key)
        case _:
            return changes.revert_item(env, section, key, row.number - 1, state=True)

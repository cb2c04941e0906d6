"""The one writer of definitions, and the changes that it can make."""

from flagloop_server.changes.change import (
    Change,
    Draft,
    MergeConflictError,
    Scene,
    changed_refs,
    find_item,
)
from flagloop_server.changes.flags import (
    archive_flag,
    archive_flags,
    kill,
    pause,
    restore,
    resume,
    set_share,
    unarchive_flag,
)
from flagloop_server.changes.items import (
    add_item,
    put_document,
    put_item,
    put_items,
    remove_item,
    replace_item,
)
from flagloop_server.changes.merging import deploy, promote, push, revert, revert_item
from flagloop_server.changes.several import together
from flagloop_server.changes.writer import Applied, Changes, Preview

__all__ = [
    "Applied",
    "Change",
    "Changes",
    "Draft",
    "MergeConflictError",
    "Preview",
    "Scene",
    "add_item",
    "archive_flag",
    "archive_flags",
    "changed_refs",
    "deploy",
    "find_item",
    "kill",
    "pause",
    "promote",
    "push",
    "put_document",
    "put_item",
    "put_items",
    "remove_item",
    "replace_item",
    "restore",
    "resume",
    "revert",
    "revert_item",
    "set_share",
    "together",
    "unarchive_flag",
]

"""The one writer of definitions, and the changes that it can make."""

from flagloop_server.changes.change import (
    Change,
    Draft,
    MergeConflictError,
    Scene,
    find_item,
)
from flagloop_server.changes.flags import (
    archive_flag,
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
    remove_item,
    replace_item,
)
from flagloop_server.changes.merging import deploy, promote, push, revert, revert_item
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
    "deploy",
    "find_item",
    "kill",
    "pause",
    "promote",
    "push",
    "put_document",
    "put_item",
    "remove_item",
    "replace_item",
    "restore",
    "resume",
    "revert",
    "revert_item",
    "set_share",
    "unarchive_flag",
]

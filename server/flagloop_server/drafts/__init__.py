"""Items while they are edited, by text and by single steps of a visual editor."""

from flagloop_server.drafts.draft import (
    Desk,
    Draft,
    edit_draft,
    read_draft,
    replace_draft,
    rewritten,
)
from flagloop_server.drafts.steps import Step

__all__ = [
    "Desk",
    "Draft",
    "Step",
    "edit_draft",
    "read_draft",
    "replace_draft",
    "rewritten",
]

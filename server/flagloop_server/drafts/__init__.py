"""Items while they are edited, by text and by single steps of a visual editor."""

from flagloop_server.drafts.draft import (
    Desk,
    Draft,
    edit_draft,
    read_draft,
    rewritten,
    taken,
)
from flagloop_server.drafts.merging import Clash, Merged, Side, merge_texts
from flagloop_server.drafts.steps import Step

__all__ = [
    "Clash",
    "Desk",
    "Draft",
    "Merged",
    "Side",
    "Step",
    "edit_draft",
    "merge_texts",
    "read_draft",
    "rewritten",
    "taken",
]

"""What the visual editor shows of an item: an item's mapping in, frozen cards out.

Every field names its place in the item and how its text is read; a change of it is one step of
`flagloop_server.drafts`.
"""

from flagloop_server.web.pages.visual.board import Board, Field, Known
from flagloop_server.web.pages.visual.flags import FlagCards, flag_cards
from flagloop_server.web.pages.visual.known import known_in
from flagloop_server.web.pages.visual.segments import SegmentCard, segment_card

__all__ = [
    "Board",
    "Field",
    "FlagCards",
    "Known",
    "SegmentCard",
    "flag_cards",
    "known_in",
    "segment_card",
]

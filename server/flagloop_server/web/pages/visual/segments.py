"""A segment as cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flagloop.document.problem import Problem
from flagloop_server.web.pages.visual.board import Board, Field, Known
from flagloop_server.web.pages.visual.conditions import ConditionCard, condition_card


@dataclass(frozen=True, slots=True)
class SegmentCard:
    """Description and condition."""

    fields: tuple[Field, ...]
    when: ConditionCard
    problems: tuple[Problem, ...]


def segment_card(
    mapping: Mapping[str, Any], problems: Iterable[Problem], known: Known
) -> SegmentCard:
    """The cards of a segment's mapping, whatever is wrong with it."""
    board = Board(problems, known)
    description = board.text(mapping, ("description",), "Description")
    when = condition_card(board, mapping.get("when"), ("when",))
    return SegmentCard((description,), when, tuple(board.left))

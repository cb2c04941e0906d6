"""Segments, metrics, layers, holdouts and experiments as people read them.

Pure: definitions in, words and frozen rows out. Pages and the admin API ask here.
"""

from __future__ import annotations

from flagloop_server.sections.describing import item_words, measured, metric_words, plan_words
from flagloop_server.sections.layers import Holder, LayerMap, layer_map
from flagloop_server.sections.listing import (
    ONE,
    SECTIONS,
    ItemRow,
    Section,
    counted,
    item_row,
    item_rows,
    items_of,
    search,
    summary,
)
from flagloop_server.sections.uses import Use, deciding, uses

__all__ = [
    "ONE",
    "SECTIONS",
    "Holder",
    "ItemRow",
    "LayerMap",
    "Section",
    "Use",
    "counted",
    "deciding",
    "item_row",
    "item_rows",
    "item_words",
    "items_of",
    "layer_map",
    "measured",
    "metric_words",
    "plan_words",
    "search",
    "summary",
    "uses",
]

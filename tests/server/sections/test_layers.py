"""The map of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop.document.definition import WHOLE, Document
from flagloop_server.sections import layer_map
from flagloop_server.sections.layers import free_ranges


def test_holders_stand_in_lanes_with_their_marks(shop: Document) -> None:
    """Those that run first; a draft that overlaps goes below, and takes no room."""
    found = layer_map(shop, "landing")
    assert [(one.mark, one.experiment.key, one.words, one.lane) for one in found.holders] == [
        ("A", "colour", "0% to 50%", 0),
        ("B", "image", "60% to 70%", 0),
        ("C", "words", "65% to 95%", 1),
    ]
    assert [one.serves for one in found.holders] == [True, True, False]
    assert found.lanes == 2
    assert found.free == ((50_000_000, 60_000_000), (70_000_000, WHOLE))
    assert found.unused == 40_000_000
    assert (found.count("running"), found.count("draft")) == (1, 1)


def test_an_empty_layer_is_all_free(shop: Document) -> None:
    """It has one empty lane."""
    found = layer_map(shop, "empty")
    assert (found.holders, found.free, found.lanes) == ((), ((0, WHOLE),), 1)
    with pytest.raises(KeyError):
        layer_map(shop, "unknown")


def test_marks_go_on_after_the_alphabet(read: Callable[[dict[str, Any]], Document]) -> None:
    """Thirty drafts in the same range have thirty marks and lanes."""
    layer = {"name": "l", "range": ["0%", "10%"]}
    drafts = {f"e{number}": {"status": "draft", "layer": layer} for number in range(30)}
    found = layer_map(read({"version": 1, "layers": {"l": {}}, "experiments": drafts}), "l")
    assert [one.mark for one in found.holders][24:28] == ["Y", "Z", "A2", "B2"]
    assert len({one.mark for one in found.holders}) == found.lanes == 30


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, WHOLE), st.integers(0, WHOLE)).map(sorted), max_size=8))
def test_what_is_free_is_what_nobody_takes(taken: list[list[int]]) -> None:
    """Every place is in a free range or in one that is taken, never in both."""
    ranges = [(low, high) for low, high in taken if low < high]
    free = free_ranges(ranges)
    for place in {edge for one in ranges for edge in one} | {0, WHOLE - 1}:
        if place < WHOLE:
            held = any(low <= place < high for low, high in ranges)
            assert held is not any(low <= place < high for low, high in free)

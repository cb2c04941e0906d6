"""The map of a layer: which experiment holds which range of its units, and what is free.

Ranges are half-open, in millionths of a percent. Running experiments never overlap; drafts and
decided ones may, so that each stands in the first lane that has room for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flagloop.document.definition import WHOLE, Document, Experiment, Layer
from flagloop.document.percent import format_percent

_ORDER = {"running": 0, "decided": 1, "draft": 2}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Holder:
    """An experiment in a lane of the map; `mark` names it where there is no room for its key."""

    experiment: Experiment
    low: int
    high: int
    lane: int
    mark: str

    @property
    def serves(self) -> bool:
        """Whether its units are taken: a draft only plans to take them."""
        return self.experiment.status != "draft"

    @property
    def words(self) -> str:
        """`from 0% to 50%`."""
        return f"{format_percent(self.low)} to {format_percent(self.high)}"


@dataclass(frozen=True, slots=True)
class LayerMap:
    """A layer with its holders, those first that run; `free` are the ranges that nobody takes."""

    layer: Layer
    holders: tuple[Holder, ...]
    free: tuple[tuple[int, int], ...]

    @property
    def lanes(self) -> int:
        """How many lanes the map has."""
        return 1 + max((one.lane for one in self.holders), default=0)

    @property
    def unused(self) -> int:
        """The free part of the layer."""
        return sum(high - low for low, high in self.free)

    def count(self, status: str) -> int:
        """How many experiments of this status hold a range."""
        return sum(one.experiment.status == status for one in self.holders)


def layer_map(document: Document, key: str) -> LayerMap:
    """The map of one layer of the document; KeyError for an unknown one."""
    placed = [
        (one, one.layer.low, one.layer.high)
        for one in document.experiments.values()
        if one.layer is not None and one.layer.layer == key
    ]
    placed.sort(key=lambda one: (_ORDER[one[0].status], one[1], one[2]))
    lanes: list[list[tuple[int, int]]] = []
    holders = tuple(
        Holder(experiment, low, high, _lane(lanes, low, high), _mark(place))
        for place, (experiment, low, high) in enumerate(placed)
    )
    taken = [(one.low, one.high) for one in holders if one.serves]
    return LayerMap(document.layers[key], holders, free_ranges(taken))


def free_ranges(taken: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """What the ranges leave of the whole."""
    found, edge = [], 0
    for low, high in sorted(taken):
        if low > edge:
            found.append((edge, low))
        edge = max(edge, high)
    if edge < WHOLE:
        found.append((edge, WHOLE))
    return tuple(found)


def _lane(lanes: list[list[tuple[int, int]]], low: int, high: int) -> int:
    for place, lane in enumerate(lanes):
        if all(high <= start or end <= low for start, end in lane):
            lane.append((low, high))
            return place
    lanes.append([(low, high)])
    return len(lanes) - 1


def _mark(place: int) -> str:
    rounds, letter = divmod(place, len(_LETTERS))
    return _LETTERS[letter] + (str(rounds + 1) if rounds else "")


def range_words(ranges: Sequence[tuple[int, int]]) -> str:
    """`10% to 30%, 90% to 100%`."""
    return ", ".join(f"{format_percent(low)} to {format_percent(high)}" for low, high in ranges)

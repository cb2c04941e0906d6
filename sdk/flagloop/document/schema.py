"""The document's mapping form <-> definitions: what other rooms import.

The mapping form is a plain dict, the same from YAML, from JSON and from a program. The wire words
are spelled in the `schema*` modules of this folder and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flagloop.document.definition import Experiment, Flag, Holdout, Layer, Metric, Segment
from flagloop.document.problem import Problem
from flagloop.document.schema_experiment import (
    read_experiment,
    read_holdout,
    read_layer,
    read_metric,
    read_segment,
)
from flagloop.document.schema_flag import read_flag
from flagloop.document.schema_words import unknown_text

Item: TypeAlias = Flag | Segment | Layer | Holdout | Metric | Experiment

READERS: Mapping[str, Callable[[str, Any], tuple[Any, list[Problem]]]] = {
    "segments": read_segment,
    "layers": read_layer,
    "holdouts": read_holdout,
    "metrics": read_metric,
    "experiments": read_experiment,
    "flags": read_flag,
}
SECTIONS: tuple[str, ...] = tuple(READERS)
"""The sections in the order in which a document is written."""


def read_item(section: str, key: str, mapping: Any) -> tuple[Item | None, list[Problem]]:
    """One item, alone: the definition, or None and every problem (paths start at the item)."""
    reader = READERS.get(section)
    if reader is None:
        message, hint = unknown_text("section", section, SECTIONS)
        return None, [Problem(message, hint=hint)]
    return reader(key, mapping)

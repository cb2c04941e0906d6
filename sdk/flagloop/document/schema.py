"""The document's mapping form <-> definitions: what other rooms import.

The mapping form is a plain dict, the same from YAML, from JSON and from a program. The wire words
are spelled in the `schema*` modules of this folder and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from flagloop.document.definition import (
    Document,
    Experiment,
    Flag,
    Holdout,
    Layer,
    Metric,
    Segment,
)
from flagloop.document.problem import Problem, errors, few_hints
from flagloop.document.schema_condition import OPERATORS, RESERVED, constants_of
from flagloop.document.schema_experiment import (
    EXCEEDS_FIELDS,
    EXPERIMENT_FIELDS,
    HOLDOUT_FIELDS,
    LAYER_FIELDS,
    LAYER_RANGE_FIELDS,
    METRIC_FIELDS,
    PLAN_FIELDS,
    SEGMENT_FIELDS,
)
from flagloop.document.schema_flag import (
    DWELL_FIELDS,
    FLAG_WORDS,
    KILLED_FIELDS,
    ROLLOUT_FIELDS,
    RULE_WORDS,
    SHORTHAND,
    read_flag,
)
from flagloop.document.schema_links import MAX_ITEM, READERS, Links, Ref, mentions, references
from flagloop.document.schema_wire import (
    runtime_words,
    runtime_words_for,
    wire,
    wire_item,
    with_runtime,
    without_runtime,
)
from flagloop.document.schema_words import (
    Fields,
    Problems,
    attributes,
    is_key,
    key,
    read_fields,
    refuse,
    show,
    unknown_text,
    unknown_word,
)

__all__ = [
    "DOCUMENT_WORDS",
    "MAX_ITEM",
    "OPERATOR_NAMES",
    "SECTIONS",
    "SHORTHAND",
    "WORDS",
    "Item",
    "Links",
    "Ref",
    "changed_flags",
    "constants_of",
    "head_problems",
    "is_key",
    "mentions",
    "namers",
    "read_document",
    "read_flag",
    "read_item",
    "references",
    "refs",
    "runtime_words",
    "runtime_words_for",
    "wire",
    "wire_item",
    "with_runtime",
    "without_runtime",
]

Item: TypeAlias = Flag | Segment | Layer | Holdout | Metric | Experiment

SECTIONS: tuple[str, ...] = tuple(READERS)
"""The sections in the order in which a document is written."""

OPERATOR_NAMES: tuple[str, ...] = tuple(OPERATORS)
DOCUMENT_WORDS: tuple[str, ...] = ("version", "environment", "recording", *SECTIONS)

RECORDING_FIELDS: Fields = {"attributes": ("attributes", attributes)}

WORDS: Mapping[str, tuple[str, ...]] = {
    "document": DOCUMENT_WORDS,
    "recording": tuple(RECORDING_FIELDS),
    "segment": tuple(SEGMENT_FIELDS),
    "layer": tuple(LAYER_FIELDS),
    "holdout": tuple(HOLDOUT_FIELDS),
    "metric": tuple(METRIC_FIELDS),
    "exceeds": tuple(EXCEEDS_FIELDS),
    "experiment": tuple(EXPERIMENT_FIELDS),
    "experiment layer": tuple(LAYER_RANGE_FIELDS),
    "plan": tuple(PLAN_FIELDS),
    "flag": FLAG_WORDS,
    "killed": tuple(KILLED_FIELDS),
    "rule": RULE_WORDS,
    "rollout": tuple(ROLLOUT_FIELDS),
    "dwell": tuple(DWELL_FIELDS),
    "condition": tuple(word for word in RESERVED if word != "flag"),
}
"""Every word, by the kind of mapping that it stands in."""


def read_item(section: str, key: str, mapping: Any) -> tuple[Item | None, list[Problem]]:
    """One item, alone: the definition, or None and every problem (paths start at the item)."""
    reader = READERS.get(section)
    if reader is None:
        message, hint = unknown_text("section", section, SECTIONS)
        return None, [Problem(message, hint=hint)]
    return reader(key, mapping)


@few_hints()
def read_document(mapping: Any) -> tuple[Document, list[Problem]]:
    """A whole document: its good items, and every problem of all items.

    References between items are checked too. Never raises; a mapping that is no document at all
    gives an empty `Document` and one problem.
    """
    out: Problems = []
    if not isinstance(mapping, dict):
        refuse(out, (), f"a document is a mapping, not {show(mapping)}", "begin with version: 1")
        return Document(), out
    links = Links(mapping, namers(mapping))
    head = _read_head(mapping, out)
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for section, name in refs(mapping):
        found = links.problems(section, name)
        out += found
        if not errors(found):
            sections[section][name] = links.read(section, name)[0]
    return Document(**head, **cast(dict[str, Any], sections)), out


def head_problems(mapping: Mapping[str, Any]) -> list[Problem]:
    """What is wrong beside the items: version, environment, recording, shapes of sections."""
    out: Problems = []
    _read_head(mapping, out)
    return out


def refs(mapping: Mapping[str, Any]) -> Iterator[Ref]:
    """(section, key) of every item, section by section; a broken section has none."""
    for section in SECTIONS:
        items = mapping.get(section)
        if isinstance(items, dict):
            yield from ((section, name) for name in items)


def namers(mapping: Mapping[str, Any]) -> dict[Ref, list[Ref]]:
    """For each item that is named anywhere in the document: the items that name it."""
    found: dict[Ref, list[Ref]] = {}
    for section, name in refs(mapping):
        for target in references(section, mapping[section][name]):
            found.setdefault(target, []).append((section, name))
    return found


def changed_flags(old: Mapping[str, Any], new: Mapping[str, Any]) -> frozenset[str]:
    """The flags that may be decided otherwise: changed themselves, or naming what changed.

    Takes documents or snapshots. What evaluation does not read (descriptions, metrics, who killed)
    does not count; added and removed flags do.
    """
    changed = {ref for ref in {*refs(old), *refs(new)} if _differs(ref, old, new)}
    waiting = list(changed)
    by_name = namers(new) if waiting else {}
    while waiting:
        found = set(by_name.get(waiting.pop(), ())) - changed
        changed |= found
        waiting += found
    return frozenset(name for section, name in changed if section == "flags")


def _differs(ref: Ref, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    before, after = _item_of(old, ref), _item_of(new, ref)
    if before is after or before == after:
        return False
    return bool(wire_item(ref[0], before) != wire_item(ref[0], after))


def _item_of(mapping: Mapping[str, Any], ref: Ref) -> Any:
    items = mapping.get(ref[0])
    return items.get(ref[1], _ABSENT) if isinstance(items, dict) else _ABSENT


_ABSENT = object()


def _read_head(mapping: Mapping[Any, Any], out: Problems) -> dict[str, Any]:
    """The words beside the sections, and that the sections are mappings."""
    for word in mapping:
        if word not in DOCUMENT_WORDS:
            unknown_word(out, (), word, DOCUMENT_WORDS, "a document")
    head: dict[str, Any] = {}
    version = mapping.get("version")
    if "version" not in mapping:
        refuse(out, (), "`version` is missing", "begin the document with version: 1")
    elif isinstance(version, bool) or version != 1:
        refuse(out, ("version",), f"version {show(version)} is not known", "write version: 1")
    if "environment" in mapping:
        head["environment"] = key(mapping["environment"], ("environment",), out)
    if "recording" in mapping:
        fields = read_fields(
            mapping["recording"], RECORDING_FIELDS, ("recording",), out, "`recording`"
        )
        head["recording"] = fields.get("attributes", ())
    for section in SECTIONS:
        items = mapping.get(section, {})
        if not isinstance(items, dict):
            hint = "write {} or remove the line" if items is None else "write {key: {...}}"
            refuse(out, (section,), f"`{section}` is a mapping of keys, not {show(items)}", hint)
    return head

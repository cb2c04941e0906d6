"""Stored documents as typed definitions, each item parsed once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from flagloop.document.definition import Document, Flag
from flagloop.document.schema import read_document, read_item
from flagloop_server.store import StoredDocument

_KEPT = 16


class Definitions:
    """The last parsed documents by revision name (a lineage is random, so names are unique)."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._documents: OrderedDict[str, tuple[Mapping[str, Any], Document]] = OrderedDict()

    def of(self, stored: StoredDocument) -> Document:
        """The definitions of a stored document; items with problems are left out."""
        with self._lock:
            found = self._documents.get(stored.name)
            if found is not None:
                self._documents.move_to_end(stored.name)
                return found[1]
            before = self._documents.get(f"{stored.lineage}.{stored.revision - 1}")
        mapping = stored.document.mapping
        parsed = _updated(*before, mapping) if before is not None else None
        if parsed is None:
            parsed, _ = read_document(mapping)
        with self._lock:
            self._documents[stored.name] = (mapping, parsed)
            while len(self._documents) > self._kept:
                self._documents.popitem(last=False)
        return parsed


def _updated(old: Mapping[str, Any], parsed: Document, new: Mapping[str, Any]) -> Document | None:
    """The definitions of `new` from those of `old`, where nothing but flags changed.

    None where all must be read: something else changed, or there are problems. References need no
    look: the one writer lets no document pass whose references are wrong.
    """
    old_flags, new_flags = old.get("flags") or {}, new.get("flags") or {}
    if len(old_flags) != len(parsed.flags) or not _same_beside_flags(old, new):
        return None
    flags: dict[str, Flag] = {}
    for key, mapping in new_flags.items():
        if old_flags.get(key) is mapping:
            flags[key] = parsed.flags[key]
            continue
        flag, _ = read_item("flags", key, mapping)
        if not isinstance(flag, Flag):
            return None
        flags[key] = flag
    return parsed._replace(flags=flags)


def _same_beside_flags(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether every other item is the same object: equality would take `true` for `1`."""
    if old.keys() != new.keys():
        return False
    for word in new.keys() - {"flags"}:
        before, after = old[word], new[word]
        if isinstance(before, dict) and isinstance(after, dict):
            if before.keys() != after.keys() or any(before[k] is not after[k] for k in after):
                return False
        elif before is not after:
            return False
    return True


_DEFINITIONS = Definitions()


def definitions(stored: StoredDocument) -> Document:
    """The definitions of a stored document, from a cache of the process."""
    return _DEFINITIONS.of(stored)

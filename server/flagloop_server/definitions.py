"""Stored documents as typed definitions, each parsed once."""

from __future__ import annotations

import threading
from collections import OrderedDict

from flagloop.document.definition import Document
from flagloop.document.schema import read_document
from flagloop_server.store import StoredDocument

_KEPT = 16


class Definitions:
    """The last parsed documents by revision name (a lineage is random, so names are unique)."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._documents: OrderedDict[str, Document] = OrderedDict()

    def of(self, stored: StoredDocument) -> Document:
        """The definitions of a stored document; items with problems are left out."""
        with self._lock:
            found = self._documents.get(stored.name)
            if found is not None:
                self._documents.move_to_end(stored.name)
                return found
        parsed, _ = read_document(stored.document.mapping)
        with self._lock:
            self._documents[stored.name] = parsed
            while len(self._documents) > self._kept:
                self._documents.popitem(last=False)
        return parsed


_DEFINITIONS = Definitions()


def definitions(stored: StoredDocument) -> Document:
    """The definitions of a stored document, from a cache of the process."""
    return _DEFINITIONS.of(stored)

"""What is computed from a document once for each of its revisions, kept by the process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from flagloop_server.store import StoredDocument

_T = TypeVar("_T")
_KEPT = 16


class PerRevision(Generic[_T]):
    """The last few results by the name of a revision (a lineage is random, so names are unique)."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._found: OrderedDict[str, _T] = OrderedDict()

    def of(self, stored: StoredDocument, compute: Callable[[], _T]) -> _T:
        """The result for a stored document; two threads may compute it at once."""
        with self._lock:
            found = self._found.get(stored.name)
            if found is not None:
                self._found.move_to_end(stored.name)
                return found
        made = compute()
        with self._lock:
            self._found[stored.name] = made
            while len(self._found) > self._kept:
                self._found.popitem(last=False)
        return made

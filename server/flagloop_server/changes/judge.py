"""What is wrong with a drafted document, at the cost of what changed in it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from flagloop.document.problem import Problem, errors
from flagloop.document.yamlfile import MAX_DOCUMENT, DocumentText
from flagloop.evaluation.validate import Index, validate, validate_items
from flagloop_server.store import Ref, StoredDocument

_KEPT = 16


class Judge:
    """Validates drafts; keeps who-names-whom of documents in use, by revision name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Index] = OrderedDict()

    def problems(
        self, base: StoredDocument, draft: DocumentText, changed: Sequence[Ref], *, urgent: bool
    ) -> list[Problem]:
        """The problems of a draft that differs from `base` in `changed`, paths from its root.

        With `urgent`, those that the base has as well are left out.
        """
        found = self._found(base, draft, changed)
        if urgent and errors(found):
            refs = {ref for ref in changed if ref[1]}
            before = validate_items(base.document.mapping, refs, self._index(base))
            known = {(problem.path, problem.message) for problem in before}
            found = [one for one in found if (one.path, one.message) not in known]
        return found

    def accept(self, base: StoredDocument, stored: StoredDocument, changed: Sequence[Ref]) -> None:
        """Carry what is known of `base` over to the revision that came of it."""
        index = self._index(base)
        self._keep(stored, index.updated(stored.document.mapping, _items(changed)))

    def named_by(self, stored: StoredDocument, ref: Ref) -> tuple[Ref, ...]:
        """The items that name one, by section and key."""
        return tuple(sorted(self._index(stored).namers.get(ref, ())))

    def _found(
        self, base: StoredDocument, draft: DocumentText, changed: Sequence[Ref]
    ) -> list[Problem]:
        refs = _items(changed)
        if any(word and not key for word, key in changed):
            found = validate(draft.mapping)
        elif refs:
            index = self._index(base).updated(draft.mapping, refs)
            found = validate_items(draft.mapping, refs, index)
        else:
            found = []
        return [*found, *_too_large(draft)]

    def _index(self, stored: StoredDocument) -> Index:
        with self._lock:
            index = self._kept.get(stored.name)
        if index is None:
            index = Index.of(stored.document.mapping)
            self._keep(stored, index)
        return index

    def _keep(self, stored: StoredDocument, index: Index) -> None:
        with self._lock:
            self._kept[stored.name] = index
            self._kept.move_to_end(stored.name)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def _items(changed: Sequence[Ref]) -> set[Ref]:
    return {ref for ref in changed if ref[1]}


def _too_large(document: DocumentText) -> list[Problem]:
    if sum(len(chunk.text) for chunk in document.chunks) * 4 <= MAX_DOCUMENT:
        return []
    size = len(document.raw)
    if size <= MAX_DOCUMENT:
        return []
    return [Problem(f"the document would have {size / 2**20:.1f} MB, at most 4 MB are allowed")]

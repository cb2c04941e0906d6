"""Recorded contexts with what was recorded of them: a missing attribute is not an unknown one.

A sender keeps of a context its key, the attributes that are units and those of
`recording.attributes`, by the document that it decides by. Only a rule that tests something else
cannot be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from flagloop.evaluation.ruleset import Ruleset
from flagloop_server.perrevision import PerRevision
from flagloop_server.store import Environment, StoredDocument
from flagloop_server.store.events import RecordedContext

ENOUGH = 500
"""So many contexts with the newest's attributes are preferred to more with fewer attributes."""

MOST_REVISIONS = 20
"""Documents that are read for one preview."""


class Library(Protocol):
    """Where documents come from; the store is one."""

    def document(self, env: str, revision: int | None = None) -> StoredDocument:
        """The document of an environment, now or as of a revision."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Contexts, the newest first, and what senders with each revision keep of a context.

    A context of another revision is taken to have had what all such contexts have together.
    """

    contexts: Sequence[RecordedContext]
    attributes: Mapping[str | None, frozenset[str]] = field(default_factory=dict)

    def newest(self, most: int) -> tuple[list[RecordedContext], frozenset[str]]:
        """At most `most` contexts, and the attributes that were recorded of every one of them."""
        sample = list(self.contexts[:most])
        if not sample:
            return [], frozenset()
        strangers = [one.context for one in sample if one.revision not in self.attributes]
        others = frozenset(name for context in strangers for name in context)
        kept = [self.attributes.get(one.revision, others) for one in sample]
        alike = [one for one, names in zip(sample, kept, strict=True) if names >= kept[0]]
        if len(alike) >= min(ENOUGH, len(sample)):
            return alike, kept[0]
        return sample, frozenset.intersection(*kept)


def recording(
    library: Library, environment: Environment, contexts: Sequence[RecordedContext]
) -> Recording:
    """The contexts of an environment with the attributes that its documents let senders keep."""
    found: dict[str | None, frozenset[str]] = {}
    for revision in dict.fromkeys(one.revision for one in contexts):
        number = _number(revision, environment)
        if number is not None and len(found) < MOST_REVISIONS:
            stored = library.document(environment.key, number)
            found[revision] = _RECORDED.of(stored, partial(_recorded, stored))
    return Recording(contexts, found)


_RECORDED: PerRevision[frozenset[str]] = PerRevision(4 * MOST_REVISIONS)


def _recorded(stored: StoredDocument) -> frozenset[str]:
    return recorded_attributes(stored.document.mapping)


def recorded_attributes(mapping: Mapping[str, Any]) -> frozenset[str]:
    """What a sender that decides by this document keeps of a context."""
    rules = Ruleset(mapping)
    return rules.units.union(rules.recording)


def _number(revision: str | None, environment: Environment) -> int | None:
    """The number in `<lineage>.<n>` if it is a revision of this environment."""
    lineage, _, digits = (revision or "").rpartition(".")
    if lineage != environment.lineage or not (digits.isascii() and digits.isdecimal()):
        return None
    if len(digits) > len(str(environment.revision)):
        return None
    number = int(digits)
    return number if 0 < number <= environment.revision else None

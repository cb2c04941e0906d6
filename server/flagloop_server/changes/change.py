"""What a change is: a pure function from the stored document to a draft of the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flagloop.document.merge import Merge
from flagloop.document.problem import Path, Problem, did_you_mean
from flagloop.document.schema import SECTIONS
from flagloop.document.yamlfile import DocumentText, Item
from flagloop.errors import ConflictError, DocumentError, NotFoundError
from flagloop_server.store import (
    Actor,
    ArchivedFlag,
    ItemVersion,
    Ref,
    RevisionRow,
    StoredDocument,
)


class Library(Protocol):
    """What a change may read besides the document that it changes; the store is one."""

    def document(self, env: str, revision: int | None = None) -> StoredDocument:
        """The document of an environment, now or as of a revision."""

    def push_base(self, env: str) -> DocumentText | None:
        """The text of the last push."""

    def own_base(self, env: str, source: str) -> DocumentText | None:
        """The text that `source` sent last without a base."""

    def archived_flag(self, env: str, key: str) -> ArchivedFlag | None:
        """A flag that left the document."""

    def reserved(self, env: str, flags: Iterable[str]) -> Sequence[str]:
        """Which of these keys belong to archived flags."""

    def revision(self, env: str, number: int) -> RevisionRow:
        """One revision of the history."""

    def item_versions(self, env: str, number: int) -> Sequence[ItemVersion]:
        """The items that one revision changed."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a change works on: `stored` is the present document, `at` epoch milliseconds."""

    stored: StoredDocument
    library: Library
    actor: Actor
    reason: str
    at: int

    @property
    def document(self) -> DocumentText:
        """The present text."""
        return self.stored.document

    def item(self, section: str, key: str) -> Item:
        """An item of the present document; NotFoundError names the nearest key."""
        return find_item(self.stored, section, key)


@dataclass(frozen=True, slots=True)
class Draft:
    """The next document, not yet judged.

    `pushed` is to be the base of the next push, of `source`'s own too if that is given;
    `unarchived` names flags that may come back from the archive; `locate` gives problems the
    lines that the author of the change sees.
    """

    document: DocumentText
    notes: tuple[str, ...] = ()
    merge: Merge | None = None
    pushed: DocumentText | None = None
    source: str | None = None
    unarchived: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    locate: Callable[[Iterable[Problem]], list[Problem]] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change to come: `draft` is pure and may run several times.

    An `urgent` change (kill, restore, pause, rollback) compares no expected revision and is
    refused only for problems that it makes itself.
    """

    environment: str
    action: str
    target: str
    draft: Callable[[Scene], Draft]
    urgent: bool = False
    needs_reason: bool = False


class MergeConflictError(ConflictError):
    """A push and the server changed the same items; `items` has base, mine and theirs of each."""

    def __init__(self, environment: str, items: Sequence[Any]) -> None:
        self.items = tuple(items)
        names = [f"{one.section}.{one.key}" if one.key else one.section for one in self.items]
        super().__init__(
            f"changed both in the file and in {environment}, nothing was applied: "
            f"{', '.join(names)}; pull, settle these and push again",
            names,
        )


def find_item(stored: StoredDocument, section: str, key: str) -> Item:
    """An item of a stored document; NotFoundError names the nearest key."""
    item = stored.document.items.get((section, key))
    if item is not None:
        return item
    known = [other for where, other in stored.document.items if where == section]
    raise NotFoundError(_missing(section.removesuffix("s"), key, stored.environment, known))


def find_rule(stored: StoredDocument, flag: str, rule: str) -> Mapping[str, Any]:
    """The mapping of a flag's rule; NotFoundError names the nearest rule."""
    mapping = find_item(stored, "flags", flag).mapping
    rules = mapping.get("rules") if isinstance(mapping, dict) else None
    named = {one["name"]: one for one in rules or [] if isinstance(one, dict) and "name" in one}
    if rule in named:
        found: Mapping[str, Any] = named[rule]
        return found
    place = f"flag '{flag}' of {stored.environment}"
    raise NotFoundError(_missing("rule", rule, place, [str(name) for name in named]))


def replace_rule(mapping: Mapping[str, Any], rule: str, new: Mapping[str, Any]) -> dict[str, Any]:
    """A flag's mapping with one rule replaced."""
    rules = [
        dict(new) if isinstance(one, dict) and one.get("name") == rule else one
        for one in mapping["rules"]
    ]
    return {**mapping, "rules": rules}


def changed_refs(old: DocumentText, new: DocumentText) -> tuple[Ref, ...]:
    """The items and top-level words whose text differs; DOCUMENT if nothing but the rest."""
    if old is new:
        return ()
    found: list[Ref] = [
        ref
        for ref, item in new.items.items()
        if (other := old.items.get(ref)) is not item and (other is None or other.text != item.text)
    ]
    found += [ref for ref in old.items if ref not in new.items]
    for word in {**old.entries, **new.entries}.keys() - set(SECTIONS):
        before, after = old.entries.get(word), new.entries.get(word)
        if (before and before.mapping) != (after and after.mapping):
            found.append((word, ""))
    if not found and old.raw != new.raw:
        found.append(("", ""))
    return tuple(found)


def refuse(message: str, path: Path = (), hint: str | None = None) -> DocumentError:
    """A DocumentError of one problem."""
    return DocumentError([Problem(message, path, hint=hint)])


def _missing(kind: str, name: str, place: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    if hint is None:
        shown = ", ".join(sorted(known)[:10]) + (", ..." if len(known) > 10 else "")
        hint = f"there are {shown}" if known else "there are none"
    return f"no {kind} '{name}' in {place}; {hint}"

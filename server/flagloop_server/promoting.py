"""Bringing an item from one environment to another, with what it names and the target lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from flagloop.document.schema import references
from flagloop_server import changes
from flagloop_server.changes import Change, find_item
from flagloop_server.compare import compare_item
from flagloop_server.store import Ref, Store, StoredDocument


@dataclass(frozen=True, slots=True)
class Promotion:
    """What promoting `ref` from `source` to `target` meets.

    `missing` are items that it names, also through others, and that the target lacks: what is
    named comes first. `differing` are those that the target has with another meaning; they stay
    as they are there.
    """

    source: StoredDocument
    target: StoredDocument
    ref: Ref
    missing: tuple[Ref, ...]
    differing: tuple[Ref, ...]

    def change(self, along: Collection[Ref]) -> Change:
        """The change: the item and those of `missing` that come along, as one revision."""
        refs = [*(ref for ref in self.missing if ref in along), self.ref]
        origin, goal = self.source.environment, self.target.environment
        parts = [changes.promote(origin, goal, *ref) for ref in refs]
        if len(parts) == 1:
            return parts[0]
        named = ", ".join(part.target for part in parts[:-1])
        whole = changes.together(goal, "promote", parts)
        return replace(whole, target=f"{parts[-1].target} with {named}")


def promotion(source: StoredDocument, target: StoredDocument, section: str, key: str) -> Promotion:
    """What promoting an item would meet; NotFoundError where the source has none of that name."""
    find_item(source, section, key)
    ref = (section, key)
    named = _named(source, ref)
    return Promotion(
        source,
        target,
        ref,
        missing=tuple(one for one in named if one not in target.document.items),
        differing=tuple(one for one in named if _differs(source, target, one)),
    )


def _named(source: StoredDocument, ref: Ref) -> list[Ref]:
    """All items that `ref` names, directly or through others; what is named comes first."""
    items = source.document.items
    done: list[Ref] = []
    opened = {ref}
    waiting = [(ref, _direct(source, ref))]
    while waiting:
        one, rest = waiting[-1]
        following = next((name for name in rest if name in items and name not in opened), None)
        if following is not None:
            opened.add(following)
            waiting.append((following, _direct(source, following)))
            continue
        waiting.pop()
        done.append(one)
    return done[:-1]


def _direct(source: StoredDocument, ref: Ref) -> Iterator[Ref]:
    return iter(sorted(references(ref[0], source.document.items[ref].mapping)))


def _differs(source: StoredDocument, target: StoredDocument, ref: Ref) -> bool:
    if ref not in target.document.items:
        return False
    found = compare_item(source, target, *ref)
    return found is not None and found.state == "differs"


def expected(store: Store, env: str, revision: int, refs: Collection[Ref]) -> Mapping[Ref, int]:
    """The item revisions that somebody saw who looked at a revision of the document."""
    seen = store.document(env, revision).item_revisions
    return {ref: seen.get(ref, 0) for ref in refs}


def everything(store: Store, env: str, revision: int) -> Mapping[Ref, int]:
    """The same for every item; what came since is expected not to be there."""
    now = store.document(env).item_revisions
    return expected(store, env, revision, {**now, **store.document(env, revision).item_revisions})


def moved_on(now: StoredDocument, revision: int, refs: Collection[Ref]) -> list[Ref]:
    """Which of these items changed after a revision of their document, or are gone."""
    return [ref for ref in refs if now.item_revisions.get(ref, revision + 1) > revision]

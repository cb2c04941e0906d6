"""Archiving several flags at once: which can go, and what keeps the others.

Flags that require each other go together; a flag that one outside needs is refused, and so is
what needs it in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flagloop_server.definitions import definitions
from flagloop_server.disturbance import disturbed
from flagloop_server.store import Ref, StoredDocument


@dataclass(frozen=True, slots=True)
class Archiving:
    """The flags that can go, those that cannot with what names them, and keys of no flag."""

    ready: tuple[str, ...] = ()
    refused: Mapping[str, tuple[Ref, ...]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    disturbs: tuple[str, ...] = ()


def archiving(
    stored: StoredDocument, keys: Sequence[str], named_by: Callable[[Ref], Sequence[Ref]]
) -> Archiving:
    """What archiving these flags together meets; nothing is changed.

    `named_by` tells which items of the document name one.
    """
    flags = definitions(stored).flags
    wanted = list(dict.fromkeys(keys))
    ready = {key for key in wanted if key in flags}
    mapping = stored.document.mapping
    while held := {key for key in ready if _outside(named_by, key, ready)}:
        ready -= held
    refused = {
        key: _outside(named_by, key, ready) for key in wanted if key in flags and key not in ready
    }
    rest = {key: item for key, item in (mapping.get("flags") or {}).items() if key not in ready}
    gone = [("flags", key) for key in wanted if key in ready]
    found = disturbed(mapping, {**mapping, "flags": rest}, gone) if gone else ()
    return Archiving(
        ready=tuple(key for _, key in gone),
        refused=refused,
        unknown=tuple(key for key in wanted if key not in flags),
        disturbs=tuple(str(one) for one in found),
    )


def _outside(
    named_by: Callable[[Ref], Sequence[Ref]], key: str, going: set[str]
) -> tuple[Ref, ...]:
    """What names the flag and does not go with it."""
    return tuple(
        ref for ref in named_by(("flags", key)) if ref[0] != "flags" or ref[1] not in going
    )

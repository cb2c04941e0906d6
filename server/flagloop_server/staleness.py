"""Which flags look ready to be removed, with the reason and its proof.

Three reasons: the flag is past its `expires`, nobody has asked for it for 30 days, or everyone has
got one and the same variant for 30 days. Times are epoch milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from flagloop.document.definition import Document, Flag
from flagloop.document.schema import references
from flagloop_server import wording
from flagloop_server.perrevision import PerRevision
from flagloop_server.store import Ref, Store, StoredDocument

DAY_MS = 86_400_000
STALE_DAYS = 30

Kind: TypeAlias = Literal["expired", "unused", "settled"]


@dataclass(frozen=True, slots=True)
class Stale:
    """One reason: `reason` says it in a few words, `proof` what it rests on, in a sentence.

    `since` is the time that it rests on: of expiry, of the last evaluation, of the last change.
    `revision` is that change.
    """

    kind: Kind
    reason: str
    proof: str
    since: int
    revision: int | None = None

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Settled:
    """The last change of a flag that has one variant for everyone, or of what it names."""

    variant: str | None
    revision: int
    at: int


def stale_reasons(
    flag: Flag, last_seen: int | None, now: int, settled: Settled | None = None
) -> tuple[Stale, ...]:
    """Why the flag looks stale; empty when it does not.

    A flag that was never evaluated is not unused: it may be new, or its senders may count nothing.
    """
    found = [_expired(flag, now), _unused(last_seen, now), _settled(flag, settled, now)]
    return tuple(one for one in found if one is not None)


def settled_flags(store: Store, stored: StoredDocument, parsed: Document) -> dict[str, Settled]:
    """The flags that give everyone one variant, and since when; from a cache of the process.

    The time is that of the last revision that touched the flag or an item that it names: since
    then nothing else can have been served.
    """
    return _SETTLED.of(stored, lambda: _settled_flags(store, stored, parsed))


def _settled_flags(store: Store, stored: StoredDocument, parsed: Document) -> dict[str, Settled]:
    revisions = dict(_since(stored, parsed))
    times = store.revision_times(stored.environment, {one for _, one in revisions.values()})
    return {
        key: Settled(variant, number, times[number])
        for key, (variant, number) in revisions.items()
        if number in times
    }


_SETTLED: PerRevision[dict[str, Settled]] = PerRevision()


def only_variant(flag: Flag, document: Document) -> tuple[str | None] | None:
    """The one variant that everyone gets, as a tuple (None in it: none); None if there are more."""
    if flag.killed is not None:
        return (flag.off,)
    variants: set[str | None] = {*wording.reachable_variants(flag, document)}
    if flag.requires:
        variants.add(flag.off)
    windowed = any(rule.from_ is not None or rule.until is not None for rule in flag.rules)
    return (variants.pop(),) if len(variants) == 1 and not windowed else None


def _since(stored: StoredDocument, parsed: Document) -> list[tuple[str, tuple[str | None, int]]]:
    revisions, items = stored.item_revisions, stored.document.items
    found = []
    for key, flag in parsed.flags.items():
        only = only_variant(flag, parsed)
        if only is not None:
            refs: set[Ref] = {("flags", key)}
            if flag.killed is None:
                refs |= references("flags", items["flags", key].mapping)
            found.append((key, (only[0], max(revisions.get(ref, 0) for ref in refs))))
    return found


def _expired(flag: Flag, now: int) -> Stale | None:
    if flag.expires is None or flag.expires >= _date(now):
        return None
    since = datetime.fromisoformat(flag.expires).replace(tzinfo=UTC)
    at = int(since.timestamp() * 1000) + DAY_MS
    proof = f"its text says `expires: {flag.expires}`, and today is {_date(now)}"
    return Stale("expired", f"expired on {flag.expires}", proof, at)


def _unused(last_seen: int | None, now: int) -> Stale | None:
    if last_seen is None or (days := (now - last_seen) // DAY_MS) < STALE_DAYS:
        return None
    proof = f"the last evaluation that any application reported was on {_date(last_seen)}"
    return Stale("unused", f"not evaluated for {days:,} days", proof, last_seen)


def _settled(flag: Flag, settled: Settled | None, now: int) -> Stale | None:
    if settled is None or (days := (now - settled.at) // DAY_MS) < STALE_DAYS:
        return None
    served = settled.variant or "the caller's default"
    why = "it is killed" if flag.killed is not None else "no rule of it gives anything else"
    proof = f"{why}, unchanged since revision {settled.revision} of {_date(settled.at)}"
    return Stale(
        "settled",
        f"everyone has got {served} for {days:,} days",
        proof,
        settled.at,
        settled.revision,
    )


def _date(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).date().isoformat()

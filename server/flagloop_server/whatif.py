"""What a change would do, from recorded contexts, before it is saved.

Pure: two mapping forms and contexts in, frozen counts and sentences out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flagloop.document.schema import references, wire_item
from flagloop.evaluation.replay import FlagReplay, replay
from flagloop.evaluation.ruleset import Ruleset
from flagloop_server.breakdown import Breakdown, breakdowns
from flagloop_server.recording import Recording
from flagloop_server.store import Ref
from flagloop_server.store.events import RecordedContext
from flagloop_server.wording import join_words

BUDGET = 400_000
"""Evaluations that a preview may cost; with many flags fewer contexts are looked at."""


@dataclass(frozen=True, slots=True)
class Move:
    """So many recorded contexts would get another variant of a flag."""

    flag: str
    before: str
    after: str
    n: int


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The effect on `contexts` recorded ones; `unjudged` names what cannot be known.

    `flags` may decide differently: they changed, or name what changed, also through others.
    `groups` tell who moves of the flag that leads the sentence.
    """

    flags: tuple[str, ...]
    contexts: int
    moves: tuple[Move, ...]
    unjudged: tuple[str, ...]
    period: str
    sentence: str
    groups: tuple[Breakdown, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether any recorded context would get another variant."""
        return bool(self.moves)


def affected(sections: Mapping[str, Any], changed: Iterable[Ref]) -> set[str]:
    """The flags that changed, or that name a changed item, also through others."""
    named_by: dict[Ref, set[Ref]] = {}
    for section in ("segments", "experiments", "flags"):
        for key, item in (sections.get(section) or {}).items():
            for ref in references(section, item):
                named_by.setdefault(ref, set()).add((section, key))
    found: set[Ref] = set()
    waiting = list(changed)
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting.extend(named_by.get(ref, ()))
    return {key for section, key in found if section == "flags"}


def read_differently(before: Mapping[str, Any], after: Mapping[str, Any], ref: Ref) -> bool:
    """Whether evaluation reads the item differently: not so for descriptions, owners, tags."""
    section, key = ref
    old, new = ((one.get(section) or {}).get(key) for one in (before, after))
    return bool(wire_item(section, old) != wire_item(section, new))


def what_if(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    recorded: Recording,
    changed: Collection[Ref],
    now: float,
) -> WhatIf:
    """Who of the recorded contexts would get another variant; `now` is in seconds."""
    named = {key for _, key in changed}
    refs = [ref for ref in changed if not ref[1] or read_differently(before, after, ref)]
    # The same flags as of `before`: only what is in `refs` names others than it did.
    flags = sorted(affected(after, refs))
    sample, kept = recorded.newest(max(1, BUDGET // (2 * max(1, len(flags)))))
    contexts = [one.context for one in sample]
    done = replay(Ruleset(before), Ruleset(after), contexts, flags=flags, now=now, recorded=kept)
    results = [result for result in done.flags.values() if result.before or result.after]
    moves = [move for result in results for move in _moves(result)]
    unjudged = tuple(_unjudged(result) for result in results if result.unjudged)
    if unjudged and sample and not moves:
        sentence = f"None of {len(sample):,} recorded contexts is known to get another variant."
    else:
        sentence = _sentence(moves, len(sample), flags, named)
    return WhatIf(
        flags=tuple(flags),
        contexts=len(sample),
        moves=tuple(moves),
        unjudged=unjudged,
        period=_period(sample),
        sentence=sentence + (" Not every rule could be judged." if unjudged else ""),
        groups=_groups(contexts, done.flags.get(_leading(moves, named) or ""), kept),
    )


def _leading(moves: Sequence[Move], changed: Collection[str]) -> str | None:
    """The flag whose moves are told first: a changed one, else the one with the most."""
    named = [move for move in moves if move.flag in changed] or list(moves)
    by_flag: Counter[str] = Counter()
    for move in named:
        by_flag[move.flag] += move.n
    return by_flag.most_common(1)[0][0] if by_flag else None


def _groups(
    contexts: Sequence[Mapping[str, Any]], leading: FlagReplay | None, kept: Collection[str]
) -> tuple[Breakdown, ...]:
    if leading is None:
        return ()
    movers = set(leading.movers)
    return breakdowns(contexts, [place in movers for place in range(len(contexts))], kept)


def _moves(result: FlagReplay) -> list[Move]:
    by_size = sorted(result.moves.items(), key=lambda move: -move[1])
    return [
        Move(result.flag, _name(old, result.before), _name(new, result.after), n)
        for (old, new), n in by_size
    ]


def _name(variant: str | None, there: bool) -> str:
    if variant is not None:
        return variant
    return "the caller's default" if there else "no flag (the caller's default)"


def _unjudged(result: FlagReplay) -> str:
    parts = [
        f"rule {one.name} tests {join_words(one.attributes, 'and')}" for one in result.unjudged
    ]
    return f"{result.flag}: {'; '.join(parts)}, which recorded contexts do not keep"


def _period(sample: Sequence[RecordedContext]) -> str:
    if not sample:
        return ""
    times = [one.at for one in sample]
    first, last = (datetime.fromtimestamp(at / 1000, UTC) for at in (min(times), max(times)))
    day = "" if first.date() == last.date() else f"{last:%Y-%m-%d} "
    return f"from {first:%Y-%m-%d %H:%M} to {day}{last:%H:%M} UTC"


def _sentence(
    moves: Sequence[Move], contexts: int, flags: Sequence[str], changed: Collection[str]
) -> str:
    if not flags:
        return "No flag decides differently: nothing that evaluation reads was changed."
    if not contexts:
        return (
            "Nobody can be counted: no contexts are recorded in this environment yet. "
            "They come with the evaluations of applications that use a server key."
        )
    of = f"of {contexts:,} recorded contexts"
    moving = dict.fromkeys(move.flag for move in moves)
    if not moving:
        return f"None {of} would get another variant."
    own = [name for name in moving if name in changed]
    if len(own) > 1 or not own:
        most = max(sum(one.n for one in moves if one.flag == name) for name in moving)
        flags_moving = "1 flag" if len(moving) == 1 else f"each of {len(moving):,} flags"
        return f"Up to {most:,} {of} move in {flags_moving}."
    told = [move for move in moves if move.flag == own[0]]
    if len(told) == 1:
        sentence = f"{told[0].n:,} {of} move {told[0].before} → {told[0].after}, none back"
    else:
        parts = [f"{move.n:,} {move.before} → {move.after}" for move in told]
        sentence = f"{sum(move.n for move in told):,} {of} move: {', '.join(parts)}"
    others = [name for name in moving if name not in own]
    return sentence + (
        f"; with it contexts move in {join_words(others, 'and')}." if others else "."
    )

"""Two texts as the lines of a diff."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

AROUND = 3

Tag: TypeAlias = Literal["replace", "delete", "insert", "equal"]

MOST_PAIRS = 100_000
"""Pairs of equal lines that are weighed. difflib's time grows with them times the lines: texts
that repeat a line thousands of times would hold a worker for minutes."""


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a diff; `sign` is +, - or a space, so that it reads without colour."""

    kind: Literal["added", "removed", "same", "gap"]
    text: str

    @property
    def sign(self) -> str:
        """The first column of the line."""
        return {"added": "+", "removed": "-", "same": " ", "gap": ""}[self.kind]


def diff_lines(before: str | None, after: str | None) -> list[DiffLine]:
    """The changed lines of two texts with three lines around them; empty when nothing differs.

    None stands for a text that does not exist. Where lines repeat too often to be paired, all
    between the first and the last difference is shown as removed and added.
    """
    old, new = (before or "").splitlines(), (after or "").splitlines()
    lines: list[DiffLine] = []
    for group in Lines(old, new).get_grouped_opcodes(AROUND):
        first, last = group[0], group[-1]
        lines.append(DiffLine("gap", f"@@ lines {first[3] + 1} to {last[4]} @@"))
        for tag, low, high, new_low, new_high in group:
            if tag == "equal":
                lines += [DiffLine("same", line) for line in old[low:high]]
                continue
            lines += [DiffLine("removed", line) for line in old[low:high]]
            lines += [DiffLine("added", line) for line in new[new_low:new_high]]
    return lines


class Lines(SequenceMatcher[str]):
    """Compares what lies between the common beginning and end, in bounded time."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        super().__init__(autojunk=False)
        self._old, self._new = old, new

    def get_opcodes(self) -> list[tuple[Tag, int, int, int, int]]:
        """What makes the new lines of the old ones: tag, range in the old, range in the new."""
        old, new = self._old, self._new
        head = alike(old, new)
        tail = alike(old[head:][::-1], new[head:][::-1])
        low, high = len(old) - tail, len(new) - tail
        return [
            *step("equal", 0, head, 0, head),
            *(
                (tag, one + head, two + head, three + head, four + head)
                for tag, one, two, three, four in middle(old[head:low], new[head:high])
            ),
            *step("equal", low, len(old), high, len(new)),
        ]


def middle(old: list[str], new: list[str]) -> list[tuple[Tag, int, int, int, int]]:
    """The steps from `old` to `new`; one for all of it where pairing would take too long."""
    counted = Counter(new)
    if sum(counted[line] for line in old) <= MOST_PAIRS:
        return SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    return step("replace", 0, len(old), 0, len(new))


def step(
    tag: Tag, low: int, high: int, new_low: int, new_high: int
) -> list[tuple[Tag, int, int, int, int]]:
    """One step; none where both ranges are empty."""
    found = low < high or new_low < new_high
    return [(tag, low, high, new_low, new_high)] if found else []


def alike(one: list[str], other: list[str]) -> int:
    """How many lines are the same from the beginning on."""
    for number, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return number
    return min(len(one), len(other))

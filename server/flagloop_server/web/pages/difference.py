"""Two texts as the lines of a diff."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

AROUND = 3


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

    None stands for a text that does not exist.
    """
    old, new = (before or "").splitlines(), (after or "").splitlines()
    lines: list[DiffLine] = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for group in matcher.get_grouped_opcodes(AROUND):
        first, last = group[0], group[-1]
        lines.append(DiffLine("gap", f"@@ lines {first[3] + 1} to {last[4]} @@"))
        for tag, low, high, new_low, new_high in group:
            if tag == "equal":
                lines += [DiffLine("same", line) for line in old[low:high]]
                continue
            lines += [DiffLine("removed", line) for line in old[low:high]]
            lines += [DiffLine("added", line) for line in new[new_low:new_high]]
    return lines

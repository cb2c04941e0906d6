"""What is wrong with a document, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]


class Problem(NamedTuple):
    """One problem: `path` leads from the document's root to the place, `line` is 1-based."""

    message: str
    path: Path = ()
    line: int | None = None
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"

    def at(self, line: int | None) -> Problem:
        """The same problem at `line`."""
        return self._replace(line=line)

    def under(self, *prefix: str | int) -> Problem:
        """The same problem with `prefix` put before its path."""
        return self._replace(path=prefix + self.path)

    def render(self, file: str = "") -> str:
        """One line for people: `file:line: path: message (hint)`."""
        place = file
        if self.line is not None:
            place = f"{file}:{self.line}" if file else f"line {self.line}"
        parts = [place, path_text(self.path), self.message]
        text = ": ".join(part for part in parts if part)
        prefix = "warning: " if self.severity == "warning" else ""
        return prefix + text + (f" ({self.hint})" if self.hint else "")

    def to_mapping(self) -> dict[str, object]:
        """The JSON form: path (text), line, message, hint, severity."""
        return {
            "path": path_text(self.path),
            "line": self.line,
            "message": self.message,
            "hint": self.hint,
            "severity": self.severity,
        }


def path_text(path: Path) -> str:
    """`("flags", "a", "rules", 0)` as `flags.a.rules[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@contextmanager
def few_hints(most: int = 20) -> Iterator[None]:
    """Inside of this only the first `most` words are looked up by `did_you_mean`.

    A lookup may take 10 ms among thousands of names, and a document have thousands of problems.
    Inside of another one this changes nothing.
    """
    if _lookups.get() is not None:
        yield
        return
    token = _lookups.set(iter(range(most)))
    try:
        yield
    finally:
        _lookups.reset(token)


_lookups: ContextVar[Iterator[int] | None] = ContextVar("lookups", default=None)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """`did you mean 'share'?` for a near miss, else None."""
    lookups = _lookups.get()
    if lookups is not None and next(lookups, None) is None:
        return None
    import difflib
    import heapq

    names = list(known)
    if len(names) > _LIKELY:
        names = heapq.nlargest(_LIKELY, names, key=lambda name: _same_ends(word, name))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else None


_LIKELY = 50
"""Of more names only so many are compared in full: that takes about 40 us each."""


def _same_ends(one: str, other: str) -> int:
    """How many characters two words begin and end with alike."""
    same = 0
    for one_way, other_way in ((one, other), (one[::-1], other[::-1])):
        for mine, theirs in zip(one_way, other_way, strict=False):
            if mine != theirs:
                break
            same += 1
    return same


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that forbid use (warnings left out)."""
    return [problem for problem in problems if problem.severity == "error"]

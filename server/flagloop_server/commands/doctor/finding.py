"""One thing that the doctor found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` problem needs a person, note is worth knowing; `do` says what to do, if anything."""

    check: str
    level: Literal["ok", "note", "problem"]
    text: str
    do: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def note(check: str, text: str, do: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, "note", text, do)


def problem(check: str, text: str, do: str) -> Finding:
    """Needs a person."""
    return Finding(check, "problem", text, do)


def some(words: list[str], most: int = 3) -> str:
    """`a; b; c and 4 more`."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return "; ".join(words[:most]) + more


def times(n: int, word: str) -> str:
    """`1 key`, `2 keys`."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"

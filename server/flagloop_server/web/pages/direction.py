"""Characters that let a line run backwards are shown by name: no text disguises itself."""

from __future__ import annotations

import re

# Embeddings, overrides and isolates. In a page of autoescaped text a `>` stands only in tags.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_KEPT_OR_TURNING = re.compile(
    r"<textarea\b.*?</textarea>|<[^>]*>|(?P<turning>[\u202a-\u202e\u2066-\u2069])", re.DOTALL
)


def straight(html: str) -> str:
    """The page with `U+202E` for such a character in its text; what forms send stays exact."""
    return _KEPT_OR_TURNING.sub(_named, html) if _TURNING.search(html) else html


def _named(found: re.Match[str]) -> str:
    turning = found["turning"]
    return f"U+{ord(turning):04X} " if turning else found[0]

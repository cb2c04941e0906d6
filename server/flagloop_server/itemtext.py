"""An item's text as people edit it: from the first column."""

from __future__ import annotations

import re
from collections.abc import Callable

from flagloop.document.problem import Problem
from flagloop.document.yamlfile import parse
from flagloop.errors import DocumentError

MARGIN = "  "

_FIRST_WORD = re.compile(r"^( *)[^\s#]", re.MULTILINE)


def dedented(text: str) -> str:
    """The text moved left so that its key stands in the first column."""
    found = _FIRST_WORD.search(text)
    margin = found[1] if found else ""
    if not margin:
        return text
    return "".join(line.removeprefix(margin) for line in text.splitlines(keepends=True))


def as_document(section: str, text: str) -> str:
    """A document's text with nothing but this item's; `from_document` takes it out again."""
    return f"{section}:\n" + _each_line(text, lambda line: MARGIN + line)


def from_document(text: str) -> str:
    """The item's text of what `as_document` gave, also after an edit of the item."""
    return _each_line(text.partition("\n")[2], lambda line: line.removeprefix(MARGIN))


def key_of(section: str, text: str) -> str:
    """The key of the one item that `text` defines; DocumentError if there is not exactly one."""
    try:
        keys = [key for _, key in parse(as_document(section, text)).items]
    except DocumentError as error:
        # the section's own line stands above the item's first
        found = [one.at(max(1, one.line - 1)) if one.line else one for one in error.problems]
        raise DocumentError(found) from None
    if len(keys) != 1:
        hint = f"there are {len(keys)}: {', '.join(keys)}" if keys else "begin with 'my_flag:'"
        raise DocumentError([Problem("exactly one key with its words is needed", hint=hint)])
    return keys[0]


def _each_line(text: str, of: Callable[[str], str]) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(of(line) if line.strip("\r\n") else line for line in lines)

"""An item's text as people edit it: from the first column."""

from __future__ import annotations

import re

from flagloop.document.problem import Problem
from flagloop.document.yamlfile import parse
from flagloop.errors import DocumentError

_FIRST_WORD = re.compile(r"^( *)[^\s#]", re.MULTILINE)


def dedented(text: str) -> str:
    """The text moved left so that its key stands in the first column."""
    found = _FIRST_WORD.search(text)
    margin = found[1] if found else ""
    if not margin:
        return text
    return "".join(line.removeprefix(margin) for line in text.splitlines(keepends=True))


def key_of(section: str, text: str) -> str:
    """The key of the one item that `text` defines; DocumentError if there is not exactly one."""
    moved = "".join(f"  {line}" for line in text.splitlines(keepends=True))
    keys = [key for _, key in parse(f"{section}:\n{moved}").items]
    if len(keys) != 1:
        hint = f"there are {len(keys)}: {', '.join(keys)}" if keys else "begin with 'my_flag:'"
        raise DocumentError([Problem("exactly one key with its words is needed", hint=hint)])
    return keys[0]

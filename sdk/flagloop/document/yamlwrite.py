"""Plain values -> new YAML text: flow style on one line where it fits, quotes where needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from flagloop.document.problem import Problem
from flagloop.document.yamlnodes import MAX_DEPTH, resolve
from flagloop.errors import DocumentError

WIDTH = 100

# Letters, digits and signs that mean nothing to YAML anywhere; ':' only inside a word.
_PLAIN = re.compile(r"[\w/(.](?:[\w/().%+@*=!;'~<>^$&-]|:(?=[\w/])| +(?=[\w/().%+@*=!;'~<>^$&-]))*")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def same(one: Any, other: Any) -> bool:
    """Equal in value, type and order of keys (True is not 1, 1 is not 1.0)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


def plain(value: Any, depth: int = 0) -> Any:
    """The value as reading it back will give it: only JSON's types, tuples as lists.

    Raises DocumentError for what a document cannot hold.
    """
    if depth > MAX_DEPTH:
        raise _unwritable(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise _unwritable(f"the key {key!r} is no text")
        return {str(key): plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise _unwritable(f"a {type(value).__name__} cannot be written")


def _unwritable(message: str) -> DocumentError:
    return DocumentError([Problem(message)])


def scalar_text(value: Any, style: str | None = None) -> str:
    """One scalar; `style` (a quote sign) is kept for text where it can hold it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = repr(value)
        if text.strip("-") in ("inf", "nan"):
            raise _unwritable(f"{text} is no finite number")
        return text
    written = str(value)
    if style == "'" and "\n" not in written and written.isprintable():
        return "'" + written.replace("'", "''") + "'"
    if style != '"' and _PLAIN.fullmatch(written) and _stays_text(written):
        return written
    quoted = json.dumps(written, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)


def _stays_text(value: str) -> bool:
    try:
        return isinstance(resolve(value), str)
    except ValueError:
        return False


def flow_text(value: Any) -> str:
    """Any value on one line."""
    if isinstance(value, dict):
        inner = (f"{scalar_text(key)}: {flow_text(part)}" for key, part in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow_text(part) for part in value) + "]"
    return scalar_text(value)


def entry_text(key: str, value: Any, column: int, newline: str) -> str:
    """The lines of `key: value` at a column: one line if it fits, else block style."""
    head = " " * column + scalar_text(key) + ":"
    line = f"{head} {flow_text(value)}"
    if not value or not isinstance(value, dict | list):
        return line + newline
    if len(line) <= WIDTH and not _is_list_of_mappings(value):
        return line + newline
    return head + newline + collection_text(value, column + 2, newline)


def collection_text(value: dict[str, Any] | list[Any], column: int, newline: str) -> str:
    """The lines of a collection that is not empty, in block style at a column."""
    if isinstance(value, dict):
        return "".join(entry_text(key, part, column, newline) for key, part in value.items())
    return "".join(element_text(part, column, newline) for part in value)


def element_text(value: Any, column: int, newline: str) -> str:
    """The lines of a list's element, with its dash at a column."""
    line = " " * column + "- " + flow_text(value)
    if len(line) <= WIDTH or not value or not isinstance(value, dict | list):
        return line + newline
    inner = collection_text(value, column + 2, newline)
    return " " * column + "- " + inner[column + 2 :]


def item_text(key: str, mapping: Any, column: int, newline: str) -> str:
    """The lines of a new item: a word a line, or one line if all its words are scalars."""
    line = " " * column + scalar_text(key) + ": " + flow_text(mapping)
    if not mapping or not isinstance(mapping, dict | list):
        return line + newline
    if len(line) <= WIDTH and not _has_collections(mapping):
        return line + newline
    head = " " * column + scalar_text(key) + ":" + newline
    return head + collection_text(mapping, column + 2, newline)


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(part and isinstance(part, dict) for part in value)


def _has_collections(value: dict[str, Any] | list[Any]) -> bool:
    parts: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return any(isinstance(part, dict | list) for part in parts)

"""A context as the fields of a form, and back.

Values are written as in YAML: `99` is a number, `"99"` text, `[de, at]` a list; what YAML cannot
read is text. Each field's text reads back as the value that it was made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flagloop.document.yamlwrite import flow_text, scalar_text
from flagloop.errors import ConfigError
from flagloop_server.drafts.typed import any_value

MOST_FIELDS = 100
"""Attributes of a context that is written in fields; JSON takes more."""

_QUOTES = ('"', "'", "[", "{")


def from_fields(key: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The context of a key and of pairs of name and text; a pair without one of them is nothing.

    Raises ConfigError for the name `key`, for one that comes twice, and for too many.
    """
    context: dict[str, Any] = {"key": key.strip()} if key.strip() else {}
    filled = [(name.strip(), text.strip()) for name, text in pairs if name.strip() and text.strip()]
    if len(filled) > MOST_FIELDS:
        raise ConfigError(f"a form takes at most {MOST_FIELDS} attributes; JSON takes more")
    for name, text in filled:
        if name == "key":
            raise ConfigError("the key has its own field above the attributes")
        if name in context:
            raise ConfigError(f"attribute '{name}' comes twice; write a list: [first, second]")
        value = read_value(text)
        if value is not None:
            context[name] = value
    return context


def to_fields(context: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]] | None:
    """The key and the pairs that `from_fields` makes this context of; None where it cannot."""
    key = context.get("key", "")
    if not isinstance(key, str) or len(context) > MOST_FIELDS + 1:
        return None
    try:
        pairs = [(name, write_value(value)) for name, value in context.items() if name != "key"]
        again = from_fields(key, pairs)
    except (ConfigError, RecursionError):  # deep JSON can be read, and not be written as YAML
        return None
    return (key, pairs) if to_json(again) == to_json(context) else None


def read_value(text: str) -> Any:
    """What a field means; None for an explicit null, which is a missing attribute."""
    text = text.strip()
    if "#" in text and not text.startswith(_QUOTES):
        return text  # not a comment
    return any_value(text)


def write_value(value: Any) -> str:
    """A value as the text of its field."""
    if isinstance(value, str) and read_value(value) == value and value == value.strip():
        return value
    return flow_text(value) if isinstance(value, dict | list) else scalar_text(value)


def to_json(context: Mapping[str, Any]) -> str:
    """A context as one line of JSON, its null attributes left out: they are missing ones."""
    kept = {name: value for name, value in context.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def in_words(context: Mapping[str, Any], most: int = 4) -> str:
    """`country DE, plan pro and 2 more`: the attributes for one line, without the key."""
    names = [name for name in context if name != "key"]
    shown = [f"{name} {_short(context[name])}" for name in names[:most]]
    more = len(names) - most
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"

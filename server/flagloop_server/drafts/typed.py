"""What people type into a field <-> values of the mapping form.

A constant is written as in YAML: `99` is a number, `"99"` text; what YAML cannot read is text.
"""

from __future__ import annotations

import re
from typing import Any

from flagloop.document.yamlfile import parse
from flagloop.document.yamlwrite import flow_text, scalar_text
from flagloop.errors import DocumentError

_COMMENT = re.compile(r"(?![\"'\[{])(?:.*\s)?#")

KINDS = (
    *("text", "texts", "percent", "percents", "weight"),
    *("constant", "constants", "value", "boolean"),
)
"""How the text of a field is read; `value` is any YAML, an empty `weight` is 0%."""


def read(kind: str, text: str) -> Any:
    """The value that a field of this kind means; None where it is left empty.

    Raises ValueError for an unknown kind. Never raises for what was typed: a wrong percentage
    comes back as text, and the document's own reader says what is wrong with it.
    """
    match kind:
        case "text":
            return text.strip() or None
        case "texts":
            return words(text) or None
        case "percent":
            return percent(text) or None
        case "weight":
            return percent(text) or "0%"
        case "percents":
            return [percent(word) for word in words(text)] or None
        case "constant":
            return constant(text)
        case "constants":
            return constants(text)
        case "value":
            return any_value(text)
        case "boolean":
            return text == "true"
    raise ValueError(f"no kind '{kind}'; there are {', '.join(KINDS)}")


def written(value: Any) -> str:
    """A value as the text of its field: a list without brackets, the rest as in YAML."""
    if isinstance(value, list):
        return ", ".join(flow_text(one) for one in value)
    if isinstance(value, dict):
        return flow_text(value)
    return scalar_text(value)


def plainly(value: Any) -> str:
    """A value of a text field: text as it is, without quotes."""
    if isinstance(value, list):
        return ", ".join(plainly(one) for one in value)
    return value if isinstance(value, str) else "" if value is None else written(value)


def percent(text: str) -> str:
    """`25` as people type it is `25%`."""
    text = text.strip().replace(" ", "").replace(",", ".")
    return f"{text}%" if text and not text.endswith("%") else text


def words(text: str) -> list[str]:
    """Entries between commas or line ends."""
    parts = text.replace("\n", ",").split(",")
    return [part.strip() for part in parts if part.strip()]


def constant(text: str) -> Any:
    """One scalar."""
    found = _flow(text)
    if found is not None and len(found) == 1 and _is_scalar(found[0]):
        return found[0]
    return text.strip()


def constants(text: str) -> list[Any]:
    """Scalars between commas or line ends; one with a comma in it is quoted."""
    entries: list[Any] = []
    for line in text.splitlines():
        found = _flow(line)
        if found is None or not all(map(_is_scalar, found)):
            found = [constant(word) for word in words(line)]
        entries += found
    return entries


def patterns(text: str) -> list[str]:
    """Regular expressions, one a line as they are; those with line ends in them are quoted."""
    found = _flow(text) if text.lstrip()[:1] in ('"', "'") else None
    if found is not None and all(isinstance(one, str) for one in found):
        return found
    return [line.strip() for line in text.splitlines() if line.strip()]


def any_value(text: str) -> Any:
    """Any YAML on one line; what is none is text, also `#fff`, which would be a comment."""
    text = text.strip()
    if _COMMENT.match(text):
        return text
    try:
        return parse(f"version: {text}").mapping["version"]
    except (DocumentError, KeyError):
        return text


def _flow(text: str) -> list[Any] | None:
    """The entries of a YAML list between its brackets; None where it cannot be read."""
    try:
        # on one line: what would be a comment there takes the bracket along, so it is text
        found = parse(f"version: [{text} ]").mapping.get("version")
    except DocumentError:
        return None
    return found if isinstance(found, list) else None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)

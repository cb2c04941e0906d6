"""Files that commands read: documents and contexts, with every problem at its line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flagloop.commands.options import no_constant
from flagloop.document.problem import Problem, errors
from flagloop.errors import ConfigError, DocumentError

if TYPE_CHECKING:
    from flagloop.document.yamlfile import DocumentText


def read_bytes(path: Path) -> bytes:
    """The content; ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror or problem}") from None


def check(path: Path) -> tuple[DocumentText | None, list[Problem]]:
    """A document's text and all that is wrong with it, in the order of its lines.

    The text is None where nothing of it can be read.
    """
    from flagloop.document.yamlfile import examine
    from flagloop.evaluation.validate import validate

    try:
        document, problems = examine(read_bytes(path))
    except DocumentError as problem:
        return None, problem.problems
    found = [*problems, *document.locate(validate(document.mapping))]
    return document, sorted(found, key=lambda one: (one.line is None, one.line))


def read_document_text(path: Path) -> DocumentText:
    """A document whose syntax is fine; DocumentError with places otherwise."""
    from flagloop.document.yamlfile import parse

    try:
        return parse(read_bytes(path))
    except DocumentError as problem:
        raise DocumentError(problem.problems, str(path)) from None


def read_contexts(path: Path) -> list[Mapping[str, Any]]:
    """Contexts from a JSON list or JSON lines; an item is an object or a bare key.

    `{"key": ..., "attributes": {...}}` is taken apart. DocumentError names each bad line.
    """
    contexts: list[Mapping[str, Any]] = []
    problems: list[Problem] = []
    for place, item in _items(path, problems):
        if isinstance(item, str):
            contexts.append({"key": item})
        elif isinstance(item, dict):
            contexts.append(_flat(item))
        else:
            kind = type(item).__name__
            problems.append(place_problem(place, f"a context is an object or a key, not {kind}"))
    if errors(problems):
        raise DocumentError(problems, str(path))
    return contexts


def place_problem(place: tuple[int | None, int | None], message: str) -> Problem:
    """A problem at a line or at a place of the list."""
    line, index = place
    return Problem(message, () if index is None else (index,), line)


def _items(
    path: Path, problems: list[Problem]
) -> Iterator[tuple[tuple[int | None, int | None], Any]]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DocumentError([Problem("the text is not UTF-8")], str(path)) from None
    if text.lstrip().startswith("["):
        listed = _load(text, 0, problems)
        for index, item in enumerate(listed or []):
            yield (None, index), item
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            before = len(problems)
            item = _load(line, number, problems)
            if len(problems) == before:
                yield (number, None), item


def _load(text: str, number: int, problems: list[Problem]) -> Any:
    try:
        return json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as problem:
        line = number or problem.lineno
        problems.append(Problem(f"no JSON: {problem.msg} at column {problem.colno}", line=line))
    except (ValueError, RecursionError) as problem:
        problems.append(Problem(f"no JSON: {problem}", line=number or None))
    return None


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    attributes = item.get("attributes")
    if not isinstance(attributes, dict):
        return item
    return {**attributes, "key": item["key"]} if "key" in item else attributes

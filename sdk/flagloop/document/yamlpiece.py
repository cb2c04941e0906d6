"""Text from outside (an editor, another file) -> the chunks of one item of a document."""

from __future__ import annotations

from typing import Any

from flagloop.document.problem import Problem
from flagloop.document.yamlfile import BOM, Chunk, examine
from flagloop.document.yamlpatch import closed
from flagloop.errors import DocumentError


def item_pieces(
    text: str, section: str, key: str, style: tuple[int, str]
) -> tuple[list[Chunk], Any]:
    """The item with the comments that stand apart from it, and the item's value.

    `style` is the column of the section's items and the document's line ending. Raises
    DocumentError, with lines of `text`, unless the text is exactly the item `key`.
    """
    column, newline = style
    lines, skipped = plain_lines(text, column)
    body = "".join(line + newline for line in lines)
    try:
        doc, problems = examine(f"{section}:{newline}{body}")
    except DocumentError as error:
        raise DocumentError(_moved(error.problems, skipped, len(lines))) from None
    refused = [problem for problem in problems if problem.severity == "error"]
    if refused:
        raise DocumentError(_moved(refused, skipped, len(lines)))
    head, *rest = doc.chunks
    names = [name for _, name in doc.items]
    strangers = [chunk for chunk in rest if chunk.kind in ("section", "entry", "flow")]
    if head.kind == "flow":
        hint = f"begin with '{key}:'"
        raise DocumentError([Problem("the item is in braces", (section, key), 1, hint)])
    if head.kind != "section" or names != [key] or strangers:
        raise DocumentError([_not_the_item(section, key, names)])
    if text == text.rstrip():
        body = closed(body.removesuffix(newline), newline)
        doc = examine(f"{section}:{newline}{body}")[0]
        head, *rest = doc.chunks
    above = head.text.partition("\n")[2]
    pieces = [Chunk("separator", "", "", above)] if above else []
    for chunk in rest:
        if chunk.kind != "footer":
            pieces.append(chunk)
        elif chunk.text.lstrip().startswith("."):
            raise DocumentError([Problem("the end of a document ('...') inside an item")])
        else:
            # a comment directly above the next item would become that item's
            ending = "" if chunk.text.endswith(newline * 2) else newline
            pieces.append(Chunk("separator", "", "", chunk.text + ending))
    return pieces, doc.items[section, key].mapping


def plain_lines(text: str, column: int) -> tuple[list[str], int]:
    """The lines with their first key at `column`, without blank lines at either end.

    With them comes how many lines were left out at the top.
    """
    lines = text.removeprefix(BOM).replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    skipped = next((number for number, line in enumerate(lines) if line.strip()), 0)
    lines = lines[skipped:]
    keys = (line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    first = next(keys, "")
    shift = column - (len(first) - len(first.lstrip(" ")))
    return [_shifted(line, shift) for line in lines], skipped


def _shifted(line: str, shift: int) -> str:
    if not line.strip():
        return line
    if shift >= 0:
        return " " * shift + line
    return line[min(-shift, len(line) - len(line.lstrip(" "))) :]


def _moved(problems: list[Problem], skipped: int, count: int) -> list[Problem]:
    """Lines of the wrapped text as lines of the text that was given."""
    return [
        problem.at(max(1, min(problem.line - 1, count) + skipped)) if problem.line else problem
        for problem in problems
    ]


def _not_the_item(section: str, key: str, names: list[str]) -> Problem:
    found = ", ".join(f"'{name}'" for name in names)
    message = f"the text defines {found}" if names else "the text defines no item"
    return Problem(message, (section, key), line=1, hint=f"begin with '{key}:'")

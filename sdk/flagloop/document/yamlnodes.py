"""YAML 1.2 core text -> a tree of nodes with their places, or refusals with lines.

One pass over libyaml's events: what is refused is refused before anything is composed, so
no text can make the reader recurse. Places are character indexes; lines are 0-based here.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal, TypeAlias

import yaml

from flagloop.document.problem import Path, Problem
from flagloop.errors import DocumentError

MAX_DEPTH = 32

Kind: TypeAlias = Literal["scalar", "mapping", "sequence"]

_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_COLON = re.compile(r"[ \t]*:")
_FORBIDDEN = re.compile(
    r"[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|\r(?!\n)"
)
_NO_TABS = "indent with spaces, not tabs"
_HINTS = (
    ("found a tab character", _NO_TABS),
    ("cannot start any token", "put the text in quotes"),
    ("mapping values are not allowed", "check the indentation, and quote text that holds ': '"),
    ("could not find expected ':'", "every line of a mapping is 'key: value'"),
    ("unexpected end of stream", "a quote or bracket is not closed"),
)


class Node:
    """One value of the text: `text[start:end]`, on 0-based `line`; `value` is its plain form.

    `pairs` are the (key, value) nodes of a mapping, `items` the nodes of a sequence. A block
    collection ends where its last leaf ends.
    """

    __slots__ = ("end", "flow", "items", "kind", "line", "pairs", "start", "style", "value")

    def __init__(self, kind: Kind, start: int, line: int, *, flow: bool = False) -> None:
        self.kind = kind
        self.start = start
        self.end = start
        self.line = line
        self.flow = flow
        self.style: str | None = None
        self.value: Any = None
        self.pairs: list[tuple[Node, Node]] = []
        self.items: list[Node] = []


class Tree:
    """What `build` found: `root` (None for an empty text), `footer` where `...` begins."""

    __slots__ = ("footer", "problems", "root")

    def __init__(self) -> None:
        self.root: Node | None = None
        self.footer: int | None = None
        self.problems: list[Problem] = []


def resolve(text: str) -> Any:
    """The value of a plain scalar: null, bool, int, float or text (YAML 1.2 core).

    Raises ValueError for a number that JSON does not know (not finite, or over 4,300 digits).
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"{text} is too large for a number")
        return number
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is no finite number")
    return text


def build(text: str) -> Tree:
    """Read `text` (without BOM). Raises DocumentError where the syntax cannot be read on.

    Refusals behind which reading can go on (duplicate keys, ...) are in `Tree.problems`,
    with severity "error", next to warnings; their lines are 1-based.
    """
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        line = text.count("\n", 0, forbidden.start()) + 1
        raise DocumentError([_forbidden(forbidden.group(), line)])
    builder = _Builder(text)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise DocumentError([*builder.tree.problems, _syntax(error, text)]) from None
    except yaml.YAMLError as error:
        raise DocumentError([*builder.tree.problems, Problem(str(error), line=1)]) from None
    return builder.tree


def _forbidden(character: str, line: int) -> Problem:
    if character == "\r":
        return Problem("a carriage return without a line feed", line=line)
    if character in "\x85\u2028\u2029":
        return Problem(
            f"the line separator U+{ord(character):04X} is not allowed",
            line=line,
            hint="end lines with a line feed, or write it as an escape in double quotes",
        )
    return Problem(f"the character U+{ord(character):04X} is not allowed", line=line)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Problem:
    parts = [str(part) for part in (error.problem, error.context) if part]
    message = ", ".join(parts) or "not YAML"
    mark = error.problem_mark or error.context_mark
    line = None if mark is None else mark.line + 1
    hint = next((hint for words, hint in _HINTS if words in message), None)
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        hint = _NO_TABS
    return Problem(message, line=line, hint=hint)


class _Builder:
    """Events in, tree out; the stack of open collections stands for recursion.

    Events are typed Any: the marks of libyaml's events are never None, as the stubs say they may.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = Tree()
        self.stack: list[Node] = []
        self.keys: list[Node | None] = []
        self.documents = 0

    def take(self, event: Any) -> None:
        """Take the next event."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            self._open("mapping", event)
        elif kind is yaml.SequenceStartEvent:
            self._open("sequence", event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close(event)
        elif kind is yaml.AliasEvent:
            self._refuse(event, "aliases (*name) are not allowed", "write the value out")
        elif kind is yaml.DocumentStartEvent:
            self._document(event)
        elif kind is yaml.DocumentEndEvent and event.explicit:
            self.tree.footer = event.start_mark.index

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self._refuse(event, "several documents in one file", "keep one environment per file")
        if event.version or event.tags:
            self._refuse(event, "directives (%...) are not allowed", "remove the line")

    def _refuse(self, event: Any, message: str, hint: str | None = None) -> None:
        line = event.start_mark.line + 1
        problem = Problem(message, self._path(), line, hint)
        raise DocumentError([*self.tree.problems, problem])

    def _note(self, message: str, node: Node, hint: str | None, *, warn: bool = False) -> None:
        severity: Literal["error", "warning"] = "warning" if warn else "error"
        problem = Problem(message, self._path(), node.line + 1, hint, severity)
        self.tree.problems.append(problem)

    def _path(self) -> Path:
        path: list[str | int] = []
        for node, key in zip(self.stack, self.keys, strict=True):
            if node.kind == "sequence":
                path.append(len(node.items))
            elif key is not None:
                path.append(key.value)
        return tuple(path)

    def _open(self, kind: Kind, event: Any) -> None:
        self._check(event)
        mark = event.start_mark
        if self.stack and self.stack[-1].kind == "mapping" and self.keys[-1] is None:
            self._refuse(event, "a key must be plain text", "quote it if text is meant")
        if len(self.stack) == MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        node = Node(kind, mark.index, mark.line, flow=bool(event.flow_style))
        node.value = {} if kind == "mapping" else []
        self.stack.append(node)
        self.keys.append(None)

    def _close(self, event: Any) -> None:
        node = self.stack.pop()
        self.keys.pop()
        if node.flow:
            node.end = event.end_mark.index
        elif node.items:
            node.end = node.items[-1].end
        else:
            node.end = node.pairs[-1][1].end
        self._add(node)

    def _check(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse(event, "anchors (&name) are not allowed", "write the value out")
        if event.tag is not None:
            self._refuse(event, "tags (!name) are not allowed", "remove the tag")

    def _scalar(self, event: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            self._check(event)
        mark = event.start_mark
        node = Node("scalar", mark.index, mark.line)
        node.end = event.end_mark.index
        node.style = event.style or None
        node.value = event.value
        if self.stack and self.stack[-1].kind == "mapping" and self.keys[-1] is None:
            self._key(node)
            return
        if node.style is None:
            self._resolve(node)
        elif node.style in "|>":
            self._block(node)
        self._add(node)

    def _key(self, node: Node) -> None:
        if node.end == node.start:
            self._note("a key is missing before ':'", node, None)
        elif self.text[node.end : node.end + 1] != ":" and not _COLON.match(self.text, node.end):
            self._note(
                f"the key '{node.value}' has no ': value' on its line",
                node,
                "write 'key: value'; '? key' is not supported",
            )
        self.keys[-1] = node

    def _resolve(self, node: Node) -> None:
        written = node.value
        try:
            found = resolve(written)
            plain = repr(found) if type(found) in (int, float) else written
        except ValueError as error:
            message = str(error)
            if "digits" in message:
                message = "a number with over 4,300 digits"
            self._note(message, node, "quote it if text is meant")
            return
        node.value = found
        if plain != written:
            self._note(
                f"{written} is the number {plain}",
                node,
                "quote it if text is meant",
                warn=True,
            )

    def _block(self, node: Node) -> None:
        header = self.text[node.start : self.text.find("\n", node.start)].partition("#")[0]
        if "+" in header:
            self._note(
                f"keep chomping ('{header.strip()}') is not allowed",
                node,
                "use '|' or '|-', or a quoted text with \\n",
            )
        if not node.value.rstrip("\n").rpartition("\n")[2].isspace():
            span = self.text[node.start : node.end]
            node.end = node.start + len(span.rstrip())
            return
        # white lines that belong to the text: only leave the line behind them
        last = self.text.rfind("\n", node.start, node.end)
        if last > 0 and not self.text[last : node.end].strip():
            node.end = last

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.tree.root = node
            return
        top = self.stack[-1]
        if top.kind == "sequence":
            top.items.append(node)
            top.value.append(node.value)
            return
        key = self.keys[-1]
        assert key is not None
        if key.value in top.value:
            first = next(other for other, _ in top.pairs if other.value == key.value)
            self._note(
                f"the key '{key.value}' is there twice",
                key,
                f"the first is on line {first.line + 1}",
            )
        else:
            top.value[key.value] = node.value
        top.pairs.append((key, node))
        self.keys[-1] = None

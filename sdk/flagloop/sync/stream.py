"""What the server's stream says: frames out of bytes, changes onto a mapping.

No network, thread or time in here; `line` reads the bytes, `live` obeys the frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flagloop.errors import TransportError
from flagloop.sync.transport import RULESET_LIMIT, json_object

COMMENT = ""
"""The event of a comment line: somebody is there, and nothing has changed."""
BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event of a stream (`event: ...`), its data lines joined; or a COMMENT and its text."""

    event: str
    data: bytes


class Frames:
    """Server-sent events out of a stream's bytes, however they are cut.

    A frame of more than `limit` bytes is garbage, so that no stream can fill the memory.
    """

    def __init__(self, limit: int = RULESET_LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._event = b""
        self._after_return = False
        self._first = True

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes; TransportError for one that is too large."""
        if chunk and self._after_return:
            chunk, self._after_return = chunk.removeprefix(b"\n"), False
        found: list[Frame] = []
        # Bytes, unlike text, are split at CR, LF and CRLF only: JSON may hold other separators.
        for piece in chunk.splitlines(keepends=True):
            self._size += len(piece)
            if self._size > self._limit:
                raise TransportError(f"the stream sent a frame of more than {self._limit} bytes")
            line = piece.rstrip(b"\r\n")
            self._pieces.append(line)
            if len(line) < len(piece):
                self._line(b"".join(self._pieces), found)
                self._pieces.clear()
        if chunk:
            self._after_return = chunk.endswith(b"\r")
        return found

    def _line(self, line: bytes, found: list[Frame]) -> None:
        if self._first:
            line, self._first = line.removeprefix(BOM), False
        if not line:
            self._end(found)
        elif line.startswith(b":"):
            found.append(Frame(COMMENT, line[1:].removeprefix(b" ")))
            # Comments alone may go on for ever; those inside a frame count as part of it.
            self._size = self._size if self._data else 0
        else:
            self._field(line)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value

    def _end(self, found: list[Frame]) -> None:
        if self._data:
            event = self._event.decode("utf-8", "replace") or "message"
            found.append(Frame(event, b"\n".join(self._data)))
        self._data, self._event, self._size = [], b"", 0


class Change(NamedTuple):
    """What became of revision `base`: by section the items that are new, and those that went."""

    revision: str
    base: str
    set: Mapping[str, Mapping[str, Any]]
    unset: Mapping[str, list[str]]


def read_change(data: bytes, place: str) -> Change:
    """The change in the data of a `change` frame, TransportError if it is none."""
    told = json_object(data, place)
    names = told.get("revision"), told.get("base")
    if not all(isinstance(one, str) and one.isascii() and one.isprintable() for one in names):
        raise TransportError(f"{place} sent a change without its revisions")
    added, gone = told.get("set", {}), told.get("unset", {})
    fine = (
        isinstance(added, dict)
        and isinstance(gone, dict)
        and all(isinstance(items, dict) for items in added.values())
        and all(isinstance(keys, list) for keys in gone.values())
        and all(isinstance(key, str) for keys in gone.values() for key in keys)
    )
    if not fine or not names[0]:
        raise TransportError(f"{place} sent a change that is no change of items")
    return Change(told["revision"], told["base"], added, gone)


def changed(mapping: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """`mapping` after `change`; what is not touched is shared, and `mapping` stays as it is.

    Raises TransportError when the change names a section that holds no items.
    """
    new = {**mapping, "revision": change.revision}
    for section in dict.fromkeys((*change.set, *change.unset)):
        items = mapping.get(section, {})
        if not isinstance(items, dict):
            raise TransportError(f"the stream sent a change of `{section}`, which is no section")
        new[section] = items = dict(items)
        for key in change.unset.get(section, ()):
            items.pop(key, None)
        items.update(change.set.get(section, {}))
    return new


def precedes(revision: str, other: str) -> bool:
    """Whether `revision` is `other` or one before it, of the same lineage."""
    lineage, _, number = revision.rpartition(".")
    other_lineage, _, other_number = other.rpartition(".")
    # A number of more digits is no count of revisions, and slow to read.
    sane = number.isdecimal() and other_number.isdecimal() and len(number + other_number) < 40
    return lineage == other_lineage and sane and int(number) <= int(other_number)

"""The ruleset of each environment as bytes that are ready to be sent."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from flagloop_server.edge.answers import Answer, Headers

FORMAT = 1
"""The format of the snapshot's JSON."""

KIND = (b"content-type", b"application/json")

SHORT = 4096
"""Bytes up to which a change is told as such, also when the snapshot is shorter."""

COMMON: Headers = [
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Accept-Encoding, Authorization"),
]


Members: TypeAlias = Mapping[str, str]
"""Name -> its whole member of a JSON object, `"name":value`."""


def dumps(value: Any) -> str:
    """Compact JSON on one line; raises ValueError for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def member(name: str, value: Any) -> str:
    """One member of a JSON object."""
    return f"{dumps(name)}:{dumps(value)}"


def joined(members: Members) -> str:
    """The JSON object of these members."""
    return "{" + ",".join(members.values()) + "}"


@dataclass(frozen=True, slots=True)
class Content:
    """A ruleset without its head: `words` of the top level, and `items` by section and key."""

    words: Members
    items: Mapping[str, Members]


class Frame:
    """What streams are sent: the text of an event or a comment, encoded once for all."""

    __slots__ = ("_chunk", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._chunk: bytes | None = None

    def chunk(self) -> bytes:
        """The text as a chunk of HTTP/1.1."""
        if self._chunk is None:
            self._chunk = b"%x\r\n%b\r\n" % (len(self.text), self.text)
        return self._chunk


class Snapshot:
    """One revision of one environment, encoded once: plain, gzip, event and "not modified"."""

    __slots__ = (
        "_event",
        "content",
        "environment",
        "etag",
        "lineage",
        "number",
        "packed",
        "plain",
        "revision",
        "unchanged",
    )

    def __init__(self, environment: str, lineage: str, number: int, content: Content) -> None:
        self.environment = environment
        self.lineage = lineage
        self.number = number
        self.content = content
        self.revision = f"{lineage}.{number}"
        self.etag = f'"{self.revision}"'.encode()
        sections = {name: f"{dumps(name)}:{joined(one)}" for name, one in content.items.items()}
        head = {"format": FORMAT, "revision": self.revision, "environment": environment}
        heads = {name: member(name, value) for name, value in head.items()}
        body = joined({**content.words, **sections, **heads}).encode()
        etag = (b"etag", self.etag)
        self.unchanged = Answer(304, [etag, *COMMON])
        self.plain = Answer(200, [KIND, etag, length(body), *COMMON], body)
        self.packed: Answer | None = None
        self._event: Frame | None = None

    def pack(self) -> None:
        """Make the gzip form: it takes longest, so a change is told before."""
        packed = gzip.compress(self.plain.body, compresslevel=6, mtime=0)
        encoding = (b"content-encoding", b"gzip")
        headers = [KIND, (b"etag", self.etag), length(packed), encoding, *COMMON]
        self.packed = Answer(200, headers, packed)

    def answer(self, if_none_match: bytes | None, accept_encoding: bytes) -> Answer:
        """304 when the client has this revision, else the snapshot as the client accepts it."""
        if if_none_match is not None and (
            if_none_match == self.etag or matches(if_none_match, self.etag)
        ):
            return self.unchanged
        if self.packed is not None and accepts_gzip(accept_encoding):
            return self.packed
        return self.plain

    def event(self) -> Frame:
        """The snapshot as an event of a stream."""
        if self._event is None:
            self._event = event(self.revision, "snapshot", self.plain.body)
        return self._event

    def says(self, revision: str, environment: str) -> bool:
        """Whether this is that revision, under that name of its environment."""
        return (self.revision, self.environment) == (revision, environment)

    def change_since(self, before: Snapshot) -> Frame | None:
        """The event that makes this of `before`; None when only a snapshot can say it.

        That is: another lineage, another name, other words of the top level, or so much that
        the snapshot is shorter.
        """
        same = (before.lineage, before.environment) == (self.lineage, self.environment)
        if not same or before.content.words != self.content.words:
            return None
        change = event(self.revision, "change", difference(before, self).encode())
        return change if len(change.text) <= max(SHORT, len(self.plain.body)) else None


def event(revision: str, kind: str, data: bytes) -> Frame:
    """One event of a stream; `data` is a single line."""
    return Frame(b"id: %b\nevent: %b\ndata: %b\n\n" % (revision.encode(), kind.encode(), data))


def difference(before: Snapshot, after: Snapshot) -> str:
    """What a change says: `{"revision", "base", "set", "unset"}`."""
    old, new = before.content.items, after.content.items
    put, gone = {}, {}
    for section in {**old, **new}:
        mine, theirs = old.get(section, {}), new.get(section, {})
        fresh = {key: text for key, text in theirs.items() if mine.get(key) != text}
        if fresh:
            put[section] = f"{dumps(section)}:{joined(fresh)}"
        left = [key for key in mine if key not in theirs]
        if left:
            gone[section] = left
    head = f"{member('revision', after.revision)},{member('base', before.revision)}"
    return f'{{{head},"set":{joined(put)},{member("unset", gone)}}}'


class Snapshots:
    """The current snapshot of each environment, by its id; reading takes no lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: dict[int, Snapshot] = {}

    def get(self, environment: int) -> Snapshot | None:
        """The current snapshot of the environment with this id."""
        return self._current.get(environment)

    def all(self) -> list[Snapshot]:
        """Every current snapshot."""
        return list(self._current.values())

    def put(self, environment: int, snapshot: Snapshot) -> bool:
        """Make `snapshot` current unless a later one of its lineage is: then False."""
        with self._lock:
            now = self._current.get(environment)
            if now is not None and now.lineage == snapshot.lineage and now.number > snapshot.number:
                return False
            self._current = {**self._current, environment: snapshot}
            return True

    def keep(self, environments: set[int]) -> None:
        """Forget all environments but these."""
        with self._lock:
            self._current = {
                key: snapshot for key, snapshot in self._current.items() if key in environments
            }


def length(body: bytes) -> tuple[bytes, bytes]:
    """The Content-Length header of `body`."""
    return (b"content-length", str(len(body)).encode())


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether a list of entity tags names `etag` (weak comparison; proxies may weaken tags)."""
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return etag in tags or tags == [b"*"]


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether an Accept-Encoding header takes gzip (`q=0` refuses it)."""
    if b"gzip" not in accept_encoding:
        return False
    for part in accept_encoding.split(b","):
        name, _, parameter = part.partition(b";")
        if name.strip() == b"gzip":
            weight = parameter.replace(b" ", b"")
            return weight not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False

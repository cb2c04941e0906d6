"""Where definitions come from: a mapping, a file, a server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from flagloop.errors import DocumentError, TransportError

if TYPE_CHECKING:
    from flagloop.document.problem import Problem
    from flagloop.sync.cache import DiskCache
    from flagloop.sync.stream import Change, Frame
    from flagloop.sync.transport import Transport

SETTLED = 2.0
"""Seconds after which a file's time stamp must have moved if its content did."""
SAVE_PAUSE = 5.0
"""Seconds between two copies on disk of what a stream tells."""


class Snapshot(NamedTuple):
    """All definitions at one revision, in the mapping form; `at` is in epoch seconds."""

    mapping: Mapping[str, Any]
    revision: str
    environment: str | None
    origin: Literal["document", "file", "server", "cache"]
    at: float


Stamp: TypeAlias = tuple[int, int, int]
"""Time (ns), size and inode of a file."""


class Source(Protocol):
    """What keeps a client's ruleset fresh asks for it here.

    `interval` is the usual pause between two fetches, `patience` the longest one after
    failures, both in seconds.
    """

    name: str
    interval: float
    patience: float

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The present snapshot, None when it is `revision`; TransportError, DocumentError."""
        ...

    def cut(self) -> None:
        """Nobody needs it any more: a `fetch` that waits for a network ends, and none begins.

        Any thread may call it; it takes no lock and waits for nothing.
        """
        ...

    def notes(self) -> dict[str, str]:
        """What is wrong beside the last fetch, by part ("cache": "... is damaged")."""
        ...


class StaticSource:
    """A mapping that never changes. It is not copied: leave it as it is."""

    interval = 3600.0
    patience = 3600.0

    def __init__(self, mapping: Mapping[str, Any], clock: Callable[[], float] = time.time) -> None:
        self.name = "document"
        self._snapshot = Snapshot(mapping, "document", _environment(mapping), "document", clock())

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The snapshot, None when `revision` is its own."""
        return None if revision == self._snapshot.revision else self._snapshot

    def cut(self) -> None:
        """Nothing: a mapping is here."""

    def notes(self) -> dict[str, str]:
        """Nothing: a mapping has no other parts."""
        return {}


class FileSource:
    """A YAML (or JSON) file, read again when it changes.

    A revision is named by the content, so a file that is only touched changes nothing.
    """

    interval = 1.0
    patience = 1.0

    def __init__(
        self, path: str | os.PathLike[str], clock: Callable[[], float] = time.time
    ) -> None:
        _import_reader()
        from pathlib import Path

        self.path = Path(path)
        self.name = str(path)
        self._clock = clock
        self._stamp: Stamp | None = None
        self._digest: str | None = None
        self._problems: list[Problem] = []

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The file's snapshot, None when it is `revision`.

        Raises DocumentError with every problem and its line for a broken file (again at each
        fetch, without reading it again), TransportError for one that cannot be read.
        """
        try:
            content = self._changed_content()
            if self._problems:
                raise DocumentError(self._problems, self.name)
            if self._digest == revision:
                return None
            snapshot = self._parse(self.path.read_bytes() if content is None else content)
        except OSError as problem:
            self._stamp = None
            raise TransportError(f"{self.path}: {problem.strerror or problem}") from None
        return snapshot

    def cut(self) -> None:
        """Nothing: a file is read in no time."""

    def notes(self) -> dict[str, str]:
        """Nothing: a file has no other parts."""
        return {}

    def _changed_content(self) -> bytes | None:
        """The content if it may be another one than at the last look, else None."""
        about = self.path.stat()
        stamp = (about.st_mtime_ns, about.st_size, about.st_ino)
        if stamp == self._stamp:
            return None
        content = self.path.read_bytes()
        digest = _digest(content)
        if digest != self._digest:
            self._digest, self._problems = digest, []
        # Two writes within the clock's grain have one time stamp: trust only an old one. It is
        # set last, since a fork in between must leave the child a file that it reads again.
        old = self._clock() - about.st_mtime > SETTLED
        self._stamp = stamp if old else None
        return content

    def _parse(self, content: bytes) -> Snapshot:
        from flagloop.document.problem import errors
        from flagloop.document.schema import read_document
        from flagloop.document.yamlfile import examine

        self._digest = digest = _digest(content)
        try:
            text, refused = examine(content)
        except DocumentError as problem:
            self._problems = problem.problems
            raise DocumentError(problem.problems, self.name) from None
        wrong = text.locate(read_document(text.mapping)[1])
        self._problems = sorted(errors([*refused, *wrong]), key=lambda one: one.line or 0)
        if self._problems:
            raise DocumentError(self._problems, self.name)
        environment = _environment(text.mapping)
        return Snapshot(text.mapping, digest, environment, "file", self._clock())


class ServerSource:
    """The server's ruleset, asked for with an ETag or told by its stream.

    With `cache_dir` the last one is kept there.
    """

    interval = 10.0
    patience = 60.0

    def __init__(
        self,
        transport: Transport,
        cache_dir: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = transport.url
        self.transport = transport
        self._clock = clock
        self._notes: dict[str, str] = {}
        self._last: Snapshot | None = None
        self._unsaved: Snapshot | None = None
        self._saved_at = 0.0
        self._cache: DiskCache | None = None
        if cache_dir is not None:
            from flagloop.sync.cache import DiskCache

            self._cache = DiskCache(cache_dir, transport.identity)

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The server's snapshot, None when it still is `revision`; else TransportError."""
        reply = self.transport.ruleset(f'"{revision}"' if revision else None)
        if reply.mapping is None or reply.body is None:
            return None
        snapshot = self._arrived(reply.mapping)
        self._save(reply.body, snapshot.at)
        return snapshot

    def read(self, frame: Frame, revision: str | None) -> Snapshot | None:
        """What a frame of the stream makes of `revision`, None when that stays.

        A change of another revision makes it fetch. Raises TransportError for a frame or an
        answer of no use.
        """
        from flagloop.sync.stream import read_change
        from flagloop.sync.transport import ruleset_mapping

        if frame.event == "snapshot":
            return self._whole(ruleset_mapping(frame.data, self.name), revision)
        if frame.event == "change":
            return self._changed(read_change(frame.data, self.name), revision)
        return None

    def _whole(self, mapping: dict[str, Any], revision: str | None) -> Snapshot | None:
        last = self._last
        if last is not None and last.revision == revision and last.mapping == mapping:
            return None
        self._unsaved = self._arrived(mapping)
        return self._unsaved

    def _changed(self, change: Change, revision: str | None) -> Snapshot | None:
        from flagloop.sync.stream import changed, precedes

        last = self._last
        if revision is not None and precedes(change.revision, revision):
            return None  # a poll was faster
        if last is None or not last.revision == change.base == revision:
            return self.fetch(revision)
        self._unsaved = self._arrived(changed(last.mapping, change))
        return self._unsaved

    def settle(self, *, at_last: bool = False) -> None:
        """Keep on disk what the stream told, not more often than every few seconds.

        With `at_last` at once, since the stream is over.
        """
        snapshot = self._unsaved
        # A clock that was set back must not make it wait for ever.
        soon = abs(self._clock() - self._saved_at) < SAVE_PAUSE
        if snapshot is None or (soon and not at_last):
            return
        self._unsaved = None
        if self._cache is not None:
            body = json.dumps(snapshot.mapping, separators=(",", ":")).encode()
            self._save(body, snapshot.at)

    def load_cached(self) -> Snapshot | None:
        """The copy on disk, None without a usable one; `notes` says what is wrong with it."""
        if self._cache is None:
            return None
        from flagloop.sync.cache import DamagedError

        try:
            copy = self._cache.load()
        except DamagedError as problem:
            self._notes["cache"] = str(problem)
            return None
        if copy is not None:
            self._last = _server_snapshot(copy.mapping, "cache", copy.at)
        return self._last

    def cut(self) -> None:
        """A `fetch` ends with a TransportError at once, also one that has not yet connected."""
        self.transport.cut()

    def notes(self) -> dict[str, str]:
        """`cache`: why the copy on disk could not be read or written."""
        return dict(self._notes)

    def _arrived(self, mapping: Mapping[str, Any]) -> Snapshot:
        self._last = _server_snapshot(mapping, "server", self._clock())
        return self._last

    def _save(self, body: bytes, at: float) -> None:
        # Older than what is kept now, if the stream told it.
        self._unsaved = None
        if self._cache is None:
            return
        self._saved_at = self._clock()
        try:
            self._cache.save(body, at)
            self._notes.pop("cache", None)
        except OSError as problem:
            self._notes["cache"] = f"cannot keep {self._cache.path}: {problem.strerror}"


def _server_snapshot(
    mapping: Mapping[str, Any], origin: Literal["server", "cache"], at: float
) -> Snapshot:
    return Snapshot(mapping, mapping["revision"], _environment(mapping), origin, at)


def _environment(mapping: Mapping[str, Any]) -> str | None:
    environment = mapping.get("environment")
    return environment if isinstance(environment, str) else None


def _digest(content: bytes) -> str:
    import hashlib

    return "file-" + hashlib.sha256(content).hexdigest()[:16]


def _import_reader() -> None:
    """Import what reading needs on the caller's thread (see `transport._import_ahead`)."""
    import importlib

    for name in ("hashlib", "flagloop.document.schema", "flagloop.document.yamlfile"):
        importlib.import_module(name)

"""Where definitions come from: a mapping, a file, a server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from flagloop.errors import DocumentError, TransportError

if TYPE_CHECKING:
    from flagloop.document.problem import Problem
    from flagloop.sync.cache import DiskCache
    from flagloop.sync.transport import Transport

SETTLED = 2.0
"""Seconds after which a file's time stamp must have moved if its content did."""


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
    """The server's ruleset, asked for with an ETag; with `cache_dir` the last one is kept there."""

    interval = 10.0
    patience = 60.0

    def __init__(
        self,
        transport: Transport,
        cache_dir: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = transport.url
        self._transport = transport
        self._clock = clock
        self._notes: dict[str, str] = {}
        self._cache: DiskCache | None = None
        if cache_dir is not None:
            from flagloop.sync.cache import DiskCache

            self._cache = DiskCache(cache_dir, transport.identity)

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The server's snapshot, None when it still is `revision`; else TransportError."""
        reply = self._transport.ruleset(f'"{revision}"' if revision else None)
        if reply.mapping is None or reply.body is None:
            return None
        now = self._clock()
        if self._cache is not None:
            try:
                self._cache.save(reply.body, now)
                self._notes.pop("cache", None)
            except OSError as problem:
                self._notes["cache"] = f"cannot keep {self._cache.path}: {problem.strerror}"
        return _server_snapshot(reply.mapping, "server", now)

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
        return None if copy is None else _server_snapshot(copy.mapping, "cache", copy.at)

    def notes(self) -> dict[str, str]:
        """`cache`: why the copy on disk could not be read or written."""
        return dict(self._notes)


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

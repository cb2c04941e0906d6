"""The ruleset of each environment as bytes that are ready to be sent."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Mapping
from typing import Any

from flagloop_server.edge.answers import Answer, Headers

FORMAT = 1
"""The format of the snapshot's JSON."""

COMMON: Headers = [
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Accept-Encoding, Authorization"),
]


class Snapshot:
    """One revision of one environment, encoded once: plain, gzip and "not modified"."""

    __slots__ = (
        "environment",
        "etag",
        "lineage",
        "number",
        "packed",
        "plain",
        "revision",
        "unchanged",
    )

    def __init__(
        self, environment: str, lineage: str, number: int, sections: Mapping[str, Any]
    ) -> None:
        self.environment = environment
        self.lineage = lineage
        self.number = number
        self.revision = f"{lineage}.{number}"
        self.etag = f'"{self.revision}"'.encode()
        head = {"format": FORMAT, "revision": self.revision, "environment": environment}
        body = json.dumps(
            {**sections, **head}, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode()
        packed = gzip.compress(body, compresslevel=6, mtime=0)
        etag = (b"etag", self.etag)
        kind = (b"content-type", b"application/json")
        self.unchanged = Answer(304, [etag, *COMMON])
        self.plain = Answer(200, [kind, etag, length(body), *COMMON], body)
        self.packed = Answer(
            200,
            [kind, etag, length(packed), (b"content-encoding", b"gzip"), *COMMON],
            packed,
        )

    def answer(self, if_none_match: bytes | None, accept_encoding: bytes) -> Answer:
        """304 when the client has this revision, else the snapshot as the client accepts it."""
        if if_none_match is not None and (
            if_none_match == self.etag or matches(if_none_match, self.etag)
        ):
            return self.unchanged
        return self.packed if accepts_gzip(accept_encoding) else self.plain


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

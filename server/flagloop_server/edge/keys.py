"""Which keys are known, by the SHA-256 of their text, in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

KeyKind: TypeAlias = Literal["server", "client", "admin"]

REFUSED_KEPT = 10_000
"""How many refused keys are remembered, so that a wrong key costs one look-up, not many."""

LONGEST = 200
"""A longer bearer token is no key of ours and is not hashed."""


@dataclass(frozen=True, slots=True)
class EdgeKey:
    """What the edge needs of a key: `environment` is the environment's id, None for several.

    `expires` is in epoch seconds.
    """

    id: int
    kind: KeyKind
    environment: int | None
    expires: float | None = None


class KeyRing:
    """The keys in use; reading takes no lock.

    `find` looks a key up where the truth is (blocking); it knows no revoked and no expired key.
    """

    def __init__(self, find: Callable[[bytes], EdgeKey | None], now: Callable[[], float]) -> None:
        self._find = find
        self._now = now
        self._known: dict[bytes, EdgeKey] = {}
        self._refused: set[bytes] = set()
        self._lock = threading.Lock()
        self._version = 0

    def refresh(self) -> None:
        """Ask again for every key in use and forget refusals. Blocking."""
        answers: dict[bytes, EdgeKey | None] = {}
        while True:
            now = self._known
            for digest in now.keys() - answers.keys():
                answers[digest] = self._find(digest)
            with self._lock:
                # A key that was looked up meanwhile stays: there may be a stream of it.
                if self._known is now:
                    found = ((digest, answers[digest]) for digest in now)
                    self._known = {digest: key for digest, key in found if key is not None}
                    self._refused = set()
                    self._version += 1
                    return

    def digest(self, authorization: bytes) -> bytes | None:
        """The SHA-256 digest of the bearer token in an Authorization header's value, or None."""
        if authorization[:7].lower() != b"bearer " or len(authorization) > LONGEST:
            return None
        return hashlib.sha256(authorization[7:].strip()).digest()

    def known(self, digest: bytes) -> EdgeKey | None:
        """The key of `digest` if it is in the table and has not expired."""
        key = self._known.get(digest)
        if key is not None and key.expires is not None and key.expires <= self._now():
            return None
        return key

    def refused(self, digest: bytes) -> bool:
        """Whether a look-up is needless: refused lately, or in the table and expired."""
        return digest in self._refused or digest in self._known

    def look_up(self, digest: bytes) -> EdgeKey | None:
        """Ask where the truth is and remember the answer. Blocking: never call it on a loop."""
        while True:
            version = self._version
            key = self._find(digest)
            with self._lock:
                # After a refresh meanwhile: ask again, a revoked key must not return.
                if version != self._version:
                    continue
                if key is not None:
                    self._known = {**self._known, digest: key}
                elif len(self._refused) < REFUSED_KEPT:
                    self._refused.add(digest)
                break
        if key is None or (key.expires is not None and key.expires <= self._now()):
            return None
        return key

"""Keeps the edge's tables equal to the store, whoever wrote: this process or another."""

from __future__ import annotations

import logging
import threading
import time

from flagloop.document import schema
from flagloop_server.changes import Applied, Changes
from flagloop_server.edge.keys import EdgeKey, KeyRing
from flagloop_server.edge.snapshots import Snapshot, Snapshots
from flagloop_server.store import KeyInfo, Store, StoredDocument

log = logging.getLogger(__name__)


class Publisher:
    """Listens to changes and watches for those of other processes; owns keys and snapshots."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes
        self._lock = threading.Lock()
        self._version: int | None = None
        self.keys = KeyRing(self._find, time.time)
        self.snapshots = Snapshots()
        changes.listen(self._applied)

    def watch(self) -> None:
        """Look whether anybody committed since the last call; then bring all up to date."""
        with self._lock:
            version = self._store.data_version()
            if version == self._version:
                return
            self.keys.refresh()
            self._changes.poll()
            self._environments()
            self._version = version

    def refresh(self) -> None:
        """Bring all up to date now: after this process changed keys or environments."""
        with self._lock:
            self.keys.refresh()
            self._environments()

    def _environments(self) -> None:
        """Publish what is new or renamed, forget what is archived."""
        environments = self._store.environments()
        for environment in environments:
            now = self.snapshots.get(environment.id)
            if now is None or (now.revision, now.environment) != (
                environment.name,
                environment.key,
            ):
                self._publish(self._store.document(environment.key))
        self.snapshots.keep({environment.id for environment in environments})

    def _applied(self, applied: Applied) -> None:
        if applied.applied:
            self._publish(applied.document)

    def _publish(self, stored: StoredDocument) -> None:
        sections = schema.wire(stored.document.mapping)
        snapshot = Snapshot(stored.environment, stored.lineage, stored.revision, sections)
        if self.snapshots.put(stored.environment_id, snapshot):
            log.info("published environment=%s revision=%s", stored.environment, stored.name)

    def _find(self, digest: bytes) -> EdgeKey | None:
        key = self._store.find_key(digest)
        if key is None or not key.active(time.time_ns() // 1_000_000):
            return None
        return edge_key(key)


def edge_key(key: KeyInfo) -> EdgeKey:
    """What the edge needs of `key`."""
    single = key.environment is not None and len(key.environment_ids) == 1
    expires = None if key.expires_at is None else key.expires_at / 1000
    return EdgeKey(key.id, key.kind, key.environment_ids[0] if single else None, expires)

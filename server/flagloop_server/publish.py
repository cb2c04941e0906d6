"""Keeps the edge's tables equal to the store, whoever wrote: this process or another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from flagloop.document.schema_wire import WIRE_SECTIONS, wire, wire_item
from flagloop_server.changes import Applied, Changes
from flagloop_server.edge.hub import Hub, StreamLimits
from flagloop_server.edge.keys import EdgeKey, KeyRing
from flagloop_server.edge.snapshots import Content, Snapshot, Snapshots, member
from flagloop_server.store import KeyInfo, Store, StoredDocument

log = logging.getLogger(__name__)


class Encoder:
    """Encodes the documents of one environment; an item that is the same object only once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Any, str]] = {}

    def encode(self, mapping: Mapping[str, Any]) -> Content:
        """The wire form of a document's mapping."""
        rest = {word: value for word, value in mapping.items() if word not in WIRE_SECTIONS}
        words = {word: member(word, value) for word, value in wire(rest).items()}
        known: dict[tuple[str, str], tuple[Any, str]] = {}
        # An SDK takes nothing without this section for a ruleset, not even an empty one.
        items: dict[str, dict[str, str]] = {"flags": {}}
        for section in WIRE_SECTIONS:
            found = mapping.get(section)
            if not isinstance(found, dict):
                continue
            texts = items[section] = {}
            for key, item in found.items():
                last = self._known.get((section, key))
                if last is None or last[0] is not item:
                    last = (item, member(key, wire_item(section, item)))
                known[section, key] = last
                texts[key] = last[1]
        self._known = known
        return Content(words, items)


class Publisher:
    """Listens to changes and watches for those of other processes; owns keys and snapshots.

    Streams hear of both from its `hub`.
    """

    def __init__(self, store: Store, changes: Changes, limits: StreamLimits | None = None) -> None:
        self._store = store
        self._changes = changes
        self._lock = threading.Lock()
        self._version: int | None = None
        self.keys = KeyRing(self._find, time.time)
        self.snapshots = Snapshots()
        self.hub = Hub(self.keys, self.snapshots, limits or StreamLimits())
        self._publishing = threading.Lock()
        self._encoders: dict[int, Encoder] = {}
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
            if now is None or not now.says(environment.name, environment.key):
                self._publish(self._store.document(environment.key))
        places = {environment.id for environment in environments}
        self.snapshots.keep(places)
        with self._publishing:
            self._encoders = {
                place: self._encoders[place] for place in places & set(self._encoders)
            }
        self.hub.check()

    def _applied(self, applied: Applied) -> None:
        if applied.applied:
            self._publish(applied.document)

    def _publish(self, stored: StoredDocument) -> None:
        place = stored.environment_id
        with self._publishing:
            before = self.snapshots.get(place)
            if before is not None and before.says(stored.name, stored.environment):
                return
            content = self._encoders.setdefault(place, Encoder()).encode(stored.document.mapping)
            snapshot = Snapshot(stored.environment, stored.lineage, stored.revision, content)
            if not self.snapshots.put(place, snapshot):
                return
            self.hub.publish(place, before, snapshot)
        snapshot.pack()
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

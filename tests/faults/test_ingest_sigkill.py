"""Events that were acknowledged are there once, however often the server is killed."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from pathlib import Path
from typing import Any

import requests

ROUNDS = 10
BATCH = 25
ACKNOWLEDGED_BEFORE_KILL = 4


class Sender(threading.Thread):
    """Posts batches until the server dies; repeats what was not acknowledged, as SDKs do."""

    def __init__(self, url: str, key: str, unsure: list[dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.unsure = unsure
        self.some = threading.Semaphore(0)
        self._url = f"{url}/api/v1/events"
        self._headers = {"Authorization": f"Bearer {key}"}

    def run(self) -> None:
        """Post until the connection breaks."""
        with requests.Session() as session:
            while True:
                batch = self.unsure.pop() if self.unsure else new_batch()
                try:
                    answer = session.post(self._url, json=batch, headers=self._headers, timeout=60)
                    answer.raise_for_status()
                    body = answer.json()
                except (requests.RequestException, json.JSONDecodeError):
                    self.unsure.append(batch)
                    return
                assert body["accepted"] + body["duplicate"] == BATCH, body
                self.acknowledged += [event["id"] for event in batch["events"]]
                self.some.release()


def new_batch() -> dict[str, Any]:
    """A batch of tracked events with ids of their own."""
    events = [
        {
            "id": str(uuid.uuid4()),
            "type": "event",
            "at": 1_790_000_000_000,
            "event": "sign_up",
            "units": {"key": "u-1"},
        }
        for _ in range(BATCH)
    ]
    return {"batch": str(uuid.uuid4()), "events": events}


def stored(data: Path) -> list[str]:
    """Every id in the log, as often as it is there."""
    connection = sqlite3.connect(data / "events.db")
    try:
        return [str(uuid.UUID(bytes=row[0])) for row in connection.execute("SELECT id FROM event")]
    finally:
        connection.close()


def test_every_acknowledged_event_is_there_once(tmp_path: Path, start_server: Any) -> None:
    """SIGKILL under ingest, started again, many times: nothing lost, nothing twice."""
    from flagloop_server.auth import Auth, first_start
    from flagloop_server.store import SYSTEM, Store

    data = tmp_path / "data"
    with Store(data) as store:
        first_start(store, Auth(store))
        _, key = store.create_key("production", "server", "sender", SYSTEM)
    acknowledged: list[str] = []
    unsure: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        server = start_server(data)
        senders = [Sender(server.url, key, [unsure.pop()] if unsure else []) for _ in range(2)]
        for sender in senders:
            sender.start()
        for sender in senders:
            for _ in range(ACKNOWLEDGED_BEFORE_KILL):
                assert sender.some.acquire(timeout=60)
        server.kill()
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
            acknowledged += sender.acknowledged
            unsure += sender.unsure
    ids = stored(data)
    assert len(ids) == len(set(ids))
    assert set(acknowledged) <= set(ids)
    assert len(acknowledged) == len(set(acknowledged)) >= ROUNDS * 2 * ACKNOWLEDGED_BEFORE_KILL

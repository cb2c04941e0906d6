"""A real server with keys of one environment: what a test changes there, and what it stored."""

from __future__ import annotations

import re
import selectors
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import requests

ON = {"rules": [{"name": "all", "serve": "on"}]}
DOCUMENT = {
    "half": {"rules": [{"name": "test", "split": {"off": "50%", "on": "50%"}}]},
    "banner": ON,
}
EVENT_COLUMNS = "kind, unit, at, skew, received, units"


class Real:
    """The environment `production` of a server on `data`, started and killed by the test."""

    def __init__(self, data: Path, start: Callable[..., Any]) -> None:
        from flagloop_server.auth import Auth, first_start
        from flagloop_server.store import SYSTEM, Store

        self.data = data
        self._start = start
        with Store(data) as store:
            first_start(store, Auth(store))
            info, self.key = store.create_key("production", "server", "test", SYSTEM)
            self.key_id = info.id
            _, self._admin = store.create_key("production", "admin", "test", SYSTEM, role="editor")
        self.server = start(data)
        self.url: str = self.server.url
        self.port = int(self.url.rpartition(":")[2])
        self.put(DOCUMENT)

    def again(self) -> None:
        """Start it on the same port after its end."""
        self.server = self._start(self.data, "--port", str(self.port))
        assert self.server.url == self.url

    def post(self, path: str, **body: Any) -> Any:
        """A call of the admin API below the environment."""
        answer = requests.post(
            f"{self.url}/api/v1/admin/environments/production/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self._admin}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, flags: dict[str, Any]) -> str:
        """Replace all flags; the revision."""
        import json

        text = json.dumps({"version": 1, "flags": flags}, indent=1)
        return self._name(self.post("push", text=text, state=True))

    def kill_flag(self, flag: str = "banner") -> str:
        """Kill; the revision."""
        return self._name(self.post(f"flags/{flag}/kill", reason="test"))

    def restore_flag(self, flag: str = "banner") -> str:
        """Take the kill back; the revision."""
        return self._name(self.post(f"flags/{flag}/restore", reason="test"))

    def metric(self, line: str) -> float:
        """The value of one line of /metrics; 0 when it is not there."""
        text = requests.get(f"{self.url}/metrics", timeout=60).text
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    def stored(self) -> list[dict[str, Any]]:
        """Every exposure (kind 0) and event (kind 1) of the log."""
        with closing(sqlite3.connect(self.data / "events.db")) as connection:
            rows = connection.execute(f"SELECT {EVENT_COLUMNS} FROM event ORDER BY seq")
            return [dict(zip(EVENT_COLUMNS.split(", "), row, strict=True)) for row in rows]

    def complaints(self) -> list[str]:
        """What the server's log says of errors."""
        return [line for line in self.server.said if "rror" in line or "Traceback" in line]

    def rss(self) -> int:
        """Bytes of memory of the server."""
        text = Path(f"/proc/{self.server.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.M)
        assert found
        return int(found[1]) * 1024

    @staticmethod
    def _name(answer: dict[str, Any]) -> str:
        return f"{answer['lineage']}.{answer['revision']}"


def request_for_a_stream(key: str) -> bytes:
    """What a reader sends."""
    head = f"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    return head.encode()


def read_until(connections: Iterable[socket.socket], end: bytes, seconds: float) -> list[bytes]:
    """What each connection says up to the piece with `end`, its close, or the end of the time."""
    texts = dict.fromkeys(connections, b"")
    stop = time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        for one in texts:
            ready.register(one, selectors.EVENT_READ)
        while ready.get_map() and time.monotonic() < stop:
            for event, _ in ready.select(0.1):
                one = event.fileobj
                assert isinstance(one, socket.socket)
                try:
                    part = one.recv(65536)
                except ConnectionError:
                    part = b""
                texts[one] += part
                if not part or end in texts[one][-len(part) - len(end) :]:
                    ready.unregister(one)
    return list(texts.values())

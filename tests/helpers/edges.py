"""An edge with its own parts and a small event log in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from flagloop_server.edge.answers import Refused, error
from flagloop_server.edge.body import Bodies
from flagloop_server.edge.bridge import Bridge, Source, Workers
from flagloop_server.edge.front import Edge, Intakes, Sources
from flagloop_server.edge.hub import Hub, StreamLimits
from flagloop_server.edge.intake import Intake
from flagloop_server.edge.keys import EdgeKey, KeyRing
from flagloop_server.edge.snapshots import Content, Snapshot, Snapshots, member
from flagloop_server.instances import Instances

KEYS = {
    "fl_srv_production": EdgeKey(1, "server", 1),
    "fl_cli_production": EdgeKey(2, "client", 1),
    "fl_adm_production": EdgeKey(3, "admin", 1),
    "fl_srv_archived": EdgeKey(4, "server", 9),
    "fl_srv_development": EdgeKey(5, "server", 2),
}


def receipt(accepted: int) -> Mapping[str, object]:
    """What became of a batch in memory."""
    return {"accepted": accepted, "duplicate": 0, "rejected": []}


class Memory:
    """An event log in memory; `hold` keeps commits waiting."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, Any]] = []
        self.hold: list[Future[Mapping[str, object]]] | None = None
        self.said: bytes | None = None
        self.threads: set[str] = set()

    def __call__(
        self, key: EdgeKey, body: bytes, received: int, said: bytes | None = None
    ) -> Future[Mapping[str, object]]:
        """Take a batch."""
        self.said = said
        self.threads.add(threading.current_thread().name)
        try:
            batch = json.loads(body)
        except ValueError:
            raise Refused(error(400, "no JSON")) from None
        future: Future[Mapping[str, object]] = Future()
        self.batches.append((key.id, batch))
        if self.hold is None:
            future.set_result(receipt(len(batch["events"])))
        else:
            self.hold.append(future)
        return future


class Healthy:
    """A server that can be made ill."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.told: list[str] = []
        self.measured = 0
        self.free = threading.Event()
        self.free.set()

    def alerts(self) -> list[str]:
        """The alerts."""
        return self.told

    def ready(self) -> list[str]:
        """The problems."""
        return self.problems

    def metrics(self) -> tuple[str, bytes]:
        """Some text, once it may be told."""
        self.measured += 1
        assert self.free.wait(60)
        return "text/plain", b"up 1\n"


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What Flask is in the server."""
    start_response("200 OK", [])
    return [b"page"]


class World:
    """An edge with all its parts in reach."""

    def __init__(self, wsgi: Any = hello) -> None:
        self.asked = 0
        self.memory = Memory()
        self.instances = Instances(lambda: 1_000)
        self.health = Healthy()
        self.snapshots = Snapshots()
        for place, name in ((1, "production"), (2, "development")):
            content = Content({}, {"flags": {"a": member("a", {})}})
            self.snapshots.put(place, Snapshot(name, f"line{place}", 7, content))
        keys = KeyRing(self.find, lambda: 0.0)
        self.edge = Edge(
            keys,
            self.snapshots,
            hub=Hub(keys, self.snapshots, StreamLimits()),
            bridge=Bridge(wsgi, Workers(2, 1, 4), threads=2, trusted="127.0.0.1"),
            intakes=Intakes(
                *(
                    Intake(self.memory, Bodies(1.0, 9, 9999), limit=1000, unpacked=2000, batches=n)
                    for n in (4, 2)
                )
            ),
            instances=self.instances,
            operations=self.health,
            sources=Sources(
                known=Source(Bodies(5.0, 9, 9999), 1000),
                strangers=Source(Bodies(5.0, 2, 150), 100, strangers=True),
                signed_in=lambda cookies: cookies == b"session=good",
            ),
        )

    def find(self, digest: bytes) -> EdgeKey | None:
        """Where keys are looked up."""
        self.asked += 1
        known = {hashlib.sha256(text.encode()).digest(): key for text, key in KEYS.items()}
        return known.get(digest)

"""Real servers on the loopback: one whose answers a test writes itself, one with a stream."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flagloop.sync.live import Live
from flagloop.sync.source import ServerSource, Snapshot
from flagloop.sync.transport import Transport
from helpers.loopback import Request, begin, plainly, send, serving

KEY = "fl_srv_x"


@dataclass
class Loopback:
    """`answer(handler)` writes each answer; `seen` holds (method, path, headers, body)."""

    url: str
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[Request], None] = lambda handler: handler.send_error(500)
    released: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)

    def body(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer every request with this body."""

        def answer(handler: Request) -> None:
            plainly(handler, body, status, **headers)

        self.answer = answer

    def raw(self, *parts: bytes, hang: bool = False) -> None:
        """Answer with these bytes as they are; with `hang` keep the connection open then."""

        def answer(handler: Request) -> None:
            handler.close_connection = True
            for part in parts:
                handler.wfile.write(part)
                handler.wfile.flush()
            if hang:
                self.released.wait(60)

        self.answer = answer


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A running loopback server."""
    place = Loopback("")

    def answer(request: Request) -> None:
        headers = dict(request.headers)
        place.seen.append((request.command, request.path, headers, request.body))
        try:
            place.answer(request)
        finally:
            place.answered.set()

    with serving(answer) as place.url:
        yield place
        place.released.set()


Answer = Callable[[Request], None]


class Flags:
    """A server in small: `publish` makes the next revision and tells the streams.

    `stream` answers the requests for one, `resumed` has their Last-Event-IDs, `polls` counts the
    other requests, `writers` has what each stream is to send: bytes, None for its end.
    """

    def __init__(self, place: Loopback) -> None:
        self.place = place
        self.url: str = place.url
        self.released: threading.Event = place.released
        self.revision = 1
        self.flags: dict[str, Any] = {"a": {"rules": [{"name": "all", "serve": "on"}]}}
        self.stream: Answer = self.well
        self.polled: Answer = self.ruleset
        self.resumed: list[str | None] = []
        self.requests: list[str] = []
        self.writers: list[queue.SimpleQueue[bytes | None]] = []
        self._alive: set[Request] = set()
        self._lock = threading.RLock()
        place.answer = self.answer

    # So that tests need not import them.
    plainly = staticmethod(plainly)
    begin = staticmethod(begin)
    send = staticmethod(send)

    def answer(self, handler: Request) -> None:
        """One request."""
        if handler.path == "/api/v1/stream":
            self.resumed.append(handler.headers["Last-Event-ID"])
            self.stream(handler)
        elif handler.command == "GET":
            self.requests.append(handler.path)
            self.polled(handler)
        else:
            plainly(handler, b'{"accepted": 0, "duplicate": 0, "rejected": []}')

    # Threads add to these without a lock: to a list or a set that is one step, to a number two.

    @property
    def polls(self) -> int:
        """How often somebody polled."""
        return len(self.requests)

    @property
    def alive(self) -> int:
        """How many streams are open."""
        return len(self._alive)

    @property
    def name(self) -> str:
        """The present revision."""
        return f"k.{self.revision}"

    def snapshot(self) -> bytes:
        """The ruleset."""
        with self._lock:
            mapping = {"format": 1, "revision": self.name, "flags": self.flags}
        return json.dumps(mapping).encode()

    def frame(self) -> bytes:
        """The frame of the snapshot."""
        return b"event: snapshot\ndata: " + self.snapshot() + b"\n\n"

    def publish(self, tell: bool = True, **flags: Any) -> bytes:
        """The next revision; its frame, which all streams get unless told otherwise."""
        with self._lock:
            base = self.name
            self.revision += 1
            self.flags = {**self.flags, **flags}
            change = {"revision": self.name, "base": base, "set": {"flags": flags}, "unset": {}}
            frame = b"event: change\ndata: " + json.dumps(change).encode() + b"\n\n"
            for writer in self.writers if tell else ():
                writer.put(frame)
        return frame

    def ruleset(self, handler: Request) -> None:
        """The snapshot or 304."""
        with self._lock:
            etag, body = f'"{self.name}"', self.snapshot()
        if handler.headers["If-None-Match"] == etag:
            plainly(handler, b"", 304)
        else:
            plainly(handler, body, ETag=etag)

    def well(self, handler: Request) -> None:
        """A stream as it should be: a first frame at once, then what is put, until None."""
        writer: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.writers.append(writer)
        begin(handler)
        current = handler.headers["Last-Event-ID"] == self.name
        send(handler, b":\n\n" if current else self.frame())
        self._alive.add(handler)
        try:
            while not self.released.is_set():
                try:
                    data = writer.get(timeout=0.05)
                except queue.Empty:
                    continue
                send(handler, data or b"")
                if data is None:
                    break
        finally:
            self._alive.remove(handler)

    def held_body(self, handler: Request) -> None:
        """A proxy that passes the head and collects the body."""
        begin(handler)
        self.released.wait(60)

    def held_head(self, handler: Request) -> None:
        """A proxy that passes nothing until it has all, or a server that hangs."""
        handler.close_connection = True
        self.released.wait(60)

    def held_frame(self, handler: Request) -> None:
        """A proxy that passes whole blocks, so that the end of the first frame stays there."""
        begin(handler)
        send(handler, b": a block")
        self.released.wait(60)

    def silent(self, handler: Request) -> None:
        """A first frame and then nothing, as when the other machine is gone."""
        begin(handler)
        send(handler, b":\n\n")
        self.released.wait(60)


@pytest.fixture
def flags(loopback: Loopback) -> Flags:
    """The server."""
    return Flags(loopback)


class Following(Live):
    """A Live of the small server; `applied` has the revisions in force, one after the other."""

    def __init__(self, flags: Flags, cache: Path | None = None, **options: Any) -> None:
        self.applied: list[str] = []
        self.mapping: Any = None
        source = ServerSource(Transport(flags.url, KEY), cache)
        options = {"spread": lambda: 0.0, "interval": 0.02, **options}
        super().__init__(source, self.put_in_force, **options)

    def put_in_force(self, snapshot: Snapshot) -> None:
        """What a client does."""
        self.mapping = snapshot.mapping
        self.applied.append(snapshot.revision)

    def streaming(self) -> bool:
        """Whether there is a stream."""
        return bool(self.state()["mode"] == "stream")


@pytest.fixture
def follow(flags: Flags) -> Iterator[Callable[..., Following]]:
    """`follow(**options)`: one that runs, without pauses between two tries."""
    made: list[Following] = []

    def make(**options: Any) -> Following:
        made.append(Following(flags, **options))
        made[-1].start()
        return made[-1]

    yield make
    flags.released.set()
    for one in made:
        assert one.stop(60.0)

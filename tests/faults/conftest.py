"""A server on the loopback that can go wrong in every way a test wants."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from flagloop import Client
from helpers import patience
from helpers.application import Application
from helpers.loopback import Request, serving
from helpers.loopback import plainly as respond
from helpers.proxy import Proxy
from helpers.real import Real

KEY = "fl_srv_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

FLAGS = {
    "color": {
        "variants": {"control": "blue", "treatment": "green"},
        "default": "control",
        "rules": [{"name": "test", "split": [["control", "50%"], ["treatment", "50%"]]}],
    }
}

Answer = Callable[["Stage", Request], None]


class Stage:
    """What the server says: `ruleset` and `events` answer GET and POST until a test changes them.

    `batches` are those taken, `asked` counts requests by path, `hanging` is set when a request
    hangs, `release` lets those go.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.mapping: dict[str, Any] = {"format": 1, "revision": "s.1", "flags": FLAGS}
        self.ruleset: Answer = serve_ruleset
        self.events: Answer = take_events
        self.batches: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.hanging = threading.Event()
        self.release = threading.Event()

    @property
    def exposures(self) -> list[dict[str, Any]]:
        """The exposures that were taken."""
        events = [one for batch in self.batches for one in batch["events"]]
        return [one for one in events if one["type"] == "exposure"]

    @property
    def counted(self) -> int:
        """The evaluations that were reported."""
        return sum(row["n"] for batch in self.batches for row in batch["counts"])


def serve_ruleset(stage: Stage, handler: Request) -> None:
    """The snapshot, or 304."""
    etag = f'"{stage.mapping["revision"]}"'
    if handler.headers.get("If-None-Match") == etag:
        respond(handler, b"", 304, ETag=etag)
    else:
        respond(handler, json.dumps(stage.mapping).encode(), ETag=etag)


def take_events(stage: Stage, handler: Request) -> None:
    """Accept everything."""
    body = handler.body
    if handler.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    stage.batches.append(json.loads(body))
    accepted = len(stage.batches[-1]["events"])
    answer = {"accepted": accepted, "duplicate": 0, "rejected": []}
    respond(handler, json.dumps(answer).encode())


def plainly(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer of a status and a body."""

    def answer(stage: Stage, handler: Request) -> None:
        respond(handler, body, status, **headers)

    return answer


def hang(stage: Stage, handler: Request) -> None:
    """No answer as long as the test runs."""
    handler.close_connection = True
    stage.hanging.set()
    stage.release.wait(600)


def cut(stage: Stage, handler: Request) -> None:
    """Half of an answer, then nothing."""
    handler.close_connection = True
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"format": 1,')


def closed(stage: Stage, handler: Request) -> None:
    """The connection ends without a word."""
    handler.close_connection = True


FAULTS = {
    "error": (plainly(500), "answered 500"),
    "revoked": (plainly(401), "key revoked or unknown"),
    "forbidden": (plainly(403), "this kind of key may not do that"),
    "elsewhere": (plainly(302, Location="https://login.example/"), "redirects to"),
    "away": (plainly(503), "answered 503"),
    "full": (plainly(429, Retry_After="60"), "answered 429"),
    "garbage": (plainly(200, b"<html>hello</html>"), "sent no JSON"),
    "other JSON": (plainly(200, b"[1, 2]"), "not an object"),
    "other format": (
        plainly(200, b'{"format": 9, "revision": "x", "flags": {}}'),
        "reads format 1",
    ),
    "bad section": (
        plainly(200, b'{"format": 1, "revision": "x", "flags": {}, "segments": 3}'),
        "segments",
    ),
    "cut": (cut, "no answer"),
    "closed": (closed, "no answer"),
}


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A running server."""
    made = Stage("")

    def answer(handler: Request) -> None:
        made.asked[handler.path] += 1
        part = made.events if handler.command == "POST" else made.ruleset
        part(made, handler)

    with serving(answer) as made.url:
        yield made
        made.release.set()


@pytest.fixture
def faults() -> dict[str, tuple[Answer, str]]:
    """Answers that are of no use, by name, each with what `status()` says of it."""
    return FAULTS


@pytest.fixture
def hanging() -> Answer:
    """No answer at all."""
    return hang


@pytest.fixture
def connect(stage: Any) -> Iterator[Callable[..., Client]]:
    """`connect(**options)`: a client of the server that polls all the time."""
    made: list[Client] = []

    def make(**options: Any) -> Client:
        made.append(Client(stage.url, key=KEY, **{"interval": 0.02, **options}))
        return made[-1]

    yield make
    stage.release.set()
    for client in made:
        client.close(0.5)


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """`until(condition)`: wait for what another thread is to do."""

    def wait(condition: Callable[[], Any]) -> None:
        assert patience.until(condition), "it did not come true"

    return wait


NUMBERS = count(1)


class Site:
    """An environment of its own on a real server, and programs that decide by it.

    Its flag `half` splits all units in two, so each unit that is asked about is one exposure.
    """

    def __init__(self, server: Any, store: Any, folder: Path) -> None:
        from flagloop_server.store import Actor

        who = Actor("person", "tester")
        self.folder = folder
        self._store = store
        self._environment = store.create_environment(f"site-{next(NUMBERS)}", who)
        name = self._environment.key
        key = store.create_key(name, "server", "programs", who)[1]
        self._admin = store.create_key(name, "admin", "the test", who, role="editor")[1]
        self._place = f"{server.url}/api/v1/admin/environments/{name}"
        self.environ = {**os.environ, "FLAGLOOP_URL": server.url, "FLAGLOOP_KEY": key}
        self._started: list[subprocess.Popen[str]] = []
        split = {"name": "all", "split": {"on": "50%", "off": "50%"}}
        document = {"version": 1, "flags": {"half": {"rules": [split]}, "other": {}}}
        self.rest("push", text=json.dumps(document))

    def rest(self, path: str, **body: Any) -> None:
        """A change of the environment by the admin API."""
        headers = {"Authorization": f"Bearer {self._admin}"}
        answer = requests.post(f"{self._place}/{path}", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text

    def start(self, code: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        """A Python program, its output to be read."""
        file = self.folder / f"program_{len(self._started)}.py"
        file.write_text(code, "utf-8")
        # Python 3.12 and later warn of each fork beside threads, which is what is tested here.
        quiet = ["-W", "ignore:This process:DeprecationWarning"]
        return self.run([sys.executable, *quiet, str(file), *words], **options)

    def run(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """Any command that knows the server by its environment."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started = subprocess.Popen(
            command, **{"env": self.environ, "cwd": self.folder, **pipes, **options}
        )
        self._started.append(started)
        return started

    def stored(self, kind: int) -> list[Any]:
        """All exposures (0) or events (1) that the server has stored."""
        found: list[Any] = []
        after = 0
        while rows := self._store.events.events(after, 5000):
            after = rows[-1].seq
            mine = [row for row in rows if row.environment_id == self._environment.id]
            found += [row for row in mine if row.kind == kind]
        return found

    def exposures(self, expected: int) -> list[str]:
        """The units of all exposures, sorted, once there are so many or it takes too long.

        A program may end while the server, on a slow disk, still writes what it got from it.
        """
        patience.until(lambda: len(self.stored(0)) >= expected)
        return sorted(row.unit for row in self.stored(0))

    def end(self) -> None:
        """End what still runs."""
        for program in self._started:
            program.kill()
            program.communicate()


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Callable[[Any], Site]]:
    """`new_site(server)`: an environment of its own on a running server."""
    pytest.importorskip("flask", reason="the server needs the extra 'server'")
    from flagloop_server.store import Store

    with contextlib.ExitStack() as stack:

        def make(server: Any) -> Site:
            made = Site(server, stack.enter_context(Store(server.data)), tmp_path)
            stack.callback(made.end)
            return made

        yield make


@pytest.fixture
def site(shared_server: Any, new_site: Callable[[Any], Site]) -> Site:
    """A new environment of the shared server."""
    return new_site(shared_server)


@pytest.fixture
def real(tmp_path: Path, start_server: Any) -> Real:
    """A real server with a document and keys of its own."""
    return Real(tmp_path / "data", start_server)


@pytest.fixture
def proxy(real: Real) -> Iterator[Proxy]:
    """What lies between SDKs and the real server."""
    with Proxy(real.port).running() as running:
        yield running


@pytest.fixture
def application(real: Real) -> Iterator[Callable[..., Application]]:
    """`application(url=..., **options)`: one in a process of its own, with streams of its SDKs."""
    made: list[Application] = []

    def make(url: str = real.url, *, streams: bool = True, **options: Any) -> Application:
        made.append(Application(url, real.key, **options))
        assert not streams or made[-1]("all_have", None, "stream", 60) is not None
        return made[-1]

    yield make
    for one in made:
        one.kill()

"""How the parts of a client are put together, and how a new ruleset comes into force."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from flagloop import Client, observation
from flagloop.testing import MemorySink, document, flag

NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there."""


@pytest.fixture
def remote() -> Iterator[Client]:
    """A client of a server that is not there."""
    client = Client(NOWHERE, key="fl_srv_x", interval=3600.0)
    yield client
    client.close(0.0)


class Interrupting(dict[str, Any]):
    """A section of a document; in the middle of reading it something comes in between, once."""

    def __init__(self, due: Callable[[], bool], interrupt: Callable[[], Any], **items: Any) -> None:
        super().__init__(items)
        self.due = due
        self.interrupt = interrupt
        self.interrupted = False

    def values(self) -> Any:
        """The items."""
        if not self.interrupted and self.due():
            self.interrupted = True
            self.interrupt()
        return super().values()


def test_what_comes_while_another_is_put_in_force_is_not_lost(sink: MemorySink) -> None:
    """An override in the middle of a refresh: the override decides, not what was begun before."""
    with Client.from_document(document(), events=sink) as client:
        flags = Interrupting(
            lambda: client._sourced.mapping is mapping,
            lambda: client.override(document(color=flag({"latest": 1}))),
            color=flag({"fetched": 1}),
        )
        mapping = {"version": 1, "flags": flags}
        assert client._snapshot is not None
        client._apply(client._snapshot._replace(mapping=mapping))
        assert flags.interrupted
        assert client.variant("color", "u") == "latest"
        assert client.status()["overridden"]


def test_the_argument_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLAGLOOP_URL stands in for an url that is not given, no more."""
    monkeypatch.setenv("FLAGLOOP_URL", "http://127.0.0.1:10")
    with Client(NOWHERE, key="fl_srv_x", interval=3600.0) as client:
        assert client.status()["refresh"]["source"] == NOWHERE


def test_a_first_copy_is_what_the_refresh_knows() -> None:
    """So the first question to the source can be answered with "unchanged"."""
    status = Client.from_document(document()).status()
    assert status["refresh"]["revision"] == status["revision"] == "document"


def test_waiting_ends_at_once_where_an_override_decides(remote: Client) -> None:
    """There are definitions, although the server never answers."""
    assert not remote.wait(0.0)
    remote.override(document(color=flag({"red": 1})))
    waiting = threading.Thread(target=remote.wait, args=(3600.0,), daemon=True)
    waiting.start()
    waiting.join(60)
    assert not waiting.is_alive()


def test_polls_and_reports_come_from_one_instance(remote: Client) -> None:
    """The server can tell which process asks and which reports: it is the same name."""
    assert remote._transport is not None
    assert remote._delivery is not None
    assert remote._transport.instance() == remote._delivery.instance.mapping()


def test_without_exposures_no_context_is_kept(mapping: Any, sink: MemorySink) -> None:
    """`exposures=False` sends counts alone, whatever verb asks."""
    with Client.from_document(mapping, events=sink, exposures=False) as client:
        client.variant("split", "u-1")
        client.decide("split", "u-1")
        client.peek("split", "u-1")
        client.decide_all("u-1")
    assert sum(row["n"] for row in sink.counts) == 3 + len(mapping["flags"])
    assert not any(batch["contexts"] or batch["events"] for batch in sink.batches)


def test_explaining_counts_nothing(client: Client, counted: Any) -> None:
    """Looking is no evaluation, also when it goes wrong."""
    broken: Any = []
    assert client.explain("split", "u-1").decision.error is None
    assert client.explain(broken, "u-1").decision.error is not None
    assert not counted(client)
    client.decide(broken, "u-1")
    assert sum(counted(client).values()) == 1


def test_what_is_no_text_is_no_flag(client: Client) -> None:
    """The decision says what was given instead, and `status` that it happens."""
    broken: Any = 5.5
    decision = client.decide(broken, "u-1")
    assert decision.message == "a flag's key is a text, not float"
    assert client.status()["failures"] == {"KeyError": 1}


def test_the_queue_has_the_length_that_was_asked_for(mapping: Any, sink: MemorySink) -> None:
    """What comes while it is full is lost and counted; what is being sent is not in it."""
    inside, go_on = threading.Event(), threading.Event()

    def send(body: bytes) -> None:
        inside.set()
        assert go_on.wait(60)

    with Client.from_document(mapping, events=send, queue=10) as client:
        client.variant("split", "first")
        assert not client.flush(0.0)
        assert inside.wait(60)
        for n in range(30):
            client.variant("split", f"u-{n}")
        lost = client.status()["delivery"]["lost"]
        go_on.set()
    assert lost == {"queue_full": 20}


def test_latency_is_in_milliseconds(
    client: Client, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of a second is 250."""
    readings = iter([10.0, 10.25])
    monkeypatch.setattr(observation, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    with client.observe("split", "u-1"):
        pass
    assert client.flush(10)
    (event,) = sink.events
    assert (event["event"], event["value"]) == ("latency_ms", 250.0)


class Server(ThreadingHTTPServer):
    """Answers with one ruleset and knows the connections that are open."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Server.Handler)
        # Threads add and take without a lock: what they do to a set is one step, to a number two.
        self.connections: set[Any] = set()
        self.ever: set[Any] = set()

    class Handler(BaseHTTPRequestHandler):
        """Notes its connection."""

        protocol_version = "HTTP/1.1"
        server: Server

        def handle(self) -> None:
            """All requests of one connection."""
            self.server.connections.add(self)
            self.server.ever.add(self)
            try:
                super().handle()
            except ConnectionError:
                pass
            finally:
                self.server.connections.remove(self)

        def do_GET(self) -> None:
            """The ruleset."""
            found = self.path == "/api/v1/ruleset"
            body = b'{"format": 1, "revision": "k.1", "flags": {}}' if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Tests are quiet."""


def test_closing_leaves_no_connection_open(until: Any) -> None:
    """A server is not to hold places for clients that are closed."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        client = Client(f"http://127.0.0.1:{server.server_address[1]}", key="fl_srv_x")
        assert client.wait(60)
        assert server.ever
        client.close(5)
        until(lambda: not server.connections)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

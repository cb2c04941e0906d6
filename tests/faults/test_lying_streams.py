"""A server, or what stands in its place, that streams lies: no decision changes by them.

Whole clients over real connections; what the stream's reader alone does is in tests/sdk/sync.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flagloop import Client
from helpers.loopback import Request, begin, send

Lie = Callable[[Request], None]
KILLED = {"color": {"killed": True, "variants": {"x": "black"}, "default": "x", "off": "x"}}


def saying(*texts: bytes) -> Lie:
    """A stream of a good first frame and then this."""

    def lie(handler: Request) -> None:
        begin(handler)
        for text in (b":\n\n", *texts):
            send(handler, text)

    return lie


def frame(event: str, data: Any) -> bytes:
    """One frame."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()


def change(**words: Any) -> bytes:
    """A change that would kill, were it not for these words."""
    whole = {"revision": "s.2", "base": "s.1", "set": {"flags": KILLED}, "unset": {}}
    return frame("change", {**whole, **words})


def snapshot(**words: Any) -> bytes:
    """A snapshot that would kill, were it not for these words."""
    return frame("snapshot", {"format": 1, "revision": "s.2", "flags": KILLED, **words})


def torn(handler: Request) -> None:
    """A chunk that says it is longer than what comes."""
    begin(handler)
    handler.wfile.write(b"fffff\r\n:\n\n" + snapshot()[:-10])


def no_chunks(handler: Request) -> None:
    """Chunks that are none."""
    begin(handler)
    handler.wfile.write(b"zz\r\n" + snapshot())


def endless(piece: bytes) -> Lie:
    """The same again and again, until the reader has had enough."""

    def lie(handler: Request) -> None:
        begin(handler)
        send(handler, b":\n\nevent: snapshot\n")
        for _ in range(2000):  # 128 MB
            send(handler, piece)

    return lie


def page(handler: Request) -> None:
    """What a captive portal answers to whatever is asked."""
    begin(handler, Content_Type="text/html; charset=utf-8")
    send(handler, b"<html><body>Welcome! Please accept our terms.</body></html>")


def portal(handler: Request) -> None:
    """A redirect to a portal."""
    begin(handler, 302, Location="http://portal.example/login?to=/api/v1/stream")


LIES: dict[str, Lie] = {
    "no JSON": saying(b"event: change\ndata: {'revision'\n\n"),
    "no UTF-8": saying(b'event: change\ndata: {"revision": "\xff\xfe"}\n\n'),
    "deep JSON": saying(b"event: snapshot\ndata: " + b"[" * 100_000 + b"\n\n"),
    "NaN": saying(b'event: snapshot\ndata: {"format": 1, "revision": NaN, "flags": {}}\n\n'),
    "no object": saying(frame("snapshot", [1, 2])),
    "other format": saying(snapshot(format=9)),
    "no flags": saying(snapshot(flags=None)),
    "bad section": saying(snapshot(segments=[3])),
    "no revision": saying(snapshot(revision=7)),
    "no section": saying(change(set={"format": {"a": 2}})),
    "no changes": saying(change(set=[1], unset="flags")),
    "no base": saying(change(base=None)),
    "cut frame": saying(snapshot()[:-1]),
    "cut data": saying(snapshot()[:-40]),
    "torn chunk": torn,
    "no chunks": no_chunks,
    "endless line": endless(b"x" * 65_536),
    "endless frame": endless(b"data: " + b"x" * 65_529 + b"\n"),
    "endless comments in a frame": endless(b"data: \n" + b":" * 65_528 + b"\n"),
    "a page": page,
    "a redirect": portal,
}
QUIET = frozenset({"a page"})
"""Taken for an older server without streams: polls stand in, which is no trouble."""


def served(client: Client) -> list[str | None]:
    """What fifty users get."""
    return [client.peek("color", f"u-{n}").variant for n in range(50)]


@pytest.mark.parametrize("name", LIES)
def test_a_lie_changes_no_decision(stage: Any, connect: Any, until: Any, name: str) -> None:
    """The last good definitions stay, the status says why there is no stream, truth is found."""
    lies = threading.Event()
    lies.set()

    def answer(stage: Any, handler: Request) -> None:
        if handler.path != "/api/v1/stream":
            truth(stage, handler)
        elif lies.is_set():
            LIES[name](handler)
        else:
            begin(handler)
            send(handler, snapshot(flags=flags, revision="s.3"))
            stage.release.wait(60)

    truth, stage.ruleset = stage.ruleset, answer
    flags = stage.mapping["flags"]
    client = connect(interval=30)
    assert client.wait(60)
    before = served(client)
    assert set(before) == {"control", "treatment"}
    until(lambda: client.status()["refresh"]["why"])
    assert client.status()["revision"] == "s.1"
    assert served(client) == before
    lies.clear()
    client._refresh.wake()
    until(lambda: client.status()["refresh"]["mode"] == "stream")
    until(lambda: client.status()["revision"] == "s.3")
    assert served(client) == before
    assert client.status()["problem"] is None


@pytest.mark.parametrize("name", sorted(set(LIES) - QUIET))
def test_a_stream_of_lies_is_told(stage: Any, connect: Any, until: Any, name: str) -> None:
    """When it lies on, polls bring the truth, and the status names what came."""

    def answer(stage: Any, handler: Request) -> None:
        (LIES[name] if handler.path == "/api/v1/stream" else lambda one: truth(stage, one))(handler)

    truth, stage.ruleset = stage.ruleset, answer
    client = connect(interval=0.05)
    client._refresh._spread = client._refresh._pacing._spread = lambda: 0.0
    until(lambda: client.status()["refresh"]["mode"] == "poll")
    assert client.status()["problem"] is not None
    stage.mapping = {"format": 1, "revision": "s.2", "flags": {"color": {}}}
    until(lambda: client.variant("color", "u-1") == "off")
    assert stage.asked["/api/v1/stream"] >= 3


@pytest.mark.parametrize("base", ["s.0", "other.1", "s.7"])
def test_a_change_of_another_revision_fetches_the_snapshot(
    stage: Any, connect: Any, until: Any, base: str
) -> None:
    """A wrong base, a wrong lineage: what is true is asked for, never put together."""

    def answer(stage: Any, handler: Request) -> None:
        if handler.path != "/api/v1/stream":
            truth(stage, handler)
            return
        begin(handler)
        send(handler, b":\n\n")
        stage.hanging.wait(60)
        send(handler, change(base=base, revision="s.8"))
        stage.release.wait(60)

    truth, stage.ruleset = stage.ruleset, answer
    client = connect(interval=30)
    until(lambda: client.status()["refresh"]["mode"] == "stream")
    stage.mapping = {"format": 1, "revision": "s.8", "flags": {"color": {}}}
    stage.hanging.set()
    until(lambda: client.status()["revision"] == "s.8")
    assert client.variant("color", "u-1") == "off"
    assert client.status()["refresh"]["mode"] == "stream"
    assert client.status()["problem"] is None

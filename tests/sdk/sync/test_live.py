"""Definitions by the stream: over real connections, with everything that can lie in between."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from flagloop.sync import live as module
from flagloop.sync.line import Patience
from flagloop.sync.source import Snapshot

KEY = "fl_srv_x"
SOON = Patience(connect=60.0, first=0.3, silence=60.0)
"""For paths that give nothing; where a stream is to come, a busy machine may need longer."""


ODD = {
    "missing": lambda flags, handler: flags.plainly(handler, b"default backend - 404", 404),
    "page": lambda flags, handler: flags.plainly(handler, b"<p>Soon", Content_Type="text/html"),
}
"""What proxies and portals answer in the place of the server."""


# A stream that works.


def test_changes_come_by_the_stream(flags: Any, follow: Any, until: Any) -> None:
    """One poll at the start, no other; then each change as it is told, and only what changed."""
    one = follow()
    until(one.streaming)
    flags.publish(a={"killed": True})
    flags.publish(b={"rules": []})
    until(lambda: one.applied == ["k.1", "k.2", "k.3"])
    assert one.mapping == json.loads(flags.snapshot())
    assert (flags.polls, flags.resumed) == (1, ["k.1"])
    state = one.state()
    assert (state["revision"], state["error"], state["why"]) == ("k.3", None, None)
    assert state["age"] < 60
    assert 0 <= state["mode_age"] < 60


def test_a_gap_is_filled_by_a_snapshot(flags: Any, follow: Any, until: Any) -> None:
    """A change of a revision that is not in force fetches; the stream goes on after it."""
    one = follow()
    until(one.streaming)
    flags.publish(tell=False, a={"killed": True})
    flags.publish(b={})
    until(lambda: one.applied == ["k.1", "k.3"])
    flags.publish(c={})
    until(lambda: one.applied == ["k.1", "k.3", "k.4"])
    assert one.mapping == json.loads(flags.snapshot())
    assert (flags.polls, len(flags.resumed)) == (2, 1)


def test_a_change_that_is_in_force_is_passed_over(flags: Any, follow: Any, until: Any) -> None:
    """What a snapshot brought already must not fetch it again."""
    one = follow()
    until(one.streaming)
    late = [flags.publish(tell=False, a={"n": n}) for n in range(3)]
    flags.writers[0].put(late[2])
    until(lambda: one.applied == ["k.1", "k.4"])
    for frame in late:
        flags.writers[0].put(frame)
    flags.publish(b={})
    until(lambda: one.applied[-1] == "k.5")
    assert one.applied == ["k.1", "k.4", "k.5"]
    assert flags.polls == 2


def test_a_snapshot_may_come_at_any_time(flags: Any, follow: Any, until: Any) -> None:
    """Another lineage, also with a lower number: everything is replaced."""
    one = follow()
    until(one.streaming)
    other = {"format": 1, "revision": "new.0", "flags": {"z": {}}, "environment": "e"}
    flags.writers[0].put(b"event: snapshot\ndata: " + json.dumps(other).encode() + b"\n\n")
    until(lambda: one.applied[-1] == "new.0")
    assert one.mapping == other
    flags.writers[0].put(b"event: news\ndata: {}\n\nevent: snapshot\ndata: ")
    flags.writers[0].put(json.dumps({**other, "environment": "renamed"}).encode() + b"\n\n")
    until(lambda: one.mapping["environment"] == "renamed")
    assert one.applied == ["k.1", "new.0", "new.0"]


def test_it_resumes_where_it_was(flags: Any, follow: Any, until: Any) -> None:
    """After an end it asks for what is new; a current one is applied only once."""
    one = follow()
    until(one.streaming)
    flags.publish(a={"killed": True})
    until(lambda: one.applied[-1] == "k.2")
    flags.writers[0].put(None)
    until(lambda: len(flags.resumed) == 2 and one.streaming())
    flags.publish(tell=False, b={})
    flags.writers[1].put(None)
    until(lambda: one.applied[-1] == "k.3")
    assert one.applied == ["k.1", "k.2", "k.3"]
    assert flags.resumed == ["k.1", "k.2", "k.2"]
    assert flags.polls == 1


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_path_that_cuts_again_and_again(flags: Any, follow: Any, until: Any, frames: int) -> None:
    """Whatever is cut in the middle of a frame comes with the next stream; nothing goes back."""

    def cutting(handler: BaseHTTPRequestHandler) -> None:
        flags.begin(handler)
        flags.send(
            handler, b":\n\n" if handler.headers["Last-Event-ID"] == flags.name else flags.frame()
        )
        for n in range(frames):
            frame = flags.publish(a={"n": n})
            flags.send(handler, frame if n < frames - 1 else frame[: len(frame) // 2])

    flags.stream = cutting
    one = follow()
    until(lambda: len(one.applied) > 30)
    flags.stream = flags.well
    flags.publish(b={"last": True})
    until(lambda: one.applied[-1] == flags.name)
    numbers = [int(name[2:]) for name in one.applied]
    assert numbers == sorted(set(numbers))
    assert one.mapping == json.loads(flags.snapshot())


def test_bytes_may_come_one_by_one(flags: Any, follow: Any, until: Any) -> None:
    """A slow path is no broken one."""
    one = follow()
    until(one.streaming)
    for byte in flags.publish(tell=False, a={"killed": True}):
        flags.writers[0].put(bytes([byte]))
    until(lambda: one.applied == ["k.1", "k.2"])
    assert len(flags.resumed) == 1


def test_an_answer_that_ends_with_its_connection(flags: Any, follow: Any, until: Any) -> None:
    """No chunks, no length: first bytes end the short patience there, too."""

    def old(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
        handler.wfile.flush()
        flags.released.wait(3.0)
        handler.wfile.write(flags.publish(tell=False, a={"killed": True}))
        handler.wfile.flush()
        flags.released.wait(60)

    flags.stream = old
    one = follow(patience=SOON._replace(first=2.0))
    until(lambda: one.applied == ["k.1", "k.2"])
    assert len(flags.resumed) == 1


# Paths without a stream.


@pytest.mark.parametrize("held", ["held_head", "held_body", "held_frame"])
def test_a_path_that_buffers_is_polled(flags: Any, follow: Any, until: Any, held: str) -> None:
    """No frame within the first seconds: polls stand in, and the status says so."""
    flags.stream = getattr(flags, held)
    one = follow(patience=SOON)
    until(lambda: one.state()["mode"] == "poll")
    state = one.state()
    assert "buffer" in state["why"]
    assert state["notes"]["stream"] == state["why"]
    assert state["error"] is None
    for n in range(3):
        flags.publish(a={"n": n})
        until(lambda: one.applied[-1] == flags.name)
    assert len(flags.resumed) == 1


def test_the_stream_comes_back_when_the_path_lets_it(flags: Any, follow: Any, until: Any) -> None:
    """The next try finds it, and polls end."""
    flags.stream = flags.held_body
    one = follow(patience=SOON)
    until(lambda: one.state()["mode"] == "poll")
    flags.stream, one._patience = flags.well, None
    one.wake()
    until(one.streaming)
    assert one.state()["notes"] == {}
    polls = flags.polls
    flags.publish(a={"killed": True})
    until(lambda: one.applied[-1] == flags.name)
    assert flags.polls == polls


@pytest.mark.parametrize("answer", ["held_head", "held_body", "missing", "page"])
def test_a_path_that_gave_streams_gives_them_again_soon(
    flags: Any, follow: Any, until: Any, answer: str
) -> None:
    """It neither buffers nor leads to an older server: tries go on as after any end."""
    one = follow()
    until(one.streaming)
    one._patience = SOON
    flags.stream = {**ODD, **vars(type(flags))}[answer].__get__(flags)
    flags.writers[0].put(None)
    until(lambda: len(flags.resumed) >= 5)
    assert one.state()["mode"] == "poll"
    flags.publish(tell=False, a={"killed": True})
    until(lambda: one.applied == ["k.1", "k.2"])
    flags.stream, one._patience = flags.well, None
    until(one.streaming)


@pytest.mark.parametrize("answer", ["held_head", "missing", "page"])
def test_nothing_is_known_of_streams_while_polls_fail(
    flags: Any, follow: Any, until: Any, answer: str
) -> None:
    """From the start a portal or a proxy without its server answers: both are tried on."""
    odd = {**ODD, **vars(type(flags))}[answer].__get__(flags)
    flags.stream, flags.polled = odd, ODD["page"].__get__(flags)
    one = follow(patience=SOON)
    until(lambda: len(flags.resumed) >= 3)
    assert one.applied == []
    assert "is it flagloop?" in one.state()["error"]
    one._patience = None
    flags.stream, flags.polled = flags.well, flags.ruleset
    until(one.streaming)
    until(lambda: one.applied == ["k.1"])


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        (404, {}, "no stream (404)"),
        (405, {}, "no stream (405)"),
        (200, {"Content_Type": "text/html"}, "no stream but text/html"),
    ],
)
def test_an_older_server_is_polled(
    flags: Any, follow: Any, until: Any, status: int, headers: dict[str, str], says: str
) -> None:
    """Without a stream all is well; the state says why there are polls."""
    flags.stream = lambda handler: flags.plainly(handler, b"<html>", status, **headers)
    one = follow()
    until(lambda: one.state()["mode"] == "poll")
    flags.publish(a={"killed": True})
    until(lambda: one.applied == ["k.1", "k.2"])
    state = one.state()
    assert says in state["why"]
    assert (state["notes"], state["error"]) == ({}, None)
    assert len(flags.resumed) == 1


def test_a_compressed_stream_is_not_waited_for(flags: Any, follow: Any, until: Any) -> None:
    """What compresses also collects: polls stand in at once."""
    flags.stream = lambda handler: flags.begin(handler, Content_Encoding="gzip")
    one = follow()
    until(lambda: one.state()["mode"] == "poll")
    assert "compresses" in one.state()["why"]


def test_silence_after_the_first_frame_is_a_dead_peer(flags: Any, follow: Any, until: Any) -> None:
    """It tries again; silences in a row make it poll meanwhile."""
    flags.stream = flags.silent
    one = follow(patience=Patience(silence=0.2))
    until(lambda: len(flags.resumed) >= 4)
    flags.publish(tell=False, a={"killed": True})
    until(lambda: one.applied[-1] == "k.2")
    assert flags.polls > 1
    flags.stream, one._patience = flags.well, None
    until(lambda: flags.writers and one.streaming())


def test_a_frame_must_end_some_time(
    flags: Any, follow: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that never make a frame are no life."""
    monkeypatch.setattr(module, "FRAME_SECONDS", 0.1)

    def dripping(handler: BaseHTTPRequestHandler) -> None:
        flags.begin(handler)
        flags.send(handler, b":\n\n")
        while not flags.released.wait(0.02):
            flags.send(handler, b"d")

    flags.stream = dripping
    one = follow()
    until(lambda: len(flags.resumed) >= 2)
    until(lambda: "does not end" in (one.state()["why"] or ""))


@pytest.mark.parametrize(
    "frame",
    [
        b"event: snapshot\ndata: {\n\n",
        b"event: snapshot\ndata: {}\n\n",
        b'event: snapshot\ndata: {"format": 2, "revision": "k.2", "flags": {}}\n\n',
        b"event: change\ndata: \xff\n\n",
        b'event: change\ndata: {"revision": "k.2", "base": "k.1", "set": {"format": {}}}\n\n',
    ],
)
def test_garbage_changes_nothing(flags: Any, follow: Any, until: Any, frame: bytes) -> None:
    """The last good definitions stay, polls take over, and a good stream is found again."""

    def garbled(handler: BaseHTTPRequestHandler) -> None:
        flags.begin(handler)
        flags.send(handler, b":\n\n" + frame)

    flags.stream = garbled
    one = follow()
    until(lambda: one.state()["mode"] == "poll")
    assert one.applied == ["k.1"]
    assert "stream" in one.state()["notes"]
    flags.stream = flags.well
    until(one.streaming)
    flags.publish(a={"killed": True})
    until(lambda: one.applied == ["k.1", "k.2"])


def test_a_revoked_key_is_told(flags: Any, follow: Any, until: Any) -> None:
    """The stream is cut, the next one refused: definitions stay, the error names the mend."""
    one = follow()
    until(one.streaming)
    flags.stream = flags.polled = lambda handler: flags.plainly(handler, b"", 401)
    flags.writers[0].put(None)
    until(lambda: one.state()["error"])
    assert "revoked" in one.state()["error"]
    assert KEY not in repr(one.state())
    assert one.applied == ["k.1"]
    flags.stream, flags.polled = flags.well, flags.ruleset
    until(one.streaming)
    assert one.state()["error"] is None


def test_a_busy_server_is_given_its_time(flags: Any, follow: Any, until: Any) -> None:
    """Retry-After holds for the stream, too."""
    flags.stream = lambda handler: flags.plainly(handler, b"", 503, Retry_After="30")
    one = follow()
    until(lambda: flags.resumed and one.state()["why"])
    assert "503" in one.state()["why"]
    assert 5 < one._pacing.pause() <= 30  # by itself it would be a second


def test_what_cannot_be_applied_is_survived(flags: Any, follow: Any, until: Any) -> None:
    """A bug in applying is told and tried again; it does not end the thread."""
    one = follow(interval=0.01)
    until(one.streaming)
    good = one._apply

    def broken(snapshot: Snapshot) -> None:
        raise KeyError("bug")

    one._apply = broken
    flags.publish(a={"killed": True})
    until(lambda: one.state()["error"] == "KeyError: 'bug'")
    one._apply = good
    until(lambda: one.applied == ["k.1", "k.2"])
    until(one.streaming)
    assert one.state()["error"] is None

"""Everything else reaches the WSGI application whole, on few threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from flagloop_server.edge.answers import Refused, reply
from flagloop_server.edge.body import Bodies
from flagloop_server.edge.bridge import (
    LONGEST_KEPT,
    MOST_KEPT,
    Bridge,
    Room,
    Source,
    Workers,
    is_report,
    whole,
)
from helpers.patience import LONG


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application that tells what it got."""
    length = environ.get("CONTENT_LENGTH", "")
    body = environ["wsgi.input"].read(int(length or 0))
    start_response("200 OK", [("X-Length", length), ("X-Scheme", environ["wsgi.url_scheme"])])
    return [
        body,
        b"|",
        environ["REMOTE_ADDR"].encode(),
        b"|",
        str(environ.get("HTTP_X_A")).encode(),
    ]


def asgi(bridge: Bridge, limit: int = 1000, *, strangers: bool = False) -> Any:
    """The bridge as an application that answers refusals."""
    source = Source(Bodies(5.0, 100, 10_000), limit, strangers)

    async def run(scope: Any, receive: Any, send: Any) -> None:
        try:
            await bridge.answer(scope, receive, send, source)
        except Refused as refusal:
            await reply(send, refusal.answer)

    return run


def bridge_to(wsgi: Any, *, workers: int = 4, reports: int = 2, waiting: int = 8) -> Bridge:
    """A bridge with few places."""
    places = Workers(workers, reports, waiting)
    return Bridge(wsgi, places, threads=workers, trusted="127.0.0.1")


def test_a_chunked_body_arrives_whole_with_its_length(call: Any) -> None:
    """Flask behind a2wsgi reads an empty body when no length is given."""
    answer = call(
        asgi(bridge_to(echo)), "POST", "/x", [("transfer-encoding", "chunked")], [b"one ", b"two"]
    )
    assert answer.body.startswith(b"one two|")
    assert answer.headers["x-length"] == "7"


def test_a_body_over_the_limit_never_reaches_the_application(call: Any) -> None:
    """413 from the edge."""

    def never(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError

    assert call(asgi(bridge_to(never), limit=5), "POST", "/x", [], b"123456").status == 413


def test_a_query_that_is_not_ascii_is_refused(call: Any) -> None:
    """400 instead of an exception in the adapter."""
    assert call(asgi(bridge_to(echo)), "GET", "/x", query=b"a=\xff").status == 400


def test_headers_with_an_underscore_are_dropped(call: Any) -> None:
    """In WSGI `X_A` could pose as `X-A`."""
    answer = call(asgi(bridge_to(echo)), "GET", "/x", [("x_a", "forged")])
    assert answer.body.endswith(b"|None")
    assert call(asgi(bridge_to(echo)), "GET", "/x", [("x-a", "true")]).body.endswith(b"|true")


def test_a_trusted_proxy_tells_the_address_and_the_scheme(call: Any) -> None:
    """X-Forwarded-For and -Proto are believed from a trusted address."""
    headers = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")]
    answer = call(asgi(bridge_to(echo)), "GET", "/x", headers)
    assert b"|203.0.113.9|" in answer.body
    assert answer.headers["x-scheme"] == "https"


def test_an_untrusted_address_is_not_believed(call: Any) -> None:
    """Anybody can write these headers."""
    bridge = Bridge(echo, Workers(1, 1, 4), threads=1, trusted="10.0.0.1")
    answer = call(asgi(bridge), "GET", "/x", [("x-forwarded-for", "203.0.113.9")])
    assert b"|127.0.0.1|" in answer.body


@pytest.mark.parametrize(
    ("path", "report"),
    [
        ("/production/flags/a/reports/share-preview", True),
        ("/reports", True),
        ("/environments/production/playground", True),
        ("/environments/playground/flags/playground/kill", False),
        ("/production/flags/reports-page", False),
        ("/production/flags", False),
        ("/environments/production/flags/reports/kill", False),
        ("/api/v1/admin/environments/reports/flags/reports/kill", False),
        ("/environments/reports/flags/a/share/reports", False),
        ("/environments/reports/flags/reports/reports/share/canary", True),
    ],
)
def test_reports_are_known_by_a_segment(path: str, report: bool) -> None:
    """Only a whole segment counts, and none that is the name of something."""
    assert is_report(path) is report


def test_whole_replaces_a_wrong_length() -> None:
    """The length is that of the body which was read."""
    scope = {"headers": [(b"content-length", b"99"), (b"a", b"b")]}
    assert whole(scope, 3)["headers"] == [(b"a", b"b"), (b"content-length", b"3")]


def test_reports_hold_at_most_half_so_that_a_kill_never_waits(calling: Any) -> None:
    """With every report stuck a plain request is answered at once."""
    release = threading.Event()
    inside = threading.Semaphore(0)

    def stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if is_report(environ["PATH_INFO"]):
            inside.release()
            assert release.wait(60)
        start_response("200 OK", [])
        return [b"done"]

    async def run() -> tuple[int, int, list[int]]:
        application = asgi(bridge_to(stuck, workers=4, reports=2, waiting=8))
        reports = [
            asyncio.ensure_future(calling(application, "GET", "/reports/x")) for _ in range(5)
        ]
        for _ in range(2):
            await asyncio.to_thread(inside.acquire, timeout=60)
        kill = await calling(application, "POST", "/kill", [], b"{}")
        assert not inside.acquire(blocking=False)
        release.set()
        answers = await asyncio.gather(*reports)
        return kill.status, len(answers), sorted(answer.status for answer in answers)

    # Two are inside, two wait (a quarter of eight), the fifth is told to come again.
    assert asyncio.run(run()) == (200, 5, [200, 200, 200, 200, 503])


def test_strangers_hold_at_most_what_reports_may(calling: Any) -> None:
    """A crowd that tries passwords leaves workers for those who are let in."""
    release = threading.Event()
    inside = threading.Semaphore(0)

    def stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/login":
            inside.release()
            assert release.wait(60)
        start_response("200 OK", [])
        return [b"done"]

    async def run() -> tuple[int, list[int]]:
        bridge = bridge_to(stuck, workers=2, reports=1, waiting=4)
        crowd, known = asgi(bridge, strangers=True), asgi(bridge)
        logins = [
            asyncio.ensure_future(calling(crowd, "POST", "/login", [], b"x")) for _ in range(3)
        ]
        await asyncio.to_thread(inside.acquire, timeout=60)
        kill = await calling(known, "POST", "/kill", [], b"{}")
        release.set()
        answers = await asyncio.gather(*logins)
        return kill.status, sorted(answer.status for answer in answers)

    assert asyncio.run(run()) == (200, [200, 200, 503])


def unread(application: Any) -> tuple[Any, asyncio.Semaphore, asyncio.Event]:
    """The application behind readers who take nothing until the event, and who has begun."""
    begun, free = asyncio.Semaphore(0), asyncio.Event()

    async def run(scope: Any, receive: Any, send: Any) -> None:
        async def late(message: Any) -> None:
            begun.release()
            await free.wait()
            await send(message)

        await application(scope, receive, late)

    return run, begun, free


def test_readers_that_take_nothing_hold_no_worker(calling: Any) -> None:
    """Anybody may ask for a page and not read it: that must not keep out a kill."""

    async def run() -> list[int]:
        application = asgi(bridge_to(echo, workers=2, reports=1, waiting=4))
        stuck, begun, free = unread(application)
        readers = [asyncio.ensure_future(calling(stuck, "GET", "/")) for _ in range(3)]
        async with asyncio.timeout(20):
            for _ in readers:
                await begun.acquire()
            kill = await calling(application, "POST", "/kill", [], b"{}")
            free.set()
            answers = await asyncio.gather(*readers)
        return [kill.status, *(answer.status for answer in answers)]

    assert asyncio.run(run()) == [200, 200, 200, 200]


@pytest.mark.parametrize("size", [0, 1, LONGEST_KEPT, LONGEST_KEPT + 1, 3 * LONGEST_KEPT])
def test_an_answer_of_any_length_is_given_whole(call: Any, size: int) -> None:
    """In order, also what is too long to be kept."""

    def long(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        for place in range(0, size, LONGEST_KEPT // 4):
            yield bytes([place % 251]) * min(LONGEST_KEPT // 4, size - place)

    expected = b"".join(
        bytes([place % 251]) * min(LONGEST_KEPT // 4, size - place)
        for place in range(0, size, LONGEST_KEPT // 4)
    )
    answer = call(asgi(bridge_to(long)), "GET", "/")
    assert (answer.status, answer.body == expected) == (200, True)


def test_answers_that_wait_for_their_readers_are_bounded(calling: Any) -> None:
    """Whoever took nothing for the longest time makes room: nobody is refused for readers' sake."""

    def sized(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"x" * (10 if environ["PATH_INFO"] == "/small" else LONGEST_KEPT)]

    async def run() -> tuple[list[bool], list[int]]:
        application = asgi(bridge_to(sized, workers=2, reports=1, waiting=20))
        stuck, begun, free = unread(application)
        readers = []
        async with asyncio.timeout(LONG):
            for path in ("/small", *("/" for _ in range(MOST_KEPT // LONGEST_KEPT))):
                readers.append(asyncio.ensure_future(calling(stuck, "GET", path)))
                await begun.acquire()
            more = [await calling(application, "POST", "/") for _ in range(2)]
            free.set()
            ends = await asyncio.gather(*readers, return_exceptions=True)
        ended = [isinstance(one, asyncio.CancelledError) for one in ends]
        return ended, [len(one.body) for one in more]

    ended, more = asyncio.run(run())
    most = MOST_KEPT // LONGEST_KEPT
    assert ended == [False, True] + [False] * (most - 1)
    assert more == [LONGEST_KEPT] * 2


def test_the_room_for_answers_is_given_back() -> None:
    """Also by who was ended, whose block ends later."""
    room, told = Room(10), list[str]()
    with room.place(4, lambda: told.append("first")), room.place(4, lambda: told.append("second")):
        assert (room.bytes, told) == (8, [])
        with room.place(6, lambda: told.append("third")):
            assert (room.bytes, told) == (10, ["first"])
        with room.place(7, lambda: told.append("fourth")):
            assert (room.bytes, told) == (7, ["first", "second"])
    assert room.bytes == 0

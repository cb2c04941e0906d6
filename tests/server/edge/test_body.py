"""Bodies are read whole, capped, timed and bounded."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop_server.edge.answers import Refused
from flagloop_server.edge.body import Bodies, Disconnected, brings_body, unpack


def scope_with(**headers: str) -> dict[str, Any]:
    """A scope of those headers."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": pairs}


def sender(pieces: Iterable[bytes], *, ends: bool = True) -> Any:
    """A `receive` that gives the pieces and then, unless `ends`, nothing for ever."""
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    listed = list(pieces)
    for place, piece in enumerate(listed):
        more = place < len(listed) - 1 or not ends
        queue.put_nowait({"type": "http.request", "body": piece, "more_body": more})
    return queue.get


async def read(bodies: Bodies, scope: dict[str, Any], receive: Any, limit: int = 100) -> bytes:
    """Read one body."""
    async with bodies.read(scope, receive, limit) as body:
        assert bodies.held == 1
        assert bodies.held_bytes == len(body)
        return body


def status_of(bodies: Bodies, scope: dict[str, Any], receive: Any, limit: int = 100) -> int:
    """The status that a body is refused with."""
    with pytest.raises(Refused) as refused:
        asyncio.run(read(bodies, scope, receive, limit))
    assert (bodies.held, bodies.held_bytes) == (0, 0)
    return refused.value.answer.status


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=8))
def test_a_body_in_pieces_arrives_whole(pieces: list[bytes]) -> None:
    """However the body is cut, it is joined in order and afterwards nothing is held."""
    bodies = Bodies(5.0, 10, 1000)
    assert asyncio.run(read(bodies, scope_with(), sender(pieces), 1000)) == b"".join(pieces)
    assert (bodies.held, bodies.held_bytes) == (0, 0)


def test_a_declared_length_over_the_limit_is_refused_before_reading() -> None:
    """413 by the header alone."""

    async def never() -> dict[str, Any]:
        raise AssertionError("nothing should be read")

    assert status_of(Bodies(5.0, 10, 1000), scope_with(content_length="101"), never) == 413


def test_a_body_that_grows_over_the_limit_is_refused() -> None:
    """413 by the running total, for chunked bodies that declare no length."""
    assert status_of(Bodies(5.0, 10, 1000), scope_with(), sender([b"x" * 60, b"x" * 60])) == 413


def test_a_length_that_is_no_number_is_refused() -> None:
    """400 for a Content-Length that cannot be read."""
    assert status_of(Bodies(5.0, 10, 1000), scope_with(content_length="-1"), sender([b""])) == 400


def test_a_slow_sender_is_refused() -> None:
    """408 when the body does not arrive in time."""
    assert status_of(Bodies(0.01, 10, 1000), scope_with(), sender([b"x"], ends=False)) == 408


def test_too_many_bytes_in_sum_are_refused() -> None:
    """503 when the bodies of all requests together are too large."""
    assert status_of(Bodies(5.0, 10, 50), scope_with(), sender([b"x" * 51])) == 503


def test_too_many_bodies_at_once_are_refused() -> None:
    """503 for the body over the number, and a place again when one ends."""
    bodies = Bodies(5.0, 1, 1000)

    async def two() -> int:
        async with bodies.read(scope_with(), sender([b"a"]), 100):
            with pytest.raises(Refused) as refused:
                await read(bodies, scope_with(), sender([b"b"]))
        assert await read(bodies, scope_with(), sender([b"c"])) == b"c"
        return refused.value.answer.status

    assert asyncio.run(two()) == 503


def test_a_sender_that_goes_away_is_told_apart() -> None:
    """A disconnect while reading is no refusal, and what it held is given back."""
    bodies = Bodies(5.0, 10, 1000)

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(Disconnected):
        asyncio.run(read(bodies, scope_with(), gone))
    assert bodies.held == 0


@given(st.binary(max_size=500))
def test_gzip_is_unpacked(body: bytes) -> None:
    """What was packed comes out; without an encoding the body is as it came."""
    assert unpack(gzip.compress(body), b"gzip", 500) == body
    assert unpack(body, b"", 500) == body


def refused_unpack(body: bytes, encoding: bytes = b"gzip", limit: int = 1000) -> int:
    """The status that a packed body is refused with."""
    with pytest.raises(Refused) as refused:
        unpack(body, encoding, limit)
    return refused.value.answer.status


def test_a_gzip_bomb_is_refused_without_unpacking_it() -> None:
    """413 for a small body that would be large; only limit + 1 bytes are made."""
    bomb = gzip.compress(b"\0" * 10_000_000)
    assert len(bomb) < 20_000
    assert refused_unpack(bomb) == 413


def test_a_body_just_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    """The limit is inclusive."""
    assert len(unpack(gzip.compress(b"x" * 1000), b"gzip", 1000)) == 1000
    assert refused_unpack(gzip.compress(b"x" * 1001)) == 413


@pytest.mark.parametrize(
    "body",
    [
        b"no gzip",
        gzip.compress(b"cut short" * 20)[:-5],
        gzip.compress(b"one") + gzip.compress(b"two"),
        gzip.compress(b"one") + b"rest",
        zlib.compress(b"zlib, not gzip"),
    ],
    ids=["garbage", "truncated", "two members", "trailing bytes", "zlib"],
)
def test_what_is_not_one_whole_gzip_member_is_refused(body: bytes) -> None:
    """400, never a part of the body."""
    assert refused_unpack(body) == 400


def test_other_encodings_are_refused() -> None:
    """415 for an encoding that is not ours."""
    assert refused_unpack(b"", b"br") == 415


@pytest.mark.parametrize(
    ("method", "headers", "brings"),
    [
        ("GET", {}, False),
        ("HEAD", {"content_length": "0"}, False),
        ("GET", {"content_length": "00"}, False),
        ("GET", {"content_length": "12"}, True),
        ("GET", {"transfer_encoding": "chunked"}, True),
        ("POST", {}, True),
        ("POST", {"content_length": "0"}, False),
        ("POST", {"content_length": "x"}, True),
    ],
)
def test_whether_a_body_may_come(method: str, headers: dict[str, str], brings: bool) -> None:
    """Told before anything is read, so that an empty request is never among the held ones."""
    assert brings_body({**scope_with(**headers), "method": method}) is brings

"""Request bodies: read whole, capped, timed and bounded in number and in sum.

Flask behind a2wsgi sees an empty body when the length is not given, and a slow sender would hold
a worker: so nobody but this module reads from the network.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flagloop_server.edge.answers import Answer, Receive, Refused, Scope, error, header


class Disconnected(Exception):  # noqa: N818  (nobody is there to be told)
    """The sender went away before the body was whole."""


class Bodies:
    """All bodies that are being read or worked on: at most `number` of them and `total` bytes."""

    def __init__(self, seconds: float, number: int, total: int) -> None:
        self._seconds = seconds
        self._number = number
        self._total = total
        self.held = 0
        self.held_bytes = 0

    @asynccontextmanager
    async def read(self, scope: Scope, receive: Receive, limit: int) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the block ends.

        Raises Refused (400, 408, 413 or 503) and Disconnected.
        """
        declared = declared_length(scope)
        if declared is not None and declared > limit:
            raise Refused(too_large(limit))
        if self.held >= self._number:
            raise Refused(error(503, "too many requests at once", retry_after=1, close=True))
        parts: list[bytes] = []
        self.held += 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._collect(receive, limit, parts)
            except TimeoutError:
                message = f"the body did not arrive within {self._seconds:g} s"
                raise Refused(error(408, message, close=True)) from None
            body = b"".join(parts)
            parts[:] = [body]  # not the parts as well
            yield body
        finally:
            self.held -= 1
            self.held_bytes -= sum(map(len, parts))

    async def _collect(self, receive: Receive, limit: int, parts: list[bytes]) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise Refused(too_large(limit))
            if self.held_bytes + len(part) > self._total:
                raise Refused(error(503, "too many bytes at once", retry_after=1, close=True))
            self.held_bytes += len(part)
            parts.append(part)
            more = message.get("more_body", False)


def declared_length(scope: Scope) -> int | None:
    """The Content-Length; raises Refused (400) for one that is no number."""
    text = header(scope, b"content-length")
    if text is None:
        return None
    if not text.isdigit():
        raise Refused(error(400, "the Content-Length is no number", close=True))
    return int(text)


def brings_body(scope: Scope) -> bool:
    """Whether a body may come; a GET or HEAD has one only where its headers say so."""
    if header(scope, b"transfer-encoding") is not None:
        return True
    length = header(scope, b"content-length")
    return scope["method"] not in ("GET", "HEAD") if length is None else length.strip(b"0") != b""


def too_large(limit: int) -> Answer:
    """The answer for a body over `limit` bytes."""
    return error(413, f"the body is larger than {limit:,} bytes", close=True)


def unpack(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding (gzip or identity), at most `limit` bytes.

    Raises Refused: 413 above the limit (found without unpacking more), 400 for bytes that are not
    one whole gzip member, 415 for another encoding.
    """
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise Refused(error(415, "the Content-Encoding must be gzip or identity"))
    decoder = zlib.decompressobj(31)
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error:
        raise Refused(error(400, "the body is no gzip")) from None
    if len(plain) > limit or decoder.unconsumed_tail:
        raise Refused(error(413, f"the unpacked body is larger than {limit:,} bytes"))
    if not decoder.eof or decoder.unused_data:
        raise Refused(error(400, "the body is not one whole gzip member"))
    return plain

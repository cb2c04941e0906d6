"""One open stream of the server: bytes until it ends, cut by any thread.

It imports requests at once, so it must be imported first on a caller's thread (see `transport`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import requests
import urllib3

from flagloop.errors import TransportError
from flagloop.sync.transport import CHUNK, Answer, SilentError
from flagloop.sync.wire import Wire

if TYPE_CHECKING:
    from flagloop.sync.transport import Transport

PATH = "/api/v1/stream"
ERROR_BYTES = 4096


class Patience(NamedTuple):
    """Seconds to wait for a connection, for bytes up to the first frame, and for those after it.

    The server's first frame comes at once, and then one every ten seconds.
    """

    connect: float = 3.0
    first: float = 5.0
    silence: float = 25.0


class UnusableError(TransportError):
    """This path gives no stream; trying again soon would not help."""


class NoStreamError(UnusableError):
    """The server has no stream: it is an older one."""


class BufferedError(UnusableError):
    """Something between here and the server keeps the stream back."""


class Line:
    """One stream of the server: `open` and `read` by one thread, `cut` by any, `close` at last."""

    def __init__(self, transport: Transport, patience: Patience | None = None) -> None:
        self._transport = transport
        self._patience = patience or Patience()
        self._session: requests.Session | None = None
        self._response: requests.Response | None = None
        self._wire = Wire(transport.total)
        self._begun = False

    def open(self, revision: str | None) -> None:
        """Ask for the changes since `revision`; TransportError when no stream comes."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if revision:
            headers["Last-Event-ID"] = revision
        self._session = session = self._transport.new_session(self._wire)
        timeout = (self._patience.connect, self._patience.first)
        try:
            response = self._transport.begin(session, "GET", PATH, headers=headers, timeout=timeout)
        except SilentError:
            raise self._held_back() from None
        self._response = response
        if response.status_code != 200:
            self._refuse(response)
        kind = response.headers.get("Content-Type", "")
        if not kind.startswith("text/event-stream"):
            raise NoStreamError(f"{self._transport.url} has no stream but {kind[:40] or 'a page'}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise BufferedError(f"something before {self._transport.url} compresses the stream")

    def read(self) -> bytes:
        """The next bytes, at least one; TransportError when there are none any more.

        Of these a BufferedError says that no first frame came, a SilentError that no more bytes.
        """
        if self._response is None:
            raise TransportError("the stream is not open")
        # The whole never ends, but each part of it does, its chunk's frame too.
        self._wire.extend(self._patience.silence + self._transport.total)
        try:
            chunk: bytes = self._response.raw.read1(CHUNK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            failure = self._transport.failure(problem)
            if isinstance(failure, SilentError) and not self._begun:
                failure = self._held_back()
            raise failure from None
        if not chunk:
            raise TransportError(f"{self._transport.url} ended the stream")
        return chunk

    def heard(self) -> None:
        """A whole frame came, so nothing holds the stream back: bytes may take longer now."""
        if not self._begun:
            self._begun = True
            self._wire.patient(self._patience.silence)

    def cut(self) -> None:
        """End it from any thread, also one that holds anything: `open` and `read` raise at once.

        Only looking up the server's name cannot be cut; it has its own end.
        """
        self._wire.cut()

    def close(self) -> None:
        """Give everything back; `read` must not be called any more."""
        if self._response is not None:
            self._response.close()
        if self._session is not None:
            self._session.close()
        # urllib3 keeps the connection of an answer that was read to its end until its pool is
        # collected, which would never be: the connection knows this object, and this the pool.
        self._response = self._session = None

    def disown(self) -> None:
        """In a forked child: let go of the parent's connection without a word to the server."""
        self._wire.disown()

    def _refuse(self, response: requests.Response) -> None:
        try:
            # What is there at once: the reason is short, and the rest may drip.
            body = response.raw.read1(ERROR_BYTES, decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError):
            body = b""
        if response.status_code in (404, 405):
            raise NoStreamError(f"{self._transport.url} has no stream ({response.status_code})")
        self._transport.refuse(Answer(response.status_code, response.headers, body))
        raise TransportError(f"{self._transport.url}: answered {response.status_code}")

    def _held_back(self) -> BufferedError:
        return BufferedError(
            f"no stream from {self._transport.url} within {self._patience.first:g} s: "
            "something in between seems to buffer it"
        )

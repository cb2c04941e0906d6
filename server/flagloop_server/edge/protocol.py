"""HTTP/1.1 on one connection: uvicorn's, with limits on what a client may make the server hold."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flagloop_server.edge.stream import CONNECTION

LONGEST_HEAD = 64 * 1024
"""Bytes of a request's line and headers; what the parser holds before anybody can refuse it."""

MOST_AHEAD = 100
"""Requests that a client may send before it has the answers: each takes about 3 KB."""


def refusal(status: bytes) -> bytes:
    """An answer without a body that ends the connection."""
    return b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status


NO_HTTP = refusal(b"400 Bad Request")
TOO_LATE = refusal(b"408 Request Timeout")
TOO_LONG = refusal(b"431 Request Header Fields Too Large")


class Patience(NamedTuple):
    """Seconds until a connection is ended that waits for its client, looked for `every` so many.

    `request` is for a request's line and headers, `reader` for a reader that takes nothing.
    """

    request: float = 20.0
    reader: float = 60.0
    every: float = 5.0


Owed: TypeAlias = tuple[str, object]
"""What the client has to do next, and how far it is: equal while nothing happens."""


class Protocol(HttpToolsProtocol):
    """HTTP whose requests know their connection (see `stream.Connection`).

    Headers, the trailers of a chunked body, requests ahead of their answers and clients that take
    their time are bounded: uvicorn takes them without end.
    """

    _paused = False
    _unheard = 0
    """Bytes that came since the parser told of a whole head, a part of a body or their end."""
    _ahead: tuple[Any, ...] = ()
    """Requests in work or in line, but for the last one; kept only where a client sends ahead."""
    _owed: Owed | None = None
    _since = 0.0

    def data_received(self, data: bytes) -> None:
        """Parse what came; end a connection that brings nothing but headers."""
        self._unheard += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._go_on(memoryview(data)[upgrade.args[0] :])
        except HttpParserError:
            self._refuse(NO_HTTP)
        if self._unheard > LONGEST_HEAD:
            self._refuse(TOO_LONG)

    def _should_upgrade(self) -> bool:
        # The parser takes what follows such a head for another protocol: `_go_on` mends that.
        return True

    def _go_on(self, rest: memoryview) -> None:
        """There is no other protocol here, so Upgrade means nothing and the body is a body.

        Else it would be lost, or taken for the next request.
        """
        while self.parser.get_method() != b"CONNECT":
            head = self._plain_head()
            self.parser = HttpRequestParser(self)
            # As uvicorn's: what comes after the last request does not cost that one its answer.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            try:
                self.parser.feed_data(head)
                self.parser.feed_data(rest)
                return
            except HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except HttpParserError:
                break
        self._refuse(NO_HTTP)

    def _plain_head(self) -> bytes:
        """The head of this request without a wish for another protocol."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            words = value.split(b",")
            if name == b"connection":
                words = [word for word in words if word.strip().lower() != b"upgrade"]
            if name != b"upgrade":
                lines.append(b"%b: %b" % (name, b",".join(words)))
        return b"\r\n".join([*lines, b"", b""])

    def on_headers_complete(self) -> None:
        """Hand the request to the application, with its connection."""
        self._unheard = 0
        extensions: dict[str, dict[object, object]] = {CONNECTION: {"is": self}}
        self.scope["extensions"] = extensions
        before = self.cycle
        super().on_headers_complete()
        if self.pipeline and self.cycle is not before:
            self._line_up(before)

    def _line_up(self, before: Any) -> None:
        """Another request came before the answer to the one `before` it was whole."""
        both = (*self._ahead, before)
        self._ahead = tuple(one for one in both if not one.response_complete)
        if len(self._ahead) > MOST_AHEAD:
            raise HttpParserError("too many requests ahead of their answers")

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._unheard = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._unheard = 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that is in work: uvicorn tells the last one only."""
        for one in self._ahead:
            one.disconnected = True
            one.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The reader is behind."""
        self._paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        self._paused = False
        super().resume_writing()

    def write(self, chunk: bytes) -> bool:
        """Write it unless the reader is behind or gone."""
        if self._paused or self.transport.is_closing():
            return False
        self.transport.write(chunk)
        return True

    def abort(self) -> None:
        """Drop the connection with what waits to be written."""
        self.transport.abort()

    def look(self, now: float, patience: Patience) -> None:
        """End the connection if its client has done nothing of what it has to do for too long.

        Called for all connections at once from time to time, so that a request costs no timer.
        """
        owed = self._what_is_owed()
        if owed is None or owed != self._owed:
            self._owed, self._since = owed, now
        elif owed[0] == "read":
            if now - self._since >= patience.reader:
                self.abort()  # a close would wait for the reader
        elif now - self._since >= patience.request:
            if self._unheard:
                self.transport.write(TOO_LATE)
            self.transport.close()

    def _what_is_owed(self) -> Owed | None:
        if self._paused or self.transport.is_closing():
            return "read", self.transport.get_write_buffer_size()
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.timeout_keep_alive_task is not None:
            return None
        return "ask", self.cycle

    def _refuse(self, answer: bytes) -> None:
        if self.transport.is_closing():
            return
        now = self.cycle
        if self.pipeline or (
            now is not None and now.response_started and not now.response_complete
        ):
            self.abort()  # in the middle of an answer nothing else can be said
            return
        self.transport.write(answer)
        self.transport.close()

"""uvicorn with our own stop: streams and waiting readers must not hold the process."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flagloop_server.edge.answers import ASGIApp
from flagloop_server.edge.stream import CONNECTION

LONGEST_HEAD = 64 * 1024
"""Bytes of a request's line and headers; what the parser holds before anybody can refuse it."""

TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Protocol(HttpToolsProtocol):
    """HTTP whose requests know their connection (see `stream.Connection`).

    Headers, and the trailers of a chunked body, are bounded: uvicorn takes them without end.
    """

    _paused = False
    _unheard = 0
    """Bytes that came since the parser told of a whole head, a part of a body or their end."""

    def data_received(self, data: bytes) -> None:
        """Parse what came; end a connection that brings nothing but headers."""
        self._unheard += len(data)
        super().data_received(data)
        if self._unheard > LONGEST_HEAD and not self.transport.is_closing():
            if self.cycle is not None and not self.cycle.response_complete:
                self.abort()  # in the middle of an answer nothing else can be said
                return
            self.transport.write(TOO_LONG)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, with its connection."""
        self._unheard = 0
        extensions: dict[str, dict[object, object]] = {CONNECTION: {"is": self}}
        self.scope["extensions"] = extensions
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._unheard = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._unheard = 0
        super().on_message_complete()

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


class Server(uvicorn.Server):
    """Serves `app` until SIGTERM or SIGINT; a second signal does not wait for requests.

    `stopping` is called once on the loop when the first signal comes, before connections are
    closed; `ready` once when connections are accepted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        stop_seconds: int,
        ready: Callable[[], None],
        stopping: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                log_config=None,
                access_log=False,
                proxy_headers=False,  # the bridge does it: only pages and the API need it
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=stop_seconds,
                ws="none",
            )
        )
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then tell."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Own handlers: uvicorn's would raise the signal again, so that the exit code is not 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Stop gracefully; called again: at once."""
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = True
        self._stopping()


def allow_many_files() -> None:
    """Take as many open files as the system lets this process have: each stream is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a sandbox may say no: then as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)

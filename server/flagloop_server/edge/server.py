"""uvicorn with our own stop: streams and waiting readers must not hold the process."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn

from flagloop_server.edge.answers import ASGIApp
from flagloop_server.edge.protocol import Patience, Protocol


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
        patience: Patience = Patience(),  # noqa: B008 - immutable
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
        self._patience = patience
        self._looked = time.monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then tell."""
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: now and then look at every connection (2 ms for a thousand)."""
        now = time.monotonic()
        if now - self._looked >= self._patience.every:
            self._looked = now
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
                    connection.look(now, self._patience)
        return await super().on_tick(counter)

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

"""The connections of a session, which any thread can cut.

It imports requests at once, so it must be imported first on a caller's thread (see `transport`).
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import os
import socket
import sys
import time
from typing import Any

import requests
import requests.adapters
import urllib3
from urllib3.util.connection import allowed_gai_family

_good: dict[tuple[str, int], Any] = {}
"""Of each host and port that a connection was made to, the latest good address."""

LIMIT = 30.0
"""Seconds for an answer: a time limit for each packet alone lets it drip for hours."""


class Wire:
    """What a session's requests go through: `cut` ends all of them, also those that connect.

    Only looking up a server's name cannot be cut; it has its own end. Who cannot wait for that
    can `hurry`.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        """Each answer comes within `limit` seconds."""
        self.limit = limit
        self.reading: _InTime | None = None
        self._hurries = False
        self._sockets: list[socket.socket] = []
        self._last: Any = None
        self._cut = False

    def carry(self, session: requests.Session) -> None:
        """Let the requests of `session` go through this."""
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter(self))

    @property
    def gone(self) -> bool:
        """Whether it was cut: no request gets through any more."""
        return self._cut

    def cut(self) -> None:
        """End every request from any thread, also one that holds anything: they raise at once."""
        self._cut = True
        for one in tuple(self._sockets):
            with contextlib.suppress(OSError):
                # Not TLS's own `shutdown`, which takes away what another thread is reading by.
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def hurry(self, seconds: float) -> None:
        """From now on wait `seconds` for an answer, and look no name up: connect to where this
        process was connected last.
        """
        self.limit = seconds
        self._hurries = True

    def look_up(self, host: str, port: int) -> list[Any]:
        """The addresses of a server, as `socket.getaddrinfo` gives them."""
        if self._hurries:
            return [_good[host, port]] if (host, port) in _good else []
        return socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)

    def patient(self, seconds: float) -> None:
        """From now on the latest connection may be silent for `seconds`."""
        with contextlib.suppress(OSError):
            self._last.settimeout(seconds)

    def extend(self, seconds: float) -> None:
        """The latest answer may go on for `seconds` from now."""
        if self.reading is not None:
            self.reading.until = time.monotonic() + seconds

    def disown(self) -> None:
        """In a forked child: let go of the parent's connections without a word to the server."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                os.close(one.detach())
        self._sockets = []

    def opened(self, connection: Any) -> None:
        """A connection began."""
        self._last = connection
        # TLS through a proxy that is spoken to by TLS is no socket, but has one.
        one = getattr(connection, "socket", connection)
        for old in tuple(self._sockets):
            if old.fileno() < 0:
                with contextlib.suppress(ValueError):  # another thread was faster
                    self._sockets.remove(old)
        if isinstance(one, socket.socket):
            self._sockets.append(one)
        if self._cut:
            self.cut()


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes connections that their wire knows."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The pool for a request, as always, but of such connections."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _cuttable(pool.ConnectionCls)
        pool.conn_kw["wire"] = self._wire
        return pool


class _Answer(http.client.HTTPResponse):
    """An answer that must come in time, however its bytes are spread."""

    fp: Any

    def __init__(self, wire: Wire, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        wire.reading = reading = _InTime(self.fp.detach(), time.monotonic() + wire.limit)
        self.fp = io.BufferedReader(reading)


class _InTime(io.RawIOBase):
    """Gives the packets of an answer, looking at the time before each."""

    def __init__(self, raw: Any, until: float) -> None:
        self._raw = raw
        self.until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        if time.monotonic() > self.until:
            raise TimeoutError("the answer does not end")
        return self._raw.readinto(buffer)

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Cuttable:
    """A connection whose socket its wire knows from before it is connected."""


@functools.cache
def _cuttable(kind: type[Any]) -> type[Any]:
    """Such a kind of connection, once for each kind there is: a class is dear."""
    if issubclass(kind, _Cuttable):
        return kind
    # A connection through SOCKS has a way of its own, and is known when it is there.
    direct = kind._new_conn is urllib3.connection.HTTPConnection._new_conn

    class Connection(_Cuttable, kind):  # type: ignore[misc]
        def __init__(self, *args: Any, wire: Wire, **options: Any) -> None:
            self._wire = wire
            self._stub: socket.socket | None = None
            super().__init__(*args, **options)
            self.response_class = functools.partial(_Answer, wire)

        def connect(self) -> None:
            try:
                super().connect()
                self._wire.opened(self.sock)
            finally:
                if self._stub is not None:
                    self._stub.close()
                    self._stub = None

        def _new_conn(self) -> Any:
            return _dialled(self) if direct else super()._new_conn()

    return Connection


def _dialled(connection: Any) -> socket.socket:
    """As urllib3's `HTTPConnection._new_conn`, but each socket is known before it connects."""
    host, port = connection._dns_host.strip("[]"), connection.port
    errors = urllib3.exceptions
    try:
        found = connection._wire.look_up(host, port)
    except socket.gaierror as problem:
        raise errors.NameResolutionError(connection.host, connection, problem) from problem
    failure = OSError("the name has no address")
    for way in found:
        if connection._wire.gone:
            break
        family, kind, protocol, _, address = way
        try:
            one = _connected(connection, socket.socket(family, kind, protocol), address)
        except OSError as problem:
            failure = problem
            continue
        _good[host, port] = way
        sys.audit("http.client.connect", connection, connection.host, port)
        return one
    if isinstance(failure, TimeoutError):
        raise errors.ConnectTimeoutError(connection, f"no connection to {host}") from failure
    raise errors.NewConnectionError(connection, f"no connection: {failure}") from failure


def _connected(connection: Any, one: socket.socket, address: Any) -> socket.socket:
    try:
        for option in connection.socket_options or ():
            one.setsockopt(*option)
        one.settimeout(connection.timeout)
        # A second handle: TLS takes the first one away and gives it back when it has shaken hands.
        if connection._stub is not None:
            connection._stub.close()
        connection._stub = one.dup()
        connection._wire.opened(connection._stub)
        one.connect(address)
    except OSError:
        one.close()
        raise
    return one

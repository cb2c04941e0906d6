"""A real server on the loopback whose answers a test writes itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Loopback:
    """`answer(handler)` writes each answer; `seen` holds (method, path, headers, body)."""

    url: str
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: handler.send_error(500)
    released: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)

    def body(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer every request with this body."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.answer = answer

    def raw(self, *parts: bytes, hang: bool = False) -> None:
        """Answer with these bytes as they are; with `hang` keep the connection open then."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.close_connection = True
            for part in parts:
                handler.wfile.write(part)
                handler.wfile.flush()
            if hang:
                self.released.wait(20)

        self.answer = answer


class Server(ThreadingHTTPServer):
    """A server whose clients may hang up on it."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, but that a client that gave up is gone is what tests want."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A running loopback server."""
    server = Server(("127.0.0.1", 0), BaseHTTPRequestHandler)
    place = Loopback(f"http://127.0.0.1:{server.server_address[1]}")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            place.seen.append((self.command, self.path, dict(self.headers), body))
            try:
                place.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            place.answered.set()

        do_GET = do_POST = handle_one

        def log_message(self, *args: Any) -> None:
            """Tests are quiet."""

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield place
    place.released.set()
    server.shutdown()
    server.server_close()
    thread.join(5)

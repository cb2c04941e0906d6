"""HTTP servers on the loopback whose every answer a test writes, byte by byte if need be."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Request(BaseHTTPRequestHandler):
    """One request, its `body` read; answers are written to it."""

    protocol_version = "HTTP/1.1"
    body = b""

    def log_message(self, *args: Any) -> None:
        """Tests are quiet."""


class Server(ThreadingHTTPServer):
    """A server whose clients may hang up on it."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, but that a client that gave up is gone is what tests want."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(answer: Callable[[Request], None]) -> Iterator[str]:
    """The URL of a server that answers every request so while the block runs."""

    class Handler(Request):
        def handle_one(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                answer(self)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = handle_one

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def plainly(request: Request, body: bytes, status: int = 200, **more: str) -> None:
    """A whole answer; `_` in the name of a header is `-`."""
    request.send_response(status)
    for name, value in more.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def begin(request: Request, status: int = 200, **more: str) -> None:
    """The head of a stream, as the server sends it."""
    request.close_connection = True
    request.send_response(status)
    told = {"Content-Type": "text/event-stream", "Connection": "close"}
    told |= {name.replace("_", "-"): value for name, value in more.items()}
    for name, value in {**told, "Transfer-Encoding": "chunked"}.items():
        request.send_header(name, value)
    request.end_headers()


def send(request: Request, data: bytes) -> None:
    """One chunk; an empty one is the end."""
    request.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
    request.wfile.flush()

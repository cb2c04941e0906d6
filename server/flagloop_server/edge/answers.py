"""Small answers of the edge itself: status, headers and bytes, sent by ASGI messages."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
NO_STORE = (b"cache-control", b"no-store")
CLOSE = (b"connection", b"close")

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_encoding",
    429: "too_many_requests",
    503: "unavailable",
}


class Answer(NamedTuple):
    """One whole answer."""

    status: int
    headers: Headers
    body: bytes = b""


class Refused(Exception):  # noqa: N818  (a refusal is an answer, not an error of the program)
    """This request gets `answer` and nothing else happens."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(f"refused with {answer.status}")


def json_answer(status: int, value: object, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """`value` as JSON, never stored by a cache."""
    body = json.dumps(value, separators=(",", ":")).encode()
    length = (b"content-length", str(len(body)).encode())
    return Answer(status, [JSON, length, NO_STORE, *headers], body)


def error(
    status: int, message: str, *, retry_after: int | None = None, close: bool = False
) -> Answer:
    """The JSON error of `status`; `retry_after` is in seconds, `close` ends the connection."""
    headers: Headers = []
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="flagloop"'))
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    if close:
        headers.append(CLOSE)
    return json_answer(status, {"error": {"code": CODES[status], "message": message}}, headers)


async def reply(send: Send, answer: Answer) -> None:
    """Send one whole answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that (lower-case) name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None

"""HTTP to a flagloop server: one ruleset in, batches of events out, nothing else.

Every failure is a TransportError that says what to do; the key is in no message.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from flagloop import __version__
from flagloop.document.schema import SECTIONS
from flagloop.errors import ConfigError, TransportError

if TYPE_CHECKING:
    import requests

    from flagloop.sync.wire import Wire

RULESET_LIMIT = 32 * 1024 * 1024
"""Bytes of a ruleset after decompression: a document is at most 4 MB, so more is garbage."""
ANSWER_LIMIT = 1024 * 1024
COMPRESS_OVER = 1024
RETRY_AFTER_LIMIT = 86_400.0
CHUNK = 65_536
TOO_SLOW = "no answer in time"
RULESET = "/api/v1/ruleset"
INSTANCE = "X-Flagloop-Instance"
SDK = f"flagloop-python/{__version__}"


class Reply(NamedTuple):
    """The server's answer about its ruleset: `mapping` and `body` are None when unchanged."""

    mapping: dict[str, Any] | None
    body: bytes | None
    etag: str | None


class Answer(NamedTuple):
    """Any answer of the server, its body decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Session(NamedTuple):
    """Connections of one process, and what cuts them."""

    pid: int
    http: requests.Session
    wire: Wire


class SilentError(TransportError):
    """The server took the request and then said nothing in time."""


class Transport:
    """Requests to the server at `url` in the name of `key`; threads may share one.

    `instance` gives what names this process to the server: its id, host and pid; `interval` is its
    pause between two polls, where that is its own. `timeout` is (connecting, silence between two
    packets) and `total` the whole exchange, all in seconds.
    Raises ConfigError for a url or key that cannot work.
    """

    def __init__(
        self,
        url: str,
        key: str,
        instance: Callable[[], Mapping[str, Any]] | None = None,
        *,
        timeout: tuple[float, float] = (3.0, 10.0),
        total: float = 30.0,
        interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _import_ahead()
        self.url = checked_url(url)
        self.instance = instance
        self._key = checked_key(key)
        self._timeout = timeout
        self.total = total
        self._interval = interval
        self._clock = clock
        self._reports: Session | None = None
        self._polls: Session | None = None
        self._deaf = False
        self._introduced = 0

    @property
    def identity(self) -> str:
        """A hash (hex) of url and key, to name what belongs to them without showing the key."""
        import hashlib

        return hashlib.sha256(f"{self.url}\n{self._key}".encode()).hexdigest()

    def ruleset(self, etag: str | None = None) -> Reply:
        """The ruleset, or an empty reply when it still is the one that `etag` names.

        Raises TransportError for no answer, a slow, huge or wrong one.
        """
        headers = {"If-None-Match": etag} if etag else {}
        if self._polls is None or self._polls.pid != os.getpid():
            self._polls = self._session()
        session = self._polls
        if self._deaf:  # `cut` sets this first and then looks for a session
            session.wire.cut()
        answer = self._exchange(session, "GET", RULESET, headers=headers, limit=RULESET_LIMIT)
        if answer.status == 304 and etag:
            return Reply(None, None, etag)
        self.refuse(answer)
        mapping = ruleset_mapping(answer.body, self.url)
        return Reply(mapping, answer.body, answer.headers.get("ETag"))

    def confirm(self, revision: str) -> None:
        """Tell the server that `revision` is in force here; TransportError if nobody heard it.

        A poll that takes no body: the cheapest thing that a server answers.
        """
        self._tell({"If-None-Match": f'"{revision}"'}, (3.0, 5.0))

    def farewell(self, seconds: float) -> None:
        """Tell the server that this process leaves, unless it never spoke to it.

        TransportError when nobody heard it within about `seconds`. It looks up no name, for which
        nothing sets a time limit: who never was connected has said nothing that needs a goodbye.
        """
        if self.instance and self._introduced == os.getpid():
            self._reporting().wire.hurry(seconds)
            said = f"{introduction(self.instance(), self._interval)}; leaves"
            self._tell({INSTANCE: said}, (seconds, seconds))

    def _tell(self, headers: Mapping[str, str], timeout: tuple[float, float]) -> None:
        session = self._reporting().http
        with self.begin(session, "HEAD", RULESET, headers=headers, timeout=timeout):
            pass

    def post_events(self, batch: bytes) -> dict[str, Any]:
        """Deliver one batch (its JSON); the answer: accepted, duplicate, rejected.

        Raises TransportError.
        """
        headers = {"Content-Type": "application/json"}
        data = batch
        if len(data) > COMPRESS_OVER:
            # Level 1: these bytes are made on the application's CPU.
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            data = packer.compress(data) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        answer = self.exchange("POST", "/api/v1/events", data=data, headers=headers)
        self.refuse(answer)
        # Any JSON object is a receipt: sinks that only count do not say what they accepted.
        return json_object(answer.body, self.url)

    def exchange(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """One request, answered with any status; TransportError when no whole answer came.

        A body of more than `limit` bytes after decompression is no answer.
        """
        session = self._reporting()
        return self._exchange(session, method, path, data=data, headers=headers, limit=limit)

    def cut(self) -> None:
        """End a `ruleset` that is under way, from any thread, and let no other one begin.

        Takes no lock and waits for nothing.
        """
        self._deaf = True
        polls = self._polls
        if polls is not None and polls.pid == os.getpid():
            polls.wire.cut()

    def close(self) -> None:
        """Close the connections, also those in use; a later request opens new ones."""
        for one in (self._reports, self._polls):
            if one is not None and one.pid == os.getpid():
                one.wire.cut()
                one.http.close()
        self._reports = self._polls = None

    def _exchange(
        self, session: Session, method: str, path: str, *, limit: int, **request: Any
    ) -> Answer:
        deadline = self._clock() + self.total
        with self.begin(session.http, method, path, **request) as response:
            body = self._body(response, limit, deadline)
            return Answer(response.status_code, response.headers, body)

    def begin(
        self,
        session: requests.Session,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout: tuple[float, float] | None = None,
    ) -> requests.Response:
        """The head of an answer, its body still to be read; TransportError when none came."""
        import requests
        import urllib3

        # urllib3's own errors come through for a host name that cannot be one.
        failures = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError)
        try:
            return session.request(
                method,
                self.url + path,
                headers=dict(headers or {}),
                data=data,
                timeout=timeout or self._timeout,
                stream=True,
                allow_redirects=False,
            )
        except failures as problem:
            raise self.failure(problem) from None

    def failure(self, problem: BaseException) -> TransportError:
        """What an exception of requests or urllib3 means."""
        reason = _reason(problem)
        kind = SilentError if reason == TOO_SLOW else TransportError
        return kind(f"{self.url}: {reason}")

    def _reporting(self) -> Session:
        """This process's session: a child must never write into its parent's connections."""
        reports = self._reports
        if reports is None or reports.pid != os.getpid():
            self._reports = reports = self._session()
        return reports

    def _session(self) -> Session:
        from flagloop.sync.wire import Wire

        wire = Wire(self.total)
        return Session(os.getpid(), self.new_session(wire), wire)

    def new_session(self, wire: Wire) -> requests.Session:
        """A session that speaks in the name of the key and of this process, through `wire`."""
        import requests

        session = requests.Session()
        wire.carry(session)
        # An auth object, not a header: a ~/.netrc entry for the host would replace the header.
        session.auth = Bearer(self._key)
        session.headers["User-Agent"] = SDK
        session.headers["Accept"] = "application/json"
        if self.instance:
            session.headers[INSTANCE] = introduction(self.instance(), self._interval)
            self._introduced = os.getpid()
        return session

    def _body(self, response: requests.Response, limit: int, deadline: float) -> bytes:
        """The decoded body, or TransportError when it is over `limit` or takes too long."""
        import urllib3

        parts: list[bytes] = []
        size = 0
        try:
            while part := response.raw.read1(CHUNK, decode_content=True):
                parts.append(part)
                size += len(part)
                if size > limit:
                    response.close()
                    raise TransportError(f"{self.url} sent more than {limit} bytes")
                if self._clock() > deadline:
                    response.close()
                    raise TransportError(f"{self.url} did not finish within {self.total:g} s")
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            response.close()
            raise self.failure(problem) from None
        return b"".join(parts)

    def refuse(self, answer: Answer) -> None:
        """Raise TransportError for every status but 200 to 299."""
        if 200 <= answer.status < 300:
            return
        text = status_text(answer)
        said = error_message(answer.body) if answer.status != 401 else None
        if said and answer.status == 404:
            text = "answered 404"  # nobody but a flagloop server says why
        raise TransportError(
            f"{self.url}: {text}" + (f" ({said})" if said else ""),
            answer.status,
            retry_after(answer.headers),
        )


class Bearer:
    """The Authorization header; its repr does not show the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with its header."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def introduction(instance: Mapping[str, Any], interval: float | None = None) -> str:
    """The header by which the server knows a process: ASCII, `id; host=...; pid=...; sdk=...`.

    With `; interval=...` (seconds) the server does not miss it between two polls.
    """
    host = quote(str(instance.get("host", "")))
    said = f"{instance['id']}; host={host}; pid={instance.get('pid', 0)}; sdk={quote(SDK)}"
    return said if interval is None else f"{said}; interval={interval:g}"


def checked_url(url: str) -> str:
    """The server's address without a closing slash; ConfigError says what is wrong with it."""
    try:
        parts = urlsplit(url.strip())
        fine = parts.scheme in ("http", "https") and parts.port != 0 and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine:
        # What holds a password, or is the key in its place, must not get into a log.
        secret = any(sign in url for sign in ("@", "?", "fl_"))
        shown = "" if secret else f", not {url!r}"
        raise ConfigError(f"the server's url must be like https://flags.example.com{shown}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the server's url must not hold a user or password; pass the key as key")
    if parts.query or parts.fragment:
        raise ConfigError("the server's url must have no '?' or '#' part; pass the key as key")
    return url.strip().rstrip("/")


def checked_key(key: str) -> str:
    """The key without surrounding white space; ConfigError (which never shows it) otherwise."""
    key = key.strip()
    if not key:
        raise ConfigError("the key is empty; set FLAGLOOP_KEY or pass key=")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the key holds characters that no flagloop key has; copy it again")
    return key


def json_object(body: bytes, place: str) -> dict[str, Any]:
    """The JSON object that `body` is, else TransportError."""
    try:
        answer = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        start = body[:40].decode("utf-8", "replace")
        raise TransportError(f"{place} sent no JSON but {start!r}; is it flagloop?") from None
    if not isinstance(answer, dict):
        raise TransportError(f"{place} sent a JSON {type(answer).__name__}, not an object")
    return answer


def ruleset_mapping(body: bytes, place: str) -> dict[str, Any]:
    """The snapshot in `body` (DESIGN's wire form, format 1), else TransportError."""
    mapping = json_object(body, place)
    version = mapping.get("format")
    if version != 1 or isinstance(version, bool):
        raise TransportError(
            f"{place} sent format {version!r}, this SDK reads format 1; "
            "update flagloop if the server is newer"
        )
    revision = mapping.get("revision")
    if not isinstance(revision, str) or not revision.isascii() or not revision.isprintable():
        raise TransportError(f"{place} sent a ruleset without a revision")
    if not revision or not isinstance(mapping.get("flags"), dict):
        raise TransportError(f"{place} sent a ruleset without flags")
    for section in SECTIONS:
        # Said here, so that no ruleset is kept on disk with which no client could start.
        if not isinstance(mapping.get(section, {}), dict):
            raise TransportError(f"{place} sent a ruleset whose `{section}` is no mapping")
    return mapping


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from Retry-After (a number or an HTTP date), None without a usable one."""
    text = headers.get("Retry-After", "")
    if text.strip().isdecimal():
        return min(float(text), RETRY_AFTER_LIMIT)
    until = _instant(text)
    if until is None:
        return None
    # By the server's own clock, which may be a day off.
    now = _instant(headers.get("Date", "")) or time.time()
    return min(max(until - now, 0.0), RETRY_AFTER_LIMIT)


def _instant(date: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def error_message(body: bytes) -> str | None:
    """`error.message` of the server's JSON error, cut to 200 characters; None without one."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return message[:200] if isinstance(message, str) else None


def status_text(answer: Answer) -> str:
    """What a status that is no success means, with the mend where there is one."""
    status, location = answer.status, answer.headers.get("Location")
    if status == 401:
        return "key revoked or unknown (401); make one with 'flagloop keys create'"
    if status == 403:
        return "this kind of key may not do that (403)"
    if status == 404:
        return "no flagloop server at this url (404)"
    # A sign-in page gets more told than belongs into a log.
    place = (location or "").partition("?")[0].partition("/api/v1/")[0][:200]
    if 300 <= status < 400 and place:
        return f"redirects to {place} ({status}); use that url"
    return f"answered {status}"


def _reason(problem: BaseException) -> str:
    """A short reason for a failed request, from deep inside the wrapped exceptions."""
    import requests
    import urllib3

    if isinstance(problem, requests.exceptions.SSLError):
        return f"no trusted TLS connection: {_innermost(problem)}"
    if isinstance(problem, requests.exceptions.ConnectTimeout):
        return "no connection in time"
    slow = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    if isinstance(problem, slow):
        return TOO_SLOW
    return f"no answer: {_innermost(problem)}"


def _innermost(problem: BaseException) -> str:
    for _ in range(8):
        wrapped = next((arg for arg in problem.args if isinstance(arg, BaseException)), None)
        inner = getattr(problem, "reason", None) or wrapped or problem.__cause__
        if not isinstance(inner, BaseException):
            break
        problem = inner
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return (text or type(problem).__name__)[:200]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _import_ahead() -> None:
    """Import on the caller's thread all that a request needs.

    A first import inside a worker thread, with a fork in between, leaves a child with a
    half-imported module and no deliveries.
    """
    import importlib

    for name in ("flagloop.sync.wire", "email.utils", "encodings.idna", "ssl"):
        importlib.import_module(name)

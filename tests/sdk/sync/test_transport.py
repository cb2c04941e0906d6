"""HTTP: what is sent, what is taken, and that everything else is a TransportError."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import zlib
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
import responses

from flagloop.errors import ConfigError, TransportError
from flagloop.sync import transport as module
from flagloop.sync.transport import Transport
from flagloop.sync.wire import Wire

KEY = "fl_srv_secret0123456789"
SNAPSHOT = {"format": 1, "revision": "k3x9.8", "environment": "production", "flags": {}}
BODY = json.dumps(SNAPSHOT).encode()
INSTANCE = {"id": "i-1", "host": "web 7;ü", "pid": 42}


IMPATIENT = (60.0, 0.2)
"""For servers that never answer; those that do may be on a machine that is busy."""


def quick(url: str, **more: Any) -> Transport:
    """A transport of our instance."""
    return Transport(url, KEY, lambda: INSTANCE, **{"timeout": (60.0, 60.0), **more})


def test_a_ruleset_is_asked_for_with_key_and_instance(loopback: Any) -> None:
    """The request carries the bearer key, the instance, and no If-None-Match at first."""
    loopback.body(BODY, ETag='"k3x9.8"')
    reply = quick(loopback.url).ruleset()
    assert reply.mapping == SNAPSHOT
    assert reply.body == BODY
    assert reply.etag == '"k3x9.8"'
    method, path, headers, _ = loopback.seen[0]
    assert (method, path) == ("GET", "/api/v1/ruleset")
    assert headers["Authorization"] == f"Bearer {KEY}"
    said = "i-1; host=web%207%3B%C3%BC; pid=42; sdk=flagloop-python/"
    assert headers["X-Flagloop-Instance"].startswith(said)
    assert "If-None-Match" not in headers


def test_a_long_pause_between_polls_is_told(loopback: Any) -> None:
    """So that nobody calls a process stale that only pauses; the goodbye says it too."""
    loopback.raw(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    transport = quick(loopback.url, interval=90.0)
    transport.confirm("k3x9.8")
    transport.farewell(60.0)
    said = [headers["X-Flagloop-Instance"] for _, _, headers, _ in loopback.seen]
    assert said[0].endswith("; interval=90")
    assert said[1] == f"{said[0]}; leaves"


def test_an_unchanged_ruleset_is_an_empty_reply(loopback: Any) -> None:
    """A 304 for our ETag has no mapping."""
    loopback.body(b"", 304)
    reply = quick(loopback.url).ruleset('"k3x9.8"')
    assert reply == (None, None, '"k3x9.8"')
    assert loopback.seen[0][2]["If-None-Match"] == '"k3x9.8"'


def test_a_304_nobody_asked_for_is_refused(loopback: Any) -> None:
    """Without an ETag there is nothing that could be unchanged."""
    loopback.body(b"", 304)
    with pytest.raises(TransportError, match="304"):
        quick(loopback.url).ruleset()


def test_a_path_before_the_api_is_kept(loopback: Any) -> None:
    """A server behind a prefix is reached under that prefix."""
    loopback.body(BODY)
    quick(loopback.url + "/flags/").ruleset()
    assert loopback.seen[0][1] == "/flags/api/v1/ruleset"


def test_a_compressed_ruleset_is_read(loopback: Any) -> None:
    """Gzip is decoded."""
    loopback.body(gzip.compress(BODY), Content_Encoding="gzip")
    assert quick(loopback.url).ruleset().mapping == SNAPSHOT


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>login</html>", "no JSON"),
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"format": NaN}', "no JSON"),
        (b"[1]", "JSON list"),
        (b"null", "JSON NoneType"),
        (b'{"format": 2, "revision": "a.1", "flags": {}}', "format 2"),
        (b'{"format": true, "revision": "a.1", "flags": {}}', "format True"),
        (b'{"revision": "a.1", "flags": {}}', "format None"),
        (b'{"format": 1, "flags": {}}', "without a revision"),
        (b'{"format": 1, "revision": "", "flags": {}}', "without flags"),
        (b'{"format": 1, "revision": "a\\r\\nX: y", "flags": {}}', "without a revision"),
        (b'{"format": 1, "revision": "a.1", "flags": []}', "without flags"),
        (b'{"format": 1, "revision": "a.1"}', "without flags"),
    ],
)
def test_garbage_is_a_transport_error(loopback: Any, body: bytes, says: str) -> None:
    """Whatever is no snapshot of format 1 is refused and named."""
    loopback.body(body)
    with pytest.raises(TransportError, match=says):
        quick(loopback.url).ruleset()


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "key revoked or unknown"),
        (403, "kind of key"),
        (404, "no flagloop server"),
        (429, "answered 429"),
        (500, "answered 500"),
        (204, "no JSON"),
    ],
)
def test_a_status_is_an_error_with_its_number(loopback: Any, status: int, says: str) -> None:
    """The status is kept and said in words; the key is in no message."""
    loopback.body(b"", status)
    with pytest.raises(TransportError, match=says) as caught:
        quick(loopback.url).ruleset()
    assert caught.value.status == (None if status == 204 else status)
    assert KEY not in str(caught.value)


def test_the_servers_own_words_are_passed_on(loopback: Any) -> None:
    """`error.message` of a JSON error is added."""
    loopback.body(b'{"error": {"code": "x", "message": "the disk is full"}}', 500)
    with pytest.raises(TransportError, match="the disk is full"):
        quick(loopback.url).ruleset()


def test_a_404_that_says_why_is_a_flagloop_servers(loopback: Any) -> None:
    """An archived environment is no wrong url."""
    loopback.body(b'{"error": {"code": "x", "message": "the environment is archived"}}', 404)
    with pytest.raises(TransportError, match="archived") as caught:
        quick(loopback.url).ruleset()
    assert "no flagloop server" not in str(caught.value)


def test_a_redirect_is_not_followed(loopback: Any) -> None:
    """The key goes to no other place than the one that was named."""
    loopback.body(b"", 302, Location="http://elsewhere.test/x/api/v1/ruleset?token=secret")
    with pytest.raises(TransportError) as caught:
        quick(loopback.url).ruleset()
    assert len(loopback.seen) == 1
    # The message names what can be configured, and no more.
    assert "redirects to http://elsewhere.test/x (302); use that url" in str(caught.value)


@pytest.mark.parametrize(("status", "where"), [(304, {}), (308, {"Location": "/api/v1/ruleset/"})])
def test_what_leads_to_no_other_url_names_none(
    loopback: Any, status: int, where: dict[str, str]
) -> None:
    """An "unchanged" that nobody asked for, or the same place written otherwise."""
    loopback.body(b"", status, **where)
    with pytest.raises(TransportError, match=rf"answered {status}$"):
        quick(loopback.url).ruleset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999999", module.RETRY_AFTER_LIMIT),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    """Both forms of RFC 9110 are read, nonsense is none."""
    assert module.retry_after({} if text is None else {"Retry-After": text}) == seconds


def test_retry_after_reads_a_date_to_come() -> None:
    """A date in the future is the time until then."""
    seconds = module.retry_after({"Retry-After": formatdate(time() + 3600, usegmt=True)})
    assert seconds is not None
    assert 3550 < seconds <= 3600


@pytest.mark.parametrize("off", [-86_400, 86_400])
def test_a_date_counts_from_the_servers_own_clock(off: int) -> None:
    """Which may be a day off."""
    dates = {"Date": formatdate(time() + off), "Retry-After": formatdate(time() + off + 20)}
    seconds = module.retry_after(dates)
    assert seconds is not None
    assert 19 <= seconds <= 21


def test_retry_after_reaches_the_caller(loopback: Any) -> None:
    """429 and 503 say when to come back."""
    loopback.body(b"", 503, Retry_After="12")
    with pytest.raises(TransportError) as caught:
        quick(loopback.url).ruleset()
    assert caught.value.retry_after == 12.0


def test_a_silent_server_is_given_up(loopback: Any) -> None:
    """No answer at all ends after the read timeout."""
    loopback.raw(hang=True)
    with pytest.raises(TransportError, match="no answer in time"):
        quick(loopback.url, timeout=IMPATIENT).ruleset()


def test_a_server_that_stops_in_the_middle_is_given_up(loopback: Any) -> None:
    """A body that goes silent ends after the read timeout too."""
    loopback.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", hang=True)
    with pytest.raises(TransportError, match="no answer in time"):
        quick(loopback.url, timeout=IMPATIENT).ruleset()


def test_a_server_that_drips_is_given_up(loopback: Any) -> None:
    """Bytes that keep coming do not help when the whole takes too long."""
    times = iter([0.0, 1.0, 31.0])
    loopback.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", b" " * 400, hang=True)
    with pytest.raises(TransportError, match=r"within 0\.5 s"):
        quick(loopback.url, total=0.5, clock=lambda: next(times)).ruleset()


def test_a_cut_answer_is_refused(loopback: Any) -> None:
    """Fewer bytes than announced are no ruleset, even if they were JSON."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    loopback.raw(head, BODY)
    with pytest.raises(TransportError, match="no answer"):
        quick(loopback.url).ruleset()


def test_no_http_is_refused(loopback: Any) -> None:
    """A port that speaks something else is an error, not an exception of urllib3."""
    loopback.raw(b"SSH-2.0-OpenSSH_9.6\r\n")
    with pytest.raises(TransportError, match="no answer"):
        quick(loopback.url).ruleset()


def test_a_damaged_compression_is_refused(loopback: Any) -> None:
    """A body that is no gzip although it says so is an error."""
    loopback.body(b"no gzip at all", Content_Encoding="gzip")
    with pytest.raises(TransportError, match="no answer"):
        quick(loopback.url).ruleset()


def test_a_huge_answer_is_cut_off(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts decompressed bytes, so a gzip bomb stops early."""
    monkeypatch.setattr(module, "RULESET_LIMIT", 1_000_000)
    loopback.body(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip")
    with pytest.raises(TransportError, match="more than 1000000 bytes"):
        quick(loopback.url).ruleset()


def test_nobody_listening_is_a_transport_error() -> None:
    """A refused connection names the place and the reason."""
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:9.*refused"):
        quick("http://127.0.0.1:9").ruleset()


def test_an_unknown_host_is_a_transport_error() -> None:
    """A name that does not resolve, or cannot be one, is no exception of another library."""
    for host in ("no-such-host.invalid", "a" * 70 + ".test", "xn--\u00fc.test"):
        with pytest.raises(TransportError):
            quick(f"http://{host}").ruleset()


def test_netrc_does_not_replace_the_key(
    loopback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry for the host in ~/.netrc would else be sent instead of the key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    loopback.body(BODY)
    quick(loopback.url).ruleset()
    assert loopback.seen[0][2]["Authorization"] == f"Bearer {KEY}"


@responses.activate
def test_small_batches_go_plain_and_large_ones_compressed() -> None:
    """Over a kilobyte the body is gzip, and reads back as it was."""
    responses.post("http://flags.test/api/v1/events", json={"accepted": 1})
    small: dict[str, Any] = {"events": []}
    large = {"events": [{"event": "sign_up", "unit": f"u-{n}"} for n in range(200)]}
    transport = quick("http://flags.test")
    assert transport.post_events(json.dumps(small).encode()) == {"accepted": 1}
    assert transport.post_events(json.dumps(large).encode()) == {"accepted": 1}
    first, second = (call.request for call in responses.calls)
    assert json.loads(first.body) == small
    assert "Content-Encoding" not in first.headers
    assert second.headers["Content-Encoding"] == "gzip"
    assert json.loads(zlib.decompress(second.body, 31)) == large
    assert second.headers["Content-Type"] == "application/json"


@responses.activate
def test_a_refused_batch_says_why() -> None:
    """The status decides whether the delivery tries again."""
    responses.post("http://flags.test/api/v1/events", status=429, headers={"Retry-After": "3"})
    with pytest.raises(TransportError) as caught:
        quick("http://flags.test").post_events(b'{"events": []}')
    assert (caught.value.status, caught.value.retry_after) == (429, 3.0)


@pytest.mark.parametrize("said", [b"", b"<html>sign in</html>", b"[]"])
def test_an_answer_that_is_no_receipt_leaves_the_events_here(loopback: Any, said: bytes) -> None:
    """Of a portal or gateway that answers everything with 200, events would be lost."""
    loopback.body(said)
    with pytest.raises(TransportError):
        quick(loopback.url).post_events(b'{"events": []}')


@pytest.mark.parametrize(
    "url",
    [
        "flags.example.com",
        "ftp://flags.example.com",
        "http://",
        "http://u:p@flags.example.com",
        "https://flags.example.com/?a=b",
        "https://flags.example.com/#x",
        "http://flags.example.com:port",
        "http://[::1",
        "",
        "fl_srv_secret",
        " Bearer fl_srv_secret",
        "https://flags.example.com/?key=fl_srv_secret",
        "ftp://me:secret@flags.example.com",
        "http://me:secret/@flags.example.com",
    ],
)
def test_a_url_that_cannot_work_is_a_config_error(url: str) -> None:
    """It is said when the client is made, not at the first poll; what may be secret is not."""
    with pytest.raises(ConfigError, match="url") as caught:
        Transport(url, KEY)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "fl_srv_a b", "fl_srv_\u00fc", "fl_srv_a\nX: y"])
def test_a_key_that_cannot_work_is_a_config_error(key: str) -> None:
    """Nothing that could break a header is sent, and the message does not show it."""
    with pytest.raises(ConfigError) as caught:
        Transport("http://flags.test", key)
    assert not key.strip() or key not in str(caught.value)


def test_white_space_around_a_key_is_no_part_of_it(loopback: Any) -> None:
    """Secrets from files end in a newline."""
    loopback.body(BODY)
    Transport(loopback.url, KEY + "\n").ruleset()
    assert loopback.seen[0][2]["Authorization"] == f"Bearer {KEY}"


def test_the_key_shows_in_no_repr() -> None:
    """Logging an object of ours never logs the key."""
    transport = Transport("http://flags.test", KEY)
    shown = repr(transport) + repr(transport.new_session(Wire()).auth) + transport.identity
    assert KEY not in shown


def test_identity_differs_by_key_and_url() -> None:
    """What belongs to one key on one server is named apart from all else."""
    urls, keys = ("http://a.test", "http://b.test"), ("fl_srv_1", "fl_srv_2")
    assert len({Transport(url, key).identity for url in urls for key in keys}) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_opens_its_own_connections(loopback: Any) -> None:
    """After a fork both sides get answers: no connection is shared."""
    loopback.body(BODY)
    transport = quick(loopback.url)
    transport.ruleset()
    before = transport._polls
    child = os.fork()
    if child == 0:
        code = 2  # whatever happens, the child must not go on as a second test session
        try:
            signal.alarm(60)
            fine = transport.ruleset().mapping == SNAPSHOT and transport._polls is not before
            code = 0 if fine else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert transport.ruleset().mapping == SNAPSHOT
    assert transport._polls is before


def test_a_closed_transport_opens_again(loopback: Any) -> None:
    """Closing lets go of connections, a late delivery still gets through."""
    loopback.body(BODY)
    transport = quick(loopback.url)
    transport.ruleset()
    transport.close()
    transport.close()
    assert transport.ruleset().mapping == SNAPSHOT


def test_what_is_in_force_and_a_goodbye_are_told_by_head(loopback: Any) -> None:
    """Requests without a body either way; of a goodbye only if there was a word before."""
    transport = quick(loopback.url)
    transport.farewell(60.0)
    assert loopback.seen == []
    loopback.raw(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    transport.confirm("k3x9.8")
    transport.farewell(60.0)
    told, left = loopback.seen
    assert told[:2] == left[:2] == ("HEAD", "/api/v1/ruleset")
    assert (told[2]["If-None-Match"], told[3]) == ('"k3x9.8"', b"")
    assert "If-None-Match" not in left[2]
    assert left[2]["X-Flagloop-Instance"] == told[2]["X-Flagloop-Instance"] + "; leaves"


def test_a_goodbye_looks_up_no_name(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """That may take half a minute; it goes where an answer came from, or nowhere."""
    names = {"flags.test", "other.test"}
    look_up = socket.getaddrinfo

    def known(host: str, *words: Any) -> Any:
        return look_up("127.0.0.1" if host in names else host, *words)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    loopback.body(BODY)
    transport, other = (quick(loopback.url.replace("127.0.0.1", name)) for name in sorted(names))
    transport.ruleset()
    loopback.answer = lambda handler: handler.send_error(503)
    names.clear()
    with pytest.raises(TransportError):
        other.confirm("k3x9.8")
    loopback.seen.clear()
    transport.farewell(5.0)
    with pytest.raises(TransportError, match="no address"):
        other.farewell(5.0)
    assert [said["X-Flagloop-Instance"][-8:] for _, _, said, _ in loopback.seen] == ["; leaves"]


def test_a_report_to_nobody_is_a_transport_error(loopback: Any) -> None:
    """Who asked for it may drop it."""
    loopback.raw()
    with pytest.raises(TransportError):
        quick(loopback.url).confirm("k3x9.8")


IMPORTS = """
import sys, threading
from flagloop.errors import TransportError
from flagloop.sync.transport import Transport
assert "requests" not in sys.modules, "requests must not be imported with the module"
transport = Transport({url!r}, "fl_srv_x", lambda: {{"id": "i"}})
before = set(sys.modules)
def work():
    transport.ruleset()
    posts = lambda: transport.post_events(b"[" + b"0" * 2000 + b"]")
    tells = lambda: (transport.confirm("k.1"), transport.farewell(1.0))
    for call in (posts, tells, far.ruleset):
        try:
            call()
        except TransportError as problem:
            pass
far = Transport("http://localhost:9", "fl_srv_x")
thread = threading.Thread(target=work)
thread.start(); thread.join()
print(sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported_first_in_a_worker_thread(loopback: Any) -> None:
    """A fork in the middle of such an import would leave children half a module."""
    loopback.body(BODY)
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(url=loopback.url)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")

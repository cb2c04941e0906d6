"""Streams of a whole application, as the wire contract says."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.app import create_app
from flagloop_server.changes import Changes
from flagloop_server.config import Config
from flagloop_server.operations import Operations
from flagloop_server.store import SYSTEM, Store

DOCUMENT = """\
version: 1
segments:
  staff: {when: {plan: pro}}
flags:
  a: {description: one, rules: [{name: all, share: 5%, serve: on}]}
  b: {}
"""


def key_of(app: Any, kind: Any = "server", environment: str = "production") -> tuple[str, str]:
    """The header of a new key."""
    _, secret = app.store.create_key(environment, kind, "sdk", SYSTEM)
    return ("authorization", f"Bearer {secret}")


def apply(app: Any, *made: Any) -> list[Any]:
    """Apply changes; what became of them."""
    return [app.changes.apply(one, SYSTEM, "test") for one in made]


@pytest.fixture
def filled(app: Any) -> Any:
    """The application with a document in production."""
    apply(app, change.push("production", DOCUMENT))
    return app


def test_a_stream_begins_with_the_ruleset(filled: Any, call: Any, reading: Any) -> None:
    """The same JSON as /ruleset, named by its revision; nothing may buffer, keep or pack it."""
    key = key_of(filled)

    async def run() -> Any:
        reader = reading(filled.asgi, key, ("accept-encoding", "gzip"))
        await reader.until(1)
        return reader

    reader = asyncio.run(run())
    ruleset = call(filled.asgi, "GET", "/api/v1/ruleset", [key])
    first = reader.frames[0]
    assert b"".join(reader.pieces).split(b"\n")[2] == b"data: " + ruleset.body
    assert (first.event, f'"{first.id}"') == ("snapshot", ruleset.headers["etag"])
    assert reader.status == 200
    assert reader.headers == {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
        "connection": "close",
        **({"transfer-encoding": "chunked"} if reader.connected else {}),
    }
    assert filled.edge.requests["stream", 200] == 1


def test_a_reader_that_is_current_gets_a_comment_first(filled: Any, reading: Any) -> None:
    """And then changes; any other revision or lineage gets the snapshot."""
    key = key_of(filled)
    name = filled.store.environment("production").name

    async def first(last: str) -> Any:
        reader = reading(filled.asgi, key, ("last-event-id", last))
        return (await reader.until(1))[0].event

    async def run() -> tuple[list[Any], Any]:
        others = [await first(last) for last in ("", "x.2", f"{name}0", name[:-1] + "1", "\xff")]
        reader = reading(filled.asgi, key, ("last-event-id", name))
        await reader.until(1)
        apply(filled, change.kill("production", "a"))
        return others, await reader.until(2)

    others, frames = asyncio.run(run())
    assert others == ["snapshot"] * 5
    assert frames[0].event is None
    assert (frames[1].event, frames[1].data["base"]) == ("change", name)


def test_a_change_says_what_evaluation_needs(filled: Any, reading: Any) -> None:
    """Items in their wire form, removed ones by key; a description alone moves the revision."""
    key = key_of(filled)
    apart = change.put_item("production", "flags", "a", "  a: {description: two}\n")

    async def run() -> list[Any]:
        reader = reading(filled.asgi, key)
        await reader.until(1)
        apply(
            filled,
            change.kill("production", "a"),
            change.remove_item("production", "segments", "staff"),
            change.archive_flag("production", "b"),
            apart,
            change.put_item("production", "flags", "a", "  a: {description: three}\n"),
        )
        told = (await reader.until(6))[1:]
        return [(one.event, one.data["set"], one.data["unset"]) for one in told]

    killed = {"rules": [{"name": "all", "share": "5%", "serve": "on"}], "killed": True}
    assert asyncio.run(run()) == [
        ("change", {"flags": {"a": killed}}, {}),
        ("change", {}, {"segments": ["staff"]}),
        ("change", {}, {"flags": ["b"]}),
        ("change", {"flags": {"a": {}}}, {}),
        ("change", {}, {}),
    ]


def test_other_words_of_the_document_come_with_a_snapshot(filled: Any, reading: Any) -> None:
    """`recording` is no section of items."""
    key = key_of(filled)

    async def run() -> Any:
        reader = reading(filled.asgi, key)
        await reader.until(1)
        text = DOCUMENT.replace("version: 1", "version: 1\nrecording: {attributes: [plan]}")
        apply(filled, change.put_document("production", text))
        return (await reader.until(2))[1]

    told = asyncio.run(run())
    assert told.event == "snapshot"
    assert told.data["recording"] == {"attributes": ["plan"]}


@pytest.mark.parametrize(
    ("kind", "headers", "status"),
    [
        ("server", [("x-nothing", "")], 401),
        ("server", [("authorization", "Bearer fl_srv_wrong")], 401),
        ("client", [], 403),
        ("server", [("content-length", "5")], 400),
        ("server", [("transfer-encoding", "chunked")], 400),
    ],
    ids=["no key", "wrong key", "public key", "body", "chunked body"],
)
def test_bad_requests_get_no_stream(
    app: Any, reading: Any, kind: str, headers: list[tuple[str, str]], status: int
) -> None:
    """The answer says why in JSON and no place is taken."""
    hides = any(name in ("authorization", "x-nothing") for name, _ in headers)
    sent = headers if hides else [key_of(app, kind), *headers]

    async def run() -> Any:
        reader = reading(app.asgi, *sent)
        await reader.over()
        return reader

    reader = asyncio.run(run())
    assert reader.status == status
    assert json.loads(reader.pieces[0])["error"]["message"]
    assert app.edge.requests == {("stream", status): 1}
    assert len(app.publisher.hub) == 0


def test_other_methods_get_no_stream(app: Any, call: Any) -> None:
    """HEAD too: it would be an answer without end and without content."""
    for method in ("HEAD", "POST"):
        answer = call(app.asgi, method, "/api/v1/stream", [key_of(app)])
        assert (answer.status, answer.headers["allow"]) == (405, "GET")


def test_what_another_process_does_reaches_streams_by_the_next_watch(
    filled: Any, reading: Any
) -> None:
    """A kill, a revoked key, an archived environment: commands on the folder count at once."""
    keys = [key_of(filled), key_of(filled), key_of(filled, environment="development")]

    async def run() -> list[Any]:
        stays, revoked, archived = readers = [reading(filled.asgi, key) for key in keys]
        for reader in readers:
            await reader.until(1)
        with Store(filled.config.data) as other:
            Changes(other).apply(change.kill("production", "a"), SYSTEM, "test")
            used = other.find_key(filled.edge.keys.digest(keys[1][1].encode()))
            other.revoke_key(used.id, SYSTEM)
            other.archive_environment("development", SYSTEM)
        filled.publisher.watch()
        await revoked.over()
        await archived.over()
        assert (await stays.until(2))[1].data["set"]["flags"]["a"]["killed"] is True
        again = [reading(filled.asgi, key) for key in keys[1:]]
        for reader in again:
            await reader.over()
        return [reader.status for reader in again]

    assert asyncio.run(run()) == [401, 404]


def test_streams_go_on_while_every_worker_is_busy(filled: Any, reading: Any, calling: Any) -> None:
    """Pages that compute, and others that wait for them, hold up neither opening nor changes."""
    release, inside = threading.Event(), threading.Semaphore(0)

    @filled.flask.get("/stuck")
    def stuck() -> str:
        inside.release()
        assert release.wait(60)
        return "done"

    async def run() -> list[int]:
        workers = filled.config.workers
        pages = [asyncio.ensure_future(calling(filled.asgi, "GET", "/stuck")) for _ in range(12)]
        for _ in range(workers):
            assert await asyncio.to_thread(inside.acquire, timeout=60)
        assert filled.workers.busy == workers
        reader = reading(filled.asgi, key_of(filled))
        await reader.until(1)
        await asyncio.to_thread(apply, filled, change.kill("production", "a"))
        await reader.until(2)
        reader.leave()
        await reader.over()
        release.set()
        return [page.status for page in await asyncio.gather(*pages)]

    assert asyncio.run(run()) == [200] * 12


def test_the_key_of_an_open_stream_counts_as_used(filled: Any, reading: Any) -> None:
    """A stream of weeks has one request, at its beginning."""
    key = key_of(filled)

    def used() -> int | None:
        found = filled.store.find_key(filled.edge.keys.digest(key[1].encode()))
        return int(found.last_used_at) if found.last_used_at else None

    async def run() -> None:
        reader = reading(filled.asgi, key)
        await reader.until(1)
        filled.edge.used.clear()
        await asyncio.to_thread(filled.touch_keys)

    asyncio.run(run())
    assert used()


def test_open_refused_and_ended_streams_are_in_the_metrics(tmp_path: Path, reading: Any) -> None:
    """What an operator must see of them, with the limits that the configuration sets."""
    with create_app(Config(data=tmp_path / "data", streams=2, streams_of_key=1)) as app:
        key = key_of(app)

        async def run() -> None:
            first, second = reading(app.asgi, key), reading(app.asgi, key_of(app))
            for reader in (first, second):
                await reader.until(1)
            for header in (key, key_of(app)):
                over = reading(app.asgi, header)
                await over.over()
                assert over.status == 503
            first.leave()
            await first.over()
            lines = Operations(app).metrics()[1].decode().splitlines()
            assert "flagloop_streams 1.0" in lines
            assert 'flagloop_streams_opened_total{first="snapshot"} 2.0' in lines
            assert "flagloop_streams_refused_total 2.0" in lines
            assert 'flagloop_streams_ended_total{reason="gone"} 1.0' in lines

        asyncio.run(run())

"""Streams of a whole application in its list of instances."""

from __future__ import annotations

import asyncio
from typing import Any

from flagloop_server.store import SYSTEM

SAID = ("x-flagloop-instance", "i-1; host=web-1; pid=42; sdk=sdk/1")


def test_a_stream_is_listed_while_it_is_open(app: Any, reading: Any) -> None:
    """With the revision that it began from; one that says nothing of itself is not listed."""
    env = app.store.environment("production")
    _, secret = app.store.create_key("production", "server", "sdk", SYSTEM)
    key = ("authorization", f"Bearer {secret}")

    async def run() -> list[Any]:
        named = reading(app.asgi, key, SAID, ("last-event-id", env.name))
        nameless = reading(app.asgi, key)
        for reader in (named, nameless):
            await reader.until(1)
        during = app.instances.all(env.id)
        for reader in (named, nameless):
            reader.leave()
            await reader.over()
        return during

    (one,) = asyncio.run(run())
    assert (one.place, one.revision, one.streams) == ("web-1:42", env.name, 1)
    (after,) = app.instances.all(env.id)
    assert (after.streams, after.revision) == (0, env.name)


def test_a_refused_stream_is_nobody(app: Any, reading: Any) -> None:
    """A public key opens none, so what it says of itself is not believed."""
    env = app.store.environment("production")
    _, secret = app.store.create_key("production", "client", "page", SYSTEM)

    async def run() -> None:
        reader = reading(app.asgi, ("authorization", f"Bearer {secret}"), SAID)
        await reader.over()
        assert reader.status == 403

    asyncio.run(run())
    assert app.instances.all(env.id) == []

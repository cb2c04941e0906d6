"""The list of instances on disk: over a restart, and for `flagloop doctor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flagloop_server import changes as change
from flagloop_server import obedience
from flagloop_server.app import Application, create_app
from flagloop_server.commands.doctor.examination import examine
from flagloop_server.config import Config
from flagloop_server.instances import GONE
from flagloop_server.store import SYSTEM, now_ms
from flagloop_server.store.events import InstanceRow

FLAGS = "version: 1\nflags:\n  banner: {rules: [{name: all, serve: on}]}\n"


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], Application]:
    """`start()`: the server on its folder, again and again."""
    return lambda: create_app(Config(data=tmp_path / "data"))


def tell(app: Application, name: str, number: int, *, stream: bool = False) -> None:
    """A process says which revision it has."""
    env = app.store.environment("production")
    said = f"{name}; host=web-7; pid=42; sdk=sdk/1".encode()
    revision = f"{env.lineage}.{number}".encode()
    if stream:
        app.instances.opened(env.id, 1, said, revision)
    else:
        app.instances.polled(env.id, 1, said, revision)


def names(app: Application) -> set[str]:
    """Who is there."""
    return {one.id for one in app.instances.all(app.store.environment("production").id)}


def test_a_restarted_server_knows_whom_to_wait_for(start: Callable[[], Application]) -> None:
    """Who was there is missed; who said goodbye or is gone for long is not."""
    with start() as app:
        for name in ("i-1", "i-2"):
            tell(app, name, 1)
        tell(app, "i-3", 1, stream=True)
        env = app.store.environment("production").id
        app.roll.write()
        app.instances.polled(env, 1, b"i-2; leaves", None)
        old = InstanceRow("i-0", "web-7", 1, "sdk/1", "k.1", now_ms() - GONE - 1_000)
        app.events.note_instances(env, [old])
    with start() as app:
        assert names(app) == {"i-1", "i-3"}
        tell(app, "i-4", 1)
        assert names(app) == {"i-1", "i-3", "i-4"}
        (one,) = [seen for seen in app.instances.all(env) if seen.id == "i-3"]
        assert (one.place, one.streams, one.sdk) == ("web-7:42", 0, "sdk/1")


def test_a_server_that_was_killed_knows_whom_to_wait_for(
    start: Callable[[], Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was there for a second and has not left; for a minute it says that more may come."""
    with start() as app:
        app.changes.apply(change.push("production", FLAGS), SYSTEM, "flags")
        env = app.store.environment("production")
        for name in ("i-1", "i-2"):
            tell(app, name, env.revision)
        app.roll.greet()
        app.instances.polled(env.id, 1, b"i-2; leaves", None)
        app.roll.greet()
        assert "started" not in obedience.look(app.store, app.instances, "production").sentence()
        monkeypatch.setattr(app.roll, "write", lambda: None)  # a SIGKILL writes nothing at last
    monkeypatch.setattr("flagloop_server.instances.RETURN", 3_600_000)
    with start() as app:
        assert names(app) == {"i-1"}
        app.changes.apply(change.kill("production", "banner"), SYSTEM, "INC-7")
        told = obedience.look(app.store, app.instances, "production")
        assert "off on 0 of 1 instance; 1 " in told.sentence()
        assert ": web-7:42 (revision " in told.sentence()
        assert told.sentence().endswith("s ago, so more may come back")
        assert not told.settled
        monkeypatch.setattr("flagloop_server.instances.RETURN", 0)
        assert "started" not in obedience.look(app.store, app.instances, "production").sentence()


def instances_found(app: Application) -> dict[str, str]:
    """What the doctor says about instances five minutes from now, by level."""
    found = examine(app.config.data, now_ms() + 5 * 60_000)
    return {one.level: one.text for one in found if one.check == "instances"}


def test_the_doctor_names_who_does_not_obey(
    start: Callable[[], Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the streams that are open, too: those say nothing in the event log for hours."""
    with start() as app:
        app.changes.apply(change.push("production", FLAGS), SYSTEM, "flags")
        before = app.store.environment("production").revision
        tell(app, "i-1", before, stream=True)
        tell(app, "i-2", before, stream=True)
        app.roll.write()
        assert set(instances_found(app)) == {"ok"}
        app.changes.apply(change.kill("production", "banner"), SYSTEM, "INC-7")
        tell(app, "i-2", before + 1)
        later = now_ms() + 4 * 60_000
        monkeypatch.setattr("flagloop_server.obedience.now_ms", lambda: later)
        app.roll.write()
        assert "web-7:42 has" in instances_found(app)["problem"]


def test_who_was_only_sent_a_change_does_not_look_stale(
    start: Callable[[], Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has asked it since, so nobody may say that it refused."""
    with start() as app:
        app.changes.apply(change.push("production", FLAGS), SYSTEM, "flags")
        tell(app, "i-1", app.store.environment("production").revision, stream=True)
        app.instances.settle()
        edit = change.set_share("production", "banner", "all", "60%")
        app.changes.apply(edit, SYSTEM, "more")
        later = now_ms() + 4 * 60_000
        monkeypatch.setattr("flagloop_server.obedience.now_ms", lambda: later)
        app.roll.write()
        assert set(instances_found(app)) == {"ok"}

"""What a process tells of itself at once: a kill that it obeys, and that it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flagloop import Client, TransportError
from flagloop.sync import presence as module
from flagloop.sync.presence import MOST, Presence, worth_telling
from flagloop.sync.transport import Transport

Until = Callable[[Callable[[], Any]], None]

ON = {"rules": [{"name": "all", "serve": "on"}]}
OFF = {**ON, "killed": True}


class Server:
    """Hears reports; `held` keeps them on their way, `away` makes them fail."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.left = 0
        self.gone = False
        self.away = False
        self.free = threading.Event()
        self.free.set()
        self.bidden = threading.Semaphore(0)

    def confirm(self, revision: str) -> None:
        """One report."""
        self.heard.append(revision)
        assert self.free.wait(60)
        if self.away:
            raise TransportError("nobody there")

    def farewell(self, seconds: float) -> None:
        """The last report."""
        assert 0 <= seconds <= 0.5
        self.left += 1
        self.bidden.release()
        self.free.wait(60)
        self.gone = True
        if self.away:
            raise TransportError("nobody there")


def flags(**items: Any) -> dict[str, Any]:
    """A ruleset."""
    return {"flags": items}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (flags(a=ON), flags(a=OFF), True),
        (flags(a=OFF), flags(a=ON), True),
        (flags(a=ON), flags(a={**ON, "off": "x"}), False),
        (flags(a=OFF), flags(a={**OFF, "off": "x"}), False),
        (flags(a=ON), flags(a={**ON, "killed": False}), False),
        (flags(), flags(a=OFF), False),
        (flags(), flags(a=ON), False),
        (flags(a=OFF), flags(), False),
        (flags(a="garbage"), flags(a=ON), False),
        (flags(a=None, b=ON), flags(a=7, b=OFF), True),
        (flags(a=7, b=ON), flags(b=ON), False),
        (flags(a="garbage"), flags(a=OFF), True),
        ({"flags": "garbage"}, flags(a=OFF), False),
        (flags(a=ON), {}, False),
    ],
)
def test_only_kills_and_restores_are_worth_it(
    old: dict[str, Any], new: dict[str, Any], told: bool
) -> None:
    """Of a change by one revision: a flag that is killed now and was not, or the reverse."""
    assert worth_telling(old, new, "k.1", "k.2") is told


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("k.1", "k.2", False),
        ("k.2", "k.2", False),
        ("k.1", "k.3", True),
        ("k.2", "k.1", True),
        ("k.1", "other.2", True),
        (None, "k.1", True),
        ("document", "k.1", True),
        ("k.1", "k." + "9" * 50, True),
    ],
)
def test_left_out_revisions_are_worth_it(before: str | None, after: str, told: bool) -> None:
    """A kill may have come and gone in them, and the server waits for its confirmation."""
    assert worth_telling(flags(a=ON), flags(a=ON), before, after) is told


def test_reports_neither_block_nor_pile_up() -> None:
    """Behind a server that hangs a few wait, the others are dropped, and nothing raises."""
    server = Server()
    presence = Presence(server)
    server.free.clear()
    for number in range(3 * MOST):
        presence.confirm(f"k.{number}")
    server.away = True
    server.free.set()
    for thread in presence._threads:
        thread.join(60)
    assert sorted(server.heard) == [f"k.{number}" for number in range(MOST)]
    presence.confirm("k.99")
    presence._threads[-1].join(60)
    assert server.heard[-1] == "k.99"


def test_a_process_leaves_once_and_says_nothing_after() -> None:
    """Also when nobody hears it."""
    server = Server()
    server.away = True
    presence = Presence(server)
    presence.close(3.0)
    assert server.bidden.acquire(timeout=60)
    presence.close(3.0)
    presence.confirm("k.1")
    assert (server.left, server.heard) == (1, [])


def test_a_goodbye_that_hangs_does_not_hold_the_end_of_a_process() -> None:
    """As where the server's name cannot be looked up, for which nothing sets a time limit."""
    server = Server()
    server.free.clear()
    assert Presence(server).close(0.05)
    assert server.bidden.acquire(timeout=60)
    assert (server.left, server.gone) == (1, False)
    server.free.set()


class Told:
    """What the small server heard by HEAD requests: (If-None-Match, introduction)."""

    def __init__(self, place: Any) -> None:
        self._place = place

    @property
    def all(self) -> list[tuple[str | None, str]]:
        """In order."""
        return [
            (headers.get("If-None-Match"), headers["X-Flagloop-Instance"])
            for method, path, headers, _ in list(self._place.seen)
            if (method, path) == ("HEAD", "/api/v1/ruleset")
        ]

    @property
    def revisions(self) -> list[str | None]:
        """The revisions."""
        return [revision for revision, _ in self.all]


@pytest.fixture
def told(loopback: Any) -> Told:
    """What was told."""
    return Told(loopback)


@pytest.fixture(params=[True, False], ids=["stream", "poll"])
def client(flags: Any, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the small server, by its stream and by polls."""
    flags.flags = {"a": ON, "b": ON}
    made = Client(flags.url, key="fl_srv_x", interval=0.02, stream=request.param)
    assert made.wait(60)
    yield made
    flags.released.set()
    made.close(5)


@pytest.fixture
def following(flags: Any, until: Until, client: Client) -> Until:
    """`following(condition)`: wait once the client is sure to hear of changes."""
    if client.status()["refresh"]["mode"] != "poll":
        until(lambda: flags.writers and client.status()["refresh"]["mode"] == "stream")
    return until


def test_a_kill_is_told_once_and_an_ordinary_change_never(
    client: Client, flags: Any, told: Told, following: Until
) -> None:
    """So does a restore; all of it beside what decides, which is not delayed."""
    flags.publish(a={"rules": []})
    following(lambda: client.status()["revision"] == "k.2")
    assert told.all == []
    flags.publish(b=OFF)
    following(lambda: told.revisions == ['"k.3"'])
    assert not client.enabled("b", "u-1")
    flags.publish(a=ON)
    following(lambda: client.status()["revision"] == "k.4")
    flags.publish(b=ON)
    following(lambda: told.revisions == ['"k.3"', '"k.5"'])
    (introduction,) = {said for _, said in told.all}
    assert client._delivery is not None
    assert introduction.startswith(f"{client._delivery.instance.id}; host=")


def test_an_override_is_not_the_servers_revision(
    client: Client, flags: Any, told: Told, following: Until
) -> None:
    """Nobody may believe that a kill is obeyed where a test's document decides."""
    undo = client.override({"version": 1, "flags": {"b": ON}})
    flags.publish(b=OFF)
    following(lambda: client.status()["refresh"]["revision"] == "k.2")
    assert client.enabled("b", "u-1")
    undo()
    assert not client.enabled("b", "u-1")
    assert told.all == []


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need more time for a goodbye than a process gives it."""
    monkeypatch.setattr(module, "FAREWELL", 60.0)


def test_closing_says_goodbye(client: Client, told: Told, unhurried: None) -> None:
    """So that nobody waits for a process that ended as it should."""
    assert client.close(60)
    (last,) = told.all
    assert last[1].endswith("; leaves")
    assert client.close(60)
    assert told.all == [last]


def test_who_never_spoke_to_the_server_says_no_goodbye(
    flags: Any, told: Told, unhurried: None
) -> None:
    """A client that was only made costs nothing at its end."""
    transport = Transport(flags.url, "fl_srv_x", lambda: {"id": "i-1"})
    Presence(transport).close(1.0)
    assert told.all == []
    transport.confirm("k.1")
    Presence(transport).close(60.0)
    transport.close()
    assert told.all == [('"k.1"', told.all[0][1]), (None, f"{told.all[0][1]}; leaves")]

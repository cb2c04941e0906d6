"""One suite for every source of definitions: a mapping, a file, a server."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flagloop.errors import DocumentError, TransportError
from flagloop.evaluation.ruleset import Ruleset
from flagloop.sync.source import FileSource, ServerSource, Source, StaticSource
from flagloop.sync.transport import Transport
from flagloop_server.store import SYSTEM

DOCUMENT: dict[str, Any] = {
    "flags": {"a": {"rules": [{"name": "some", "share": "50%", "serve": "on"}]}},
}
LATER: dict[str, Any] = {"flags": {**DOCUMENT["flags"], "b": {"default": "on"}}}


class Case(NamedTuple):
    """A source of DOCUMENT, and how to change it or let it fail (None: it cannot)."""

    source: Source
    origin: str
    change: Callable[[dict[str, Any]], None] | None = None
    spoil: Callable[[], object] | None = None


def static(place: Any, folder: Path) -> Case:
    """A mapping in the program."""
    return Case(StaticSource(DOCUMENT), "document")


def yaml_file(place: Any, folder: Path) -> Case:
    """A file."""
    path = folder / "flags.yaml"

    def change(document: dict[str, Any]) -> None:
        path.write_text(json.dumps({"version": 1, **document}))

    change(DOCUMENT)
    return Case(FileSource(path), "file", change, lambda: path.write_text("version: 1\nflags: ["))


def server(place: Any, folder: Path) -> Case:
    """A server."""
    place.put(DOCUMENT)
    transport = Transport(place.url, place.secret("server"))

    def spoil() -> None:
        place.store.revoke_key(place.keys["server"][0], SYSTEM)

    return Case(ServerSource(transport, folder / "cache"), "server", place.put, spoil)


SOURCES = [static, yaml_file, server]
CHANGING = [yaml_file, server]


@pytest.fixture
def case(request: pytest.FixtureRequest, place: Any, tmp_path: Path) -> Case:
    """One of the sources."""
    made: Case = request.param(place, tmp_path)
    return made


every = pytest.mark.parametrize("case", SOURCES, indirect=True)
changing = pytest.mark.parametrize("case", CHANGING, indirect=True)


def decisions(mapping: Any) -> list[Any]:
    """What ten users get of every flag."""
    ruleset = Ruleset(mapping)
    users = [{"key": f"u-{n}"} for n in range(10)]
    return [ruleset.evaluate(flag, one).to_mapping() for flag in ("a", "b") for one in users]


@every
def test_the_first_fetch_brings_everything(case: Case) -> None:
    """Definitions that decide as written, a revision, where they are from, and when."""
    snapshot = case.source.fetch(None)
    assert snapshot is not None
    assert decisions(snapshot.mapping) == decisions(DOCUMENT)
    assert snapshot.revision
    assert snapshot.origin == case.origin
    assert abs(snapshot.at - time.time()) < 600
    assert case.source.notes() == {}
    assert 0 < case.source.interval <= case.source.patience
    assert "fl_srv_" not in case.source.name


@every
def test_the_present_revision_is_nothing_new(case: Case) -> None:
    """However often; a revision that it does not know gets everything."""
    snapshot = case.source.fetch(None)
    assert snapshot is not None
    for _ in range(3):
        assert case.source.fetch(snapshot.revision) is None
    again = case.source.fetch("other.999")
    assert again is not None
    assert (again.revision, again.mapping) == (snapshot.revision, snapshot.mapping)


@changing
def test_a_change_is_another_revision(case: Case) -> None:
    """The old snapshot stays as it was; the way back is a change, too."""
    assert case.change is not None
    first = case.source.fetch(None)
    assert first is not None
    kept = copy.deepcopy(first.mapping)
    case.change(LATER)
    second = case.source.fetch(first.revision)
    assert second is not None
    assert second.revision != first.revision
    assert decisions(second.mapping) == decisions(LATER) != decisions(DOCUMENT)
    assert first.mapping == kept
    case.change(DOCUMENT)
    third = case.source.fetch(second.revision)
    assert third is not None
    assert decisions(third.mapping) == decisions(DOCUMENT)


@changing
def test_a_failure_is_an_error_of_the_source(case: Case, until: Callable[..., Any]) -> None:
    """A TransportError or DocumentError, each time again, which says where; nothing else."""
    assert case.change is not None
    assert case.spoil is not None
    first = case.source.fetch(None)
    assert first is not None
    case.spoil()

    def failure() -> Exception | None:
        try:
            case.source.fetch(first.revision)
        except (TransportError, DocumentError) as problem:
            return problem
        return None

    told = [until(failure), failure(), failure()]
    for problem in told:
        assert case.source.name in str(problem)
        assert "fl_srv_" not in str(problem)
    assert decisions(first.mapping) == decisions(DOCUMENT)


@every
def test_any_thread_may_fetch(case: Case) -> None:
    """The refreshing thread is not the one that made the source."""
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(case.source.fetch(None))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({one.revision for one in found}) == 1
    assert len(found) == 4

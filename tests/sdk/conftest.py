"""One document with a flag for each way to decide, and clients of it that end with the test."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from flagloop import Client
from flagloop.testing import FakeClock, MemorySink, document, flag

COLORS = {"control": "blue", "treatment": "green"}
HALVES = {"control": "50%", "treatment": "50%"}
STAFF = {"plan": "staff"}


def everything() -> dict[str, Any]:
    """A document of which each flag is named by how it decides."""
    sections = {
        "holdouts": {"growth": {"share": "20%"}},
        "experiments": {"trial": {"primary": "sign_up"}},
        "metrics": {"sign_up": {"event": "sign_up", "better": "higher"}},
        "recording": {"attributes": ["plan"]},
    }
    return document(
        sections,
        static=flag(COLORS),
        switch=flag(rules=[{"name": "staff", "when": STAFF, "serve": "on"}]),
        targeted=flag(COLORS, rules=[{"name": "staff", "when": STAFF, "serve": "treatment"}]),
        split=flag(COLORS, rules=[{"name": "halves", "split": HALVES}]),
        share=flag(COLORS, rules=[{"name": "some", "share": "50%", "serve": "treatment"}]),
        rollout=flag(
            COLORS,
            rules=[{"name": "canary", "rollout": {"to": "treatment", "stage": "50%",
                                                  "stages": ["50%", "100%"]}}],
        ),
        experiment=flag(
            COLORS, rules=[{"name": "test", "experiment": "trial", "split": HALVES}]
        ),
        holdout=flag(
            COLORS,
            holdout="growth",
            rules=[{"name": "staff", "when": STAFF, "serve": "treatment"}],
        ),
        holdout_split=flag(
            COLORS, holdout="growth", rules=[{"name": "halves", "split": HALVES}]
        ),
        killed=flag(COLORS, killed=True, off="control", holdout="growth",
                    rules=[{"name": "halves", "split": HALVES}]),
        gone=flag(COLORS, killed=True),
        requiring=flag(COLORS, off="control", holdout="growth", requires={"split": "treatment"},
                       rules=[{"name": "all", "split": {"treatment": "100%"}}]),
        everyone=flag(COLORS, rules=[{"name": "all", "split": {"treatment": "100%"}}]),
        by_org=flag(COLORS, unit="org", rules=[{"name": "halves", "split": HALVES}]),
        logged=flag(COLORS, log=["plan"], rules=[{"name": "halves", "split": HALVES}]),
        broken=flag(COLORS, rules=[{"name": "bad", "when": {"segment": "nobody"},
                                    "serve": "control"}]),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def tidy(leaves_no_thread: None) -> None:
    """Every client that a test makes ends with it."""


@pytest.fixture
def mapping() -> dict[str, Any]:
    """The document, its own for each test."""
    return everything()


@pytest.fixture
def sink() -> MemorySink:
    """What receives the events."""
    return MemorySink()


@pytest.fixture
def clock() -> FakeClock:
    """A clock at 2026-01-01."""
    return FakeClock()


@pytest.fixture
def make(sink: MemorySink) -> Iterator[Callable[..., Client]]:
    """`make(mapping, **options)`: a client that reports to `sink` and is closed at the end."""
    made: list[Client] = []

    def one(mapping: Mapping[str, Any], **options: Any) -> Client:
        made.append(Client.from_document(mapping, **{"events": sink, **options}))
        return made[-1]

    yield one
    for client in made:
        client.close(5)


@pytest.fixture
def client(make: Callable[..., Client], mapping: dict[str, Any]) -> Client:
    """A client of the document."""
    return make(mapping)


@pytest.fixture
def find(mapping: dict[str, Any]) -> Callable[..., str]:
    """`find(flag, variant=..., holdout=...)`: a key for which the decision says that."""

    def search(flag: str, **wanted: Any) -> str:
        with Client.from_document(mapping) as other:
            keys = (f"u-{n}" for n in range(1000))
            return next(
                key
                for key in keys
                if all(
                    getattr(other.peek(flag, {"key": key, "org": key}), name) == value
                    for name, value in wanted.items()
                )
            )

    return search


@pytest.fixture
def counted(sink: MemorySink) -> Callable[[Client], Counter[tuple[Any, ...]]]:
    """`counted(client)`: how often (flag, variant, rule, reason) was reported so far."""

    def count(client: Client) -> Counter[tuple[Any, ...]]:
        assert client.flush(60)
        found: Counter[tuple[Any, ...]] = Counter()
        for row in sink.counts:
            found[row["flag"], row["variant"], row["rule"], row["reason"]] += row["n"]
        return found

    return count


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """`until(condition)`: wait for what another thread is to do.

    The minute is for a machine that is busy with other work: only a failure waits so long.
    """

    def wait(condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < end, "it did not come true within a minute"
            pause.wait(0.005)

    return wait

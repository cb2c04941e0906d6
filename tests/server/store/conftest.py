"""A store in a temporary folder, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop_server.store import Actor, Store


class Clock:
    """Epoch milliseconds that only move by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The store's clock; set `.now`."""
    return Clock()


@pytest.fixture
def ana() -> Actor:
    """A person who does things."""
    return Actor("person", "ana@example.com")


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store."""
    with Store(tmp_path / "data", clock=clock) as made:
        yield made

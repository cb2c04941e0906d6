"""What is kept for each revision of a document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.perrevision import PerRevision
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")


def test_a_result_is_computed_once_for_each_revision(tmp_path: Path) -> None:
    """The next revision has its own; the oldest makes room, also where a result is empty."""
    asked: list[int] = []

    def computing(number: int) -> Callable[[], dict[str, int]]:
        def compute() -> dict[str, int]:
            asked.append(number)
            return {}

        return compute

    with Store(tmp_path) as store:
        store.create_environment("production", BEN)
        kept: PerRevision[dict[str, int]] = PerRevision(kept=2)
        for number in range(3):
            text = f"version: 1\nflags:\n  f{number}: {{}}\n"
            Changes(store).apply(change.push("production", text), BEN, "")
            for _ in range(2):
                kept.of(store.document("production"), computing(number))
        assert asked == [0, 1, 2]
        first, last = (store.document("production", number) for number in (2, 4))
        kept.of(last, computing(8))
        kept.of(first, computing(9))
    assert asked == [0, 1, 2, 9]

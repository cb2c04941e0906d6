"""Which of several flags can be archived together, and what keeps the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flagloop_server import changes as change
from flagloop_server.archiving import Archiving, archiving
from flagloop_server.changes import Changes
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")
FLAGS = """\
version: 1
experiments:
  colour: {hypothesis: green is better}
flags:
  base: {rules: [{name: all, serve: on}]}
  middle: {requires: {base: on}}
  top: {requires: {middle: on}}
  tested:
    rules: [{name: half, experiment: colour, split: {on: 50%, off: 50%}}]
  alone: {}
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Flags that require each other."""
    with Store(tmp_path) as made:
        made.create_environment("production", BEN)
        yield made


@pytest.fixture
def changes(store: Store) -> Changes:
    """The writer over them."""
    writer = Changes(store)
    writer.apply(change.push("production", FLAGS), BEN, "first")
    return writer


@pytest.fixture
def plan(changes: Changes, store: Store) -> Callable[..., Archiving]:
    """`plan("a", "b")` is what archiving the two meets."""
    stored = store.document("production")
    return lambda *keys: archiving(stored, keys, lambda ref: changes.named_by(stored, ref))


@pytest.mark.parametrize(
    ("keys", "ready", "refused"),
    [
        (["alone"], ["alone"], {}),
        (["top", "top"], ["top"], {}),
        (["base", "middle", "top"], ["base", "middle", "top"], {}),
        (["base"], [], {"base": ("middle",)}),
        (["base", "middle"], [], {"base": ("middle",), "middle": ("top",)}),
        (["base", "alone"], ["alone"], {"base": ("middle",)}),
        (["base", "top"], ["top"], {"base": ("middle",)}),
    ],
)
def test_flags_go_together_with_those_that_need_them(
    plan: Callable[..., Archiving],
    keys: list[str],
    ready: list[str],
    refused: dict[str, tuple[str, ...]],
) -> None:
    """What stays keeps what it requires, and that in turn what it requires itself."""
    found = plan(*keys)
    assert list(found.ready) == ready
    named = {key: tuple(name for _, name in refs) for key, refs in found.refused.items()}
    assert named == refused


def test_the_writer_takes_exactly_those_that_are_ready(
    changes: Changes, plan: Callable[..., Archiving]
) -> None:
    """What is shown as ready goes through as one revision."""
    ready = plan("base", "middle", "top", "alone").ready
    applied = changes.apply(change.archive_flags("production", ready), BEN, "not needed")
    assert [*applied.document.document.mapping["flags"]] == ["tested"]


def test_running_experiments_and_unknown_keys_are_told(plan: Callable[..., Archiving]) -> None:
    """Each for itself."""
    found = plan("tested", "gone")
    assert found.ready == ("tested",)
    assert found.unknown == ("gone",)
    assert len(found.disturbs) == 1
    assert "colour runs on tested" in found.disturbs[0]
    assert plan() == Archiving()

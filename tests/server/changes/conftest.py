"""A store with one environment and its one writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flagloop_server import changes as change
from flagloop_server.changes import Applied, Changes
from flagloop_server.store import SYSTEM, Actor, Store

TEXT = """\
# Our flags.
version: 1

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}   # everyone here

experiments:
  colour: {owner: growth@example.com}

flags:
  # The button on the landing page.
  cta_color:
    description: Colour of the button
    variants: {control: blue, treatment: green}
    default: control
    rules:
      - {name: staff, when: {segment: staff}, serve: treatment}
      - {name: half, experiment: colour, split: {control: 50%, treatment: 50%}}

  new_checkout:
    rules:
      - name: canary            # slowly
        share: 5%
        serve: on

  new_ranker:
    variants: {current: v1, candidate: v2}
    default: current
    requires: {new_checkout: on}
    rules:
      - name: climb
        rollout: {to: candidate, stages: [1%, 5%, 25%, 100%], stage: 5%}
"""


@pytest.fixture
def ana() -> Actor:
    """A person who does things."""
    return Actor("person", "ana@example.com")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with the environments production and staging, both empty."""
    now = [1_800_000_000_000]

    def clock() -> int:
        now[0] += 1000
        return now[0]

    with Store(tmp_path / "data", clock=clock) as made:
        made.create_environment("production", SYSTEM, production=True)
        made.create_environment("staging", SYSTEM)
        yield made


@pytest.fixture
def changes(store: Store) -> Changes:
    """The one writer."""
    return Changes(store)


@pytest.fixture
def text() -> str:
    """A document with three flags, a segment and an experiment."""
    return TEXT


@pytest.fixture
def pushed(changes: Changes, ana: Actor) -> Changes:
    """The one writer after TEXT was pushed to production (revision 2)."""
    changes.apply(change.push("production", TEXT), ana, "first")
    return changes


@pytest.fixture
def now(store: Store) -> Callable[[], str]:
    """The present text of production."""
    return lambda: store.document("production").document.text


@pytest.fixture
def told(changes: Changes) -> list[Applied]:
    """What listeners were told."""
    heard: list[Applied] = []
    changes.listen(heard.append)
    return heard

"""A document in a store, and desks to edit its items at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.drafts import Desk
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")

TEXT = """\
version: 1

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}
  beta:
    when: {plan: pro}

metrics:
  errors: {event: error, better: lower}

flags:
  # the button
  colour:
    description: Colour of the button   # asked for by marketing
    variants: {control: blue, treatment: green}
    default: control
    off: control
    rules:
      # people here
      - {name: staff, when: {segment: staff}, serve: treatment}
      - name: half        # slowly
        share: 50%
        serve: treatment

  plain:
    rules:
      - {name: all, serve: on}
"""


@pytest.fixture(scope="session")
def _changes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changes]:
    store = Store(tmp_path_factory.mktemp("drafts"))
    store.create_environment("production", BEN)
    made = Changes(store)
    made.apply(change.push("production", TEXT), BEN, "first")
    yield made
    store.close()


@pytest.fixture(scope="session")
def desk(_changes: Changes) -> Callable[..., Desk]:
    """`desk("colour")` edits that flag; nothing is ever saved."""
    return lambda key, section="flags": Desk(_changes, "production", section, key)


COLOUR = """\
# the button
colour:
  description: Colour of the button   # asked for by marketing
  variants: {control: blue, treatment: green}
  default: control
  off: control
  rules:
    # people here
    - {name: staff, when: {segment: staff}, serve: treatment}
    - name: half        # slowly
      share: 50%
      serve: treatment
"""


@pytest.fixture
def colour() -> str:
    """The text of the flag `colour`."""
    return COLOUR

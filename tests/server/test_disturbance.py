"""Running experiments that a change would disturb."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop.errors import ConfigError
from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.disturbance import DisturbedError, guarded
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")
TEXT = """\
version: 1

segments:
  staff:
    when: {plan: staff}

experiments:
  colour: {owner: growth@example.com}
  draft: {status: draft}

flags:
  button:
    variants: {control: blue, treatment: green}
    default: control
    requires: {base: on}
    rules:
      - {name: staff, when: {segment: staff}, serve: treatment}
      - {name: half, experiment: colour, split: {control: 50%, treatment: 50%}}

  base:
    rules:
      - {name: all, serve: on}

  other:
    rules:
      - {name: later, experiment: draft, split: {on: 50%, off: 50%}}
"""


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[Changes]:
    """The writer of an environment with one running experiment."""
    with Store(tmp_path) as store:
        store.create_environment("production", BEN)
        made = Changes(store)
        made.apply(change.push("production", TEXT), BEN, "")
        yield made


def put(section: str, key: str, text: str) -> change.Change:
    """An edit of one item."""
    return change.put_item("production", section, key, text)


BUTTON = TEXT.partition("flags:\n")[2].partition("\n  base")[0]

DISTURBING = {
    "the flag": put("flags", "button", BUTTON.replace("serve: treatment", "serve: control")),
    "its segment": put("segments", "staff", "staff:\n  when: {plan: [staff, admin]}\n"),
    "what it requires": put("flags", "base", "base:\n  killed: true\n"),
    "its layer": change.put_items(
        "production",
        {
            ("layers", "l"): "l: {}\n",
            ("experiments", "colour"): "colour: {layer: {name: l, range: [0%, 50%]}}\n",
        },
    ),
    "its removal": change.archive_flag("production", "button"),
}

HARMLESS = {
    "a description": put("flags", "button", BUTTON.replace("button:", "button:\n    owner: me")),
    "another flag": put("flags", "other", "other: {}\n"),
    "the plan": put("experiments", "colour", "colour: {hypothesis: Green is better.}\n"),
    "its end": change.put_items(
        "production",
        {
            ("experiments", "colour"): "colour: {status: decided}\n",
            ("flags", "button"): BUTTON.replace(
                "{control: 50%, treatment: 50%}", "{control: 0%, treatment: 100%}"
            ),
        },
    ),
    "a kill": change.kill("production", "button"),
}


@pytest.mark.parametrize("what", DISTURBING)
def test_a_change_of_who_gets_what_is_refused(changes: Changes, what: str) -> None:
    """Whatever decides for the experiment's flag disturbs it, and nothing is changed."""
    with pytest.raises(DisturbedError, match="running experiment colour") as found:
        changes.apply(guarded(DISTURBING[what]), BEN, "a reason")
    assert [(one.experiment, one.flag) for one in found.value.disturbances] == [
        ("colour", "button")
    ]
    assert found.value.conflicts == ["experiments.colour"]
    assert "Experiment colour runs on button" in str(found.value.disturbances[0])


@pytest.mark.parametrize("what", HARMLESS)
def test_what_changes_nobodys_variant_is_no_disturbance(changes: Changes, what: str) -> None:
    """Words for people, other flags, the end of the experiment and a kill pass."""
    assert changes.apply(guarded(HARMLESS[what]), BEN, "a reason").applied


def test_force_needs_a_reason(changes: Changes) -> None:
    """A disturbing change is made when somebody says why."""
    planned = guarded(DISTURBING["its segment"], force=True)
    with pytest.raises(ConfigError, match="needs a reason"):
        changes.apply(planned, BEN, " ")
    assert changes.apply(planned, BEN, "the segment was wrong").applied

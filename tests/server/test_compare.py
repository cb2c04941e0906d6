"""Two environments beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.compare import ComparedItem, Comparison, compare, compare_item
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")

LEFT = """\
version: 1

recording: {attributes: [country]}

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}

flags:
  # asked for by marketing
  banner:
    rules:
      - {name: canary, share: 5%, serve: on}

  checkout:
    rules:
      - name: canary
        rollout: {to: on, stages: [1%, 5%, 100%], stage: 5%}

  only_here: {}
"""

RIGHT = """\
version: 1

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}

flags:
  banner:
    rules:
      - {name: canary, share: 7%, serve: on}

  checkout:
    # the same in other words
    rules:
      - name: canary
        rollout: {to: on, stages: [1%, 5%, 100%], paused: true}

  only_there: {}
"""


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    """`LEFT` and `RIGHT` in two environments."""
    with Store(tmp_path) as store:
        for name, text in (("left", LEFT), ("right", RIGHT)):
            store.create_environment(name, BEN)
            Changes(store).apply(change.push(name, text), BEN, "")
        return compare(store.document("left"), store.document("right"))


def item_of(compared: Comparison, section: str, key: str) -> ComparedItem | None:
    """One item, as it is in the list of all."""
    found = compare_item(compared.left, compared.right, section, key)
    assert found in (*compared.items, None)
    return found


def test_each_item_has_one_state(compared: Comparison) -> None:
    """Items are listed by section, as the left has them, then those of the right alone."""
    assert [(one.section, one.key, one.state) for one in compared.items] == [
        ("segments", "staff", "same"),
        ("flags", "banner", "differs"),
        ("flags", "checkout", "same"),
        ("flags", "only_here", "only left"),
        ("flags", "only_there", "only right"),
        ("recording", "", "only left"),
    ]
    assert compared.counts == {"differs": 1, "only left": 2, "only right": 1, "same": 2}


def test_texts_stand_at_the_first_column_without_runtime_words(compared: Comparison) -> None:
    """What promoting would copy is what is compared, comments too."""
    checkout = item_of(compared, "flags", "checkout")
    assert checkout is not None
    assert checkout.left == (
        "checkout:\n  rules:\n    - name: canary\n      rollout: {to: on, stages: [1%, 5%, 100%]}\n"
    )
    assert checkout.right is not None
    assert "paused" not in checkout.right
    banner = item_of(compared, "flags", "banner")
    assert banner is not None
    assert (banner.left or "").startswith("# asked for by marketing\nbanner:\n")


def test_runtime_words_are_told_apart(compared: Comparison) -> None:
    """A stage in force and a pause do not make an item differ, but they are listed."""
    checkout = item_of(compared, "flags", "checkout")
    assert checkout is not None
    assert [(one.path, one.left, one.right) for one in checkout.runtime] == [
        ("rules.canary.rollout.stage", "5%", None),
        ("rules.canary.rollout.paused", None, True),
    ]


def test_other_comments_are_no_difference_of_meaning(compared: Comparison) -> None:
    """The same meaning in another text is the same, and says that it is worded otherwise."""
    checkout, staff = item_of(compared, "flags", "checkout"), item_of(compared, "segments", "staff")
    assert checkout is not None
    assert staff is not None
    assert (checkout.reworded, staff.reworded) == (True, False)
    assert item_of(compared, "flags", "nowhere") is None


def test_an_item_of_a_flow_section_is_shown_as_it_is(tmp_path: Path) -> None:
    """A section in flow style is compared like any other."""
    with Store(tmp_path) as store:
        for name, text in (
            ("left", "version: 1\nflags: {a: {killed: true}, b: {}}\n"),
            ("right", "version: 1\nflags:\n  a:\n    description: new\n"),
        ):
            store.create_environment(name, BEN)
            Changes(store).apply(change.push(name, text), BEN, "")
        found = compare(store.document("left"), store.document("right"))
    assert [(one.key, one.state) for one in found.items] == [("a", "differs"), ("b", "only left")]
    assert [one.path for one in found.items[0].runtime] == ["killed"]
    assert (found.items[0].left or "").startswith("a:")

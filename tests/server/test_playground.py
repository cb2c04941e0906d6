"""What every flag decides for a context, now and at past times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.playground import LARGEST_CONTEXT, Rulesets, alike, look, read_context
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")
FIRST = 1_800_000_000_000

BEFORE = """\
version: 1
flags:
  banner:
    rules:
      - {name: staff, when: {plan: staff}, serve: on}
  season:
    rules:
      - {name: later, from: "2027-06-01T00:00:00Z", serve: on}
"""


class Clock:
    """A clock that moves by hand."""

    now = FIRST

    def __call__(self) -> int:
        """The time in epoch ms."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """It stands at `FIRST`."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """Revision 2 of `production` is `BEFORE`, a minute later; 3, an hour later, kills banner."""
    with Store(tmp_path, clock=clock) as made:
        made.create_environment("production", BEN)
        changes = Changes(made)
        clock.now = FIRST + 60_000
        changes.apply(change.push("production", BEFORE), BEN, "first flags")
        clock.now = FIRST + 3_600_000
        changes.apply(change.kill("production", "banner"), BEN, "checkout fails")
        yield made


def test_every_flag_decides_for_a_context(store: Store) -> None:
    """One decision for each flag, in the document's order, by the rules in force."""
    scene = look(store, "production")
    assert (scene.stored.revision, scene.current, scene.row.reason) == (3, True, "checkout fails")
    found = scene.decisions({"key": "u-1", "plan": "staff"})
    assert [(one.flag, one.variant, str(one.reason)) for one in found] == [
        ("banner", "off", "DISABLED"),
        ("season", "on" if scene.at >= 1_811_808_000_000 else "off", found[1].reason),
    ]


def test_a_past_time_has_its_own_rules(store: Store) -> None:
    """The revision in force then decides, and windows are held against that time."""
    scene = look(store, "production", at=FIRST + 3_599_999)
    assert (scene.stored.revision, scene.current) == (2, False)
    banner, season = scene.decisions({"key": "u-1", "plan": "staff"})
    assert (banner.variant, banner.rule, season.variant) == ("on", "staff", "off")
    why = [step.why for step in scene.explain("season", {"key": "u-1"}).steps]
    assert why[0] == "it opens at 2027-06-01T00:00:00Z"


def test_a_revision_may_be_asked_at_any_time(store: Store) -> None:
    """With a revision and a time, that revision decides as if it were that time."""
    scene = look(store, "production", revision=2, at=1_811_808_000_000)
    season = scene.decisions({"key": "u-1"})[1]
    assert (scene.stored.revision, season.variant, season.rule) == (2, "on", "later")


def test_a_boundary_belongs_to_the_new_revision(store: Store) -> None:
    """At its very millisecond a revision is in force; before the first there is none."""
    assert look(store, "production", at=FIRST + 3_600_000).stored.revision == 3
    assert look(store, "production", at=FIRST).stored.revision == 1
    with pytest.raises(NotFoundError, match="production did not exist then"):
        look(store, "production", at=FIRST - 1)
    with pytest.raises(NotFoundError):
        look(store, "production", revision=99)


def test_an_explanation_ends_at_the_decision_of_the_list(store: Store) -> None:
    """Both ways give the same decision, and an unknown flag names the nearest."""
    scene = look(store, "production", revision=2)
    context = {"key": "u-1", "plan": "free"}
    explained = scene.explain("banner", context)
    assert explained.decision is scene.decisions(context)[0]
    assert "its condition fails" in explained.steps[0].why
    with pytest.raises(NotFoundError, match="banner"):
        scene.explain("baner", context)


def test_asking_is_not_counted(store: Store) -> None:
    """The playground makes no evaluation that a page would show."""
    scene = look(store, "production")
    decisions = scene.decisions({"key": "u-1"})
    assert {one.count for one in decisions} == {0}


def test_contexts_are_read_as_people_write_them() -> None:
    """A key alone, a JSON object, or OpenFeature's form."""
    assert read_context(" u-42 ") == {"key": "u-42"}
    assert read_context("") == {}
    assert read_context('{"key": "u-42", "plan": "pro"}') == {"key": "u-42", "plan": "pro"}
    nested = '{"key": "u-42", "attributes": {"plan": "pro"}}'
    assert read_context(nested) == {"plan": "pro", "key": "u-42"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"key": }', "line 1, column 9"),
        ('{"key": NaN}', "NaN is no JSON"),
        ('{"key": 1e999}', "attribute 'key' is no finite number"),
        ("{" + "x" * LARGEST_CONTEXT, "at most 65,536 characters"),
        ('{"a":' + "[" * 20_000, "no JSON"),
        ('{"key": "\\ud83d"}', "half a character"),
        ('{"\\ud83d": 1}', "half a character"),
    ],
)
def test_what_is_no_context_is_told(text: str, message: str) -> None:
    """The place and the mend are named; nothing raises anything else."""
    with pytest.raises(ConfigError, match=message):
        read_context(text)


def test_a_flag_is_compiled_once_for_all_revisions_with_its_text(store: Store) -> None:
    """Another flag's change compiles nothing anew; a changed segment everything."""
    before, after = (store.document("production", number) for number in (2, 3))
    assert alike(before.document, after.document) == ["season"]
    rulesets = Rulesets()
    first = rulesets.of(before)
    decision = first.evaluate("season", {}, 0.0)
    second = rulesets.of(after)
    assert rulesets.of(before) is first
    assert second.evaluate("season", {}, 0.0) is decision
    assert second.evaluate("banner", {}, 0.0).reason == "DISABLED"
    assert first.evaluate("banner", {}, 0.0).reason == "DEFAULT"


def test_nothing_is_taken_over_when_a_segment_differs(store: Store) -> None:
    """A flag may name it."""
    before = store.document("production").document
    changes = Changes(store)
    text = "staff:\n  when: {plan: staff}\n"
    changes.apply(change.put_item("production", "segments", "staff", text), BEN, "")
    assert alike(store.document("production").document, before) == []

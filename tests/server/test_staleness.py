"""Flags that look ready to be removed, with reason and proof."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flagloop.document.definition import Document
from flagloop.document.schema import read_document
from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.definitions import definitions
from flagloop_server.staleness import (
    Settled,
    only_variant,
    settled_flags,
    stale_reasons,
)
from flagloop_server.store import Actor, Store

BEN = Actor("person", "ben@example.com")
NOW = 1_800_000_000_000  # 2027-01-15
DAY = 86_400_000
COLOURS = {"variants": {"control": "blue", "treatment": "green"}, "default": "control"}


def document(flags: dict[str, Any], **sections: Any) -> Document:
    """A document without problems."""
    parsed, problems = read_document({"version": 1, "flags": flags, **sections})
    assert problems == []
    return parsed


def test_stale_says_why_and_proves_it() -> None:
    """A flag past `expires`, not evaluated for 30 days, or the same for all so long is stale."""
    parsed = document({"f": {"expires": "2027-01-14"}, "g": {"expires": "2027-01-15"}})
    settled = Settled("off", 12, NOW - 40 * DAY)
    found = stale_reasons(parsed.flags["f"], NOW - 63 * DAY, NOW, settled)
    assert [(one.kind, str(one), one.proof) for one in found] == [
        (
            "expired",
            "expired on 2027-01-14",
            "its text says `expires: 2027-01-14`, and today is 2027-01-15",
        ),
        (
            "unused",
            "not evaluated for 63 days",
            "the last evaluation that any application reported was on 2026-11-13",
        ),
        (
            "settled",
            "everyone has got off for 40 days",
            "no rule of it gives anything else, unchanged since revision 12 of 2026-12-06",
        ),
    ]
    recent = Settled("off", 12, NOW - 29 * DAY)
    assert stale_reasons(parsed.flags["g"], NOW - 29 * DAY, NOW, recent) == ()


def test_a_flag_that_was_never_evaluated_is_not_called_unused() -> None:
    """A new flag has no last evaluation; that proves nothing."""
    parsed = document({"f": {}})
    assert stale_reasons(parsed.flags["f"], None, NOW) == ()


@pytest.mark.parametrize(
    ("flag", "only"),
    [
        ({}, ("off",)),
        ({"rules": [{"name": "a", "serve": "on"}]}, ("on",)),
        ({"rules": [{"name": "a", "share": "50%", "serve": "on"}]}, None),
        ({"rules": [{"name": "a", "share": "50%", "serve": "off"}]}, ("off",)),
        ({"rules": [{"name": "a", "when": {"plan": "pro"}, "serve": "on"}]}, None),
        ({"rules": [{"name": "a", "serve": "on"}], "holdout": "held"}, None),
        ({"rules": [{"name": "a", "serve": "on"}], "requires": {"other": "on"}}, None),
        ({"rules": [{"name": "a", "from": "2028-01-01", "serve": "off"}]}, None),
        ({**COLOURS, "killed": True, "rules": [{"name": "a", "serve": "treatment"}]}, (None,)),
        (
            {
                **COLOURS,
                "rules": [
                    {"name": "r", "rollout": {"to": "treatment", "stages": ["100%"]}, "unit": "org"}
                ],
            },
            ("control",),
        ),
    ],
)
def test_one_variant_for_everyone(flag: dict[str, Any], only: tuple[str | None] | None) -> None:
    """Whatever could serve somebody something else, now or by itself later, is no proof."""
    parsed = document({"f": flag, "other": {}}, holdouts={"held": {"share": "2%"}})
    assert only_variant(parsed.flags["f"], parsed) == only


class Clock:
    """A clock that moves by hand."""

    now = NOW

    def __call__(self) -> int:
        """The time in epoch ms."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """It stands at `NOW`."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty environment."""
    with Store(tmp_path, clock=clock) as made:
        made.create_environment("production", BEN)
        yield made


def test_the_time_is_that_of_the_last_change_of_what_decides(store: Store, clock: Clock) -> None:
    """A change of a segment that a flag names counts, one of another flag does not."""
    changes = Changes(store)
    text = (
        "version: 1\nsegments:\n  staff:\n    when: {plan: staff}\nflags:\n  f:\n    rules:\n"
        "      - {name: staff, when: {segment: staff}, serve: off}\n  g: {}\n"
    )
    changes.apply(change.push("production", text), BEN, "")
    clock.now += DAY
    staff = "staff:\n  when: {plan: [staff, admin]}\n"
    changes.apply(change.put_item("production", "segments", "staff", staff), BEN, "")
    clock.now += DAY
    changes.apply(change.kill("production", "g"), BEN, "broken")
    stored = store.document("production")
    found = settled_flags(store, stored, definitions(stored))
    assert found == {"f": Settled("off", 3, NOW + DAY), "g": Settled("off", 4, NOW + 2 * DAY)}
    assert settled_flags(store, stored, definitions(stored)) is found

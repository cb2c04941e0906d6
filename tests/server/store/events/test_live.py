"""Live counts: bounded, and honest about it."""

from __future__ import annotations

import tracemalloc

import pytest

from flagloop_server.store.events import live as live_module
from flagloop_server.store.events.live import Followed, Live


def test_a_unit_belongs_to_its_first_variant() -> None:
    """Seen in a second one it is counted as mixed, once, and stays where it was."""
    live = Live(0)
    for variant in ("a", "b", "b", "a"):
        live.exposed(1, ("key", "u"), "f", variant, 5)
    live.exposed(1, ("org", "u"), "f", "b", 5)
    found = live.counts(1, "f")
    assert (found.units, found.mixed) == ({"a": 1, "b": 1}, 1)


def test_an_event_counts_for_every_flag_of_its_unit() -> None:
    """Also by another attribute than the key."""
    live = Live(0)
    live.exposed(1, ("key", "u"), "f", "a", 5)
    live.exposed(1, ("org", "o"), "g", "x", 5)
    live.happened(1, {"key": "u", "org": "o"}, "e", 2.5, 6)
    assert live.counts(1, "f").events["e"]["a"].value == 2.5
    assert live.counts(1, "g").events["e"]["x"].units == 1
    assert live.counts(2, "f").events == {}


def test_an_earlier_exposure_that_comes_late_counts_from_then() -> None:
    """Batches may arrive out of order."""
    live = Live(0)
    live.exposed(1, ("key", "u"), "f", "a", 50)
    live.exposed(1, ("key", "u"), "f", "a", 10)
    live.happened(1, {"key": "u"}, "e", None, 20)
    assert live.counts(1, "f").events["e"]["a"].events == 1


def test_over_the_limit_counts_say_that_they_are_not_complete() -> None:
    """New units are not followed any more, known ones are."""
    live = Live(0, limit=2)
    assert live.counts(1, "g").complete
    for unit in ("u-1", "u-2", "u-3"):
        live.exposed(1, ("key", unit), "f", "a", 5)
        live.happened(1, {"key": unit}, "e", None, 6)
    found = live.counts(1, "f")
    assert (found.units, found.complete) == ({"a": 2}, False)
    assert found.events["e"]["a"].units == 2
    live.exposed(1, ("key", "u-1"), "g", "a", 5)
    assert (live.counts(1, "g").units, live.counts(1, "g").complete) == ({}, False)


def test_since_when_is_told_by_the_servers_clock() -> None:
    """The sender's may be of the year 287396, which no page can write."""
    live = Live(99)
    live.rebuild([Followed(1, 0, 2**53, 42, "f", "a", "u", "key", None, None)])
    assert live.counts(1, "f").since == 42


def test_names_of_events_are_bounded() -> None:
    """A name made of an id does not eat the memory."""
    live = Live(0)
    live.exposed(1, ("key", "u"), "f", "a", 5)
    for n in range(live_module.EVENT_NAMES + 10):
        live.happened(1, {"key": "u"}, f"e-{n}", None, 6)
    found = live.counts(1, "f")
    assert len(found.events) == live_module.EVENT_NAMES
    assert not found.complete


def test_units_are_followed_in_little_memory() -> None:
    """However long they are: 200,000 of them take less than 30 MB."""
    tracemalloc.start()
    live = Live(0)
    for n in range(live_module.UNITS):
        live.exposed(1, ("key", "u" * 1_000 + str(n)), "f", "ab"[n % 2], 1_790_000_000_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert live.counts(1, "f").units == {"a": 100_000, "b": 100_000}
    assert size < 30 * 2**20


def test_long_units_are_told_apart() -> None:
    """By all of their text, and by attribute."""
    live = Live(0)
    for by, last in (("key", "a"), ("key", "b"), ("org", "a"), ("key", "a")):
        live.exposed(1, (by, "u" * 10_000 + last), "f", "x", 5)
    live.happened(1, {"key": "u" * 10_000 + "a"}, "e", None, 6)
    found = live.counts(1, "f")
    assert (found.units, found.events["e"]["x"].units) == ({"x": 3}, 1)


def test_one_unit_cannot_make_following_slow() -> None:
    """Of a unit of very many flags the first ones are followed; the others say so."""
    live = Live(0)
    for n in range(live_module.FLAGS_OF_UNIT + 1):
        live.exposed(1, ("key", "u"), f"f-{n}", "a", 5)
    assert live.counts(1, "f-0").units == {"a": 1}
    last = live.counts(1, f"f-{live_module.FLAGS_OF_UNIT}")
    assert (last.units, last.complete) == ({"a": 0}, False)


@pytest.mark.parametrize("limit", ["FLAGS", "VARIANTS"])
def test_names_of_flags_and_variants_are_bounded(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a public key can invent them."""
    monkeypatch.setattr(live_module, limit, 3)
    live = Live(0)
    for n in range(5):
        flag, variant = ("f", f"v-{n}") if limit == "VARIANTS" else (f"f-{n}", "a")
        live.exposed(1, ("key", f"u-{n}"), flag, variant, 5)
    found = [live.counts(1, flag) for flag in ("f", *(f"f-{n}" for n in range(5)))]
    assert sum(sum(one.units.values()) for one in found) == 3
    assert not (found[0] if limit == "VARIANTS" else found[-1]).complete

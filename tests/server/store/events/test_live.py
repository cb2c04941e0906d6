"""Live counts: bounded, and honest about it."""

from __future__ import annotations

from flagloop_server.store.events import live as live_module
from flagloop_server.store.events.live import Live


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
    for unit in ("u-1", "u-2", "u-3"):
        live.exposed(1, ("key", unit), "f", "a", 5)
        live.happened(1, {"key": unit}, "e", None, 6)
    found = live.counts(1, "f")
    assert (found.units, found.complete) == ({"a": 2}, False)
    assert found.events["e"]["a"].units == 2
    assert live.counts(1, "g").complete


def test_names_of_events_are_bounded() -> None:
    """A name made of an id does not eat the memory."""
    live = Live(0)
    live.exposed(1, ("key", "u"), "f", "a", 5)
    for n in range(live_module.EVENT_NAMES + 10):
        live.happened(1, {"key": "u"}, f"e-{n}", None, 6)
    found = live.counts(1, "f")
    assert len(found.events) == live_module.EVENT_NAMES
    assert not found.complete


def test_long_units_are_followed_in_little_memory() -> None:
    """By a digest that tells them apart, also by attribute."""
    live = Live(0)
    for by, last in (("key", "a"), ("key", "b"), ("org", "a"), ("key", "a")):
        live.exposed(1, (by, "u" * 10_000 + last), "f", "x", 5)
    live.happened(1, {"key": "u" * 10_000 + "a"}, "e", None, 6)
    found = live.counts(1, "f")
    assert (found.units, found.events["e"]["x"].units) == ({"x": 3}, 1)
    assert sum(len(text) for _, *unit in live._units for text in unit) < 200

"""`observe`: a decision whose consequences are measured."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from flagloop import Client
from flagloop.testing import MemorySink


def events(client: Client, sink: MemorySink) -> list[tuple[str, dict[str, Any]]]:
    """Name and properties of what was tracked, in order."""
    assert client.flush(60)
    return [(one["event"], one["properties"]) for one in sink.events]


def test_a_block_that_ends_well_has_a_latency(client: Client, sink: MemorySink) -> None:
    """Milliseconds, with flag and variant, for the unit that was decided about."""
    with client.observe("split", {"key": "u-1", "org": "o-1"}) as decision:
        assert decision is client.peek("split", "u-1")
    assert events(client, sink) == [("latency_ms", {"flag": "split", "variant": decision.variant})]
    (event,) = sink.events
    assert event["units"] == {"key": "u-1", "org": "o-1"}
    assert 0 <= event["value"] < 10_000


def test_a_block_that_raises_is_an_error_and_goes_on_raising(
    client: Client, sink: MemorySink
) -> None:
    """The very exception; its type is sent, its text, which may be personal, is not."""
    problem = LookupError("no account of a@b.example")
    with pytest.raises(LookupError) as caught:
        with client.observe("split", "u-1") as decision:
            raise problem
    assert caught.value is problem
    served = {"flag": "split", "variant": decision.variant}
    assert events(client, sink) == [
        ("error", {"type": "LookupError", **served}),
        ("latency_ms", served),
    ]
    assert b"a@b.example" not in repr(sink.batches).encode()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_the_end_of_a_program_is_no_error_of_the_block(
    client: Client, sink: MemorySink, end: type[BaseException]
) -> None:
    """An interrupted block goes on ending; only its time is sent."""
    with pytest.raises(end):
        with client.observe("split", "u-1"):
            raise end
    assert [name for name, _ in events(client, sink)] == ["latency_ms"]


def test_a_generator_that_is_closed_is_no_error(client: Client, sink: MemorySink) -> None:
    """A consumer that takes only the first of a stream did not find an error."""

    def stream() -> Generator[int]:
        with client.observe("split", "u-1"):
            yield 1
            yield 2

    one = stream()
    assert next(one) == 1
    one.close()
    assert [name for name, _ in events(client, sink)] == ["latency_ms"]


def test_observations_nest(client: Client, sink: MemorySink) -> None:
    """Inner before outer, each with its own flag."""
    with client.observe("split", "u-1"):
        with client.observe("static", "u-1"):
            pass
    assert [said["flag"] for _, said in events(client, sink)] == ["static", "split"]


def test_an_unknown_flag_is_observed_without_a_variant(client: Client, sink: MemorySink) -> None:
    """Also what is no flag at all: the events say so and are not lost."""
    for name in ("nowhere", 3):
        with client.observe(name, "u-1") as decision:  # type: ignore[arg-type]
            assert decision.variant is None
    said = [properties for _, properties in events(client, sink)]
    assert said == [{"flag": "nowhere", "variant": None}, {"flag": "(no key)", "variant": None}]
    assert client.status()["delivery"]["lost"] == {}


def test_observing_nobody_is_counted_as_lost(client: Client, sink: MemorySink) -> None:
    """An event without a unit belongs to nobody; `status()` says why."""
    with client.observe("static", None):  # type: ignore[arg-type]
        pass
    assert events(client, sink) == []
    status = client.status()["delivery"]
    assert status["lost"] == {"invalid": 1}
    assert "the user has no key" in status["invalid"]

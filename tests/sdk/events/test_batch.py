"""Parts of a batch that was refused."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flagloop.evaluation.decision import Exposed
from flagloop.events.batch import Batch
from flagloop.events.event import Exposure

ORIGIN = Exposure(Exposed("f", "v", "key"), None)
HEAD = {"sdk": "test/1", "instance": {"id": "i"}, "revision": None}


def make(events: int, **extras: Any) -> Batch:
    """A batch of that many events."""
    texts = [ORIGIN.text(f"id{i}", f"u{i}", 1.0) for i in range(events)]
    return Batch(HEAD, texts, **extras)


def read(batch: Batch) -> dict[str, Any]:
    """Its JSON, read back."""
    mapping: dict[str, Any] = json.loads(batch.encode(5))
    return mapping


@given(st.integers(0, 9), st.booleans())
def test_parts_hold_what_the_whole_held(events: int, extras: bool) -> None:
    """Halving until nothing can be halved keeps every event and every row exactly once."""
    rows: dict[str, Any] = {"counts": [{"n": 1}], "lost": [{"n": 2}]} if extras else {}
    whole = make(events, **rows)
    done: list[Batch] = []
    todo = [whole]
    while todo:
        one = todo.pop()
        parts = one.halves()
        todo += parts
        if not parts:
            done.append(one)
    got = [event["id"] for one in done for event in read(one)["events"]]
    assert sorted(got) == [f"id{i}" for i in range(events)]
    assert sum(len(one.counts) for one in done) == sum(len(one.lost) for one in done) == extras
    assert len({one.id for one in done}) == len(done)
    assert [one.id for one in done if one.counts] == [whole.id] * extras
    assert all(len(one.events) <= 1 for one in done)
    assert all(not (one.events and one.extras) for one in done)


def test_the_size_is_that_of_the_body() -> None:
    """`size` is what is posted, to the byte."""
    batch = make(3, counts=[{"flag": "ü", "n": 1}])
    assert batch.size == len(batch.encode(1_767_225_600_000))
    assert batch.encode(5).isascii()


def test_an_empty_batch_is_false() -> None:
    """A batch without events and rows is not worth a request."""
    assert not make(0)
    assert make(1)
    assert make(0, contexts=[{"key": "u"}])

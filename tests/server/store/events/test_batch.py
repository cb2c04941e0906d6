"""The wire form of batches: what is taken, what is refused and how."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from flagloop_server.store.events import TooLargeError, decode_batch
from flagloop_server.store.events import batch as batch_module

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
EXPOSURE = {
    "id": ID,
    "type": "exposure",
    "at": 1_800_000_000_000,
    "flag": "cta_color",
    "variant": "treatment",
    "unit": "u-1",
    "unit_by": "key",
    "rule": "half",
    "experiment": "colour",
    "stage": "12.5%",
    "holdout": {"key": "growth", "held": False},
    "revision": "k3x9.8",
    "attributes": {"country": "DE"},
}
EVENT = {
    "id": ID,
    "type": "event",
    "at": 1_800_000_000_000,
    "event": "purchase",
    "units": {"key": "u-1", "org": "o-1"},
    "value": 12.5,
    "properties": {"sku": "a", "deep": {"er": [1, None]}},
}


def batch(*events: Any, **more: Any) -> bytes:
    """A batch's JSON."""
    return json.dumps({"events": events, **more}).encode()


def test_a_whole_batch_is_read() -> None:
    """Every word of the wire form arrives."""
    found = decode_batch(
        batch(
            EXPOSURE,
            EVENT,
            batch=ID,
            sent=1_800_000_000_500,
            sdk="python 0.1",
            revision="k3x9.8",
            instance={"id": "i", "host": "h", "pid": 7},
            lost=[{"reason": "full", "flag": "f", "variant": None, "n": 2}],
            counts=[
                {"flag": "f", "variant": "a", "rule": None, "reason": "SPLIT", "minute": 3, "n": 4}
            ],
            contexts=[{"key": "u-1", "plan": "pro"}],
        )
    )
    one, two = found.rows
    assert (one.id, one.kind, one.name, one.variant) == (
        uuid.UUID(ID).bytes, 0, "cta_color", "treatment",
    )  # fmt: skip
    assert (one.unit, one.unit_by, one.rule, one.experiment) == ("u-1", "key", "half", "colour")
    assert (one.stage, one.holdout, one.held) == (12_500_000, "growth", False)
    assert json.loads(one.data or "") == {"country": "DE"}
    assert (two.kind, two.name, two.value) == (1, "purchase", 12.5)
    assert two.units == {"key": "u-1", "org": "o-1"}
    assert json.loads(two.data or "") == EVENT["properties"]
    assert (found.id, found.sent, found.sdk) == (
        uuid.UUID(ID).bytes, 1_800_000_000_500, "python 0.1",
    )  # fmt: skip
    assert found.instance is not None
    assert (found.instance.id, found.instance.pid) == ("i", 7)
    assert (found.lost[0].reason, found.lost[0].n, found.counts[0].minute) == ("full", 2, 3)
    assert found.contexts == ('{"key": "u-1", "plan": "pro"}',)
    assert (found.rejected, found.malformed) == ((), 0)


def test_a_shell_script_can_send_the_least() -> None:
    """Only `events` is needed; `unit` alone means the key; ids and times are made up."""
    found = decode_batch(
        batch(
            {"type": "event", "event": "deploy", "unit": "web-1"},
            {"type": "exposure", "flag": "f", "variant": "on", "unit": "u"},
        )
    )
    one, two = found.rows
    assert (one.units, one.at, one.value, one.data) == ({"key": "web-1"}, None, None, None)
    assert (two.unit_by, two.at) == ("key", None)
    assert one.id != two.id
    assert [row.id[6] >> 4 for row in found.rows] == [7, 7]
    assert found.id is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"events": {}}',
        b"{}",
        b"\xff\xfe",
        b'{"events": [], "sent": "now"}',
        b'{"events": [], "batch": "no uuid"}',
        b'{"events": [' + b"[" * 20_000,
        b'{"events": [], "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"events": [], "sdk": "\xff"}',
    ],
)
def test_what_is_no_batch_is_a_value_error(raw: bytes) -> None:
    """Garbage has one answer, with a text and without a crash."""
    with pytest.raises(ValueError) as caught:
        decode_batch(raw)
    assert str(caught.value)


@pytest.mark.parametrize(
    "event",
    [
        {},
        None,
        7,
        {"type": "wish"},
        {**EXPOSURE, "flag": ""},
        {**EXPOSURE, "unit": ""},
        {**EXPOSURE, "unit": 5},
        {**EXPOSURE, "id": "x"},
        {**EXPOSURE, "id": "g" * 32},
        {**EXPOSURE, "id": "01 " * 10 + "01"},
        {**EXPOSURE, "at": "now"},
        {**EXPOSURE, "stage": "much"},
        {**EXPOSURE, "attributes": [1]},
        {**EXPOSURE, "attributes": {"x": "y" * 40_000}},
        {**EXPOSURE, "unit": "u" * 10_001},
        {**EVENT, "units": {}},
        {**EVENT, "units": {"key": ""}},
        {**EVENT, "units": {f"u{n}": "x" for n in range(30)}},
        {**EVENT, "value": "12"},
        {**EVENT, "event": "e" * 201},
    ],
)
def test_a_bad_event_is_rejected_alone(event: Any) -> None:
    """Its neighbours are taken; its index and a reason are told."""
    found = decode_batch(batch(EVENT, event, EXPOSURE))
    assert len(found.rows) == 2
    ((index, problem),) = found.rejected
    assert index == 1
    assert problem


@pytest.mark.parametrize(
    "text",
    [
        r'{"type": "exposure", "flag": "f", "unit": "\ud800 alone"}',
        r'{"type": "event", "event": "e", "unit": "u", "value": 1e999}',
        '{"type": "event", "event": "e", "unit": "u", "properties": {"x": "\udcff"}}',
        '{"type": "event", "event": "e", "unit": "u", "properties": {"x": "\udcff" }',
    ],
)
def test_text_that_cannot_be_stored_is_rejected(text: str) -> None:
    """Lone surrogates, infinities and bad UTF-8 never reach the database."""
    raw = b'{"events": [' + text.encode("utf-8", "surrogateescape") + b"]}"
    try:
        found = decode_batch(raw)
    except ValueError:
        return
    assert [index for index, _ in found.rejected] == [0]


def test_bad_counts_losses_and_contexts_are_counted_not_fatal() -> None:
    """A batch's events are not lost for a row beside them."""
    found = decode_batch(
        batch(
            EVENT,
            counts=[{"flag": "f", "n": 1}, {"flag": "f", "n": -1}, {"n": 1}, 3],
            lost=[{"reason": "full", "n": 1}, {"reason": "", "n": 1}],
            contexts=[{"key": "u"}, [1], "x", {"big": "x" * 40_000}],
        )
    )
    assert (len(found.rows), len(found.counts), len(found.lost), len(found.contexts)) == (
        1,
        1,
        1,
        1,
    )
    assert found.malformed == 3 + 1 + 3


@pytest.mark.parametrize(
    ("given", "kept"), [(8, "8"), (2**53, str(2**53)), ("k3x9.8", "k3x9.8"), (None, None)]
)
def test_a_revision_may_be_a_number(given: object, kept: str | None) -> None:
    """A sender that counts revisions says the same with a number; it is kept as text."""
    found = decode_batch(batch({**EXPOSURE, "revision": given}, revision=given))
    assert found.rejected == ()
    assert (found.rows[0].revision, found.revision) == (kept, kept)


@pytest.mark.parametrize("given", [2**53 + 1, 10**400, -1, 1.5, True, "x" * 201])
def test_an_odd_revision_spoils_its_exposure_alone(given: object) -> None:
    """The exposure is rejected with what is wrong, the next one is taken."""
    found = decode_batch(batch({**EXPOSURE, "revision": given}, {**EXPOSURE, "id": None}))
    assert [index for index, _ in found.rejected] == [0]
    assert len(found.rows) == 1


@pytest.mark.parametrize("sent", [4e12 + 1, -5.5, 1.7e18, -1e300])
def test_a_wrong_clock_loses_nothing(sent: float) -> None:
    """Years off or in nanoseconds: times are kept as numbers that can be corrected."""
    counts = [{"flag": "f", "n": 1, "minute": 2**33}]
    words = {"sent": sent, "events": [{**EXPOSURE, "at": sent}], "counts": counts}
    found = decode_batch(json.dumps(words).encode())
    assert found.sent == found.rows[0].at == int(max(-(2**53), min(sent, 2**53)))
    assert (found.rejected, found.malformed) == ((), 0)


def test_long_units_are_taken() -> None:
    """The SDK decides for them, so what they saw is kept."""
    unit = "u" * 10_000
    found = decode_batch(json.dumps({"events": [{**EXPOSURE, "unit": unit}]}).encode())
    assert found.rows[0].unit == unit


@pytest.mark.parametrize("name", ["events", "counts", "lost", "contexts"])
@pytest.mark.parametrize("last", [EVENT, {}], ids=["good", "bad"])
def test_more_than_a_batch_may_hold_is_too_large(name: str, last: object) -> None:
    """Said as such, so that a sender makes smaller ones; also where one event is bad."""
    rows = [EVENT] * (batch_module.MOST_EVENTS - 1)
    decode_batch(json.dumps({"events": [], name: [*rows, last]}).encode())
    with pytest.raises(TooLargeError):
        decode_batch(json.dumps({"events": [], name: [*rows, last, last]}).encode())


def test_many_values_in_little_text_are_not_read() -> None:
    """Each would take 60 bytes, and a bomb has millions."""
    with pytest.raises(TooLargeError):
        decode_batch(b'{"events": [' + b"1," * batch_module.MOST_VALUES + b"1]}")


def test_one_bad_event_changes_nothing_for_the_others() -> None:
    """A batch is read at once where all is well, else event by event: with the same rows."""
    events = [EXPOSURE, EVENT, {**EVENT, "value": None, "unit": "x"}, {**EXPOSURE, "stage": None}]
    good, mixed = decode_batch(batch(*events)), decode_batch(batch(*events, {}))
    assert good.rows == mixed.rows
    assert len(mixed.rejected) == 1

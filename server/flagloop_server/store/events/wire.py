"""The forms that events, counts and losses have on the wire."""

from __future__ import annotations

from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=200)]
Unit = Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
"""The SDK decides for longer ones too; their events are rejected, and counted by the sender."""
Many = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Revision = Text | Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""`<lineage>.<n>`; a sender that knows only one lineage may say the number alone."""


class Holdout(msgspec.Struct, frozen=True, gc=False):
    """The flag's holdout, and whether the unit is in it."""

    key: Name
    held: bool = False


class Exposure(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="exposure"):
    """This unit saw this variant."""

    flag: Name
    unit: Unit
    variant: Name | None = None
    id: str | None = None
    at: float | None = None
    unit_by: Name = "key"
    rule: Name | None = None
    experiment: Name | None = None
    stage: Text | None = None
    holdout: Holdout | None = None
    revision: Revision | None = None
    attributes: msgspec.Raw = msgspec.Raw()


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="event"):
    """Something that a unit did; `unit` alone means the unit by `key`."""

    event: Name
    units: dict[Name, Unit] = {}
    unit: Unit | None = None
    id: str | None = None
    at: float | None = None
    value: float | None = None
    properties: msgspec.Raw = msgspec.Raw()


class Count(msgspec.Struct, frozen=True, gc=False):
    """So many evaluations in a minute (since the epoch) had this outcome."""

    flag: Name
    n: Many
    minute: Annotated[int, msgspec.Meta(ge=-(2**40), le=2**40)] | None = None
    variant: Text | None = None
    rule: Text | None = None
    reason: Text = ""


class Lost(msgspec.Struct, frozen=True, gc=False):
    """So many records never left the process."""

    reason: Name
    n: Many
    flag: Text | None = None
    variant: Text | None = None


class Instance(msgspec.Struct, frozen=True, gc=False):
    """The process that sends."""

    id: Name
    host: Text = ""
    pid: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class Head(msgspec.Struct, frozen=True):
    """All of a batch but its events; a bad row of the lists is left out alone."""

    batch: str | None = None
    sent: float | None = None
    sdk: Text = ""
    revision: Revision | None = None
    instance: Instance | None = None
    lost: list[msgspec.Raw] = []
    counts: list[msgspec.Raw] = []
    contexts: list[msgspec.Raw] = []


class Good(Head, frozen=True, kw_only=True):
    """A batch in which every event has the right form, which is quick to read."""

    events: list[Exposure | Event]


class Mixed(Head, frozen=True, kw_only=True):
    """A batch in which each event is to be read by itself."""

    events: list[msgspec.Raw]

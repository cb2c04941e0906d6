"""What the edge answers from memory, for SDKs and operators: routes that are no Flask's.

Requests and answers have types of their own here; a test holds them against what is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from flagloop_server.store.events.wire import Count, Event, Exposure, Instance, Lost
from flagloop_server.web.records import Record


class Ruleset(Record, frozen=True, omit_defaults=True):
    """All definitions of an environment that evaluation reads, at a revision `<lineage>.<n>`."""

    format: Literal[1]
    revision: str
    environment: str
    recording: dict[str, Any] = msgspec.field(default_factory=dict)
    segments: dict[str, Any] = msgspec.field(default_factory=dict)
    layers: dict[str, Any] = msgspec.field(default_factory=dict)
    holdouts: dict[str, Any] = msgspec.field(default_factory=dict)
    experiments: dict[str, Any] = msgspec.field(default_factory=dict)
    flags: dict[str, Any] = msgspec.field(default_factory=dict)


class SentExposure(Exposure, frozen=True, tag="exposure"):
    """This unit saw this variant; `id` is a UUID, `attributes` those of the flag's `log`."""

    attributes: Any = msgspec.field(default_factory=dict)


class SentEvent(Event, frozen=True, tag="event"):
    """Something that a unit did; `unit` alone means the unit by `key`."""

    properties: Any = msgspec.field(default_factory=dict)


class Sender(Instance, frozen=True):
    """The process that sends."""


class Batch(msgspec.Struct, frozen=True):
    """Events of one sender; only `events` is required. Times are epoch ms of the sender's clock.

    `batch` is a UUID: counts, losses and contexts of one that came before are passed over.
    `sent` corrects the sender's clock.
    """

    events: list[SentExposure | SentEvent]
    batch: str | None = None
    sent: float | None = None
    sdk: str = ""
    revision: str | int | None = None
    instance: Sender | None = None
    lost: list[Lost] = msgspec.field(default_factory=list)
    counts: list[Count] = msgspec.field(default_factory=list)
    contexts: list[dict[str, Any]] = msgspec.field(default_factory=list)


class RejectedEvent(Record, frozen=True):
    """An event that cannot be taken, by its place in the batch."""

    index: int
    problem: str


class Ack(Record, frozen=True):
    """What became of a batch, told after it is on disk."""

    accepted: int
    duplicate: int
    rejected: list[RejectedEvent]


class Health(Record, frozen=True):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Record, frozen=True):
    """Whether the server should get requests, why not, and what a person should mend."""

    status: Literal["ready", "not ready"]
    problems: list[str]
    alerts: list[str]


@dataclass(frozen=True, slots=True)
class EdgeRoute:
    """One route of the edge; `statuses` are refusals with the JSON of errors."""

    method: str
    path: str
    tag: str
    text: str
    answer: Any
    media: str = "application/json"
    body: type[Any] | None = None
    key: Literal["server", "any", "none"] = "none"
    headers: tuple[tuple[str, str], ...] = ()
    statuses: tuple[int, ...] = ()
    others: tuple[tuple[int, str], ...] = ()
    name: str = ""


ROUTES = (
    EdgeRoute(
        "GET",
        "/api/v1/ruleset",
        "SDKs",
        "The rules of the key's environment.\n\nWith `If-None-Match` of the last ETag the answer "
        "is 304 as long as nothing changed.",
        Ruleset,
        key="server",
        headers=(("If-None-Match", "The ETag of the rules that the SDK has."),),
        statuses=(401, 403, 404),
        others=((304, "Nothing changed."),),
        name="ruleset",
    ),
    EdgeRoute(
        "GET",
        "/api/v1/stream",
        "SDKs",
        "Changes of the rules as they are made (server-sent events).\n\nThe first frame comes at "
        "once: `event: snapshot` with the rules, or a comment if `Last-Event-ID` is current. Then "
        'each change: `event: change` with `{"revision", "base", "set", "unset"}`. A comment '
        "every 10 s.",
        str,
        media="text/event-stream",
        key="server",
        headers=(("Last-Event-ID", "The revision that the SDK has, `<lineage>.<n>`."),),
        statuses=(400, 401, 403, 404, 503),
        name="stream",
    ),
    EdgeRoute(
        "POST",
        "/api/v1/events",
        "SDKs",
        "Exposures, events, counts and recorded contexts.\n\nThe answer comes after they are on "
        "disk. An event whose id is known is a duplicate, so a batch may be sent again. "
        "`Content-Encoding: gzip` is taken.",
        Ack,
        body=Batch,
        key="any",
        statuses=(400, 401, 403, 404, 408, 413, 415, 429, 503),
        name="events",
    ),
    EdgeRoute(
        "GET", "/healthz", "Operation", "Whether the process answers.", Health, name="healthz"
    ),
    EdgeRoute(
        "GET",
        "/readyz",
        "Operation",
        "Whether the server should get requests; 503 with the reasons when not.",
        Readiness,
        others=((503, "It should not."),),
        name="readyz",
    ),
    EdgeRoute(
        "GET",
        "/metrics",
        "Operation",
        "Metrics in Prometheus' text form.",
        str,
        media="text/plain",
        name="metrics",
    ),
)

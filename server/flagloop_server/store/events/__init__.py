"""The append-only log of exposures and events, with the aggregates that pages read."""

from flagloop_server.store.events.batch import Ack, Batch, TooLargeError, decode_batch
from flagloop_server.store.events.live import EventTotal, LiveCounts
from flagloop_server.store.events.log import BusyError, ClosedError, EventLog, EventStats
from flagloop_server.store.events.reading import (
    EventRow,
    EventUsage,
    InstanceRow,
    Loss,
    RecordedContext,
    Usage,
)

__all__ = [
    "Ack",
    "Batch",
    "BusyError",
    "ClosedError",
    "EventLog",
    "EventRow",
    "EventStats",
    "EventTotal",
    "EventUsage",
    "InstanceRow",
    "LiveCounts",
    "Loss",
    "RecordedContext",
    "TooLargeError",
    "Usage",
    "decode_batch",
]

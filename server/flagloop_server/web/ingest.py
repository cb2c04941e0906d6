"""Batches of events: decode, hand to the event log, and say when to come again."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from flagloop_server.edge.answers import Refused, error
from flagloop_server.edge.keys import EdgeKey
from flagloop_server.store.events import BusyError, EventLog, decode_batch


class Ingest:
    """What the edge calls for each body of `POST /api/v1/events`."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def __call__(self, key: EdgeKey, body: bytes, received: int) -> Future[Any]:
        """A future of the Ack, done after the commit; raises Refused (400 or 503)."""
        assert key.environment is not None
        try:
            batch = decode_batch(body)
            return self._events.submit(key.environment, key.id, received, batch)
        except BusyError as busy:
            retry = max(1, round(busy.retry_after))
            raise Refused(error(503, str(busy), retry_after=retry)) from None
        except ValueError as problem:
            raise Refused(error(400, f"this is no batch of events: {problem}")) from None

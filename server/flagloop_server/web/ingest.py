"""Batches of events: decode, hand to the event log, and say when to come again."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

from flagloop_server.edge.answers import Refused, error
from flagloop_server.edge.keys import EdgeKey
from flagloop_server.store.events import Ack, BusyError, EventLog, decode_batch


class Ingest:
    """What the edge calls for each body of `POST /api/v1/events`."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def __call__(self, key: EdgeKey, body: bytes, received: int) -> Future[Mapping[str, object]]:
        """A future of the answer's JSON, done after the commit (or Refused, 503).

        Raises Refused itself: 400 for what is no batch, 503 when too much waits.
        """
        assert key.environment is not None
        try:
            batch = decode_batch(body)
            if key.kind == "client":
                # Anybody can send these: previews and "who has the kill" must not rest on them.
                batch = batch._replace(contexts=(), instance=None)
            commit = self._events.submit(key.environment, key.id, received, batch)
        except BusyError as busy:
            retry = max(1, round(busy.retry_after))
            raise Refused(error(503, str(busy), retry_after=retry)) from None
        except ValueError as problem:
            raise Refused(error(400, f"this is no batch of events: {problem}")) from None
        answer: Future[Mapping[str, object]] = Future()
        commit.add_done_callback(lambda done: pass_on(done, answer))
        return answer


def pass_on(commit: Future[Ack], answer: Future[Mapping[str, object]]) -> None:
    """Give the answer on; a failed commit (disk full, say) is told as 503, to be sent again."""
    if commit.exception() is None:
        answer.set_result(commit.result().to_mapping())
    else:
        answer.set_exception(Refused(error(503, "the events were not written", retry_after=5)))

"""Batches of events: decode, hand to the event log, and say when to come again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future

from flagloop_server.edge.answers import Refused, error
from flagloop_server.edge.keys import EdgeKey
from flagloop_server.instances import Instances, Introduction, introduced
from flagloop_server.store.events import (
    Ack,
    Batch,
    BusyError,
    ClosedError,
    EventLog,
    TooLargeError,
    decode_batch,
)
from flagloop_server.store.events.wire import Lost


class Ingest:
    """What the edge calls for each body of `POST /api/v1/events`."""

    def __init__(self, events: EventLog, instances: Instances | None = None) -> None:
        self._events = events
        self._instances = instances

    def __call__(
        self, key: EdgeKey, body: bytes, received: int, said: bytes | None = None
    ) -> Future[Mapping[str, object]]:
        """A future of the answer's JSON, done after the commit (or Refused, 503).

        `said` is how the sending process introduces itself. Raises Refused itself: 400 for what
        is no batch, 413 for too large a one, 429 when too much waits, 503 when the server stops.
        """
        assert key.environment is not None
        public = key.kind == "client"
        try:
            batch = decode_batch(body)
            # Anybody can send with a public key: previews and "who has the kill" must not rest
            # on that. And what a spool keeps of another process does not say how that one is.
            if public or not _own(batch, said):
                batch = batch._replace(instance=None)
            if public:
                batch = batch._replace(contexts=())
            self._note(key, batch)
            if is_empty(batch):
                return done(Ack(0, 0, ()).to_mapping())
            commit = self._events.submit(key.environment, key.id, received, batch, public=public)
        except BusyError as busy:
            retry = max(1, round(busy.retry_after))
            raise Refused(error(429, str(busy), retry_after=retry)) from None
        except ClosedError:
            raise Refused(error(503, "the server stops", retry_after=5)) from None
        except TooLargeError as problem:
            raise Refused(error(413, str(problem))) from None
        except ValueError as problem:
            raise Refused(error(400, f"this is no batch of events: {problem}")) from None
        answer: Future[Mapping[str, object]] = Future()

        def committed(commit: Future[Ack]) -> None:
            if batch.lost and commit.exception() is None and not commit.result().repeated:
                self._note(key, batch, batch.lost)
            pass_on(commit, answer)

        commit.add_done_callback(committed)
        return answer

    def _note(self, key: EdgeKey, batch: Batch, lost: Iterable[Lost] = ()) -> None:
        """Tell who sent the batch, what is in force there and what was lost.

        What was lost only once: a batch comes again when it was refused, or its answer got lost.
        """
        sender = batch.instance
        if self._instances is None or sender is None or key.environment is None:
            return
        who = Introduction(sender.id, sender.host, sender.pid, batch.sdk)
        reasons: Counter[str] = Counter()
        for one in lost:
            reasons[one.reason] += one.n
        self._instances.delivered(key.environment, key.id, who, batch.revision, reasons)


def _own(batch: Batch, said: bytes | None) -> bool:
    """Whether a batch is of the process that sends it, as far as that introduced itself."""
    who = None if said is None else introduced(said)
    return who is None or batch.instance is None or batch.instance.id == who.id


def is_empty(batch: Batch) -> bool:
    """Whether there is nothing to write: such a batch only says who is there."""
    return not (batch.rows or batch.rejected or batch.lost or batch.counts or batch.contexts)


def done(answer: Mapping[str, object]) -> Future[Mapping[str, object]]:
    """A future that has its answer."""
    future: Future[Mapping[str, object]] = Future()
    future.set_result(answer)
    return future


def pass_on(commit: Future[Ack], answer: Future[Mapping[str, object]]) -> None:
    """Give the answer on; a failed commit (disk full, say) is told as 503, to be sent again."""
    if commit.exception() is None:
        answer.set_result(commit.result().to_mapping())
    else:
        answer.set_exception(Refused(error(503, "the events were not written", retry_after=5)))

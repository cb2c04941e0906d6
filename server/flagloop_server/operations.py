"""What operators ask a running server: is it ready, and how is it doing."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from flagloop.errors import FlagloopError
from flagloop_server import obedience
from flagloop_server.telemetry import Metrics, Reading, gauge

if TYPE_CHECKING:
    from flagloop_server.app import Application

MOST_REASONS = 20
"""Reasons of losses with a label of their own: senders name them, also those with public keys."""


class Operations:
    """Reads an application; every method may block."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._metrics = Metrics(self.readings)

    def metrics(self) -> tuple[str, bytes]:
        """Content type and text of the metrics."""
        return self._metrics.render()

    def ready(self) -> list[str]:
        """Why the server should get no requests; nothing when it should."""
        problems = self._app.background.problems()
        try:
            environments = self._app.store.environments()
        except sqlite3.Error as problem:
            return [*problems, f"config.db cannot be read: {problem}"]
        snapshots = self._app.publisher.snapshots
        missing = [item.key for item in environments if snapshots.get(item.id) is None]
        return [*problems, *(f"no snapshot of {name}" for name in missing)]

    def alerts(self) -> list[str]:
        """What a person should mend while the server goes on: it still serves flags."""
        problem = self._app.events.stats().problem
        return [*([problem] if problem else ()), *self._app.background.alerts()]

    def readings(self) -> Iterator[Reading]:
        """Every metric, as of now; of those that ask a database which fails, as far as it goes."""
        missing = 0
        for part in (self._edge, self._snapshots, self._instances, self._events):
            try:
                yield from part()
            except (sqlite3.Error, FlagloopError):  # /readyz says why; a rename may come between
                missing += 1
        text = "Parts of these metrics that a database which cannot be read left out."
        yield gauge("flagloop_metrics_missing", text, missing)

    def _edge(self) -> Iterator[Reading]:
        edge, workers = self._app.edge, self._app.workers
        requests = tuple(
            ((route, str(status)), float(count))
            for (route, status), count in edge.requests.copy().items()
        )
        yield Reading(
            "flagloop_requests", "Answers by route.", "counter", ("route", "status"), requests
        )
        yield gauge("flagloop_web_busy", "Workers in use.", workers.busy)
        waiting = (
            (("page",), float(workers.waiting[False])),
            (("report",), float(workers.waiting[True])),
        )
        yield Reading(
            "flagloop_web_waiting", "Requests that wait for a worker.", "gauge", ("kind",), waiting
        )
        yield gauge("flagloop_batches_waiting", "Batches of events in work.", edge.waiting)
        yield from self._streams()
        failures = tuple(((job.name,), float(job.failures)) for job in self._app.background.jobs)
        yield Reading(
            "flagloop_job_failures", "Failed periodic work.", "counter", ("job",), failures
        )

        failed = float(self._app.changes.failed_calls)
        yield Reading(
            "flagloop_listener_failures",
            "Listeners that failed after a committed change.",
            "counter",
            (),
            (((), failed),),
        )

    def _streams(self) -> Iterator[Reading]:
        hub = self._app.publisher.hub
        yield gauge("flagloop_streams", "Open streams.", len(hub))
        opened = tuple(((frame,), float(count)) for frame, count in hub.opened.copy().items())
        text = "Streams that began, by their first frame: a comment when their reader was current."
        yield Reading("flagloop_streams_opened", text, "counter", ("first",), opened)
        refused = (((), float(hub.refused)),)
        text = "Streams that were refused: too many were open."
        yield Reading("flagloop_streams_refused", text, "counter", (), refused)
        ended = tuple(((reason,), float(count)) for reason, count in hub.ended.copy().items())
        text = "Streams that ended, by reason."
        yield Reading("flagloop_streams_ended", text, "counter", ("reason",), ended)

    def _snapshots(self) -> Iterator[Reading]:
        snapshots = self._app.publisher.snapshots.all()
        yield Reading(
            "flagloop_revision",
            "The revision that is served.",
            "gauge",
            ("environment",),
            tuple(((item.environment,), float(item.number)) for item in snapshots),
        )
        yield Reading(
            "flagloop_snapshot_bytes",
            "The size of the ruleset's JSON.",
            "gauge",
            ("environment",),
            tuple(((item.environment,), float(len(item.plain.body))) for item in snapshots),
        )

    def _instances(self) -> Iterator[Reading]:
        app = self._app
        counts: Counter[tuple[str, str]] = Counter()
        for environment in app.store.environments():
            told = obedience.look(app.store, app.instances, environment.key)
            for state in get_args(obedience.State):
                counts[environment.key, state] = told.count(state)
        yield Reading(
            "flagloop_instances",
            "Processes that decide by this server, by how they stand to its revision.",
            "gauge",
            ("environment", "state"),
            tuple((labels, float(n)) for labels, n in counts.items()),
        )
        text = "Instances that were heard of lately, for which there was no room in the list."
        yield gauge("flagloop_instances_unlisted", text, app.instances.unlisted())

    def _events(self) -> Iterator[Reading]:
        stats = self._app.events.stats()
        yield gauge("flagloop_events_waiting", "Events to be committed.", stats.waiting_events)
        failing = float(stats.problem is not None)
        yield gauge("flagloop_events_failing", "1 while no event can be written.", failing)
        outcomes = (
            (("accepted",), float(stats.accepted)),
            (("duplicate",), float(stats.duplicate)),
            (("rejected",), float(stats.rejected)),
        )
        yield Reading(
            "flagloop_events", "Events that came, by outcome.", "counter", ("outcome",), outcomes
        )
        batches = (
            (("committed",), float(stats.batches)),
            (("refused",), float(stats.refused)),
            (("failed",), float(stats.failures)),
        )
        yield Reading(
            "flagloop_batches", "Batches that came, by outcome.", "counter", ("outcome",), batches
        )
        yield Reading("flagloop_commits", "Commits.", "counter", (), (((), float(stats.commits)),))
        lost: Counter[tuple[str, ...]] = Counter()
        for environment in self._app.store.environments():
            reasons = Counter[str]()
            for loss in self._app.events.losses(environment.id):
                reasons[loss.reason] += loss.n
            for place, (reason, n) in enumerate(reasons.most_common()):
                lost[environment.key, reason if place < MOST_REASONS else "other"] += n
        # No counter: what is old is forgotten, which would look like a restart and new losses.
        yield Reading(
            "flagloop_lost",
            "Records that SDKs said they lost; a reason counts until 30 days after its last loss.",
            "gauge",
            ("environment", "reason"),
            tuple((labels, float(count)) for labels, count in lost.items()),
        )

"""Puts the server together: store, changes, edge, pages, background."""

from __future__ import annotations

import logging
import sqlite3
import time
from types import TracebackType

from flask import Response

from flagloop.errors import FlagloopError
from flagloop_server.auth import Auth, first_start
from flagloop_server.background import Background
from flagloop_server.changes import Changes
from flagloop_server.config import Config
from flagloop_server.edge.body import Bodies
from flagloop_server.edge.bridge import Bridge, Source, Workers
from flagloop_server.edge.front import Edge, Intakes, Sources
from flagloop_server.edge.hub import StreamLimits
from flagloop_server.edge.intake import Intake
from flagloop_server.instances import Instances
from flagloop_server.operations import Operations
from flagloop_server.publish import Publisher
from flagloop_server.roll import Roll
from flagloop_server.store import Store, now_ms
from flagloop_server.warming import Warmer
from flagloop_server.web import errors
from flagloop_server.web.identity import has_session
from flagloop_server.web.ingest import Ingest
from flagloop_server.web.site import create_site

log = logging.getLogger(__name__)

TOUCH_SECONDS = 30.0
"""How often the last use of keys is written down."""

SETTLE_SECONDS = 1.0
"""How often what was heard of instances is taken in, and who came or left written down."""

WARM_SECONDS = 1.0
"""How soon after a start or a change its documents are made ready for the pages."""

ROLL_SECONDS = 60.0
"""How often the list of instances is written down."""


def busy(error: sqlite3.OperationalError) -> Response:
    """503 for a database that is locked, full or away; without a page where that reads it too."""
    log.warning("the database refused: %s", error)
    try:
        return errors.handle(error)
    except sqlite3.Error:
        return errors.plain(error)


class Application:
    """One running server without its socket: `asgi` is what a server serves.

    `first_keys` are (environment, secret) of keys made by this start, `setup_link` is the path
    of the one-time link while nobody has signed up.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.store = Store(config.data)
        self.auth = Auth(self.store)
        self.changes = Changes(self.store)
        self.events = self.store.events
        self.events.follow()
        self.instances = Instances(now_ms)
        self.roll = Roll(self.store, self.instances)
        self.roll.recall()
        start = first_start(self.store, self.auth)
        self.first_keys = tuple(start.keys.items())
        self.setup_link = None if start.setup_token is None else f"/setup/{start.setup_token}"
        streams = StreamLimits(total=config.streams, key=config.streams_of_key)
        self.publisher = Publisher(self.store, self.changes, streams)
        self.publisher.watch()
        self.flask = create_site(self)
        self.flask.register_error_handler(sqlite3.OperationalError, busy)
        self.background = Background()
        self.background.every(config.poll_seconds, "watch", self.publisher.watch)
        self.background.every(TOUCH_SECONDS, "touch-keys", self.touch_keys)
        self.background.every(SETTLE_SECONDS, "instances", self.roll.greet)
        self.background.every(ROLL_SECONDS, "write-instances", self.roll.write)
        self.background.every(WARM_SECONDS, "warm", Warmer(self.store, self.flask.jinja_env))
        self.workers = Workers(config.workers, config.report_workers, config.waiting)
        self.edge = self._edge()
        self.asgi = self.edge
        self._closed = False

    def _edge(self) -> Edge:
        config = self.config
        trusted = config.trusted_proxies
        bridge = Bridge(self.flask, self.workers, threads=config.workers, trusted=trusted)
        return Edge(
            self.publisher.keys,
            self.publisher.snapshots,
            hub=self.publisher.hub,
            bridge=bridge,
            intakes=self._intakes(),
            instances=self.instances,
            operations=Operations(self),
            sources=Sources(
                known=Source(self._bodies(config.bodies_bytes), config.body_limit),
                strangers=Source(
                    self._bodies(config.strangers_bytes), config.stranger_limit, strangers=True
                ),
                signed_in=self._signed_in,
            ),
        )

    def _intakes(self) -> Intakes:
        config = self.config
        ingest = Ingest(self.events, self.instances)
        return Intakes(
            server=Intake(
                ingest,
                self._bodies(config.events_bytes),
                limit=config.events_limit,
                unpacked=config.events_unpacked,
                batches=config.batches_waiting,
            ),
            public=Intake(
                ingest,
                self._bodies(config.events_bytes // 4),
                limit=config.events_limit // 4,
                unpacked=config.events_unpacked // 4,
                batches=config.batches_waiting // 4,
            ),
        )

    def _bodies(self, total: int) -> Bodies:
        return Bodies(self.config.body_seconds, self.config.bodies, total)

    def _signed_in(self, cookies: bytes) -> bool:
        """Whether a Cookie header has a session; while the database cannot tell, nobody is."""
        try:
            return has_session(self.auth, cookies)
        except sqlite3.Error:
            return False

    def start(self) -> None:
        """Start the background work."""
        self.background.start()

    def touch_keys(self) -> None:
        """Write down when keys were last used."""
        used, self.edge.used = self.edge.used, {}
        used.update(dict.fromkeys(self.publisher.hub.key_ids(), time.time_ns() // 1_000_000))
        if used:
            self.store.touch_keys(used)

    def close(self) -> None:
        """End background work, commit what is queued, close the databases. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.background.stop()
        self.edge.close()
        for work in (self.touch_keys, self.roll.write):
            try:
                work()
            except (FlagloopError, sqlite3.Error) as problem:  # the databases must be closed
                log.warning("the last use of keys, or who is there, was not written: %s", problem)
        self.store.close()

    def __enter__(self) -> Application:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create_app(config: Config) -> Application:
    """The application on the folder `config.data`, made when missing; opens no socket.

    Raises ConfigError, OSError and sqlite3.Error when the folder cannot be used.
    """
    return Application(config)

"""What a client is made of: a ruleset in force, what keeps it fresh, what reports."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from flagloop import __version__
from flagloop.errors import ConfigError
from flagloop.evaluation.bucketing import unit_of
from flagloop.evaluation.decision import Decision, ErrorCode, Reason
from flagloop.evaluation.ruleset import Ruleset
from flagloop.sync.presence import Presence, worth_telling
from flagloop.sync.refresh import Refresh

if TYPE_CHECKING:
    from flagloop.events.delivery import Delivery
    from flagloop.events.outbox import Clocks
    from flagloop.events.spool import Spool
    from flagloop.options import LocalOptions, Options
    from flagloop.sync.source import Snapshot, Source
    from flagloop.sync.transport import Transport

Changed = Callable[[frozenset[str]], None]
"""Called with the keys of the flags that may decide otherwise than before."""

SDK = f"flagloop-python/{__version__}"
NO_KEY = "(no key)"
"""Stands for what was asked for as a flag and is no text; it cannot be a flag's key."""


class InForce(NamedTuple):
    """Definitions as they came and as they decide."""

    mapping: Mapping[str, Any]
    ruleset: Ruleset


class Unsampled:
    """Stands for the reservoir of a client that sends nothing: it never asks for a context."""

    armed = False

    def take(self, context: Mapping[str, Any]) -> None:
        """Keep nothing."""


class Assembly:
    """The parts of one client and how a new ruleset comes into force.

    The hot path reads `_table`, `_exposures` and `_reservoir`; the whole ruleset is swapped by
    assigning `_table`.
    """

    __slots__ = (
        "__weakref__",
        "_all",
        "_callbacks",
        "_clock",
        "_delivery",
        "_exposures",
        "_failures",
        "_mapping",
        "_overrides",
        "_presence",
        "_refresh",
        "_reservoir",
        "_ruleset",
        "_snapshot",
        "_sourced",
        "_table",
        "_transport",
    )

    _refresh: Refresh
    _sourced: InForce
    _mapping: Mapping[str, Any]
    _ruleset: Ruleset
    _table: dict[str, Callable[[Mapping[str, Any]], Decision]]
    _all: Callable[[Mapping[str, Any]], dict[str, Decision]]

    @classmethod
    def _local(cls, source: Source, first: Snapshot | None, options: LocalOptions) -> Self:
        """A client of a source that has answered already."""
        transport = None
        if options.get("url"):
            from flagloop.sync.transport import Transport

            transport = Transport(options["url"], options.get("key") or "")
        client = cls.__new__(cls)
        client._start(source, transport, options, first)
        return client

    def _start(
        self,
        source: Source,
        transport: Transport | None,
        options: Options,
        first: Snapshot | None,
        refresh: type[Refresh] = Refresh,
    ) -> None:
        self._clock = options.get("clock") or time.time
        self._transport = transport
        self._presence = None if transport is None else Presence(transport)
        self._report(transport, options)
        self._failures: dict[str, int] = {}
        self._callbacks: list[Changed] = []  # replaced, never changed
        self._overrides: tuple[InForce, ...] = ()
        self._snapshot: Snapshot | None = None
        self._mapping = {}
        self._sourced = InForce(self._mapping, Ruleset(self._mapping))
        if first is None:
            self._install()
        else:
            self._apply(first)
        known = None if first is None else first.revision
        self._refresh = refresh(source, _weakly(self), options.get("interval"), known=known)
        # Nobody needs the threads of a client that was thrown away without `close`.
        weakref.finalize(self, _let_go, self._refresh, self._delivery).atexit = False
        if first is None or first.origin != "document":
            self._refresh.start()

    def _report(self, transport: Transport | None, options: Options) -> None:
        """Set what reports: to `events=` or else to the server; nothing where there is neither."""
        from flagloop.events import ending
        from flagloop.events.delivery import Delivery
        from flagloop.events.outbox import Clocks

        self._delivery: Delivery | None = None
        send = options.get("events") or (transport.post_events if transport is not None else None)
        if send is not None:
            clocks = Clocks(wall=self._clock)
            queue, spool = options.get("queue") or 100_000, _spool(transport, options, clocks)
            self._delivery = Delivery(send, sdk=SDK, queue=queue, clocks=clocks, spool=spool)
            if transport is not None:
                transport.instance = self._delivery.instance.mapping
            if self._presence is not None:
                ending.keep(self._presence, last=True)
        wanted = self._delivery is not None and options.get("exposures") is not False
        self._exposures = self._delivery.exposures if self._delivery and wanted else None
        if self._delivery is not None and (not wanted or options.get("spool")):
            # Without exposures the hot path wakes nobody, and counts would wait for the exit;
            # a spool may hold what an earlier process left.
            self._delivery.start()
        self._reservoir = self._delivery.reservoir if self._delivery else Unsampled()

    def _apply(self, snapshot: Snapshot) -> None:
        """Take a new snapshot of the source; in force unless something overrides it."""
        ruleset = Ruleset(snapshot.mapping, snapshot.revision, snapshot.environment)
        self._sourced = InForce(snapshot.mapping, ruleset)
        before, self._snapshot = self._snapshot, snapshot
        old = self._mapping
        self._install()
        if before is not None and snapshot.origin == "server":
            self._confirm(old, before, snapshot)

    def _confirm(self, old: Mapping[str, Any], before: Snapshot, snapshot: Snapshot) -> None:
        """Tell the server that `snapshot` is in force, if that should not wait for an envelope."""
        # What an override decides by is no revision of the server's.
        if self._presence is None or self._mapping is not snapshot.mapping:
            return
        if worth_telling(old, snapshot.mapping, before.revision, snapshot.revision):
            self._presence.confirm(snapshot.revision)

    def _override(self, mapping: Mapping[str, Any]) -> Callable[[], None]:
        mine = InForce(mapping, Ruleset(mapping))
        self._overrides = (*self._overrides, mine)
        self._install()

        def undo() -> None:
            self._overrides = tuple([one for one in self._overrides if one is not mine])
            self._install()

        return undo

    def _install(self) -> None:
        """Put in force what should be: the latest override, else what the source said last."""
        before = self._mapping
        wanted = None
        # Two threads may be here, with a refresh and an override: the last one out has looked
        # again after it wrote, so no half of the other's writes stays. A lock could be held by
        # a thread that a fork leaves behind.
        while wanted is not (latest := (self._sourced, *self._overrides)[-1]):
            wanted = latest
            self._adopt(wanted)
        if self._callbacks:
            self._tell(before, self._mapping)

    def _adopt(self, one: InForce) -> None:
        # Delivery first: decisions of the new ruleset may come as soon as the table is there.
        if self._delivery is not None:
            self._delivery.adopt(one.ruleset)
        self._mapping, self._ruleset = one
        self._all = one.ruleset.bind_all(self._clock)
        self._table = one.ruleset.bind(self._clock)

    def _tell(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        from flagloop.document.schema import changed_flags

        changed = changed_flags(old, new)
        for callback in self._callbacks if changed else ():
            callback(changed)

    @property
    def _known(self) -> bool:
        """Whether there are definitions."""
        return self._snapshot is not None or bool(self._overrides)

    def _failed(self, flag: Any, problem: Exception, *, count: bool = True) -> Decision:
        """The decision when deciding raised: an unknown flag, or something of no use at all."""
        # Whatever class it is of, what follows must not call its methods: they may raise, too.
        key = str.__str__(flag) if issubclass(type(flag), str) else NO_KEY
        if key not in self._table and key is not NO_KEY:
            error = self._ruleset.missing(key)
        else:
            self._note(problem)
            code, message = ErrorCode.GENERAL, f"{type(problem).__name__} while deciding"
            if key is NO_KEY:
                code = ErrorCode.FLAG_NOT_FOUND
                message = f"a flag's key is a text, not {type(flag).__name__}"
            error = Decision(key, None, None, Reason.ERROR, error=code, message=message)
        if count:
            self._count_error(key, error.error)
        return error

    def _unexposed(self, decision: Decision, user: Mapping[str, Any], problem: Exception) -> None:
        """Recording an exposure raised; at 100% that is how a user without the unit looks."""
        exposed = decision.exposed
        if exposed is not None and unit_of(user.get(exposed.unit_by)) is not None:
            self._note(problem)

    def _mismatch(self, decision: Decision) -> None:
        self._count_error(decision.flag, ErrorCode.TYPE_MISMATCH)

    def _count_error(self, flag: str, code: ErrorCode | None) -> None:
        if self._delivery is not None and code is not None:
            self._delivery.counts.error(flag, code)

    def _note(self, problem: BaseException) -> None:
        """Count what went wrong by its type: its text may hold a user's attributes."""
        name = type(problem).__name__
        self._failures[name] = self._failures.get(name, 0) + 1


def _spool(transport: Transport | None, options: Options, clocks: Clocks) -> Spool | None:
    """Where batches wait on disk, if that is wanted."""
    folder = options.get("spool")
    if not folder:
        return None
    try:
        from flagloop.events.spool import LIMIT, Spool
    except ImportError as problem:
        raise ConfigError(f"spool does not work on this system: {problem}") from None
    # What is meant for one server and key never goes to another.
    server = transport if not options.get("events") else None
    identity = "sink" if server is None else server.identity
    return Spool(folder, identity, options.get("spool_mb") or LIMIT, clocks)


def _let_go(refresh: Refresh, delivery: Delivery | None) -> None:
    """End the threads of a client that is gone, after what waits is delivered."""
    refresh.leave()
    if delivery is not None:
        delivery.leave()


def _weakly(client: Assembly) -> Callable[[Snapshot], None]:
    """Applies snapshots without keeping the client alive, which its own thread would otherwise."""
    found = weakref.ref(client)

    def apply(snapshot: Snapshot) -> None:
        client = found()
        if client is not None:
            client._apply(snapshot)

    return apply

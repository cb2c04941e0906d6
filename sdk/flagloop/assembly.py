"""What a client is made of: a ruleset in force, what keeps it fresh, what reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict

if TYPE_CHECKING:
    from flagloop.evaluation.decision import Decision
    from flagloop.evaluation.ruleset import Ruleset
    from flagloop.events.delivery import Delivery
    from flagloop.events.outbox import Send
    from flagloop.sync.refresh import Refresh
    from flagloop.sync.source import Snapshot, Source
    from flagloop.sync.transport import Transport

Changed = Callable[[frozenset[str]], None]
"""Called with the keys of the flags that may decide otherwise than before."""


class Options(TypedDict, total=False):
    """What every constructor of `Client` takes by name."""

    interval: float
    exposures: bool
    events: Send
    queue: int
    clock: Callable[[], float]


class LocalOptions(Options, total=False):
    """What clients of a file or a document take: a server that only receives their events."""

    url: str
    key: str


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
        "_frozen",
        "_refresh",
        "_reservoir",
        "_ruleset",
        "_snapshot",
        "_table",
    )

    _refresh: Refresh
    _ruleset: Ruleset
    _table: dict[str, Callable[[Mapping[str, Any]], Decision]]
    _all: Callable[[Mapping[str, Any]], dict[str, Decision]]

    @staticmethod
    def _reporting(options: Options, transport: Transport | None) -> Delivery | None:
        """The delivery to `events=` or else to the server; None where there is neither."""
        from flagloop.events.delivery import Delivery

        send = options.get("events") or (transport.post_events if transport is not None else None)
        if send is None:
            return None
        delivery = Delivery(send, queue=options.get("queue", 100_000))
        if transport is not None:
            transport.instance = lambda: delivery.instance.id
        return delivery

    @classmethod
    def _local(cls, source: Source, options: LocalOptions) -> Self:
        """A client of a source that answers at once."""
        first = source.fetch(None)
        transport = None
        if "url" in options:
            from flagloop.sync.transport import Transport

            transport = Transport(options["url"], options.get("key", ""))
        client = cls.__new__(cls)
        client._start(source, cls._reporting(options, transport), options, first)
        return client

    def _start(
        self, source: Source, delivery: Delivery | None, options: Options, first: Snapshot | None
    ) -> None:
        from flagloop.evaluation.ruleset import Ruleset
        from flagloop.sync.refresh import Refresh

        self._clock = options.get("clock", time.time)
        self._delivery: Delivery | None = delivery
        wanted = options.get("exposures", True)
        self._exposures = delivery.exposures if delivery is not None and wanted else None
        self._reservoir = delivery.reservoir if delivery is not None else Unsampled()
        self._failures: dict[str, int] = {}
        self._callbacks: list[Changed] = []
        self._frozen = False
        self._snapshot: Snapshot | None = None
        known = None
        if first is None:
            self._adopt(Ruleset({}))
        else:
            self._apply(first)
            known = first.revision
        self._refresh = Refresh(source, self._refreshed, options.get("interval"), known=known)
        if first is None or first.origin != "document":
            self._refresh.start()

    def _refreshed(self, snapshot: Snapshot) -> None:
        """A new snapshot from the source."""
        if self._frozen:
            self._snapshot = snapshot
        else:
            self._apply(snapshot)

    def _apply(self, snapshot: Snapshot) -> None:
        from flagloop.evaluation.ruleset import Ruleset

        before = self._snapshot
        ruleset = Ruleset(snapshot.mapping, snapshot.revision, snapshot.environment)
        self._adopt(ruleset)
        self._snapshot = snapshot
        if self._callbacks:
            self._tell(before.mapping if before is not None else {}, snapshot.mapping)

    def _adopt(self, ruleset: Ruleset) -> None:
        # Delivery first: decisions of the new ruleset may come as soon as the table is there.
        if self._delivery is not None:
            self._delivery.adopt(ruleset)
        self._ruleset = ruleset
        self._all = ruleset.bind_all(self._clock)
        self._table = ruleset.bind(self._clock)

    def _tell(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        from flagloop.document.schema import changed_flags

        changed = changed_flags(old, new)
        for callback in list(self._callbacks) if changed else ():
            try:
                callback(changed)
            except Exception as problem:  # noqa: BLE001 - an edge: the application's own code
                self._note(problem)

    def _override(self, mapping: Mapping[str, Any]) -> Callable[[], None]:
        from flagloop.evaluation.ruleset import Ruleset

        ruleset, snapshot, frozen = self._ruleset, self._snapshot, self._frozen
        self._frozen = True
        self._adopt(Ruleset(mapping))

        def undo() -> None:
            self._frozen = frozen
            if self._snapshot is snapshot or self._snapshot is None:
                self._adopt(ruleset)
            else:
                self._apply(self._snapshot)

        return undo

    def _failed(self, flag: Any, problem: Exception) -> Decision:
        """The decision when deciding raised: an unknown flag, or something of no use at all."""
        from flagloop.evaluation.decision import Decision, ErrorCode, Reason

        if isinstance(flag, str) and flag not in self._table:
            missing = self._ruleset.missing(flag)
            missing.count += 1
            return missing
        self._note(problem)
        message = f"{type(problem).__name__} while deciding"
        error = ErrorCode.GENERAL
        if not isinstance(flag, str):
            error, message = ErrorCode.FLAG_NOT_FOUND, "a flag's key is a text"
        self._count_error(flag, error)
        return Decision(str(flag), None, None, Reason.ERROR, error=error, message=message)

    def _mismatch(self, flag: str) -> None:
        from flagloop.evaluation.decision import ErrorCode

        self._count_error(flag, ErrorCode.TYPE_MISMATCH)

    def _count_error(self, flag: Any, code: Any) -> None:
        if self._delivery is not None:
            self._delivery.counts.error(flag, code)

    def _note(self, problem: BaseException) -> None:
        """Count what went wrong by its type: its text may hold a user's attributes."""
        name = type(problem).__name__
        self._failures[name] = self._failures.get(name, 0) + 1

"""The client: the verbs an application calls, put together from the other rooms.

HTTP and YAML are heavy: they are imported when a client is made that needs them, on the caller's
thread, so that no worker ever imports something for the first time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from flagloop.assembly import Assembly
from flagloop.context import as_mapping
from flagloop.errors import ConfigError, TransportError
from flagloop.health import health
from flagloop.options import LocalOptions, ServerOptions, check, is_path
from flagloop.sync.refresh import Refresh, limited
from flagloop.sync.source import FileSource, ServerSource, StaticSource

if TYPE_CHECKING:
    from flagloop.assembly import Changed
    from flagloop.context import User
    from flagloop.evaluation.decision import Decision
    from flagloop.evaluation.explain import Explanation
    from flagloop.observation import Observation


LINGER = 0.3
"""Seconds that `close` waits at most for definitions that are being asked for: of no use then."""


class Client(Assembly):
    """Decides flags in this process and reports what it decided.

    `Client(url, key=...)` asks a server (defaults: FLAGLOOP_URL, FLAGLOOP_KEY) and reports to it;
    the constructor waits for no network: until the first answer `wait` tells, every flag gives
    the caller's default. `cache` is a folder that keeps the last good definitions for a start
    while the server is away. Changes come by the server's stream, or by polls where no stream
    gets through; `stream=False` only polls. Options: `interval` seconds between polls (10; a
    file: 1), `exposures=False` sends counts but neither exposures nor contexts, `events` a
    callable that gets each batch instead of the server, `queue` the events that may wait
    (100,000), `clock` epoch seconds.

    `spool` is a folder where events wait on disk: they are there within a second, and stay until
    the server has them, also for the next process; at most `spool_mb` megabytes (256).

    No verb raises or blocks but `wait`, `flush` and `close`, which take their time limit. Only
    constructors raise: ConfigError for a wrong argument, DocumentError for a broken file.
    """

    __slots__ = ()

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        from flagloop.sync.transport import Transport

        check(options, ServerOptions)
        url = url or os.environ.get("FLAGLOOP_URL")
        key = key or os.environ.get("FLAGLOOP_KEY")
        if not url or not key:
            what, variable = ("key", "FLAGLOOP_KEY") if url else ("url", "FLAGLOOP_URL")
            raise ConfigError(f"the client needs a {what}: Client({what}=...) or {variable}")
        if not isinstance(url, str) or not isinstance(key, str):
            raise ConfigError("url and key are texts")
        transport = Transport(url, key, interval=options.get("interval"))
        source = ServerSource(transport, options.get("cache"))
        refresh: type[Refresh] = Refresh
        if options.get("stream") is not False:
            from flagloop.sync.live import Live

            refresh = Live
        self._start(source, transport, options, source.load_cached(), refresh)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Unpack[LocalOptions]) -> Self:
        """A client of a YAML (or JSON) flag file, read again when it changes.

        A broken file raises DocumentError with every problem here, and later leaves the last
        good one in force, which `status()` says. With `url` and `key` events go to that server.
        """
        check(options, LocalOptions)
        if not is_path(path):
            raise ConfigError("path is the name of a flag file")
        source = FileSource(path)
        try:
            first = source.fetch(None)
        except TransportError as problem:
            raise ConfigError(f"cannot read the flag file {problem}") from None
        return cls._local(source, first, options)

    @classmethod
    def from_document(cls, mapping: Mapping[str, Any], **options: Unpack[LocalOptions]) -> Self:
        """A client of a document in its mapping form, or of a server's ruleset; never changes.

        The mapping is not copied: leave it as it is.
        """
        check(options, LocalOptions)
        if not isinstance(mapping, Mapping):
            raise ConfigError(f"a document is a mapping, not a {type(mapping).__name__}")
        source = StaticSource(mapping)
        return cls._local(source, source.fetch(None), options)

    def variant(self, flag: str, user: User, default: str | None = None) -> str | None:
        """The name of the variant that `user` gets; `default` when none is served."""
        # Written out as in `decide`: on this path a call is a tenth of the time.
        try:
            if user.__class__ is not dict:
                user = as_mapping(user)
            decision = self._table[flag](user)
            decision.count += 1
            if self._exposures is not None:
                if decision.exposed is not None:
                    try:
                        last, unit_by, record = decision.watch or self._exposures.watch(decision)
                        if (was := last(unit := user[unit_by])) is not decision.exposed:
                            record(unit, user, was)
                    except Exception as problem:  # noqa: BLE001 - what is served stays served
                        self._unexposed(decision, user, problem)
                if self._reservoir.armed:
                    self._sample(user)
            return decision.variant or default
        except Exception as problem:  # noqa: BLE001 - an edge: a verb never raises
            return self._failed(flag, problem).variant or default

    def decide(self, flag: str, user: User) -> Decision:
        """The Decision for `user`: variant, value and why."""
        try:
            if user.__class__ is not dict:
                user = as_mapping(user)
            decision = self._table[flag](user)
            decision.count += 1
            if self._exposures is not None:
                if decision.exposed is not None:
                    try:
                        last, unit_by, record = decision.watch or self._exposures.watch(decision)
                        if (was := last(unit := user[unit_by])) is not decision.exposed:
                            record(unit, user, was)
                    except Exception as problem:  # noqa: BLE001 - what is served stays served
                        self._unexposed(decision, user, problem)
                if self._reservoir.armed:
                    self._sample(user)
            return decision
        except Exception as problem:  # noqa: BLE001 - an edge: a verb never raises
            return self._failed(flag, problem)

    def value(self, flag: str, user: User, default: Any) -> Any:
        """The value of the variant that `user` gets; `default` when none is served.

        A JSON object or list is the one that all users of the variant get: copy it to change it.
        """
        decision = self.decide(flag, user)
        return default if decision.variant is None else decision.value

    def enabled(self, flag: str, user: User) -> bool:
        """Whether the value is `true`; a value of another type is False and counted."""
        decision = self.decide(flag, user)
        if decision.variant is not None and decision.value.__class__ is not bool:
            self._mismatch(decision)
        return decision.value is True

    def peek(self, flag: str, user: User) -> Decision:
        """The Decision for `user`, counted but without an exposure."""
        try:
            decision = self._table[flag](user := as_mapping(user))
            decision.count += 1
        except Exception as problem:  # noqa: BLE001 - an edge: a verb never raises
            return self._failed(flag, problem)
        self._sample(user)
        return decision

    def decide_all(self, user: User) -> dict[str, Decision]:
        """The Decision of every flag for `user`, counted but without exposures."""
        try:
            decisions = self._all(user := as_mapping(user))
            for decision in decisions.values():
                decision.count += 1
        except Exception as problem:  # noqa: BLE001 - an edge: a verb never raises
            self._note(problem)
            return {}
        self._sample(user)
        return decisions

    def _sample(self, user: Mapping[str, Any]) -> None:
        """Give the context where one is wanted; the first also starts what sends the counts."""
        try:
            if self._exposures is not None and self._reservoir.armed:
                self._reservoir.take(user)
        except Exception as problem:  # noqa: BLE001 - an edge: what is served stays served
            self._note(problem)

    def explain(self, flag: str, user: User) -> Explanation:
        """Rule by rule, why `user` gets what; neither counted nor an exposure."""
        from flagloop.evaluation.explain import Explanation, explain

        try:
            return explain(self._ruleset, flag, as_mapping(user), self._clock())
        except Exception as problem:  # noqa: BLE001 - an edge: a verb never raises
            return Explanation(self._failed(flag, problem, count=False), ())

    def track(
        self, event: str, user: User, /, value: float | None = None, **properties: Any
    ) -> None:
        """Report that `user` did `event`, with a number and properties (of any name)."""
        try:
            if self._delivery is not None:
                self._delivery.track(event, as_mapping(user), value, properties)
        except Exception as problem:  # noqa: BLE001 - an edge: a verb never raises
            self._note(problem)

    def observe(self, flag: str, user: User) -> Observation:
        """A context manager that yields the Decision and tracks how the block went.

        On leaving it tracks `latency_ms`, and `error` if the block raises (which goes on), so a
        rollout has guardrails without further instrumentation.
        """
        from flagloop.observation import Observation

        return Observation(self, flag, user)

    def on_change(self, callback: Changed) -> Callable[[], None]:
        """Call `callback` with the keys of changed flags after each change; returns how to stop.

        It runs on the refreshing thread: be brief. What it raises is counted in `status()`.
        """

        def tell(changed: frozenset[str]) -> None:
            try:
                callback(changed)
            except (Exception, SystemExit) as problem:  # noqa: BLE001 - an edge: their own code
                self._note(problem)

        def stop() -> None:
            self._callbacks = [one for one in self._callbacks if one is not tell]

        self._callbacks = [*self._callbacks, tell]
        return stop

    def status(self) -> dict[str, Any]:
        """Which definitions are in force, how old, and what is wrong; see `flagloop.health`."""
        parts = (self._snapshot, self._ruleset, self._refresh, self._delivery, self._failures)
        return health(*parts, now=self._clock(), overridden=bool(self._overrides))

    def wait(self, seconds: float) -> bool:
        """Wait until there are definitions; False when there are none after `seconds`."""
        if not self._known:
            self._refresh.wait_first(limited(seconds))
        return self._known

    def flush(self, timeout: float = 5.0) -> bool:
        """Deliver what waits; False when some of it still does after `timeout` seconds."""
        return self._delivery is None or self._delivery.flush(limited(timeout))

    def close(self, timeout: float = 2.0) -> bool:
        """Deliver what waits and stop; deciding goes on with the last definitions."""
        timeout = limited(timeout)
        end = time.monotonic() + timeout
        # A request that hangs must not eat the time in which events can still be delivered.
        self._refresh.stop(0.0)
        delivered = self._delivery is None or self._delivery.close(timeout)
        self._refresh.stop(max(0.0, min(LINGER, end - time.monotonic())))
        if self._presence is not None and delivered:
            self._presence.close(max(0.0, end - time.monotonic()))
        if self._transport is not None:
            self._transport.close()
        return delivered

    def override(self, mapping: Mapping[str, Any]) -> Callable[[], None]:
        """Decide by `mapping` whatever the source says, for tests; returns how to undo it.

        The latest of several is in force; each can be undone by itself, in any order.
        """
        return self._override(mapping)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

"""Keeps a ruleset fresh by the server's stream, and by polls where no stream gets through."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flagloop.errors import TransportError
from flagloop.sync.line import Line, NoStreamError, Patience, UnusableError
from flagloop.sync.pacing import Pacing
from flagloop.sync.refresh import SPREAD, Refresh
from flagloop.sync.source import ServerSource, Snapshot
from flagloop.sync.stream import Frame, Frames

FRAME_SECONDS = 60.0
"""A frame takes no longer, however slowly its bytes come."""
CHILD_PAUSE = 2.0


class Live(Refresh):
    """A Refresh whose one thread reads the stream of `source`; `state()` also tells the mode.

    It polls once at the start, and every `interval` seconds while there is no stream.
    """

    _source: ServerSource
    _line: Line | None = None
    _pacing: Pacing

    def __init__(
        self,
        source: ServerSource,
        apply: Callable[[Snapshot], None],
        interval: float | None = None,
        *,
        known: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = SPREAD,
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience
        super().__init__(source, apply, interval, known=known, clock=clock, spread=spread)

    def wake(self) -> None:
        """Poll and try the stream now; nothing while it is there, since it is no later."""
        if self._line is None:
            self._pacing.hurry()
        super().wake()

    def leave(self) -> None:
        """Nobody needs news any more: the thread ends. Takes no lock and waits for nothing."""
        super().leave()
        line = self._line
        if line is not None:
            line.cut()

    def state(self) -> dict[str, Any]:
        """As of a Refresh, and: mode (connecting, stream, poll), mode_age (seconds), why (not
        the stream, None while it is there).
        """
        state = {**super().state(), **self._pacing.state()}
        if state["mode"] == "poll" and not self._without:
            # An older server is no trouble; a path that lets polls through only is one.
            state["notes"] = {**state["notes"], "stream": state["why"]}
        return state

    def _once(self) -> float:
        if self._pacing.poll_due():
            try:
                self._pacing.polled(super()._once())
            except TransportError as problem:
                self._pacing.poll_failed(super()._failed(problem))
        if self._pacing.stream_due():
            try:
                self._follow()
            except TransportError as problem:
                self._ended(problem)
        return self._pacing.pause()

    def _failed(self, problem: Exception) -> float:
        """Something that is no answer of the server went wrong: a bug, or what applying runs."""
        pause = super()._failed(problem)
        self._pacing.poll_failed(pause)
        self._pacing.failed(type(problem).__name__, pause)
        return self._pacing.pause()

    def _follow(self) -> None:
        """Obey the stream until it ends, which is a TransportError unless this was stopped."""
        self._line = line = Line(self._source.transport, self._patience)
        try:
            # `leave` sets this first and then looks for a line to cut.
            if not self._stopped:
                line.open(self._revision)
                self._obey(line)
        except TransportError:
            if not self._stopped:
                raise
        finally:
            self._line = None
            line.close()
            self._source.settle(at_last=True)

    def _obey(self, line: Line) -> None:
        frames = Frames()
        heard = self._clock()
        while not self._stopped:
            for frame in frames.feed(line.read()):
                line.heard()
                self._hear(frame)
                heard = self._clock()
            if self._clock() - heard > FRAME_SECONDS:
                raise TransportError(f"a frame of {self._source.name} does not end")

    def _hear(self, frame: Frame) -> None:
        if self._stopped:
            return
        self._take(self._source.read(frame, self._revision))
        self._pacing.heard()
        self._source.settle()

    def _ended(self, problem: TransportError) -> None:
        began = self._pacing.mode.name == "stream"
        self._without = isinstance(problem, NoStreamError)
        # Where polls fail, too, or where streams have come through, this is trouble that passes:
        # a server that hangs, a maintenance page, a portal that wants to be clicked away.
        settled = self._error is None and not self._pacing.proven
        unusable = isinstance(problem, UnusableError)
        if unusable and settled:
            self._pacing.unusable(str(problem))
            return
        if not began and not unusable and not self._pacing.polling:
            # Soon polls will tell; until then this is what is known of the server.
            self._note(problem)
        self._pacing.failed(str(problem), problem.retry_after)

    def _reset(self) -> None:
        super()._reset()
        if self._line is not None:
            self._line.disown()
            self._line = None
        self._without = False
        polled = self._succeeded_at is not None
        self._pacing = Pacing(self._clock, self._spread, polled=polled)

    def _child_pause(self) -> float:
        return CHILD_PAUSE * self._spread()

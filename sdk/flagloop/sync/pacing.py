"""When to try the stream and when to poll: a plan without network, threads or definitions."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Literal, NamedTuple, TypeAlias

HEALTHY = 60.0
"""Seconds of a stream after which its end is a new trouble."""
LASTED = 5.0
"""Seconds after which a stream's end is no failure: some proxies cut every stream."""
FIRST, SOON, LATER = 1.0, 5.0, 30.0
"""Longest pauses before a try: the first, those of the first minute, and those after it."""
FIRST_MINUTE = 60.0
POLL_AFTER = 3
UNUSABLE = (60.0, 300.0, 1800.0)
"""Pauses when the path gives no stream."""
RETRY_AFTER_LIMIT = 600.0

ModeName: TypeAlias = Literal["connecting", "stream", "poll"]


class Mode(NamedTuple):
    """How definitions come, since when (clock) and why not by the stream."""

    name: ModeName
    at: float
    why: str | None


class Pacing:
    """Knows when the stream and the poll are due, from how they went.

    Begins with a poll, unless `polled`, since a poll also works where no stream gets through.
    `proven` says that one has got through. `clock` gives monotonic seconds, `spread` a number
    of [0, 1).
    """

    def __init__(
        self, clock: Callable[[], float], spread: Callable[[], float], *, polled: bool = False
    ) -> None:
        self._clock = clock
        self._spread = spread
        self._stream_at = now = clock()
        self._poll_at = inf if polled else now
        self._begun: float | None = None
        self._heard = now
        self._tries = 0
        self._failures = 0
        self._trouble: float | None = None
        self._unusable = 0
        self.proven = False
        self.mode = Mode("connecting", now, None)

    @property
    def polling(self) -> bool:
        """Whether polls stand in for the stream."""
        return self._begun is None and (self._failures >= POLL_AFTER or self._unusable > 0)

    def poll_due(self) -> bool:
        """Whether to poll now."""
        return self._poll_at <= self._clock()

    def stream_due(self) -> bool:
        """Whether to try the stream now."""
        return self._stream_at <= self._clock()

    def pause(self) -> float:
        """Seconds until something is due."""
        return max(0.0, min(self._poll_at, self._stream_at) - self._clock())

    def hurry(self) -> None:
        """Both are due now."""
        self._poll_at = self._stream_at = self._clock()

    def polled(self, pause: float) -> None:
        """A poll was answered; the next one, if any, comes after `pause` seconds."""
        self._poll_at = self._clock() + pause if self.polling else inf

    def poll_failed(self, pause: float) -> None:
        """A poll failed; try again after `pause` seconds, stream or not."""
        self._poll_at = self._clock() + pause

    def heard(self) -> None:
        """A frame came: the stream is there."""
        self._heard = self._clock()
        if self._begun is None:
            self._begun = self._heard
            self._unusable = 0
            self.proven = True
            self._poll_at = inf
            self._show("stream", None)

    def unusable(self, why: str) -> None:
        """The path gives no stream: poll for a good while."""
        pause = UNUSABLE[min(self._unusable, len(UNUSABLE) - 1)]
        self._unusable += 1
        self._ended(pause * (0.9 + 0.2 * self._spread()), why)

    def failed(self, why: str, retry_after: float | None = None) -> None:
        """The stream ended or did not begin; the server may have said for how many seconds."""
        now = self._clock()
        lived = 0.0 if self._begun is None else self._heard - self._begun
        if lived >= HEALTHY:
            self._tries = 0
        if lived >= LASTED:
            self._failures, self._trouble = 0, None
        if self._trouble is None:
            self._trouble = now
        longest = SOON if now - self._trouble < FIRST_MINUTE else LATER
        # Full jitter: all processes lost the server at the same moment.
        pause = self._spread() * min(longest, FIRST * 2.0 ** min(self._tries, 16))
        self._tries += 1
        self._failures += 1
        self._ended(pause + min(retry_after or 0.0, RETRY_AFTER_LIMIT), why)

    def state(self) -> dict[str, Any]:
        """`mode` (connecting, stream or poll), `mode_age` in seconds, `why` not the stream."""
        name, at, why = self.mode
        return {"mode": name, "mode_age": max(0.0, self._clock() - at), "why": why}

    def _ended(self, pause: float, why: str) -> None:
        now = self._clock()
        self._begun = None
        self._stream_at = now + pause
        if self.polling and self._poll_at == inf:
            self._poll_at = now
        self._show("poll" if self.polling else "connecting", why)

    def _show(self, name: ModeName, why: str | None) -> None:
        at = self.mode.at if self.mode.name == name else self._clock()
        self.mode = Mode(name, at, why)

"""How long tests wait, and how they tell a slow program from a machine that is busy elsewhere."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

LONG = 60.0
"""Seconds in which anything that is to happen at all has happened, however busy the machine.

Only a test that fails waits for so long.
"""
PRESSURE = Path("/proc/pressure")


def stalled() -> float:
    """Seconds since its start in which somebody on this machine had to wait for a processor or
    for a disk; where the system keeps no book of that, two of three are taken for such.
    """
    try:
        texts = [(PRESSURE / kind).read_bytes() for kind in ("cpu", "io")]
    except OSError:
        return time.monotonic() * 2 / 3
    found = re.findall(rb"^some .* total=(\d+)$", b"".join(texts), re.M)
    return sum(map(int, found)) / 1e6


class Stopwatch:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._stalled = stalled()

    @property
    def passed(self) -> float:
        """Seconds by the clock."""
        return time.monotonic() - self._began

    @property
    def seconds(self) -> float:
        """Those of them in which nobody had to wait for the machine: a limit may be put on these.

        On a machine that has nothing else to do they are nearly all that passed, on the busiest
        one of thirty: what hangs for `LONG` is not taken for quick there either.
        """
        return max(self.passed / 30, self._calm)

    @property
    def _calm(self) -> float:
        return self.passed - (stalled() - self._stalled)

    def within(self, seconds: float) -> bool:
        """Whether so much time is not over yet; also false when too much has passed anyway."""
        return self._calm < seconds and self.passed < seconds + 5 * LONG


def until(condition: Callable[[], object], seconds: float | None = None) -> bool:
    """Ask again and again until it holds; False if it does not within `seconds`.

    Without `seconds` that it comes true is what counts, and not when.
    """
    watch, pause = Stopwatch(), threading.Event()
    while not condition():
        if watch.passed > LONG if seconds is None else not watch.within(seconds):
            return bool(condition())
        pause.wait(0.005)
    return True

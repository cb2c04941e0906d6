"""Python starts every program with this: its wall clock is off by what a file says, in seconds."""

import os
import time
from pathlib import Path

FILE = Path(os.environ["TEST_CLOCK_FILE"])
RIGHT = time.time_ns


def time_ns() -> int:
    """Nanoseconds of the epoch by the wrong clock."""
    return RIGHT() + int(FILE.read_text() or "0") * 1_000_000_000


def seconds() -> float:
    """Seconds of the epoch by the wrong clock."""
    return time_ns() / 1e9


time.time, time.time_ns = seconds, time_ns

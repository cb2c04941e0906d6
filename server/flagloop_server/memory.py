"""How a server process treats its memory: a burst of large bodies must not stay with it."""

from __future__ import annotations

import ctypes
import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt."""

_LARGE = 128 * 1024


def give_back() -> None:
    """Give large blocks back to the system as soon as they are free; before threads start.

    By default glibc keeps them, apart for each thread: after a burst 330 MB stayed instead of 170.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    for parameter, value in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
        mallopt(parameter, value)


def settle() -> None:
    """Keep the collector from what lives as long as the process; after everything is loaded.

    Each batch makes thousands of objects, none in a cycle, and a full collection of 60 MB of
    modules holds every thread for 30 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)

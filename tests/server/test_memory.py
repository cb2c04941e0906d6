"""What a burst took goes back to the system, and what stays is not gone through again."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
from collections.abc import Callable

from flagloop_server import memory

BURST = """
import os, sys, threading
from flagloop_server.memory import give_back
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
def burst():
    blocks = [b"x" * (200_000 + n) for n in range(500)]
    peaks.append(resident())
    # the last of each arena is kept, as a batch that waits would be
    kept.append(blocks[-1])
give_back()
peaks, kept = [], []
before = resident()
threads = [threading.Thread(target=burst) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(max(peaks) - before, resident() - before)
"""


def test_a_burst_of_bodies_does_not_stay(missing_part: Callable[[str], None]) -> None:
    """Of hundreds of megabytes in four threads next to nothing is left."""
    if platform.libc_ver()[0] != "glibc":
        missing_part("only glibc is told how to treat memory")
    done = subprocess.run([sys.executable, "-c", BURST], capture_output=True, text=True, check=True)
    peak, left = map(float, done.stdout.split())
    assert peak > 90
    assert left < 10


def test_what_is_loaded_is_left_out_of_collections() -> None:
    """Batches make and drop objects by the thousand; modules stay."""
    before = gc.get_threshold()
    try:
        memory.settle()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)

"""What a signal handler that raises does to a client."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

from flagloop import Client


def test_a_signal_handler_that_raises_leaves_no_lock_behind(
    make: Callable[..., Client], mapping: Any
) -> None:
    """Whatever call Ctrl-C comes into, the client's threads and all others go on."""
    client = make(mapping)
    client.track("click", "u-1")
    interrupted = left = 0

    def look() -> None:
        client.status()
        assert client.flush(60)

    def trace(frame: Any, event: str, _: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    while left <= 0:
        left = interrupted + 1
        gc.disable()  # whose calls nobody would hear raise
        sys.settrace(trace)
        try:
            look()
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
            gc.enable()
        other = threading.Thread(target=look, daemon=True)
        other.start()
        other.join(60)
        assert not other.is_alive()
    assert interrupted > 20

"""How a process ends: what waits is delivered, also where the interpreter is not asked.

`atexit` comes at the end of a program and of a child of `os.fork` that returns or raises. Most
children of `multiprocessing` end by `os._exit`, after finalizers of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from typing import Any, Protocol
from weakref import WeakSet

from flagloop import forking

AT_EXIT = 2.0
"""Seconds that delivering may take when the process ends."""
LAST = -100
"""Priority among the finalizers of multiprocessing: after those that an application may have."""


class Closing(Protocol):
    """What has something to deliver."""

    def hurry(self) -> None:
        """Begin to deliver what waits, on a thread of its own."""

    def close(self, timeout: float) -> bool:
        """Deliver what waits within `timeout` seconds."""


class _Ending(forking.Forkable):
    """All that is to be closed when the process ends."""

    def __init__(self) -> None:
        self._live: WeakSet[Closing] = WeakSet()
        self._last: WeakSet[Closing] = WeakSet()
        self._lock = threading.RLock()
        self._watches = False
        self._finalizes = 0  # the child that does
        atexit.register(self.end)
        forking.keep(self)

    def keep(self, one: Closing, *, last: bool = False) -> None:
        """Close it at the end of this process or, after a fork, of its children.

        Those that are to be `last` have what the others leave of the time.
        """
        with self._lock:
            (self._last if last else self._live).add(one)
        self._prepare()

    def end(self) -> None:
        """Deliver what is left, all at once, within `AT_EXIT` seconds."""
        deadline = time.monotonic() + AT_EXIT
        with self._lock:
            left = [*self._live, *self._last]
        # Whoever presses Ctrl-C once more does not want to wait.
        with contextlib.suppress(KeyboardInterrupt):
            for one in left:
                one.hurry()
            for one in left:
                one.close(max(0.0, deadline - time.monotonic()))

    def _prepare(self) -> None:
        """See that a child of multiprocessing ends by `_end_child`."""
        # Who never imported it has no such children, and need not pay for the import.
        util: Any = sys.modules.get("multiprocessing.util")
        process: Any = sys.modules.get("multiprocessing.process")
        if not hasattr(util, "Finalize") or not hasattr(process, "parent_process"):
            return
        if not self._watches:
            self._watches = True
            # A child of multiprocessing forgets its parent's finalizers, then comes this.
            util.register_after_fork(self, _Ending._finalize)
        if process.parent_process() is not None and self._finalizes != os.getpid():
            self._finalize()

    def _finalize(self) -> None:
        self._finalizes = os.getpid()
        util: Any = sys.modules["multiprocessing.util"]
        util.Finalize(None, self._end_child, exitpriority=LAST)

    def _end_child(self) -> None:
        """The end of a child of multiprocessing, before its last threads or after them."""
        here = threading.current_thread()
        others = [one for one in threading.enumerate() if one is not here and not one.daemon]
        if not others:
            self.end()
            return

        def outlive() -> None:
            for one in others:
                one.join()
            self.end()

        try:
            # The process waits for this thread as it does for the others.
            threading.Thread(target=outlive, name="flagloop-ending", daemon=False).start()
        except RuntimeError:
            self.end()  # no more threads

    def _after_fork_in_child(self) -> None:
        """A thread of the parent may have been here. By now multiprocessing is there, if used."""
        self._lock = threading.RLock()
        self._prepare()


_ending = _Ending()
keep = _ending.keep

"""How a process forks while threads of this library run: one hook, one order of locks.

Before a fork every `Forkable` takes its locks, so that no thread is in the middle of something
that the child would find half done; the parent releases them, the child makes them anew.
The lock of `logging` is taken after these: a thread that holds one of them may log.
"""

from __future__ import annotations

import logging  # noqa: F401 - before the hook below: what is registered last is called first
import os
import threading
from weakref import WeakSet

REFRESH, DELIVERY, RULESET = range(3)
"""Ranks: locks are taken in this order. A child begins anew in the opposite one, since a refresh
starts a thread that needs what the others have."""


class Forkable:
    """Something with locks or threads. `keep` it, and these are called at each fork."""

    _rank = RULESET

    def _before_fork(self) -> None:
        """Take the locks; nothing that holds one of them may wait for one of a lower rank."""

    def _after_fork_in_parent(self) -> None:
        """Release the locks."""

    def _after_fork_in_child(self) -> None:
        """Begin anew: all other threads are gone, whatever they held stays as it is."""


class _Forks:
    """All that is kept, and what is held while a fork goes on."""

    def __init__(self) -> None:
        self._live: WeakSet[Forkable] = WeakSet()
        # One list for each fork that goes on: more than one where a fork comes inside of another.
        self._held: list[list[Forkable]] = []
        # Two threads may fork at once; reentrant, for a signal handler that comes in between.
        self._lock = threading.RLock()

    def keep(self, one: Forkable) -> None:
        """Call its methods at each fork, for as long as it lives."""
        with self._lock:
            self._live.add(one)

    def before(self) -> None:
        self._lock.acquire()
        held: list[Forkable] = []
        self._held.append(held)
        for one in self._ranked():
            one._before_fork()
            # Only now: a fork that comes in between must not release what is not yet taken.
            held.append(one)

    def in_parent(self) -> None:
        for one in reversed(self._held.pop()):
            one._after_fork_in_parent()
        self._lock.release()

    def in_child(self) -> None:
        # Empty after a fork that did not announce itself: uWSGI's, under Python 3.11.
        if self._held:
            self._held.pop()
        self._lock = threading.RLock()
        for outer in self._held:
            # What an interrupted fork had taken is made anew below; it still gives this back.
            self._lock.acquire()
            outer.clear()
        for one in reversed(self._ranked()):
            one._after_fork_in_child()

    def _ranked(self) -> list[Forkable]:
        return sorted(self._live, key=lambda one: one._rank)


_forks = _Forks()
keep = _forks.keep

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.before,
        after_in_parent=_forks.in_parent,
        after_in_child=_forks.in_child,
    )

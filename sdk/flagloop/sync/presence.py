"""Tells the server what is in force here, where the next poll or envelope would tell it too late.

It imports nothing of HTTP: what sends is given.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from flagloop.errors import TransportError

_T = TypeVar("_T")

MOST = 4
"""Reports on their way at once. Behind a server that hangs the next envelope tells the rest."""
FAREWELL = 0.5
"""Seconds that leaving may take of a process's end."""


class Told(Protocol):
    """What carries the reports (see `Transport`)."""

    def confirm(self, revision: str) -> None:
        """Say that `revision` is in force; may raise TransportError."""

    def farewell(self, seconds: float) -> None:
        """Say that this process leaves; may raise TransportError."""


class Presence:
    """Reports of one client, each on a thread of its own: nothing waits for them, none is retried.

    So a kill is confirmed at once, also while the delivery hangs or waits for its retry.
    """

    def __init__(self, server: Told) -> None:
        self._server = server
        self._left = False
        self._threads: tuple[threading.Thread, ...] = ()

    def confirm(self, revision: str) -> None:
        """Tell that `revision` is in force now."""
        if self._left:
            return
        self._threads = tuple(one for one in self._threads if one.is_alive())
        if len(self._threads) >= MOST:
            return
        thread = _tell("flagloop-confirm", self._server.confirm, revision)
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter ends
            thread.start()
            self._threads = (*self._threads, thread)

    def hurry(self) -> None:
        """Nothing can be sent ahead of the end."""

    def close(self, timeout: float) -> bool:
        """Tell that this process leaves, so that nobody waits for it; once, within `timeout` s."""
        if self._left:
            return True
        self._left = True
        seconds = min(timeout, FAREWELL)
        if seconds <= 0:
            return True
        # On a thread, since a SOCKS proxy is looked up without a time limit.
        thread = _tell("flagloop-farewell", self._server.farewell, seconds)
        try:
            thread.start()
        except RuntimeError:  # Python 3.12 starts none while the interpreter ends
            thread.run()
        else:
            thread.join(seconds)
        return True


def _tell(name: str, say: Callable[[_T], None], word: _T) -> threading.Thread:
    """A thread that says it; who does not hear it is not told again."""

    def run() -> None:
        with contextlib.suppress(TransportError):
            say(word)

    return threading.Thread(target=run, name=name, daemon=True)


def worth_telling(
    old: Mapping[str, Any], new: Mapping[str, Any], before: str | None, after: str
) -> bool:
    """Whether the server should hear at once that revision `after` took the place of `before`.

    When a flag is killed now that was not, or the other way round; and when revisions were left
    out, in which that may have come and gone.
    """
    return not _next(before, after) or _toggled(old, new)


def _next(before: str | None, after: str) -> bool:
    """Whether `after` is `before` or the revision next to it."""
    lineage, _, number = (before or "").rpartition(".")
    its, _, other = after.rpartition(".")
    # A number of more digits is no count of revisions, and slow to read.
    sane = number.isdecimal() and other.isdecimal() and len(number + other) < 40
    return lineage == its and sane and int(other) - int(number) in (0, 1)


def _toggled(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Compares nothing but one word, of flags that are other objects: 0.1 us for each."""
    before, after = old.get("flags"), new.get("flags")
    if before is after or not isinstance(before, dict) or not isinstance(after, dict):
        return False
    known: Any = before.get
    try:
        suspects = [
            key
            for key, flag in after.items()
            if flag is not (was := known(key, flag)) and ("killed" in flag or "killed" in was)
        ]
    except TypeError:  # there is something that is no flag
        suspects = [key for key in after if key in before]
    return any(_killed(before[key]) != _killed(after[key]) for key in suspects)


def _killed(flag: Any) -> bool:
    return isinstance(flag, dict) and bool(flag.get("killed"))

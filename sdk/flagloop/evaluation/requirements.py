"""Which flags require which: their order, prerequisites first, and the cycles among them."""

from __future__ import annotations

from flagloop.document.cycles import Cycles, components
from flagloop.evaluation.library import BrokenError, Library


class Requirements:
    """The graph of `requires` over the flags of a library, explored from the flags asked for."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._cycles = Cycles(self._required)

    def cycle(self, key: str) -> list[str]:
        """The flags that require each other together with this one; empty for almost all flags."""
        return self._cycles.of(key) if self._required(key) else []

    def order(self, key: str) -> list[str]:
        """The flag and all that it requires, directly or not, prerequisites first.

        Unknown flags are left out.
        """
        if not self._required(key):
            return [key]
        return [flag for group in components(key, self._required) for flag in group]

    def _required(self, key: str) -> list[str]:
        try:
            requires = self._library.flag(key).requires
        except BrokenError:
            return []
        return [flag for flag, _ in requires if flag in self._library.flags]

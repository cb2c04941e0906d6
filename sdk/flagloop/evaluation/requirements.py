"""Which flags require which: their order, prerequisites first, and the cycles among them."""

from __future__ import annotations

from flagloop.evaluation.library import BrokenError, Library


class Requirements:
    """The graph of `requires` over the flags of a library, explored from the flags asked for."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._cycles: dict[str, tuple[str, ...]] = {}

    def cycle(self, key: str) -> tuple[str, ...]:
        """The flags that require each other together with this one; empty for almost all flags.

        Known for the flags of an `order` that was asked for.
        """
        return self._cycles.get(key, ())

    def order(self, key: str) -> list[str]:
        """The flag and all that it requires, directly or not, prerequisites first.

        Unknown flags are left out. Tarjan's components, with a stack of our own, since chains
        may be longer than Python's.
        """
        order: list[str] = []
        index: dict[str, int] = {key: 0}
        low: dict[str, int] = {key: 0}
        open_: list[str] = [key]
        walk = [(key, iter(self._required(key)))]
        while walk:
            flag, rest = walk[-1]
            following = next(rest, None)
            if following is None:
                walk.pop()
                if walk:
                    above = walk[-1][0]
                    low[above] = min(low[above], low[flag])
                if low[flag] == index[flag]:
                    self._close(flag, open_, low, order)
            elif following not in index:
                index[following] = low[following] = len(index)
                open_.append(following)
                walk.append((following, iter(self._required(following))))
            elif following in low:
                low[flag] = min(low[flag], index[following])
        return order

    def _close(self, root: str, open_: list[str], low: dict[str, int], order: list[str]) -> None:
        """Takes a finished component from the open flags (which alone have a `low`)."""
        start = open_.index(root)
        component = open_[start:]
        del open_[start:]
        for flag in component:
            del low[flag]
        if len(component) > 1 or root in self._required(root):
            self._cycles.update(dict.fromkeys(component, tuple(sorted(component))))
        order += component

    def _required(self, key: str) -> list[str]:
        try:
            requires = self._library.flag(key).requires
        except BrokenError:
            return []
        return [flag for flag, _ in requires if flag in self._library.flags]

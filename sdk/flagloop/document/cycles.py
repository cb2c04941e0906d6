"""Who names whom: an order in which what is named comes first, and the cycles that have none."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator

Following = Callable[[str], Iterable[str]]
"""The names that a name leads to."""


def components(
    root: str, following: Following, done: Container[str] = frozenset()
) -> Iterator[list[str]]:
    """The groups of names that lead to each other, of all that `root` leads to.

    A group comes after those that it leads to; most are one name. Names in `done` are left out.
    Tarjan's algorithm, with a stack of its own, since chains may be longer than Python's.
    """
    order = {root: 0}
    low = {root: 0}  # of the open names alone
    open_ = [root]
    walk = [(root, iter(following(root)))]
    while walk:
        name, rest = walk[-1]
        other = next(rest, None)
        if other is None:
            walk.pop()
            if walk:
                above = walk[-1][0]
                low[above] = min(low[above], low[name])
            if low[name] == order[name]:
                yield _close(name, open_, low)
        elif other in low:
            low[name] = min(low[name], order[other])
        elif other not in order and other not in done:
            order[other] = low[other] = len(order)
            open_.append(other)
            walk.append((other, iter(following(other))))


def _close(name: str, open_: list[str], low: dict[str, int]) -> list[str]:
    start = open_.index(name)
    group = open_[start:]
    del open_[start:]
    for member in group:
        del low[member]
    return group


class Cycles:
    """Which names lie on a cycle; each name is walked once."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._groups: dict[str, list[str]] = {}

    def of(self, name: str) -> list[str]:
        """The names of the cycles through this one, itself included; empty when on none."""
        if name not in self._groups:
            for group in components(name, self._following, self._groups):
                group.sort()
                self._groups.update(dict.fromkeys(group, group))
        members = self._groups[name]
        return members if len(members) > 1 or name in self._following(name) else []

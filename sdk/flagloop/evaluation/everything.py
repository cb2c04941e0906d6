"""The decisions of all flags for one context, the unit encoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmh3 import hash as murmur3

from flagloop.evaluation.decision import Decision

if TYPE_CHECKING:
    from flagloop.evaluation.ruleset import Ruleset


class Everything:
    """callable(context) -> {flag: decision} in the document's order, as `Ruleset.evaluate` gives.

    Most flags are one position compared with one edge (`Plan.one_cut`): done here without a call.
    """

    def __init__(self, ruleset: Ruleset, clock: Callable[[], float]) -> None:
        self._ruleset = ruleset
        self._clock = clock
        self._rows: list[tuple[Any, ...]] | None = None
        self._windowed = False

    def __call__(self, context: Mapping[str, Any]) -> dict[str, Decision]:
        """The decision of every flag."""
        if context.__class__ is not dict:
            context = dict(context)
        rows = self._rows
        if rows is None:
            rows = self._rows = self._prepare()
        now = self._clock() if self._windowed else None
        unit = context.get("key")
        if unit.__class__ is str and unit:
            try:
                text = unit.encode()
            except UnicodeEncodeError:
                pass
            else:
                return {
                    name: (below if murmur3(text, seed, False) < edge else above)
                    if edge is not None
                    else evaluate(context, now)
                    for name, evaluate, seed, edge, below, above in rows
                }
        return {row[0]: row[1](context, now) for row in rows}

    def _prepare(self) -> list[tuple[Any, ...]]:
        """Rows of (flag, evaluate, seed, edge, below, above), None where one cut is not all."""
        rows: list[tuple[Any, ...]] = []
        for name in self._ruleset.names():
            compiled = self._ruleset.compiled(name)
            cut = compiled.plan.one_cut if compiled.plan is not None else None
            rows.append((name, compiled.evaluate, *(cut or (None, None, None, None))))
            self._windowed |= compiled.windowed
        return rows

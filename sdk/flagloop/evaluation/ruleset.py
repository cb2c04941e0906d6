"""All flags of one revision, compiled at their first use, evaluated without I/O or clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import RLock
from typing import Any, TypeAlias

from flagloop import forking
from flagloop.document.definition import Flag
from flagloop.document.problem import Problem, few_hints
from flagloop.evaluation.compiled import Compiled
from flagloop.evaluation.decision import Decision, ErrorCode
from flagloop.evaluation.everything import Everything
from flagloop.evaluation.generate import Generator
from flagloop.evaluation.library import BrokenError, Library, broken
from flagloop.evaluation.plan import Plan, error_decision, make_plan
from flagloop.evaluation.requirements import Requirements

Context: TypeAlias = Mapping[str, Any]
Bound: TypeAlias = Callable[[Context], Decision]

_MOST_UNKNOWN = 1000
"""Names of unknown flags whose decisions are kept and counted; an application may invent more."""


class Ruleset(forking.Forkable):
    """The flags of one document, from its mapping form (YAML's or the wire's).

    Lenient: unknown sections are ignored and a bad flag is an error decision for itself alone;
    DocumentError only where a whole section is no mapping. Construction reads no flag: each is
    read and compiled at its first use, under a lock; evaluation takes none.
    """

    def __init__(
        self,
        mapping: Mapping[str, Any],
        revision: str | None = None,
        environment: str | None = None,
    ) -> None:
        self.revision = revision
        self.environment = environment
        self._library = Library(mapping)
        self._requirements = Requirements(self._library)
        self._generator = Generator()
        self._compiled: dict[str, Compiled] = {}
        self._unknown: dict[str, Decision] = {}
        self._lock = RLock()
        forking.keep(self)

    @property
    def recording(self) -> tuple[str, ...]:
        """The attributes that recorded contexts keep besides `key` and the units."""
        return self._library.recording

    @property
    def units(self) -> frozenset[str]:
        """Every attribute that is used as unit, `key` always; reads no flag."""
        return self._library.units

    def names(self) -> tuple[str, ...]:
        """The flags' keys, in the document's order."""
        return tuple(self._library.flags)

    def flag(self, name: str) -> Flag | None:
        """The flag's definition, None where it is unknown or cannot be read."""
        with self._lock:
            try:
                return self._library.flag(name)
            except BrokenError:
                return None

    def plan(self, name: str) -> Plan | None:
        """The flag, looked up, None where it is unknown or broken."""
        return self.compiled(name).plan if name in self._library.flags else None

    def evaluate(self, flag: str, context: Context, now: float | None = None) -> Decision:
        """The decision for the context; the same arguments give the same `Decision` object.

        `now` is epoch seconds; ValueError where a rule has a window and `now` is None. An unknown
        flag is an error decision.
        """
        if flag not in self._library.flags:
            return self.missing(flag)
        if context.__class__ is not dict:
            context = dict(context)  # a defaultdict would grow when it is read
        compiled = self.compiled(flag)
        if now is None and compiled.windowed:
            raise ValueError(f"flag '{flag}' has a window: evaluate it with now=")
        return compiled.evaluate(context, now)

    def missing(self, flag: str) -> Decision:
        """The decision of an unknown flag."""
        known = self._unknown.get(flag)
        if known is None:
            known = error_decision(flag, ErrorCode.FLAG_NOT_FOUND, f"no flag '{flag}'")
            if len(self._unknown) < _MOST_UNKNOWN:
                known = self._unknown.setdefault(flag, known)
        return known

    def decisions(self, flag: str) -> tuple[Decision, ...]:
        """Every decision that the flag can give."""
        if flag not in self._library.flags:
            return (self.missing(flag),)
        return self.compiled(flag).decisions

    def counted(self) -> Iterable[Decision]:
        """The decisions of all flags used so far, whose tallies may have moved."""
        for compiled in list(self._compiled.values()):
            yield from compiled.decisions
        yield from list(self._unknown.values())

    @few_hints()
    def problems(self) -> list[Problem]:
        """Every problem of every flag, with paths from the document's root; compiles all."""
        return [
            problem.under("flags", name)
            for name in self.names()
            for problem in self.compiled(name).problems
        ]

    def bind(self, clock: Callable[[], float]) -> dict[str, Bound]:
        """The table of the hot path: flag -> callable(context) -> decision; contexts are dicts.

        `clock` returns epoch seconds and is read only for flags with a window. An entry compiles
        its flag at the first call and then replaces itself. An unknown flag has no entry: see
        `missing`.
        """
        table: dict[str, Bound] = {}
        for name in self._library.flags:
            table[name] = partial(self._first, table, clock, name)
        return table

    def bind_all(self, clock: Callable[[], float]) -> Callable[[Context], dict[str, Decision]]:
        """callable(context) -> the decision of every flag, in the document's order.

        Gives what `evaluate` gives for each. The first call compiles all flags.
        """
        return Everything(self, clock)

    def bound(self, name: str, clock: Callable[[], float]) -> Bound:
        """The flag's function of the context alone."""
        compiled = self.compiled(name)
        evaluate = compiled.evaluate
        if not compiled.windowed:
            return evaluate
        return lambda context: evaluate(context, clock())

    def _first(
        self, table: dict[str, Bound], clock: Callable[[], float], name: str, context: Context
    ) -> Decision:
        table[name] = bound = self.bound(name, clock)
        return bound(context)

    def compiled(self, name: str) -> Compiled:
        """The flag, compiled; `name` is one of `names()`."""
        known = self._compiled.get(name)
        if known is None or not known.ready:
            with self._lock:
                known = self._compile(name)
        return known

    def adopt(self, other: Ruleset, flags: Iterable[str]) -> None:
        """Take what `other` compiled of these flags, where it did; the rest is compiled as ever.

        The caller vouches that they, and all that they name, mean the same in both. Those with
        prerequisites are compiled anew. The decisions are shared, and so are their tallies: not
        for a ruleset that a client counts.
        """
        with self._lock:
            for name in flags:
                known = other._compiled.get(name)
                if known is not None and known.plan is not None and not known.gates:
                    self._compiled.setdefault(name, known)

    def _compile(self, name: str) -> Compiled:
        """Compiles the flag and all that it requires, prerequisites first."""
        flags: dict[str, Compiled] = {}
        for key in self._requirements.order(name):
            known = self._compiled.get(key)
            if known is None:
                known = self._compiled[key] = self._compile_one(key)
            flags[key] = known
        last = flags[name]
        if not last.ready:
            last.require(flags)
        return last

    def _compile_one(self, key: str) -> Compiled:
        try:
            flag = self._library.flag(key)
            cycle = self._requirements.cycle(key)
            if cycle:
                message = f"flags require each other: {', '.join(cycle)}"
                raise broken(message, ("requires",), "remove one of these `requires`")
            plan = make_plan(flag, self._library)
            return Compiled(plan, self._generator.evaluate(plan), plan.decisions)
        except BrokenError as error:
            return _broken(key, error)
        except RecursionError:
            return _broken(key, broken("the flag's conditions are nested too deeply"))

    def _after_fork_in_child(self) -> None:
        """A thread of the parent may have been compiling: here nobody would ever end its turn."""
        # What is compiled by halves is compiled again, since it is kept only when it is whole.
        self._lock = RLock()


def _broken(key: str, error: BrokenError) -> Compiled:
    decision = error_decision(key, ErrorCode.PARSE_ERROR, str(error))
    return Compiled.broken(decision, error.problems)

"""Test doubles for code that uses flagloop: memory sink, fake clock, builders, `Flags`.

    sink = MemorySink()
    client = Client.from_document(document(cta_color=flag({"control": "blue"})), events=sink)

The pytest fixture `flags` is in `flagloop.pytest_plugin`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from flagloop.client import Client
from flagloop.document.problem import did_you_mean
from flagloop.errors import ConfigError, NotFoundError, TransportError

JSON = dict[str, Any]


class MemorySink:
    """Receives batches instead of a server; give it as `events=` to a client.

    `batches` holds what would go over the wire, read back. Read it after `client.flush()`.
    """

    def __init__(self) -> None:
        self.batches: list[JSON] = []

    def __call__(self, batch: bytes) -> JSON:
        """Receive one batch; the answer is a server's that takes everything."""
        self.batches.append(json.loads(batch))
        return {"accepted": len(self.batches[-1]["events"]), "duplicate": 0, "rejected": []}

    @property
    def exposures(self) -> list[JSON]:
        """Every exposure received, in order."""
        return [one for one in self._all("events") if one["type"] == "exposure"]

    @property
    def events(self) -> list[JSON]:
        """Every event (`track`) received, in order."""
        return [one for one in self._all("events") if one["type"] == "event"]

    @property
    def counts(self) -> list[JSON]:
        """Every row of evaluation counts received."""
        return self._all("counts")

    def _all(self, name: str) -> list[JSON]:
        return [one for batch in self.batches for one in batch.get(name, ())]


class FakeClock:
    """A clock that stands still until told: `clock()` gives epoch seconds."""

    def __init__(self, now: float = 1_767_225_600.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time, in epoch seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += seconds


def flag(
    variants: Mapping[str, Any] | None = None,
    *,
    default: str | None = None,
    rules: Sequence[Mapping[str, Any]] = (),
    **words: Any,
) -> JSON:
    """A flag's mapping; without variants it is boolean, `default` is the first variant."""
    built: JSON = {**words}
    if variants is not None:
        built["variants"] = dict(variants)
        built["default"] = default or next(iter(variants))
    elif default is not None:
        built["default"] = default
    if rules:
        built["rules"] = [dict(rule) for rule in rules]
    return built


def document(sections: Mapping[str, Any] | None = None, /, **flags: Mapping[str, Any]) -> JSON:
    """A document of `flags` by key, with other sections (`segments`, ...) as a mapping."""
    return {"version": 1, **(sections or {}), "flags": {**flags}}


class Flags:
    """What the pytest fixture `flags` gives: set what flags serve, see what was recorded.

    Flags that a test does not set behave as the file says. A set flag serves that variant to
    everyone and makes no exposure.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._document: JSON = document() if file is None else _read(file)
        self._known: JSON = self._document.get("flags") or {}
        self._strict = file is not None
        self._set: dict[str, JSON] = {}
        self._sink = MemorySink()
        self.client = Client.from_document(document(), events=self._sink)
        self._undo: dict[Client, Callable[[], None]] = {}
        self.use(self.client)

    def set(self, flags: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Serve these variants: `flags.set(cta_color="treatment", new_checkout=True)`.

        A value is a variant's name; `True` and `False` stand for the variant of that value,
        `on` and `off` of a flag without variants. NotFoundError names a flag or variant that
        the file does not have, and nothing is set then.
        """
        self._set |= {
            key: self._serving(key, variant) for key, variant in {**(flags or {}), **more}.items()
        }
        self._apply()

    def clear(self) -> None:
        """Forget every `set`: the flags behave as the file says again."""
        self._set.clear()
        self._apply()

    def use(self, client: Client) -> None:
        """Make an existing client obey these flags until the test ends."""
        undo = client.override(self._mapping())
        # The new one first: no moment without one.
        self._undo.pop(client, _nothing)()
        self._undo[client] = undo

    @property
    def exposures(self) -> list[JSON]:
        """The exposures that `flags.client` made so far."""
        self.client.flush(5)
        return self._sink.exposures

    @property
    def events(self) -> list[JSON]:
        """The events that were tracked on `flags.client` so far."""
        self.client.flush(5)
        return self._sink.events

    def _serving(self, key: str, wanted: str | bool) -> JSON:
        base = self._known.get(key)
        if base is None and self._strict:
            raise NotFoundError(_unknown("flag", key, self._known))
        variants = (base or {}).get("variants")
        if base is None and isinstance(wanted, str) and wanted not in ("on", "off"):
            variants = {wanted: wanted}
        served = {"on": True, "off": False} if variants is None else variants
        if isinstance(wanted, bool):
            names = [name for name, value in served.items() if value is wanted]
        else:
            names = [name for name in served if name == wanted]
        if not names:
            raise NotFoundError(_unknown(f"variant of {key}", str(wanted), served))
        return {**({} if variants is None else {"variants": variants}), "default": names[0]}

    def _mapping(self) -> JSON:
        return {**self._document, "flags": {**self._known, **self._set}}

    def _apply(self) -> None:
        for client in list(self._undo):
            self.use(client)

    def __enter__(self) -> Flags:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for undo in self._undo.values():
            undo()
        self.client.close()


def _nothing() -> None:
    """What undoes nothing."""


def _read(file: Path) -> JSON:
    """The document in a YAML file; DocumentError for a broken one, ConfigError without one."""
    from flagloop.sync.source import FileSource

    try:
        first = FileSource(file).fetch(None)
    except TransportError as problem:
        raise ConfigError(f"cannot read the flag file {problem}") from None
    return {} if first is None else dict(first.mapping)


def _unknown(what: str, word: str, known: Iterable[str]) -> str:
    hint = did_you_mean(word, known)
    return f"no {what} {word!r}" + (f" ({hint})" if hint else "")

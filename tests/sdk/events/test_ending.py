"""How a process ends where multiprocessing is only half there; the rest starts real processes."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from flagloop.events.ending import _ending


def test_multiprocessing_that_is_still_being_imported_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread may be in the middle of its import: its names come one after the other."""
    util = ModuleType("multiprocessing.util")
    util.register_after_fork = lambda *_: None  # type: ignore[attr-defined]
    process = SimpleNamespace(parent_process=lambda: "a parent")
    monkeypatch.setitem(sys.modules, "multiprocessing.util", util)
    monkeypatch.setitem(sys.modules, "multiprocessing.process", process)
    monkeypatch.setattr(_ending, "_watches", False)
    monkeypatch.setattr(_ending, "_finalizes", 0)
    _ending._prepare()
    assert not _ending._watches
    made: list[object] = []
    util.Finalize = lambda *words, **_: made.append(words)  # type: ignore[attr-defined]
    _ending._prepare()
    assert _ending._watches
    assert len(made) == 1

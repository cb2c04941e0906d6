"""What an application needs to know of a whole document before any of its items is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def recorded_attributes(mapping: Mapping[str, Any]) -> tuple[str, ...]:
    """The attributes that recorded contexts keep besides `key` and the units."""
    recording = mapping.get("recording")
    names = recording.get("attributes") if isinstance(recording, Mapping) else None
    if not isinstance(names, (list, tuple)):
        return ()
    return tuple([name for name in names if isinstance(name, str)])


def unit_attributes(mapping: Mapping[str, Any]) -> frozenset[str]:
    """Every attribute that some item names as its unit, and `key`.

    Looks at the words alone, a microsecond a flag: an application asks at each new revision.
    """
    found = {"key"}
    for section in ("flags", "layers", "holdouts"):
        for item in _mappings(mapping.get(section)):
            _note(item, found)
            rules = item.get("rules")
            if isinstance(rules, (list, tuple)):
                for rule in rules:
                    if isinstance(rule, Mapping):
                        _note(rule, found)
    return frozenset(found)


def _note(item: Mapping[str, Any], found: set[str]) -> None:
    unit = item.get("unit")
    if isinstance(unit, str):
        found.add(unit)


def _mappings(items: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(items, Mapping):
        for item in items.values():
            if isinstance(item, Mapping):
                yield item

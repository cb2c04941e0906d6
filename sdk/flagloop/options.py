"""What the constructors of `Client` take by name, and what is wrong with it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from flagloop.events.outbox import Send


class Options(TypedDict, total=False):
    """What every constructor of `Client` takes by name."""

    interval: float
    exposures: bool
    events: Send
    queue: int
    spool: str | os.PathLike[str]
    spool_mb: float
    clock: Callable[[], float]


class ServerOptions(Options, total=False):
    """What clients of a server take besides its url and key."""

    cache: str | os.PathLike[str]
    stream: bool


class LocalOptions(Options, total=False):
    """What clients of a file or a document take: a server that only receives their events."""

    url: str
    key: str


def _positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def is_path(value: Any) -> bool:
    """Whether it can name a file or folder."""
    name = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    return isinstance(name, str) and name != "" and "\0" not in name


_FORMS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "interval": ("seconds, more than 0", _positive),
    "exposures": ("True or False", lambda value: isinstance(value, bool)),
    "stream": ("True or False", lambda value: isinstance(value, bool)),
    "events": ("a function that takes a batch", callable),
    "queue": (
        "a whole number, 1 or more",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    ),
    "cache": ("a folder", is_path),
    "spool": ("a folder", is_path),
    "spool_mb": ("megabytes, 1 or more", lambda value: _positive(value) and value >= 1),
    "clock": ("a function that gives epoch seconds", callable),
    "url": ("a text", lambda value: isinstance(value, str)),
    "key": ("a text", lambda value: isinstance(value, str)),
}


def check(options: Mapping[str, Any], known: type[Any]) -> None:
    """ConfigError for an option that `known` (one of the types above) does not have or allow.

    None stands for an option that is left out. No message shows a value: it may be a key.
    """
    from flagloop.document.problem import did_you_mean
    from flagloop.errors import ConfigError

    names = known.__annotations__
    for name, value in options.items():
        if name not in names:
            hint = did_you_mean(name, names)
            raise ConfigError(f"no option {name!r}" + (f" ({hint})" if hint else ""))
        form, fits = _FORMS[name]
        if value is not None and not fits(value):
            raise ConfigError(f"{name} must be {form}")
    if options.get("key") and not options.get("url"):
        raise ConfigError("key is for a server that receives events: give its url, too")
    if options.get("spool_mb") and not options.get("spool"):
        raise ConfigError("spool_mb bounds a spool: give its folder as spool, too")

"""Leaf readers of the document: text, keys, percentages, lists; and how problems are worded.

A reader takes (value, path, out): it returns the value as the definitions want it, or puts
problems into `out`. What it returns after a problem is never used. Nothing is done for messages
unless something is wrong, since readers run while an application loads its flags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from math import isfinite
from typing import Any, TypeAlias

from flagloop.document.definition import WHOLE
from flagloop.document.percent import format_percent, parse_percent
from flagloop.document.problem import Path, Problem, did_you_mean
from flagloop.document.times import parse_date, parse_duration, parse_time

Problems: TypeAlias = list[Problem]
Reader: TypeAlias = Callable[[Any, Path, Problems], Any]
Fields: TypeAlias = Mapping[str, tuple[str, Reader]]
"""Word -> (field of the definition, reader)."""

MAX_LIST = 10_000
MAX_KEY = 100
MAX_DEPTH = 32
MAX_BITS = 1024
"""Larger integers have no float; still larger ones cannot even be printed."""

is_key = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_KEY - 1}}}").fullmatch


def refuse(out: Problems, path: Path, message: str, hint: str | None = None) -> None:
    """Add one error."""
    out.append(Problem(message, path, hint=hint))


def unknown(out: Problems, path: Path, kind: str, word: Any, known: Collection[str]) -> None:
    """Add `unknown <kind> '<word>'` with the nearest known one, or all of them if few."""
    message, hint = unknown_text(kind, word, known)
    refuse(out, path, message, hint)


def unknown_word(out: Problems, path: Path, word: Any, known: Collection[str], place: str) -> None:
    """Add `unknown word '<word>' in <place>` with the nearest known one."""
    message, hint = unknown_text("word", word, known)
    refuse(out, (*path, str(word)), f"{message} in {place}", hint)


def unknown_text(kind: str, word: Any, known: Collection[str]) -> tuple[str, str | None]:
    """The message and the hint for a word that is not among the known ones."""
    hint = did_you_mean(word, filter(_is_text, known)) if isinstance(word, str) else None
    if hint is None:
        names = list(islice(filter(_is_text, known), 31))
        hint = f"known: {', '.join(names[:30])}{', ...' * (len(names) > 30)}" if names else None
    return f"unknown {kind} {show(word)}", hint


def _is_text(name: Any) -> bool:
    return isinstance(name, str)


def show(value: Any) -> str:
    """A value in a message: short, text in quotes, JSON's names for null and booleans."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= MAX_KEY else f"'{value[:60]}...'"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, int) and not is_number(value):
        return "a number of very many digits"
    text = str(value)
    return text if len(text) <= MAX_KEY else text[:60] + "..."


def quoted(value: Any) -> str:
    """A number or boolean as it would be quoted: `2.3` as `"2.3"`."""
    return f'"{show(value)}"'


def read_fields(mapping: Any, fields: Fields, path: Path, out: Problems, kind: str) -> Any:
    """The known words of a mapping as keyword arguments; unknown words are problems."""
    if not isinstance(mapping, dict):
        refuse(out, path, f"{kind} is a mapping, not {show(mapping)}", f"known: {_few(fields)}")
        return {}
    values: dict[str, Any] = {}
    for word, value in mapping.items():
        entry = fields.get(word)
        if entry is None:
            unknown_word(out, path, word, fields, kind)
        else:
            values[entry[0]] = entry[1](value, (*path, word), out)
    return values


def require(mapping: Any, words: Iterable[str], path: Path, out: Problems, kind: str) -> None:
    """Each word must be there."""
    if isinstance(mapping, dict):
        for word in words:
            if word not in mapping:
                refuse(out, path, f"`{word}` is missing", f"add `{word}:` to {kind}")


def _few(words: Iterable[str]) -> str:
    return ", ".join(words)


def text(value: Any, path: Path, out: Problems) -> str:
    """Any text."""
    if not isinstance(value, str):
        hint = f"write {quoted(value)}" if isinstance(value, (int, float)) else None
        refuse(out, path, f"this is text, not {show(value)}", hint)
        return ""
    return value


def some_text(value: Any, path: Path, out: Problems) -> str:
    """Text that is not empty."""
    if value == "":
        refuse(out, path, "this must not be empty", "write a name")
        return ""
    return text(value, path, out)


def key(value: Any, path: Path, out: Problems) -> str:
    """A key: letters, digits, dot, underscore, dash; begins with a letter or digit; <= 100."""
    if not isinstance(value, str):
        hint = f"write {quoted(value)}" if isinstance(value, (int, float)) else "write its key"
        refuse(out, path, f"a key is text, not {show(value)}", hint)
        return ""
    if not is_key(value):
        refuse(out, path, f"{show(value)} is no key", _key_mend(value))
    return value


def _key_mend(value: str) -> str:
    if not value:
        return "a key has at least one character"
    if len(value) > MAX_KEY:
        return f"a key has at most {MAX_KEY} characters"
    mended = re.sub(r"[^A-Za-z0-9._-]+", "-", value).lstrip("._-")
    rule = "letters, digits and . _ -, the first a letter or digit"
    return f"{rule}; for example {mended}" if mended else rule


def attribute(value: Any, path: Path, out: Problems) -> str:
    """The name of an attribute of the context, taken literally."""
    if isinstance(value, str) and value.startswith("/"):
        hint = "names that begin with / are kept for later; rename the attribute"
        refuse(out, path, f"{show(value)} cannot name an attribute", hint)
    return some_text(value, path, out)


def percent(value: Any, path: Path, out: Problems) -> int:
    """0% to 100%, in millionths of a percent."""
    amount = any_percent(value, path, out)
    if amount > WHOLE:
        refuse(out, path, f"{value} is over 100%", "write 100% or less")
    return amount


def any_percent(value: Any, path: Path, out: Problems) -> int:
    """0% or more, in millionths of a percent."""
    try:
        return parse_percent(value)
    except TypeError:  # a list or a mapping cannot be looked up in the cache
        refuse(out, path, f"a percentage is text, not {show(value)}", "write it like 25%")
    except ValueError as error:
        _split_message(out, path, error)
    return 0


def inner_percent(value: Any, path: Path, out: Problems) -> int:
    """More than 0% and less than 100%."""
    before = len(out)
    amount = percent(value, path, out)
    if len(out) == before and not 0 < amount < WHOLE:
        hint = "write more than 0% and less than 100%"
        refuse(out, path, f"{format_percent(amount)} cannot be used here", hint)
    return amount


def duration(value: Any, path: Path, out: Problems) -> float:
    """`10m` in seconds."""
    return _parsed(parse_duration, value, path, out) or 0.0


def time(value: Any, path: Path, out: Problems) -> float:
    """A time in epoch seconds."""
    return _parsed(parse_time, value, path, out) or 0.0


def time_text(value: Any, path: Path, out: Problems) -> str:
    """A time, kept as its text."""
    _parsed(parse_time, value, path, out)
    return value  # type: ignore[no-any-return]  # text, or not used


def date(value: Any, path: Path, out: Problems) -> str:
    """A date, kept as its text."""
    return _parsed(parse_date, value, path, out) or ""


def _parsed(parse: Callable[[str], Any], value: Any, path: Path, out: Problems) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        _split_message(out, path, error)
    return None


def _split_message(out: Problems, path: Path, error: ValueError) -> None:
    message, _, mend = str(error).partition("; ")
    refuse(out, path, message, mend or None)


def unread(value: Any, path: Path, out: Problems) -> Any:
    """The value as it is: the caller looks at it."""
    return value


def boolean(value: Any, path: Path, out: Problems) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        refuse(out, path, f"this is true or false, not {show(value)}", "write true or false")
        return False
    return value


def number(value: Any, path: Path, out: Problems) -> float:
    """A finite number."""
    if not is_number(value):
        refuse(out, path, f"this is a number, not {show(value)}", "write it like 800 or 0.5")
        return 0.0
    return float(value)


def whole_number(value: Any, path: Path, out: Problems) -> int:
    """An integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(out, path, f"this is a whole number of at least 1, not {show(value)}", "write 14")
        return 1
    return value


def is_number(value: Any) -> bool:
    """A finite float or an int in the range of floats; no bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value.bit_length() < MAX_BITS if isinstance(value, int) else isfinite(value)


def is_list(value: Any, path: Path, out: Problems) -> bool:
    """A list within the limit (a tuple counts as one); otherwise a problem."""
    if not isinstance(value, (list, tuple)):
        hint = f"write [{value}]" if isinstance(value, str) and is_key(value) else "write [a, b]"
        refuse(out, path, f"this is a list, not {show(value)}", hint)
        return False
    if len(value) > MAX_LIST:
        hint = f"at most {MAX_LIST:,} entries; use a condition that needs no list"
        refuse(out, path, f"the list has {len(value):,} entries", hint)
        return False
    return True


def list_of(entry: Reader) -> Reader:
    """A reader for a list of such entries, each there once, as a tuple."""

    def read(value: Any, path: Path, out: Problems) -> tuple[Any, ...]:
        if not is_list(value, path, out):
            return ()
        before = len(out)
        entries = tuple([entry(part, (*path, i), out) for i, part in enumerate(value)])
        if len(out) == before and len(set(entries)) != len(entries):
            first: dict[Any, int] = {}
            again = next(i for i, part in enumerate(entries) if first.setdefault(part, i) != i)
            refuse(out, (*path, again), f"{show(value[again])} is there twice", "remove one")
        return entries

    return read


def one_of(*words: str) -> Reader:
    """A reader for one of a few words."""

    def read(value: Any, path: Path, out: Problems) -> str:
        if not isinstance(value, str) or value not in words:
            unknown(out, path, "value", value, words)
            return words[0]
        return value

    return read


keys = list_of(key)
attributes = list_of(attribute)
texts = list_of(some_text)

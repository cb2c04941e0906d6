"""Conditions: `when:` of rules and segments, and which constants each operator takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flagloop.document.definition import All, AnyOf, Condition, InSegment, Not, Test
from flagloop.document.problem import Path
from flagloop.document.schema_words import (
    MAX_DEPTH,
    Problems,
    Reader,
    attribute,
    boolean,
    is_list,
    is_number,
    key,
    quoted,
    refuse,
    show,
    unknown,
)

NEVER = AnyOf(())
RESERVED = ("all", "any", "not", "segment", "flag")
"""Words beside attributes; an attribute so named is written `context.segment`."""

_ESCAPED = {f"context.{word}": word for word in RESERVED}


def _refuse_null(value: Any, path: Path, out: Problems) -> bool:
    if value is None:
        refuse(out, path, "null is no constant", "use {exists: false} for a missing attribute")
    return value is None


def _scalar(value: Any, path: Path, out: Problems) -> Any:
    if isinstance(value, (str, bool)) or is_number(value) or _refuse_null(value, path, out):
        return value
    hint = "use `in` for a list" if isinstance(value, (list, tuple)) else "write one value"
    refuse(out, path, f"this is text, a number or a boolean, not {show(value)}", hint)
    return value


def _scalars(value: Any, path: Path, out: Problems) -> tuple[Any, ...]:
    if not is_list(value, path, out):
        return ()
    for part in value:
        if type(part) is not str:
            return tuple([_entry(part, (*path, i), out) for i, part in enumerate(value)])
    return tuple(value)


def _entry(value: Any, path: Path, out: Problems) -> Any:
    if isinstance(value, (list, tuple)):
        refuse(out, path, "a list holds no lists", "write its entries one after the other")
        return value
    return _scalar(value, path, out)


def _string(value: Any, path: Path, out: Problems) -> str:
    if not isinstance(value, str) and not _refuse_null(value, path, out):
        hint = f"quote it: {quoted(value)}" if is_number(value) else None
        refuse(out, path, f"this operator compares text, not {show(value)}", hint)
    return value  # type: ignore[no-any-return]  # not used after a problem


def _strings(value: Any, path: Path, out: Problems) -> tuple[str, ...]:
    if not is_list(value, path, out):
        return ()
    return tuple([_string(part, (*path, i), out) for i, part in enumerate(value)])


def _string_or_strings(value: Any, path: Path, out: Problems) -> Any:
    if isinstance(value, (list, tuple)):
        return _strings(value, path, out)
    return _string(value, path, out)


def _scalar_or_scalars(value: Any, path: Path, out: Problems) -> Any:
    if isinstance(value, (list, tuple)):
        return _scalars(value, path, out)
    return _scalar(value, path, out)


def _number(value: Any, path: Path, out: Problems) -> Any:
    if not is_number(value) and not _refuse_null(value, path, out):
        hint = None
        if isinstance(value, str):
            hint = "use before / after for times, semver_gt / semver_lt for versions"
        refuse(out, path, f"this operator compares numbers, not {show(value)}", hint)
    return value


def _version(value: Any, path: Path, out: Problems) -> Any:
    if not isinstance(value, str) and not _refuse_null(value, path, out):
        hint = 'quote it, with all three parts, like "2.3.0"'
        refuse(out, path, f"a version is text, not {show(value)}", hint)
    return value


def _time(value: Any, path: Path, out: Problems) -> Any:
    if not isinstance(value, str) and not _refuse_null(value, path, out):
        hint = "write it like 2027-03-01 or 2027-03-01T09:00:00Z"
        refuse(out, path, f"a time is text, not {show(value)}", hint)
    return value


OPERATORS: Mapping[str, Reader] = {
    "eq": _scalar,
    "eq_ci": _string,
    "ne": _scalar,
    "in": _scalars,
    "in_ci": _strings,
    "not_in": _scalars,
    "gt": _number,
    "gte": _number,
    "lt": _number,
    "lte": _number,
    "contains": _scalar_or_scalars,
    "contains_ci": _string_or_strings,
    "starts_with": _string_or_strings,
    "starts_with_ci": _string_or_strings,
    "ends_with": _string_or_strings,
    "ends_with_ci": _string_or_strings,
    "matches": _string_or_strings,
    "exists": boolean,
    "semver_eq": _version,
    "semver_gt": _version,
    "semver_gte": _version,
    "semver_lt": _version,
    "semver_lte": _version,
    "before": _time,
    "after": _time,
    "in_cidr": _string_or_strings,
}
"""Operator -> reader of its constant (its type only; what text is a version or a network is known
by `flagloop.evaluation.operators`). A list constant becomes a tuple."""


def read_condition(raw: Any, path: Path, out: Problems, depth: int = 0) -> Condition:
    """A condition mapping (its parts are AND) as definitions."""
    if not isinstance(raw, dict):
        hint = "write {attribute: value} or {attribute: {operator: constant}}"
        refuse(out, path, f"a condition is a mapping, not {show(raw)}", hint)
        return NEVER
    if depth > MAX_DEPTH:
        refuse(out, path, "conditions are nested too deeply", "put the inner ones into a segment")
        return NEVER
    parts: list[Condition] = []
    for word, value in raw.items():
        structure = _STRUCTURE.get(word)
        if structure is not None:
            parts.append(structure(value, (*path, word), out, depth + 1))
        else:
            _tests(word, value, (*path, str(word)), parts, out)
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _tests(word: Any, value: Any, path: Path, parts: list[Condition], out: Problems) -> None:
    """The tests of one attribute: a value, a list, or a mapping of operators."""
    name = _ESCAPED.get(word) or attribute(word, path, out)
    if not isinstance(value, dict):
        if isinstance(value, (list, tuple)):
            parts.append(Test(name, "in", _scalars(value, path, out)))
        else:
            parts.append(Test(name, "eq", _scalar(value, path, out)))
        return
    if not value:
        hint = "write {exists: true}, or another operator and its constant"
        refuse(out, path, f"no operator for attribute {show(word)}", hint)
    for operator, constant in value.items():
        reader = OPERATORS.get(operator)
        if reader is None:
            unknown(out, (*path, str(operator)), "operator", operator, OPERATORS)
        else:
            parts.append(Test(name, operator, reader(constant, (*path, operator), out)))


def _parts(raw: Any, path: Path, out: Problems, depth: int) -> tuple[Condition, ...]:
    if not isinstance(raw, (list, tuple)):
        hint = "write [{...}, {...}]"
        refuse(out, path, f"`{path[-1]}` takes a list of conditions, not {show(raw)}", hint)
        return ()
    if not is_list(raw, path, out):
        return ()
    return tuple([read_condition(part, (*path, i), out, depth) for i, part in enumerate(raw)])


def _all(raw: Any, path: Path, out: Problems, depth: int) -> Condition:
    return All(_parts(raw, path, out, depth))


def _any(raw: Any, path: Path, out: Problems, depth: int) -> Condition:
    return AnyOf(_parts(raw, path, out, depth))


def _not(raw: Any, path: Path, out: Problems, depth: int) -> Condition:
    return Not(read_condition(raw, path, out, depth))


def _segment(raw: Any, path: Path, out: Problems, depth: int) -> Condition:
    if isinstance(raw, (list, tuple)):
        if not is_list(raw, path, out):
            return NEVER
        return InSegment(tuple([key(part, (*path, i), out) for i, part in enumerate(raw)]))
    return InSegment((key(raw, path, out),))


def _flag(raw: Any, path: Path, out: Problems, depth: int) -> Condition:
    hint = "use the flag's `requires`; an attribute so named is written context.flag"
    refuse(out, path, "`flag` is reserved in conditions", hint)
    return NEVER


_STRUCTURE = {"all": _all, "any": _any, "not": _not, "segment": _segment, "flag": _flag}


def segments_of(raw: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Each segment that a condition mapping names, with its place; a wrong shape has none."""
    for place, word, value in _walk(raw, path, 0):
        if word == "segment":
            if isinstance(value, str):
                yield place, value
            elif isinstance(value, (list, tuple)):
                yield from (((*place, i), k) for i, k in enumerate(value) if isinstance(k, str))


def constants_of(raw: Any, path: Path = ()) -> Iterator[tuple[Path, str, Any]]:
    """Each written (path, operator, constant) of a condition mapping; a wrong shape has none."""
    for place, word, value in _walk(raw, path, 0):
        if word != "segment" and isinstance(value, dict):
            for operator, constant in value.items():
                if isinstance(operator, str) and operator in OPERATORS:
                    yield (*place, operator), operator, constant


def _walk(raw: Any, path: Path, depth: int) -> Iterator[tuple[Path, str, Any]]:
    if not isinstance(raw, dict) or depth > MAX_DEPTH:
        return
    for word, value in raw.items():
        place = (*path, str(word))
        if word in ("all", "any"):
            parts = value if isinstance(value, (list, tuple)) else ()
            for i, part in enumerate(parts):
                yield from _walk(part, (*place, i), depth + 1)
        elif word == "not":
            yield from _walk(value, place, depth + 1)
        else:
            yield place, word, value

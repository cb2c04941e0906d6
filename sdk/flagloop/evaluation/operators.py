"""What each operator of a condition means: `OPERATORS[name](constant)` is a test of a value.

A factory takes the constant as the document holds it (a list as list or tuple) and raises
ValueError, its text `what is wrong; the mend`, for one that cannot be used. The test takes the
attribute's value as the application gave it, None for a missing one, returns a bool and never
raises. There is no coercion: `"99"` is not `99`, a bool is only a bool, `1` equals `1.0`, and a
subclass (an enum's member, say) counts as its base. A missing attribute fails every test but
`exists: false`; for `eq ne in not_in` no type is wrong, for all others a wrong type is false.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from math import isfinite
from typing import Any, TypeAlias

from flagloop.document.times import parse_time
from flagloop.evaluation.semver import Order, VersionTest, parse_version

Predicate: TypeAlias = Callable[[Any], bool]
Factory: TypeAlias = Callable[[Any], Predicate]

_EXACT = frozenset({str, bool, int, float})
_LISTS = (list, tuple, set, frozenset)
_OTHER = object()
"""Stands for every value that is no text, number or boolean: it equals no constant."""


def plain(value: Any) -> Any:
    """The value as an exact str, bool, int or float; None stays, all else equals nothing."""
    if value.__class__ in _EXACT or value is None:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return _OTHER


class Constants:
    """The constants of an equality or membership test; a bool never equals a number."""

    __slots__ = ("booleans", "others")

    def __init__(self, constants: Any) -> None:
        values = [_scalar(constant) for constant in constants]
        self.booleans = frozenset(value for value in values if isinstance(value, bool))
        self.others = frozenset(value for value in values if not isinstance(value, bool))

    def have(self, value: Any) -> bool:
        """The value is one of them."""
        value = plain(value)
        return value in (self.booleans if value.__class__ is bool else self.others)

    def lack(self, value: Any) -> bool:
        """There is a value, and it is none of them."""
        return value is not None and not self.have(value)


def _scalar(constant: Any) -> Any:
    """A constant that can be compared: exact text, finite number or boolean."""
    value = plain(constant)
    if value is None:
        raise ValueError("null is no constant; use {exists: false} for a missing attribute")
    if value is _OTHER:
        raise ValueError(f"{_show(constant)} is no text, number or boolean; write one value")
    if value.__class__ is float and not isfinite(value):
        raise ValueError(f"{value} cannot be compared; write a finite number")
    return value


def _show(constant: Any) -> str:
    if isinstance(constant, (list, tuple)):
        return "a list"
    if isinstance(constant, Mapping):
        return "a mapping"
    return repr(constant) if isinstance(constant, str) else str(constant)


def _text(constant: Any) -> str:
    value = plain(constant)
    if value.__class__ is not str:
        mend = f'quote it: "{constant}"' if value is not _OTHER else "write one text"
        raise ValueError(f"{_show(constant)} is no text; {mend}")
    return str(value)


def _texts(constant: Any) -> tuple[str, ...]:
    """One text or a list of them."""
    if isinstance(constant, (list, tuple)):
        return tuple([_text(part) for part in constant])
    return (_text(constant),)


def _list(constant: Any) -> Any:
    if not isinstance(constant, (list, tuple)):
        raise ValueError(f"{_show(constant)} is no list; write [{constant}]")
    return constant


def _folded(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([text.casefold() for text in texts])


def _one(constant: Any) -> Constants:
    if isinstance(constant, (list, tuple)):
        raise ValueError("a list is no constant of this operator; use in or not_in")
    return Constants((constant,))


def _eq(constant: Any) -> Predicate:
    return _one(constant).have


def _ne(constant: Any) -> Predicate:
    return _one(constant).lack


def _in(constant: Any) -> Predicate:
    return Constants(_list(constant)).have


def _not_in(constant: Any) -> Predicate:
    return Constants(_list(constant)).lack


def _eq_ci(constant: Any) -> Predicate:
    return _in_ci((constant,))


def _in_ci(constant: Any) -> Predicate:
    known = frozenset(_folded(_texts(_list(constant))))

    def test(value: Any) -> bool:
        return isinstance(value, str) and str.casefold(value) in known

    return test


def _order(compare: Callable[[Any, Any], bool], constant: Any) -> Predicate:
    limit = _scalar(constant)
    if limit.__class__ is str or limit.__class__ is bool:
        raise ValueError(
            f"{_show(constant)} is no number; use before / after for times, "
            "semver_gt / semver_lt for versions"
        )

    def test(value: Any) -> bool:
        value = plain(value)
        kind = value.__class__
        return (kind is int or kind is float) and compare(value, limit)

    return test


def _contains(constant: Any) -> Predicate:
    listed = constant if isinstance(constant, (list, tuple)) else (constant,)
    known = Constants(listed)
    texts = tuple([text for text in known.others if text.__class__ is str])

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return any(str.__contains__(value, text) for text in texts)
        return isinstance(value, _LISTS) and any(known.have(part) for part in value)

    return test


def _contains_ci(constant: Any) -> Predicate:
    texts = _folded(_texts(constant))

    def test(value: Any) -> bool:
        if isinstance(value, str):
            folded = str.casefold(value)
            return any(text in folded for text in texts)
        if isinstance(value, _LISTS):
            return any(isinstance(part, str) and str.casefold(part) in texts for part in value)
        return False

    return test


def _starts_with(constant: Any) -> Predicate:
    texts = _texts(constant)
    return lambda value: isinstance(value, str) and str.startswith(value, texts)


def _ends_with(constant: Any) -> Predicate:
    texts = _texts(constant)
    return lambda value: isinstance(value, str) and str.endswith(value, texts)


def _starts_with_ci(constant: Any) -> Predicate:
    texts = _folded(_texts(constant))
    return lambda value: isinstance(value, str) and str.casefold(value).startswith(texts)


def _ends_with_ci(constant: Any) -> Predicate:
    texts = _folded(_texts(constant))
    return lambda value: isinstance(value, str) and str.casefold(value).endswith(texts)


def _matches(constant: Any) -> Predicate:
    """An unanchored RE2 search: linear time, so no pattern can hang an application."""
    texts = _texts(constant)
    try:
        import re2
    except ImportError:
        raise ValueError(
            "matches needs an extra; install it with: pip install 'flagloop[regex]'"
        ) from None
    options = re2.Options()
    options.log_errors = False
    searches = []
    for text in texts:
        try:
            searches.append(re2.compile(text, options=options).search)
        except (re2.error, UnicodeEncodeError) as error:
            reason = error.args[0]
            shown = reason.decode(errors="replace") if isinstance(reason, bytes) else str(error)
            raise ValueError(
                f"{_show(text)} is no RE2 pattern: {shown}; "
                "RE2 has no lookaround and no backreferences"
            ) from None

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return any(search(value) is not None for search in searches)
        except UnicodeEncodeError:  # RE2 searches UTF-8, which a lone surrogate has none of
            return False

    return test


def _exists(constant: Any) -> Predicate:
    if constant is True:
        return lambda value: value is not None
    if constant is False:
        return lambda value: value is None
    raise ValueError(f"{_show(constant)} is no boolean; write true or false")


def _semver(compare: Callable[[Order, Order], bool], constant: Any) -> Predicate:
    limit = parse_version(constant) if isinstance(constant, str) else None
    if limit is None:
        raise ValueError(f'{_show(constant)} is no version; write and quote it like "2.3.0"')
    return VersionTest(compare, limit).test


def _time(constant: Any) -> float:
    if isinstance(constant, str):
        return parse_time(constant)
    raise ValueError(f"{_show(constant)} is no time; write it like 2027-03-01T09:00:00Z")


def instant(value: Any) -> float | None:
    """A context's value as epoch seconds: text as in documents, a number of epoch milliseconds,
    an aware datetime; None for all else.
    """
    value = value if isinstance(value, datetime) else plain(value)
    if isinstance(value, str):
        try:
            return parse_time(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        try:
            return None if value.utcoffset() is None else value.timestamp()
        except (OverflowError, ValueError, TypeError, NotImplementedError):  # an odd tzinfo
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value / 1000 if isfinite(value) else None
    except OverflowError:  # an int beyond every float
        return None


def _before(constant: Any) -> Predicate:
    limit = _time(constant)

    def test(value: Any) -> bool:
        at = instant(value)
        return at is not None and at < limit

    return test


def _after(constant: Any) -> Predicate:
    limit = _time(constant)

    def test(value: Any) -> bool:
        at = instant(value)
        return at is not None and at > limit

    return test


def _in_cidr(constant: Any) -> Predicate:
    """In any of the networks; an IPv4 address mapped into IPv6 is the IPv4 address too."""
    import ipaddress

    networks = []
    for text in _texts(constant):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError(f"{error}; write it like 10.0.0.0/8 or 2001:db8::/32") from None

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            address = ipaddress.ip_address(str.__str__(value))
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any(address in net or (mapped is not None and mapped in net) for net in networks)

    return test


OPERATORS: Mapping[str, Factory] = {
    "eq": _eq,
    "eq_ci": _eq_ci,
    "ne": _ne,
    "in": _in,
    "in_ci": _in_ci,
    "not_in": _not_in,
    "gt": partial(_order, operator.gt),
    "gte": partial(_order, operator.ge),
    "lt": partial(_order, operator.lt),
    "lte": partial(_order, operator.le),
    "contains": _contains,
    "contains_ci": _contains_ci,
    "starts_with": _starts_with,
    "starts_with_ci": _starts_with_ci,
    "ends_with": _ends_with,
    "ends_with_ci": _ends_with_ci,
    "matches": _matches,
    "exists": _exists,
    "semver_eq": partial(_semver, operator.eq),
    "semver_gt": partial(_semver, operator.gt),
    "semver_gte": partial(_semver, operator.ge),
    "semver_lt": partial(_semver, operator.lt),
    "semver_lte": partial(_semver, operator.le),
    "before": _before,
    "after": _after,
    "in_cidr": _in_cidr,
}
"""Operator -> factory(constant) -> test(value)."""

"""Where a unit falls. A published contract: nothing here ever changes.

    position(salt, unit) = murmur3_x86_32(utf8(unit), seed=murmur3_x86_32(utf8(salt), 0))

is an integer in [0, 2**32). A fraction f of the units are those below the edge
`round(f * 2**32)`; ranges are half-open. Any change to the hash, the salts or the edges would
move users between variants of running experiments, in every SDK and every recorded analysis.
`tests/vectors/bucketing.json` pins it for other languages.
"""

from __future__ import annotations

from typing import Any

from mmh3 import hash as murmur3

from flagloop.document.definition import WHOLE

SPACE = 2**32
"""The number of positions: the edge of 100%."""


def seed(salt: str) -> int:
    """The murmur3 seed that a salt stands for, in [0, 2**32)."""
    return murmur3(salt.encode(), 0, False)


def position(salt: str, unit: str) -> int:
    """Where `unit` falls under `salt`, in [0, 2**32).

    Raises UnicodeEncodeError for a unit that has no UTF-8 form (see `unit_of`); mmh3 itself must
    never see such text, since its 5.x crashes the process.
    """
    return place(seed(salt), unit)


def place(seed: int, unit: str) -> int:
    """`position` for a salt's seed."""
    return murmur3(unit.encode(), seed, False)


def edge(percent: int) -> int:
    """The edge of a percentage given in millionths of a percent (25% is 25_000_000).

    `round(f * 2**32)` in integers. There are no ties: in lowest terms the denominator is odd.
    """
    return (percent * SPACE + WHOLE // 2) // WHOLE


def unit_of(value: Any) -> str | None:
    """The text that is bucketed for an attribute's value, or None where there is no unit.

    A non-empty string is its own unit and an int (no bool) its decimal; subclasses count as
    their base. Everything else, and text that has no UTF-8 form, is missing.
    """
    if isinstance(value, str):
        text = str.__str__(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            return None
        return text or None
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return int.__repr__(value)
        except ValueError:  # more digits than Python converts
            return None
    return None


def split_salt(flag: str) -> str:
    """The salt of a split: `flag` is the flag's salt."""
    return f"split:{flag}"


def experiment_salt(key: str) -> str:
    """The salt of an experiment's split."""
    return f"experiment:{key}"


def share_salt(flag: str, rule: str) -> str:
    """The salt of a rule's share or rollout, from the flag's and the rule's salt."""
    return f"share:{flag}:{rule}"


def layer_salt(key: str) -> str:
    """The salt of a layer."""
    return f"layer:{key}"


def holdout_salt(key: str) -> str:
    """The salt of a holdout."""
    return f"holdout:{key}"

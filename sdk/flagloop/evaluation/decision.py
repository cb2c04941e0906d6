"""What a decision says: variant, value and why. Nothing about who asked or when."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple


class Reason(StrEnum):
    """Why this variant was served (OpenFeature's words)."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"
    ERROR = "ERROR"


class ErrorCode(StrEnum):
    """What went wrong when the reason is ERROR (OpenFeature's words)."""

    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    PARSE_ERROR = "PARSE_ERROR"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    GENERAL = "GENERAL"


class Exposed(NamedTuple):
    """What an exposure of a decision says besides its unit, time and revision.

    `stage` is a percentage in millionths of a percent; `holdout` the key of the flag's
    holdout and `held` whether the unit is in it; `log` the attributes kept with it.
    """

    flag: str
    variant: str | None
    unit_by: str
    rule: str | None = None
    experiment: str | None = None
    stage: int | None = None
    holdout: str | None = None
    held: bool = False
    log: tuple[str, ...] = ()


class Decision:
    """One possible answer of a flag, built once when the flag is compiled.

    `variant` is None when no variant is served: the caller's default applies then. `rule`,
    `experiment`, `holdout` (only when held) and `prerequisite` (the flag that was not met) say
    what decided; `error` and `message` what was wrong. `exposed` is None for a decision that
    makes no exposure. `count` is how often the client served it; only ever increased. `watch`
    belongs to the exposures of the client that serves it. So two clients share no ruleset.
    """

    __slots__ = (
        "count",
        "error",
        "experiment",
        "exposed",
        "flag",
        "holdout",
        "message",
        "missing_unit",
        "prerequisite",
        "reason",
        "rule",
        "value",
        "variant",
        "watch",
    )

    def __init__(
        self,
        flag: str,
        variant: str | None,
        value: Any,
        reason: Reason,
        *,
        rule: str | None = None,
        experiment: str | None = None,
        holdout: str | None = None,
        prerequisite: str | None = None,
        error: ErrorCode | None = None,
        message: str | None = None,
        missing_unit: bool = False,
        exposed: Exposed | None = None,
    ) -> None:
        self.flag = flag
        self.variant = variant
        self.value = value
        self.reason = reason
        self.rule = rule
        self.experiment = experiment
        self.holdout = holdout
        self.prerequisite = prerequisite
        self.error = error
        self.message = message
        self.missing_unit = missing_unit
        self.exposed = exposed
        # `decision.count += 1` is exact under threads without a lock: the interpreter (3.10 to
        # 3.13) switches threads only at calls and backward jumps, and there is none inside.
        self.count = 0
        self.watch: Any = None

    def to_mapping(self) -> dict[str, Any]:
        """The JSON form; `value` and `variant` are null when no variant is served."""
        full = {
            "flag": self.flag,
            "variant": self.variant,
            "value": self.value,
            "reason": self.reason.value,
            "rule": self.rule,
        }
        for name in ("experiment", "holdout", "prerequisite", "message"):
            if getattr(self, name) is not None:
                full[name] = getattr(self, name)
        if self.error is not None:
            full["error"] = self.error.value
        if self.missing_unit:
            full["missing_unit"] = True
        return full

    def __repr__(self) -> str:
        detail = f" rule={self.rule!r}" if self.rule else ""
        error = f" error={self.error.value}" if self.error else ""
        return (
            f"<Decision {self.flag} {self.variant!r} {self.value!r} "
            f"{self.reason.value}{detail}{error}>"
        )

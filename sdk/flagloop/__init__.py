"""flagloop: feature flags, rollouts and experiments that are decided in your own process.

Names are imported when first used, so that `import flagloop` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagloop.client import Client
    from flagloop.context import Context
    from flagloop.document.problem import Problem
    from flagloop.errors import (
        ConfigError,
        ConflictError,
        DocumentError,
        FlagloopError,
        ForbiddenError,
        NotFoundError,
        TransportError,
    )
    from flagloop.evaluation.decision import Decision, ErrorCode, Reason
    from flagloop.evaluation.ruleset import Ruleset
    from flagloop.evaluation.validate import validate

__version__ = "0.1.0"

_HOME = {
    "Client": "flagloop.client",
    "Context": "flagloop.context",
    "Problem": "flagloop.document.problem",
    "ConfigError": "flagloop.errors",
    "ConflictError": "flagloop.errors",
    "DocumentError": "flagloop.errors",
    "FlagloopError": "flagloop.errors",
    "ForbiddenError": "flagloop.errors",
    "NotFoundError": "flagloop.errors",
    "TransportError": "flagloop.errors",
    "Decision": "flagloop.evaluation.decision",
    "ErrorCode": "flagloop.evaluation.decision",
    "Reason": "flagloop.evaluation.decision",
    "Ruleset": "flagloop.evaluation.ruleset",
    "validate": "flagloop.evaluation.validate",
}

__all__ = [
    "Client",
    "ConfigError",
    "ConflictError",
    "Context",
    "Decision",
    "DocumentError",
    "ErrorCode",
    "FlagloopError",
    "ForbiddenError",
    "NotFoundError",
    "Problem",
    "Reason",
    "Ruleset",
    "TransportError",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flagloop' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

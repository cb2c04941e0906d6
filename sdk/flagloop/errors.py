"""Every exception that flagloop raises on purpose.

    FlagloopError
    |-- ConfigError              a wrong or missing argument, option or environment variable
    |-- DocumentError            a document that cannot be used; `.problems` has them all
    |-- ConflictError            somebody else changed the same thing; `.conflicts` lists what
    |-- NotFoundError            no such flag, rule, environment, revision, key or person
    |-- ForbiddenError           the key or the role does not allow this
    `-- TransportError           no usable answer from the server; `.status`, `.retry_after`

`Client.variant` and the other verbs of the client raise none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flagloop.document.problem import Problem


class FlagloopError(Exception):
    """The root of the tree; its text names the place and the mend."""


class ConfigError(FlagloopError):
    """A wrong or missing argument, option or environment variable."""


class DocumentError(FlagloopError):
    """A document that cannot be used; `problems` holds each one with its place."""

    def __init__(self, problems: Iterable[Problem], file: str = "") -> None:
        self.problems: list[Problem] = list(problems)
        self.file = file
        super().__init__("\n".join(problem.render(file) for problem in self.problems))


class ConflictError(FlagloopError):
    """Somebody else changed the same thing; `conflicts` names each item."""

    def __init__(self, message: str, conflicts: Sequence[str] = ()) -> None:
        self.conflicts = list(conflicts)
        super().__init__(message)


class NotFoundError(FlagloopError):
    """No such flag, rule, environment, revision, key or person."""


class ForbiddenError(FlagloopError):
    """The key or the role does not allow this."""


class TransportError(FlagloopError):
    """No usable answer: `status` is the HTTP status or None, `retry_after` is in seconds."""

    def __init__(
        self, message: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)

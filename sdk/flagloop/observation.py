"""`with client.observe(flag, user) as decision:` measures what a decision does."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagloop.client import Client
    from flagloop.context import User
    from flagloop.evaluation.decision import Decision


class Observation:
    """Tracks `latency_ms` (milliseconds) on leaving and `error` if the block raised.

    Both carry the flag and the variant as properties; what the block raises goes on.
    """

    __slots__ = ("_began", "_client", "_flag", "_user", "decision")

    def __init__(self, client: Client, flag: str, user: User) -> None:
        self._client = client
        self._flag = flag
        self._user = user
        self._began = 0.0
        self.decision: Decision | None = None

    def __enter__(self) -> Decision:
        self.decision = self._client.decide(self._flag, self._user)
        self._began = time.perf_counter()
        return self.decision

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took = (time.perf_counter() - self._began) * 1000
        decision = self.decision
        # The decision's key, not what was asked for, which may be no text.
        served: dict[str, Any] = {}
        if decision is not None:
            served = {"flag": decision.flag, "variant": decision.variant}
        # The end of a program or of a generator is no error of the block.
        if kind is not None and issubclass(kind, Exception):
            self._client.track("error", self._user, type=kind.__name__, **served)
        self._client.track("latency_ms", self._user, took, **served)

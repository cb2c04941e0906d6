"""What the server is told at its start, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set; only `data` is needed.

    `url` is the base URL that people reach the server by, where it differs from host and port;
    with https in it session cookies are marked Secure. `flags` is a YAML file that is merged
    into `environment` at each start. Sizes are bytes, times are seconds. `port` 0 takes a free
    port. `trusted_proxies` are the addresses whose X-Forwarded-For and -Proto are believed.
    Public keys have a quarter of what is said of events and batches, for themselves.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8377
    url: str | None = None
    flags: Path | None = None
    environment: str = "production"
    trusted_proxies: str = "127.0.0.1"

    workers: int = 10
    waiting: int = 200
    body_limit: int = 16 * MIB
    body_seconds: float = 10.0
    bodies: int = 1024
    bodies_bytes: int = 64 * MIB
    stranger_limit: int = 256 * 1024
    strangers_bytes: int = 16 * MIB
    events_limit: int = 4 * MIB
    events_unpacked: int = 16 * MIB
    events_bytes: int = 32 * MIB
    batches_waiting: int = 256
    streams: int = 10_000
    streams_of_key: int = 7_500
    poll_seconds: float = 0.2
    stop_seconds: int = 2
    close_seconds: float = 2.0

    @property
    def report_workers(self) -> int:
        """How many workers slow pages may hold, so that a kill never waits behind them."""
        return max(1, self.workers // 2)

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies may only travel over https."""
        return self.url is not None and self.url.startswith("https://")

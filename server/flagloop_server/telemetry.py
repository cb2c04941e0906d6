"""What operators see: Prometheus metrics and plain structured logs.

Neither holds a secret, a unit or an attribute of a user; labels are names of routes,
environments, flags and reasons only.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric at one moment: `kind` is counter or gauge, `values` label values -> number."""

    name: str
    help: str
    kind: str
    labels: tuple[str, ...]
    values: tuple[tuple[tuple[str, ...], float], ...]


def gauge(name: str, text: str, value: float) -> Reading:
    """A gauge without labels."""
    return Reading(name, text, "gauge", (), (((), value),))


class Metrics:
    """Renders readings, taken when asked, in Prometheus' text format."""

    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def collect(self) -> Iterator[object]:
        """The readings as prometheus_client's metric families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for reading in self._read():
            kind = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
            family = kind(reading.name, reading.help, labels=reading.labels)
            for labels, value in reading.values:
                family.add_metric(labels, value)
            yield family

    def render(self) -> tuple[str, bytes]:
        """Content type and text."""
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        # generate_latest asks nothing of a registry but collect().
        return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self)  # type: ignore[arg-type]


class PlainFormatter(logging.Formatter):
    """`2026-03-01T12:00:00.123Z info flagloop_server.publish published environment=production`."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line = (
            f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} "
            f"{record.name} {record.getMessage()}"
        )
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send flagloop's logs from `level` and others' warnings to `stream` (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("flagloop_server").setLevel(level)
    logging.getLogger("flagloop").setLevel(level)

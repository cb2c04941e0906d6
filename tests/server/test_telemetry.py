"""Metrics in Prometheus' text, logs as plain lines."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from flagloop_server.telemetry import Metrics, Reading, configure_logging, gauge


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log as text; the root logger is put back afterwards."""
    root = logging.getLogger()
    names = ("flagloop", "flagloop_server")
    before = (root.handlers[:], root.level, [logging.getLogger(name).level for name in names])
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    root.setLevel(before[1])
    for name, level in zip(names, before[2], strict=True):
        logging.getLogger(name).setLevel(level)


def test_readings_become_prometheus_text() -> None:
    """Counters end in _total, labels are quoted, gauges have no suffix."""
    requests = (((("ruleset", "200")), 3.0),)
    readings = [
        Reading("flagloop_requests", "Answers.", "counter", ("route", "status"), requests),
        gauge("flagloop_busy", "Workers.", 2),
    ]
    kind, text = Metrics(lambda: readings).render()
    assert kind.startswith("text/plain")
    assert b'flagloop_requests_total{route="ruleset",status="200"} 3.0' in text
    assert b"\nflagloop_busy 2.0\n" in text


def test_readings_are_taken_when_asked() -> None:
    """Nothing is remembered between two scrapes."""
    value = [1.0]
    metrics = Metrics(lambda: [gauge("flagloop_busy", "Workers.", value[0])])
    metrics.render()
    value[0] = 5.0
    assert b"flagloop_busy 5.0" in metrics.render()[1]


def test_a_log_line_says_when_how_bad_where_and_what(lines: io.StringIO) -> None:
    """One line, time in UTC."""
    logging.getLogger("flagloop_server.publish").info("published environment=%s", "production")
    line = lines.getvalue()
    assert line.endswith("Z info flagloop_server.publish published environment=production\n")
    assert line[10] == "T"


def test_others_tell_warnings_only(lines: io.StringIO) -> None:
    """Libraries' chatter stays out."""
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").warning("limit reached")
    assert "Started" not in lines.getvalue()
    assert "limit reached" in lines.getvalue()


def test_a_traceback_follows_its_line(lines: io.StringIO) -> None:
    """Errors of the program are told whole."""
    try:
        raise ValueError("wrong")
    except ValueError:
        logging.getLogger("flagloop_server").error("failed", exc_info=sys.exc_info())
    assert "ValueError: wrong" in lines.getvalue()

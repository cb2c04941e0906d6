"""What operators are told when something is broken, which is when they ask."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any


def test_metrics_go_on_while_the_database_cannot_be_read(app: Any, call: Any) -> None:
    """What the edge counts in memory is told, and that the rest is missing; /readyz says why."""

    def told() -> list[str]:
        answer = call(app.asgi, "GET", "/metrics")
        assert answer.status == 200
        lines: list[str] = answer.body.decode().splitlines()
        return lines

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(app.config.data / "config.db")) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    assert "flagloop_metrics_missing 0.0" in told()
    rename("environment", "gone")
    lines = told()
    assert "flagloop_metrics_missing 2.0" in lines
    assert 'flagloop_requests_total{route="metrics",status="200"} 1.0' in lines
    assert 'flagloop_revision{environment="production"} 1.0' in lines
    ready = call(app.asgi, "GET", "/readyz")
    assert ready.status == 503
    assert "config.db cannot be read" in json.loads(ready.body)["problems"][0]
    rename("gone", "environment")
    assert "flagloop_metrics_missing 0.0" in told()

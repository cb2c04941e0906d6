"""Forgets what is too old, by ranges of keys: a scan of a large table would hold up commits."""

from __future__ import annotations

import sqlite3

from flagloop_server.store.events.writing import DAY, HOUR, MINUTE

KEPT_MINUTES = 2 * DAY
KEPT_HOURS = 90 * DAY
KEPT_BATCHES = 7 * DAY
KEPT_INSTANCES = 7 * DAY
KEPT_LOSSES = 30 * DAY

_SLICES = KEPT_BATCHES // HOUR

_COUNTS = """
WITH RECURSIVE place(id) AS (
    SELECT min(environment_id) FROM count_{0}
    UNION ALL
    SELECT (SELECT min(environment_id) FROM count_{0} WHERE environment_id > place.id) FROM place
    WHERE place.id IS NOT NULL
)
DELETE FROM count_{0} WHERE environment_id IN (SELECT id FROM place) AND {0} < ?
"""


def prune(connection: sqlite3.Connection, now: int) -> None:
    """Forget aggregates and batch ids that are too old; events stay. To be called every hour."""
    connection.execute(_COUNTS.format("minute"), ((now - KEPT_MINUTES) // MINUTE,))
    connection.execute(_COUNTS.format("hour"), ((now - KEPT_HOURS) // HOUR,))
    _batches(connection, now)
    for sql, oldest in (
        ("DELETE FROM instance WHERE last_seen < ?", now - KEPT_INSTANCES),
        ("DELETE FROM loss WHERE at < ?", now - KEPT_LOSSES),
        ("DELETE FROM flag_seen WHERE at < ?", now - KEPT_HOURS),
        ("DELETE FROM event_hour WHERE hour < ?", (now - KEPT_HOURS) // HOUR),
    ):
        connection.execute(sql, (oldest,))


def _batches(connection: sqlite3.Connection, now: int) -> None:
    """SDKs' ids begin with their time, so the old ones lie together. Of others, which lie
    anywhere, the table is gone through once in the time that they are kept.
    """
    oldest = now - KEPT_BATCHES
    for first, last in ((bytes(16), _stamp(oldest)), _slice(now)):
        sql = "DELETE FROM batch WHERE id >= ? AND id < ? AND received < ?"
        connection.execute(sql, (first, last, oldest))


def _slice(now: int) -> tuple[bytes, bytes]:
    """This hour's part of all ids, without those that begin with a time up to tomorrow's."""
    number = now // HOUR % _SLICES
    first, last = (
        (2**128 * edge // _SLICES).to_bytes(17, "big")[1:] if edge < _SLICES else b"\xff" * 17
        for edge in (number, number + 1)
    )
    return max(first, _stamp(now + DAY)), last


def _stamp(at: int) -> bytes:
    """The first UUIDv7 of a moment."""
    return max(0, at).to_bytes(6, "big") + bytes(10)

"""The ledger as a file: every row, as JSON lines (with all that proves the chain) or as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from flagloop_server.store import ANY, LedgerRow, Sought, Store

PAGE = 1_000
"""Rows that are read at once: what others change meanwhile is not held up."""

COLUMNS = (
    *("seq", "at", "actor_kind", "actor", "action", "target"),
    *("environment", "revision", "reason", "digest"),
)
"""Of the CSV."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def every_row(
    store: Store,
    after: int = 0,
    environments: Collection[int] | None = None,
    target: str | None = None,
    sought: Sought = ANY,
) -> Iterator[LedgerRow]:
    """The rows after a `seq`, oldest first; `environments` are ids, None for all."""
    while page := store.audit(
        limit=PAGE, after=after, environments=environments, target=target, sought=sought
    ):
        yield from page
        after = page[-1].seq


def to_mapping(row: LedgerRow) -> dict[str, Any]:
    """The JSON form, the same as that of the admin API."""
    return {
        "seq": row.seq,
        "at": row.at,
        "kind": row.kind,
        "action": row.action,
        "actor": {"kind": row.actor.kind, "name": row.actor.name},
        "environment": row.environment,
        "target": row.target,
        "revision": row.revision,
        "reason": row.reason,
        "payload": None if row.payload is None else dict(row.payload),
        "payload_digest": row.payload_digest,
        "digest": row.digest,
    }


def ndjson(rows: Iterable[LedgerRow]) -> Iterator[str]:
    """One line of JSON for each row."""
    for row in rows:
        yield json.dumps(to_mapping(row), separators=(",", ":")) + "\n"


def csv_text(rows: Iterable[LedgerRow]) -> Iterator[str]:
    """A head, then a line for each row; times in RFC 3339.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    yield _line(COLUMNS)
    for row in rows:
        at = datetime.fromtimestamp(row.at / 1000, UTC).isoformat(timespec="milliseconds")
        texts = (row.actor.kind, row.actor.name, row.action, row.target, row.environment or "")
        yield _line(
            (
                str(row.seq),
                at.replace("+00:00", "Z"),
                *map(_harmless, texts),
                "" if row.revision is None else str(row.revision),
                _harmless(row.reason),
                row.digest,
            )
        )


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()

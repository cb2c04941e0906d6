"""From figures to the lines of the table: medians, ratios, and whether they are good enough."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Found = Mapping[str, Sequence[Mapping[str, float]]]

HEAD = ("what", "must", "flagloop", "Unleash", "floor", "ratio", "client CPU", "server CPU", "")

NO_STREAM = "has none: SDKs poll"


@dataclass(frozen=True)
class Row:
    """A line: the `figure` of the runs under `source` (else `key`), and what it must be.

    `peer` is a text, or with `{}` in it what is written of the figure under `<source> peer`.
    `by` names the runs that ours are divided by, round by round. `limit` is for that ratio if
    there is `limit_of_ratio`, else for the figure; `more` tells whether more is better.
    """

    key: str
    what: str
    must: str = ""
    figure: str = "p99_ms"
    unit: str = "{:,.0f} ms"
    source: str = ""
    peer: str = NO_STREAM
    by: str = ""
    ratio: str = "{:.1f}x"
    limit: float | None = None
    limit_of_ratio: bool = False
    more: bool = False

    @property
    def runs(self) -> str:
        """Where its figures are."""
        return self.source or self.key


RATE, BY_PEER = "{:,.0f}/s", {"peer": "{}", "more": True, "limit": 10, "limit_of_ratio": True}
HALF = {"limit_of_ratio": True, "more": True, "ratio": "{:.0%}"}

ROWS = (
    Row("not-modified", "304s of a 50 KB snapshot", ">= 10x Unleash", "per_s", RATE,
        by="not-modified peer", **BY_PEER),
    Row("snapshot", "200s of a 50 KB snapshot", ">= 10x Unleash", "per_s", RATE,
        by="snapshot peer", **BY_PEER),
    Row("streams", "a change to 1,000 streams, p99", "<= 100 ms", limit=100),
    Row("streams-304", "the same while 304s saturate the machine", "<= 150 ms", limit=150),
    Row("streams-ingest", "the same while ingest saturates it", "<= 150 ms", limit=150),
    Row("streams-5000", "a change to 5,000 streams, p99", "<= 300 ms", limit=300),
    Row("memory", "memory for a stream (PSS, of 5,000)", "<= 20 KB", "kb_per_stream",
        "{:.1f} KB", source="streams-5000", limit=20),
    Row("idle", "RSS of the idle server", "<= 100 MB", "mb", "{:,.0f} MB",
        peer="{} and PostgreSQL", by="idle peer", ratio="{:.2f}x", limit=100),
    Row("ingest", "durable ingest, 16 connections x 200 events", ">= 35% of bare executemany",
        "per_s", RATE, peer="{} counts, from memory", by="ingest floor", limit=0.35, **HALF),
    Row("ack", "its acknowledgement, p99", "<= 100 ms", source="ingest",
        peer="{}, from memory", limit=100),
    Row("held", "ingest into a log of 10 million events", ">= 80% of the empty one", "per_s",
        RATE, peer="", by="ingest", limit=0.8, **HALF),
    Row("start", "start to first 200, 1,000 flags", "<= 2 s", "seconds", "{:.2f} s",
        peer="{}, 140 flags, once", by="start peer", ratio="{:.2f}x", limit=2),
    Row("start-flags", "the same with --flags, which it merges", "<= 2 s", "seconds", "{:.2f} s",
        peer="", limit=2),
    Row("kill", "a kill until a client has it, median", "", "ms", "{:,.1f} ms", peer="{}",
        by="kill peer", ratio="{:.3f}x"),
)  # fmt: skip


def middle(found: Found, runs: str, figure: str) -> float | None:
    """The median of a figure; None if it was not measured."""
    values = [run[figure] for run in found.get(runs, ()) if figure in run]
    return statistics.median(values) if values else None


def ratio_of(row: Row, found: Found) -> float | None:
    """The median of the ratios of each round, so that what slows a round down slows both."""
    mine, theirs = found.get(row.runs, ()), found.get(row.by, ())
    pairs = list(zip(mine, theirs, strict=False))
    if not pairs:
        return None
    if len(mine) != len(theirs):  # some failed: no telling which belong together
        ours, other = middle(found, row.runs, row.figure), middle(found, row.by, row.figure)
        return ours / other if ours is not None and other else None
    return statistics.median(a[row.figure] / b[row.figure] for a, b in pairs)


def verdict(row: Row, value: float, ratio: float | None) -> str:
    """Pass or MISS; nothing where nothing is demanded, and why it cannot be told."""
    judged = ratio if row.limit_of_ratio else value
    if row.limit is None:
        return ""
    if judged is None:
        return "not known"
    good = judged >= row.limit if row.more else judged <= row.limit
    return "pass" if good else "MISS"


def peer_of(row: Row, found: Found, missing: str) -> str:
    """What stands under Unleash."""
    if "{}" not in row.peer:
        return row.peer
    value = middle(found, f"{row.runs} peer", row.figure)
    return row.peer.format(row.unit.format(value)) if value is not None else missing


def floor_of(row: Row, found: Found) -> str:
    """What stands under floor: the bare one, or our own that a ratio is told of."""
    if not row.by or row.by.endswith(" peer"):
        return ""
    value = middle(found, row.by, row.figure)
    return row.unit.format(value) if value is not None else ""


def line(row: Row, found: Found, missing: str) -> dict[str, str | float | None] | None:
    """One line by the words of `HEAD`; None if the row was not measured."""
    value = middle(found, row.runs, row.figure)
    if value is None:
        return None
    ratio = ratio_of(row, found)
    busy = {side: middle(found, row.runs, f"{side}_cores") for side in ("client", "server")}
    shown = [
        row.what,
        row.must,
        row.unit.format(value),
        peer_of(row, found, missing),
        floor_of(row, found),
        row.ratio.format(ratio) if ratio is not None else "",
        *(f"{cores:.2f}" if cores is not None else "" for cores in busy.values()),
        verdict(row, value, ratio),
    ]
    return dict(zip(HEAD, shown, strict=True))


def lines(found: Found, only: frozenset[str], missing: str) -> Iterator[tuple[str, dict]]:
    """The lines of the rows that were asked for, by key."""
    for row in ROWS:
        shown = line(row, found, missing) if not only or row.key in only else None
        if shown is not None:
            yield row.key, shown


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """The table."""
    body = [HEAD, ["---"] * len(HEAD), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in body)

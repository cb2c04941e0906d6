"""One suite for what takes events: the memory sink of tests shows what a server will store."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from flagloop import Client
from flagloop.document.percent import parse_percent
from flagloop.testing import MemorySink

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "holdouts": {"year": {"share": "30%", "unit": "org"}},
    "flags": {
        "split": {
            "variants": {"a": 1, "b": 2},
            "default": "a",
            "log": ["country"],
            "rules": [{"name": "x", "split": {"a": "50%", "b": "50%"}}],
        },
        "rolling": {
            "rules": [
                {
                    "name": "canary",
                    "rollout": {"to": "on", "stages": ["2.5%", "100%"], "stage": "2.5%"},
                }
            ]
        },
        "held": {"holdout": "year", "rules": [{"name": "all", "serve": "on"}]},
    },
}


class InMemory:
    """The sink of `flagloop.testing`."""

    def __init__(self, place: Any) -> None:
        self._sink = MemorySink()
        self.client = Client.from_document(DOCUMENT, events=self._sink)

    def counts(self) -> Counter[Any]:
        """Evaluations by flag and variant."""
        found: Counter[Any] = Counter()
        for row in self._sink.counts:
            found[row["flag"], row["variant"]] += row["n"]
        return found

    def exposures(self) -> list[Any]:
        """What each exposure says."""
        return [
            (
                one["flag"],
                one["variant"],
                one["unit_by"],
                one["unit"],
                one.get("rule"),
                parse_percent(one["stage"]) if "stage" in one else None,
                one.get("holdout", {}).get("key"),
                one.get("holdout", {}).get("held"),
                one.get("attributes"),
            )
            for one in self._sink.exposures
        ]

    def events(self) -> list[Any]:
        """What each tracked event says."""
        return [
            (one["event"], one["units"], one.get("value"), one.get("properties"))
            for one in self._sink.events
        ]


class OnServer:
    """A real server."""

    def __init__(self, place: Any) -> None:
        self._place = place
        place.put(DOCUMENT)
        self.client = place.client()

    def counts(self) -> Counter[Any]:
        """Evaluations by flag and variant."""
        usage = self._place.usage()
        return Counter(
            {
                (flag, variant): n
                for flag, one in usage.items()
                for variant, n in one.by_variant.items()
            }
        )

    def exposures(self) -> list[Any]:
        """What each exposure says."""
        return [
            (
                row.name,
                row.variant,
                row.unit_by,
                row.unit,
                row.rule,
                row.stage,
                row.holdout,
                None if row.held is None else bool(row.held),
                row.data,
            )
            for row in self._place.events()
            if row.kind == 0
        ]

    def events(self) -> list[Any]:
        """What each tracked event says."""
        return [
            (row.name, row.units, row.value, row.data)
            for row in self._place.events()
            if row.kind == 1
        ]


@pytest.mark.parametrize("sink", [InMemory, OnServer])
def test_what_was_sent_can_be_read(sink: Any, place: Any) -> None:
    """Counts, exposures with all their details, and events, in the order of the calls."""
    there = sink(place)
    client, exposures, counts = there.client, [], Counter()
    for n in range(60):
        user = {"key": f"ü-{n}", "org": n % 7, "country": ["DE", "日本", None][n % 3], "plan": "x"}
        for flag in ("split", "rolling", "held", "none"):
            decision = client.decide(flag, user)
            counts[flag, decision.variant] += 1
        exposures += expected(client, user)
    client.track("done", {"key": "ü-1", "org": 3}, 2.5, where=["here", None], n=1)
    client.track("seen", "u-2")
    assert client.flush(60)
    assert there.counts() == counts
    assert there.exposures() == exposures
    assert there.events() == [
        ("done", {"key": "ü-1", "org": "3"}, 2.5, {"where": ["here", None], "n": 1}),
        ("seen", {"key": "u-2"}, None, None),
    ]
    client.close()


def expected(client: Client, user: dict[str, Any]) -> list[Any]:
    """The exposures of one user's first evaluations; an organisation is exposed once."""
    # `explain` is not counted.
    split, rolling, held = (
        client.explain(flag, user).decision for flag in ("split", "rolling", "held")
    )
    kept = {} if user["country"] is None else {"country": user["country"]}
    found: list[Any] = [
        ("split", split.variant, "key", user["key"], "x", None, None, None, kept),
        ("rolling", rolling.variant, "key", user["key"], "canary", 2_500_000, None, None, None),
    ]
    if int(user["key"][2:]) < 7:
        rule, is_held = (None, True) if held.holdout else ("all", False)
        org = str(user["org"])
        found.append(("held", held.variant, "org", org, rule, None, "year", is_held, None))
    return found

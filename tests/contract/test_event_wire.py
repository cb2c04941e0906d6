"""The two ends of the event wire: what the SDK writes, the server reads whole."""

from __future__ import annotations

from typing import Any

import flagloop
from flagloop_server.store.events.batch import decode_batch

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "recording": {"attributes": ["plan"]},
    "holdouts": {"growth": {"share": "20%"}},
    "experiments": {"colours": {"control": "blue"}},
    "flags": {
        "color": {
            "variants": {"blue": "b", "green": "g"},
            "default": "blue",
            "holdout": "growth",
            "log": ["country"],
            "rules": [
                {
                    "name": "test",
                    "experiment": "colours",
                    "split": {"blue": "50%", "green": "50%"},
                }
            ],
        },
        "ranker": {
            "variants": {"old": 1, "new": 2},
            "default": "old",
            "unit": "org",
            "rules": [
                {
                    "name": "canary",
                    "rollout": {"to": "new", "stages": ["2.5%", "100%"], "stage": "2.5%"},
                }
            ],
        },
    },
}
USERS = 50


def test_the_server_understands_every_word_of_the_sdk() -> None:
    """Exposures, events, counts, losses and contexts arrive: none refused, none malformed."""
    bodies: list[bytes] = []
    client = flagloop.Client.from_document(DOCUMENT, events=bodies.append)
    for i in range(USERS):
        user = {"key": f'ü"{i}\n', "org": i, "plan": "pro", "country": "NZ"}
        client.variant("color", user)
        client.variant("ranker", user)
        client.variant("unknown", user)
        client.variant("color", {"plan": "no key"})
        client.track("purchase", user, 9.5, basket=["a", "b"], note="ü\u2028")
    client.track("purchase", "u", "no number")  # type: ignore[arg-type]
    assert client.close(60)

    batches = [decode_batch(body) for body in bodies]
    rows = [row for batch in batches for row in batch.rows]
    assert [batch.rejected for batch in batches] == [()] * len(batches)
    assert [batch.malformed for batch in batches] == [0] * len(batches)
    assert len(rows) == 3 * USERS
    assert sum(count.n for batch in batches for count in batch.counts) == 4 * USERS
    assert [(one.reason, one.n) for batch in batches for one in batch.lost] == [("invalid", 1)]
    assert sum(len(batch.contexts) for batch in batches) >= 1
    ranker = next(row for row in rows if row.name == "ranker")
    assert (ranker.unit, ranker.unit_by, ranker.stage) == ("0", "org", 2_500_000)
    color = [row for row in rows if row.name == "color"]
    assert {row.holdout for row in color} == {"growth"}
    assert {row.held for row in color} == {True, False}
    assert {row.experiment for row in color if not row.held} == {"colours"}
    assert {row.data for row in color} == {'{"country":"NZ"}'}
    assert color[0].unit == 'ü"0\n'
    purchase = next(row for row in rows if row.name == "purchase")
    assert purchase.units == {"key": 'ü"0\n', "org": "0"}
    assert purchase.value == 9.5

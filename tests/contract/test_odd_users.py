"""Users as applications really have them: what they are served, and what the server takes."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.evaluation.bucketing import unit_of

DOCUMENT = {
    "recording": {"attributes": ["country"]},
    "holdouts": {"everybody": {"share": "100%"}, "nobody": {"share": "0%"}},
    "flags": {
        "whole": {"log": ["country"], "rules": [{"name": "r", "share": "100%", "serve": "on"}]},
        "held": {"holdout": "everybody", "rules": [{"name": "r", "serve": "on"}]},
        "free": {"holdout": "nobody", "rules": [{"name": "r", "serve": "on"}]},
        "half": {"rules": [{"name": "r", "share": "50%", "serve": "on"}]},
        "by_org": {"unit": "org", "rules": [{"name": "r", "share": "100%", "serve": "on"}]},
    },
}

LONE = "x\ud800"
USERS: dict[str, Any] = {
    "none": {},
    "null": {"key": None},
    "empty": {"key": ""},
    "list": {"key": ["u-1"]},
    "mapping": {"key": {"id": 1}},
    "boolean": {"key": True},
    "float": {"key": 1.5},
    "lone surrogate": {"key": LONE, "country": LONE, "org": LONE},
    "bytes": {"key": b"u-1"},
    "number": {"key": 7, "org": -3},
    "large number": {"key": 2**90},
    "no ASCII": {"key": "ü-😀", "country": "日本"},
    "NUL": {"key": "u\0-1", "country": "\0"},
    "markup": {"key": "<b>&'\"\\", "country": "\u2028"},
    "plain": {"key": "u-1", "country": "DE", "org": "o-1"},
    "bare text": "u-2",
    "bare number": 3,
    "nothing": None,
}


@pytest.mark.parametrize("verb", ["decide", "variant"])
def test_a_user_is_served_the_same_with_and_without_exposures(place: Any, verb: str) -> None:
    """What cannot be recorded changes nobody's variant, and no verb has an error to note."""
    place.put(DOCUMENT)
    client, silent = place.client(), place.client(exposures=False)
    for name, user in USERS.items():
        for flag in DOCUMENT["flags"]:
            expected = silent.peek(flag, user)
            assert expected.error is None, (name, flag)
            found = getattr(client, verb)(flag, user)
            assert getattr(found, "variant", found) == expected.variant, (name, flag)
    assert client.status()["failures"] == {}


def test_one_odd_user_spoils_no_batch(place: Any) -> None:
    """The server takes every batch whole; exposures are there for the users who have the unit."""
    place.put(DOCUMENT)
    client = place.client()
    rejected = place.metric('flagloop_events_total{outcome="rejected"}')
    for user in USERS.values():
        for flag in DOCUMENT["flags"]:
            client.decide(flag, user)
    for flag in ("no such flag", LONE, "", "f" * 5000):
        client.decide(flag, "u-1")
    client.track("sign_up", USERS["lone surrogate"])
    client.track(LONE, "u-1", note=LONE, nested=[{LONE: LONE}])
    client.track("sign_up", "ü-😀", 1.5, note="日本")
    assert client.flush(60)
    sent = client.status()["delivery"]
    assert (sent["last_error"], sent["queued"]) == (None, 0)
    assert sent["lost"] == {"invalid": 1}
    stored = place.events()
    assert len(stored) == sent["sent"]
    contexts = [user if isinstance(user, dict) else {"key": user} for user in USERS.values()]
    for flag, by in (("whole", "key"), ("held", "key"), ("free", "key"), ("by_org", "org")):
        units = {unit_of(context.get(by)) for context in contexts} - {None}
        assert {row.unit for row in stored if row.name == flag} == units
    assert place.metric('flagloop_events_total{outcome="rejected"}') == rejected
    usage = place.usage()
    assert usage["whole"].today == len(USERS)
    assert sum(one.by_reason.get("FLAG_NOT_FOUND", 0) for one in usage.values()) == 4

"""Segments, layers and their like by REST, in words; what promoting needs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.store import SYSTEM, now_ms
from flagloop_server.store.events import decode_batch

PRODUCTION = "/environments/production"
DEVELOPMENT = "/environments/development"
FLAGS = """\
version: 1
segments:
  staff: {when: {plan: staff}}
  unused: {when: {plan: none}}
layers:
  landing: {}
experiments:
  colour: {layer: {name: landing, range: [0%, 50%]}}
  later: {status: draft, layer: {name: landing, range: [50%, 60%]}}
flags:
  button:
    rules:
      - {name: staff, when: {segment: staff}, serve: on}
      - {name: half, experiment: colour, split: {on: 50%, off: 50%}}
  banner:
    rules:
      - {name: half, experiment: later, split: {on: 50%, off: 50%}}
"""


@pytest.fixture
def shop(caller: Any) -> Any:
    """An admin of everything; production has `FLAGS`."""
    admin = caller()
    admin.app.changes.apply(change.push("production", FLAGS), SYSTEM, "first")
    return admin


def test_items_of_a_section_say_what_they_mean_and_who_uses_them(shop: Any) -> None:
    """With the revision that changed each last; words of `q` choose."""
    status, told = shop("GET", f"{PRODUCTION}/sections/segments")
    assert (status, told["summary"]) == (200, "used by 1 flag; 1 is unused")
    staff, unused = told["items"]
    assert (staff["sentence"], staff["revision"]) == ("those where plan is staff", 2)
    assert staff["uses"][0]["key"] == "button"
    assert (unused["key"], unused["uses"]) == ("unused", [])
    _, found = shop("GET", f"{PRODUCTION}/sections/segments", query="q=button")
    assert [one["key"] for one in found["items"]] == ["staff"]
    status, answer = shop("GET", f"{PRODUCTION}/sections/flags")
    assert (status, "segments, metrics" in answer["error"]["message"]) == (404, True)


def test_a_metric_tells_whether_its_events_come(shop: Any) -> None:
    """By hour and when the last one came; other items have no such word."""
    metric = {"text": "sign_up: {event: joined, better: higher}\n"}
    shop("PUT", f"{PRODUCTION}/items/metrics/sign_up", metric)
    path = f"{PRODUCTION}/sections/metrics"
    (before,) = shop("GET", path)[1]["items"]
    assert before["came"] == {"event": "joined", "hours": [0] * 24, "last_at": None}
    sent = {"events": [{"type": "event", "event": "joined", "unit": "u-1"}]}
    batch = decode_batch(json.dumps(sent).encode())
    place = shop.app.store.environment("production").id
    shop.app.events.submit(place, 1, now_ms(), batch).result(10)
    (after,) = shop("GET", path)[1]["items"]
    assert (sum(after["came"]["hours"]), after["came"]["last_at"] is not None) == (1, True)
    assert "came" not in shop("GET", f"{PRODUCTION}/sections/layers")[1]["items"][0]


def test_a_layer_tells_who_holds_which_range(shop: Any) -> None:
    """A draft holds its range but takes nobody, so that it is free."""
    status, told = shop("GET", f"{PRODUCTION}/layers/landing")
    assert (status, told["unused"]) == (200, "50%")
    assert [(one["experiment"], one["from"], one["to"]) for one in told["holders"]] == [
        ("colour", "0%", "50%"),
        ("later", "50%", "60%"),
    ]
    assert told["free"] == [{"from": "50%", "to": "100%"}]
    assert shop("GET", f"{PRODUCTION}/layers/nothing")[0] == 404


def test_what_promoting_needs_can_come_along(shop: Any, caller: Any) -> None:
    """The missing items, what is named first, are the first steps of the change."""
    query = "from=production&section=flags&key=button"
    _, told = shop("GET", f"{DEVELOPMENT}/reports/promotion", query=query)
    assert {one["key"] for one in told["missing"]} == {"landing", "colour", "staff"}
    assert told["differing"] == []
    refs = [*told["missing"], {"section": "flags", "key": "button"}]
    steps = [{"do": "promote", "from": "production", **ref} for ref in refs]
    status, made = shop("POST", f"{DEVELOPMENT}/changes", {"steps": steps})
    assert (status, made["changed"]) == (200, True)
    _, told = shop("GET", f"{DEVELOPMENT}/reports/promotion", query=query)
    assert told["missing"] == []
    own = caller("development", "admin")
    assert own("GET", f"{DEVELOPMENT}/reports/promotion", query=query)[0] == 403

"""Flags by REST: the list with its filters, one flag, and the archive."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.store import SYSTEM, now_ms
from flagloop_server.store.events import decode_batch

PRODUCTION = "/environments/production"
FLAGS = """\
version: 1
flags:
  banner:
    description: The big one
    owner: web@example.com
    tags: [landing]
    expires: 2020-01-01
    rules:
      - {name: canary, share: 5%, serve: on}
  button:
    variants: {control: blue, treatment: green}
    default: control
    requires: {banner: on}
    rules:
      - {name: pro, when: {plan: pro}, serve: treatment}
  third: {killed: true}
"""


@pytest.fixture
def shop(caller: Any) -> Any:
    """An admin of everything; production has `FLAGS`, and `button` was evaluated 40 times."""
    admin = caller()
    app = admin.app
    app.changes.apply(change.push("production", FLAGS), SYSTEM, "first")
    counts = [
        {"flag": "button", "variant": "control", "reason": "DEFAULT", "n": 30},
        {
            "flag": "button",
            "variant": "treatment",
            "rule": "pro",
            "reason": "TARGETING_MATCH",
            "n": 10,
        },
    ]
    batch = decode_batch(json.dumps({"events": [], "counts": counts}).encode())
    place = app.store.environment("production")
    app.events.submit(place.id, 1, now_ms(), batch).result(30)
    return admin


def test_the_list_says_state_sentence_usage_and_staleness(shop: Any) -> None:
    """What the page of flags shows, in the document's order, as of a time."""
    status, answer = shop("GET", f"{PRODUCTION}/flags")
    assert (status, answer["total"], answer["found"]) == (200, 3, 3)
    banner, button, third = answer["flags"]
    assert [one["state"] for one in answer["flags"]] == ["live", "live", "killed"]
    assert banner["sentence"] == "5% of everyone gets on; all others get off"
    (stale,) = banner["stale"]
    assert (stale["kind"], stale["reason"]) == ("expired", "expired on 2020-01-01")
    assert "expires: 2020-01-01" in stale["proof"]
    assert (button["evaluations"], len(button["hours"])) == (40, 24)
    assert 40 in button["hours"][-2:]  # an hour may end between
    assert button["last_seen_at"] <= answer["at"]
    assert (third["last_seen_at"], third["revision"]) == (None, 2)


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("q=big", ["banner"]),
        ("state=killed", ["third"]),
        ("state=stale", ["banner"]),
        ("stale=yes", ["banner"]),
        ("stale=settled", []),
        ("stale=no&type=boolean", ["third"]),
        ("type=string", ["button"]),
        ("sort=state", ["third", "banner", "button"]),
        ("sort=seen&start=0&limit=1", ["button"]),
        ("owner=web%40example.com", ["banner"]),
        ("tag=landing", ["banner"]),
        ("start=1&limit=1", ["button"]),
        ("start=9", []),
        ("q=nothing", []),
    ],
)
def test_the_list_is_filtered_and_paged(shop: Any, query: str, keys: list[str]) -> None:
    """The same filters as the page's address."""
    status, answer = shop("GET", f"{PRODUCTION}/flags", query=query)
    assert (status, [one["key"] for one in answer["flags"]]) == (200, keys)


@pytest.mark.parametrize("query", ["state=odd", "limit=x", "start=-1", "limit=1e30"])
def test_a_wrong_filter_is_refused(shop: Any, query: str) -> None:
    """400 names the parameter."""
    status, answer = shop("GET", f"{PRODUCTION}/flags", query=query)
    assert (status, query.partition("=")[0] in answer["error"]["message"]) == (400, True)


def test_one_flag_says_which_rule_took_what(shop: Any) -> None:
    """Rules with their part of the evaluations, variants with values, and who hangs on it."""
    _, button = shop("GET", f"{PRODUCTION}/flags/button")
    (rule,) = button["rules"]
    assert (rule["name"], rule["took"], rule["part"]) == ("pro", 10, 0.25)
    assert rule["who"] == "those where plan is pro"
    parts = {one["name"]: (one["value"], one["part"]) for one in button["by_variant"]}
    assert parts == {"control": ("blue", 0.75), "treatment": ("green", 0.25)}
    assert button["mapping"]["requires"] == {"banner": "on"}
    assert shop("GET", f"{PRODUCTION}/flags/banner")[1]["dependents"] == ["button"]
    shop("PUT", f"{PRODUCTION}/items/flags/tip", {"text": "tip: {requires: {button: control}}\n"})
    assert shop("GET", f"{PRODUCTION}/flags/banner")[1]["further"] == ["tip"]
    status, answer = shop("GET", f"{PRODUCTION}/flags/buton")
    assert (status, "button" in answer["error"]["message"]) == (404, True)


def test_flags_are_archived_together_and_come_back(shop: Any) -> None:
    """As one revision; a flag that another one requires goes only with it."""
    status, answer = shop("POST", f"{PRODUCTION}/archive", {"flags": ["banner"], "reason": "r"})
    assert (status, answer["error"]["code"]) == (422, "invalid_document")
    body = {"flags": ["banner", "button"], "reason": "not used"}
    assert shop("POST", f"{PRODUCTION}/archive", body)[1]["revision"] == 3
    _, archive = shop("GET", f"{PRODUCTION}/archive")
    assert [(one["key"], one["reason"]) for one in archive["flags"]] == [
        ("banner", "not used"),
        ("button", "not used"),
    ]
    assert archive["flags"][0]["text"].startswith("banner:\n")
    assert shop("POST", f"{PRODUCTION}/flags/banner/unarchive", {"reason": "r"})[0] == 200
    assert shop("GET", f"{PRODUCTION}/flags/banner")[1]["description"] == "The big one"
    assert shop("POST", f"{PRODUCTION}/flags/third/archive", {"reason": "r"})[0] == 200
    assert shop("POST", f"{PRODUCTION}/archive", {"flags": []})[0] == 400

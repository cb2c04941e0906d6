"""Questions by REST: environments compared, decisions and explanations at any time."""

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
    rules:
      - {name: pro, when: {plan: pro}, serve: on}
  checkout:
    rules:
      - {name: climb, rollout: {to: on, stages: [1%, 100%], stage: 1%}}
"""


@pytest.fixture
def shop(caller: Any) -> Any:
    """An admin of everything; production and development have nearly the same flags."""
    admin = caller()
    app = admin.app
    app.changes.apply(change.push("production", FLAGS), SYSTEM, "first")
    other = FLAGS.replace("plan: pro", "plan: team").replace("stage: 1%", "stage: 100%")
    app.changes.apply(change.push("development", other + "  extra: {}\n"), SYSTEM, "first")
    return admin


def test_two_environments_are_compared(shop: Any) -> None:
    """What differs and what is only there; the same items only when asked for."""
    status, answer = shop("GET", f"{PRODUCTION}/reports/compare", query="with=development")
    assert (status, answer["other"], answer["other_revision"]) == (200, "development", 2)
    assert answer["counts"] == {"differs": 1, "only here": 0, "only there": 1, "same": 1}
    states = {one["key"]: (one["state"], one["runtime"]) for one in answer["items"]}
    assert states == {
        "banner": ("differs", []),
        "checkout": (
            "same",
            [{"path": "rules.climb.rollout.stage", "here": "1%", "there": "100%"}],
        ),
        "extra": ("only there", []),
    }
    _, item = shop("GET", f"{PRODUCTION}/reports/compare/flags/banner", query="with=development")
    assert ("plan: pro" in item["here"], "plan: team" in item["there"]) == (True, True)
    for path in ("compare", "compare/flags/nothing"):
        status, _ = shop("GET", f"{PRODUCTION}/reports/{path}", query="with=nowhere")
        assert status == 404
    assert shop("GET", f"{PRODUCTION}/reports/compare")[0] == 400


def test_a_context_is_decided_now_and_at_a_revision(shop: Any) -> None:
    """Every flag, or those that are named; a past revision has its own rules."""
    context = {"key": "u-1", "plan": "pro"}
    shop("POST", f"{PRODUCTION}/flags/banner/kill", {"reason": "broken"})
    _, now = shop("POST", f"{PRODUCTION}/reports/decide", {"context": context})
    assert (now["revision"], now["current"]) == (3, True)
    assert (now["decisions"][0]["flag"], now["decisions"][0]["variant"]) == ("banner", "off")
    body = {"context": context, "revision": 2, "flags": ["banner"]}
    _, then = shop("POST", f"{PRODUCTION}/reports/decide", body)
    (decision,) = then["decisions"]
    assert (then["current"], decision["variant"], decision["rule"]) == (False, "on", "pro")
    at = shop.app.store.revision("production", 3).at
    _, timed = shop("POST", f"{PRODUCTION}/reports/decide", {**body, "revision": None, "at": at})
    assert (timed["revision"], timed["at"]) == (3, at)


def test_recorded_contexts_are_for_editors(shop: Any, caller: Any) -> None:
    """The newest first; a viewer gets none, as on the pages."""
    events = shop.app.events
    for n in range(3):
        batch = {"events": [], "contexts": [{"key": f"u-{n}", "plan": "pro"}]}
        events.submit(2, 2, now_ms(), decode_batch(json.dumps(batch).encode())).result(10)
    _, told = shop("GET", f"{PRODUCTION}/reports/contexts", query="limit=2")
    assert [one["context"]["key"] for one in told["contexts"]] == ["u-2", "u-1"]
    assert told["contexts"][0]["at"] > 0
    assert caller("production", "viewer")("GET", f"{PRODUCTION}/reports/contexts")[0] == 403


def test_a_decision_is_explained_rule_by_rule(shop: Any) -> None:
    """Why each rule did or did not serve, with the place of the unit."""
    body = {"flag": "checkout", "context": {"key": "u-1"}}
    _, told = shop("POST", f"{PRODUCTION}/reports/explain", body)
    (step,) = told["steps"]
    assert (step["name"], step["outcome"]) == ("climb", "served")
    (place,) = step["positions"]
    assert place["low"] <= place["at"] < place["high"]
    assert "rollout" in place["text"]
    body = {"flag": "banner", "context": {"key": "u-1", "plan": "free"}}
    _, told = shop("POST", f"{PRODUCTION}/reports/explain", body)
    assert told["decision"]["reason"] == "DEFAULT"
    assert 'plan eq "pro", but it is "free"' in told["steps"][0]["why"]
    status, answer = shop("POST", f"{PRODUCTION}/reports/explain", {**body, "flag": "baner"})
    assert (status, "banner" in answer["error"]["message"]) == (404, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"context": {"key": 10**30}}, 200),
        ({"context": {"key": None, "plan": ["pro", {"deep": [1]}]}}, 200),
        ({"context": {}}, 200),
        ({"context": {"key": "u", "attributes": {"plan": "pro"}}}, 200),
        ({"context": "u-1"}, 400),
        ({"context": {"key": "u"}, "at": -1}, 400),
        ({"context": {"key": "u"}, "at": 0}, 404),
        ({"context": {"key": "u"}, "revision": 99}, 404),
        ({"context": {"key": "u"}, "flags": ["nothing"]}, 200),
        ({}, 400),
    ],
)
def test_odd_questions_get_an_answer(shop: Any, body: dict[str, Any], status: int) -> None:
    """Any JSON object is a context; what is no question is refused."""
    assert shop("POST", f"{PRODUCTION}/reports/decide", body)[0] == status


def test_differences_of_two_revisions(shop: Any) -> None:
    """All items, or one; the later is the present when left out."""
    shop("POST", f"{PRODUCTION}/flags/banner/kill", {"reason": "broken"})
    shop("POST", f"{PRODUCTION}/flags/checkout/rules/climb/pause", {"reason": "wait"})
    _, told = shop("GET", f"{PRODUCTION}/reports/diff", query="from=2")
    assert (told["from"], told["to"], [one["key"] for one in told["items"]]) == (
        2,
        4,
        ["banner", "checkout"],
    )
    query = "from=2&to=3&section=flags&key=checkout"
    assert shop("GET", f"{PRODUCTION}/reports/diff", query=query)[1]["items"] == []
    assert shop("GET", f"{PRODUCTION}/reports/diff")[0] == 400


@pytest.mark.parametrize(
    ("query", "revisions"),
    [
        ("", [3, 2, 1]),
        ("flag=checkout", [3, 2]),
        ("section=flags&key=banner", [2]),
        ("section=flags&key=", [3, 2, 1]),
        ("flag=&key=banner", [2]),
        ("before=3&limit=1", [2]),
    ],
)
def test_the_history_is_of_all_or_of_one_item(shop: Any, query: str, revisions: list[int]) -> None:
    """A flag, an item, whatever has a key; an empty word asks for nothing."""
    shop("POST", f"{PRODUCTION}/flags/checkout/rules/climb/pause", {"reason": "wait"})
    _, told = shop("GET", f"{PRODUCTION}/revisions", query=query)
    assert [row["revision"] for row in told["revisions"]] == revisions

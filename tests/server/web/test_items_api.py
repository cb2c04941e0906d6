"""Items by REST: read, write, several steps as one revision, and what they would do."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.store import SYSTEM

PRODUCTION = "/environments/production"
FLAGS = """\
version: 1

recording: {attributes: [country]}

segments:
  staff:
    when: {plan: staff}

experiments:
  colour: {owner: growth@example.com}

flags:
  # the button
  button:
    variants: {control: blue, treatment: green}
    default: control
    rules:
      - {name: staff, when: {segment: staff}, serve: treatment}
      - {name: half, experiment: colour, split: {control: 50%, treatment: 50%}}

  banner:
    rules:
      - {name: canary, share: 5%, serve: on}

  leaf:
    requires: {banner: on}
"""


@pytest.fixture
def shop(caller: Any) -> Any:
    """An admin of everything; production has `FLAGS` as revision 2."""
    admin = caller()
    admin.app.changes.apply(change.push("production", FLAGS), SYSTEM, "first")
    return admin


def put(key: str, text: str | None, section: str = "flags") -> dict[str, Any]:
    """A step that writes an item."""
    return {"do": "put", "section": section, "key": key, "text": text}


def text_of(shop: Any) -> str:
    """The document now."""
    return str(shop("GET", f"{PRODUCTION}/document")[1]["text"])


def test_an_item_has_text_mapping_revision_and_who_names_it(shop: Any) -> None:
    """The text stands at the first column with its comment; old revisions stay readable."""
    _, banner = shop("GET", f"{PRODUCTION}/items/flags/banner")
    assert banner["text"] == "banner:\n  rules:\n    - {name: canary, share: 5%, serve: on}\n"
    assert banner["mapping"]["rules"][0]["share"] == "5%"
    assert (banner["revision"], banner["named_by"]) == (2, [{"section": "flags", "key": "leaf"}])
    shop("POST", f"{PRODUCTION}/flags/banner/rules/canary/share", {"share": "7%"})
    _, now = shop("GET", f"{PRODUCTION}/items/flags/banner")
    _, then = shop("GET", f"{PRODUCTION}/items/flags/banner", query="revision=2")
    assert (now["revision"], "7%" in now["text"]) == (3, True)
    assert {**then, "named_by": []} == {**banner, "named_by": []}
    status, answer = shop("GET", f"{PRODUCTION}/items/flags/baner")
    assert (status, "banner" in answer["error"]["message"]) == (404, True)


def test_all_items_are_listed_with_their_revisions(shop: Any) -> None:
    """In the document's order; the revision is what `expected` compares."""
    shop("POST", f"{PRODUCTION}/flags/leaf/kill", {"reason": "r"})
    _, answer = shop("GET", f"{PRODUCTION}/items")
    assert [(one["section"], one["key"], one["revision"]) for one in answer["items"]] == [
        ("segments", "staff", 2),
        ("experiments", "colour", 2),
        ("flags", "button", 2),
        ("flags", "banner", 2),
        ("flags", "leaf", 3),
    ]


def test_a_change_of_somebody_else_is_never_overwritten(shop: Any) -> None:
    """409 at another revision than the one that was read, for one item and for steps."""
    text = "banner:\n  description: Mine\n"
    shop("POST", f"{PRODUCTION}/flags/banner/rules/canary/share", {"share": "7%"})
    before = text_of(shop)
    status, _ = shop("PUT", f"{PRODUCTION}/items/flags/banner", {"text": text, "expected": 2})
    assert status == 409
    gone = shop("DELETE", f"{PRODUCTION}/items/flags/banner", {"reason": "old", "expected": 2})
    assert gone[0] == 409
    expected = [{"section": "flags", "key": "banner", "revision": 2}]
    steps = {"steps": [put("banner", text), put("new", "new: {}\n")], "expected": expected}
    assert shop("POST", f"{PRODUCTION}/changes", steps)[0] == 409
    assert text_of(shop) == before
    expected[0]["revision"] = 3
    status, answer = shop("POST", f"{PRODUCTION}/changes", steps)
    assert (status, answer["revision"]) == (200, 4)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/flags/banner/rules/canary/share", {"share": "50%"}),
        ("POST", "/flags/leaf/archive", {}),
        ("POST", "/items/flags/banner/revert", {"revision": 2}),
    ],
)
def test_whatever_changes_an_item_takes_what_was_read(
    shop: Any, method: str, path: str, body: dict[str, Any]
) -> None:
    """409 names the item at another revision, nothing is changed; the right one lets it pass."""
    shop("POST", f"{PRODUCTION}/flags/banner/rules/canary/share", {"share": "7%"})
    shop("PUT", f"{PRODUCTION}/items/flags/leaf", {"text": "leaf: {}\n"})
    _, items = shop("GET", f"{PRODUCTION}/items")
    now = {one["key"]: one["revision"] for one in items["items"]}
    key = "leaf" if "leaf" in path else "banner"
    before = text_of(shop)
    status, answer = shop(method, f"{PRODUCTION}{path}", {**body, "expected": 2})
    assert (status, f"flags.{key}" in answer["error"]["message"]) == (409, True)
    assert text_of(shop) == before
    status, answer = shop(method, f"{PRODUCTION}{path}", {**body, "expected": now[key]})
    assert (status, answer["changed"]) == (200, True)


def test_flags_are_archived_only_as_they_were_read(shop: Any) -> None:
    """One that somebody changed since keeps all of them."""
    shop("PUT", f"{PRODUCTION}/items/flags/leaf", {"text": "leaf: {}\n"})
    expected = [{"section": "flags", "key": key, "revision": 2} for key in ("banner", "leaf")]
    body = {"flags": ["banner", "leaf"], "expected": expected, "reason": "old"}
    status, answer = shop("POST", f"{PRODUCTION}/archive", body)
    assert (status, "flags.leaf" in answer["error"]["message"]) == (409, True)
    assert "banner:" in text_of(shop)
    expected[1]["revision"] = 3
    assert shop("POST", f"{PRODUCTION}/archive", body)[0] == 200


def test_a_document_goes_back_only_from_what_was_seen(shop: Any) -> None:
    """What somebody changed or added since is not swept away with it."""
    shop("POST", f"{PRODUCTION}/flags/banner/rules/canary/share", {"share": "7%"})
    shop("PUT", f"{PRODUCTION}/items/flags/later", {"text": "later: {}\n"})
    path = f"{PRODUCTION}/revisions/2/revert"
    for seen, names in ((2, "flags.banner, flags.later"), (3, "flags.later")):
        status, answer = shop("POST", path, {"expected": seen})
        assert (status, answer["error"]["message"].partition(": ")[2]) == (409, names)
    assert shop("POST", path, {"expected": 9})[0] == 404
    status, answer = shop("POST", path, {"expected": 4})
    assert (status, answer["changed"], text_of(shop)) == (200, True, FLAGS)


def test_several_steps_are_one_revision_or_nothing(shop: Any) -> None:
    """Steps of different kinds are judged together; one that cannot be made stops all."""
    steps = [
        put("staff", "staff:\n  when: {plan: [staff, admin]}\n", "segments"),
        {"do": "share", "flag": "banner", "rule": "canary", "share": "25%"},
        {"do": "archive", "flags": ["leaf"]},
        {"do": "kill", "flag": "button"},
    ]
    body = {"steps": steps, "reason": "launch", "force": True}
    status, answer = shop("POST", f"{PRODUCTION}/changes", body)
    assert (status, answer["revision"], answer["changed"]) == (200, 3, True)
    _, row = shop("GET", f"{PRODUCTION}/revisions/3")
    assert {one["key"] for one in row["changed"]} == {"staff", "banner", "leaf", "button"}
    assert (row["reason"], row["undoable"]) == ("launch", True)
    before = text_of(shop)
    body = {"steps": [*steps[:1], {"do": "archive", "flags": ["nothing"]}], "reason": "r"}
    assert shop("POST", f"{PRODUCTION}/changes", body)[0] == 404
    assert text_of(shop) == before
    assert shop("POST", f"{PRODUCTION}/changes", {"steps": []})[0] == 400
    _, undone = shop("POST", f"{PRODUCTION}/revisions/3/undo", {"force": True, "reason": "late"})
    assert undone["revision"] == 4
    _, then = shop("GET", f"{PRODUCTION}/reports/diff", query="from=2&to=4")
    assert then["items"] == []


def test_problems_have_lines_of_the_text_that_was_sent(shop: Any) -> None:
    """422 for a change; a preview and the validator list the same without refusing."""
    bad = "banner:\n  description: x\n  defalt: on\n"
    status, answer = shop("PUT", f"{PRODUCTION}/items/flags/banner", {"text": bad})
    assert (status, answer["error"]["problems"][0]["line"]) == (422, 3)
    plan = {"steps": [put("new", "new: {}\n"), put("banner", bad)]}
    for report in ("preview", "validate"):
        status, told = shop("POST", f"{PRODUCTION}/reports/{report}", plan)
        assert status == 200
        (problem,) = told["problems"]
        assert (problem["line"], problem["path"]) == (3, "flags.banner.defalt")
    assert told["valid"] is False
    fine = shop("POST", f"{PRODUCTION}/reports/validate", {"steps": [put("new", "new: {}\n")]})
    assert fine[1] == {"valid": True, "problems": [], "warnings": []}


def test_a_preview_tells_texts_traffic_and_what_stands_against_it(shop: Any) -> None:
    """Nothing is changed; what it expects can be sent along with the change."""
    before = text_of(shop)
    step = {"do": "share", "flag": "banner", "rule": "canary", "share": "50%"}
    status, told = shop("POST", f"{PRODUCTION}/reports/preview", {"steps": [step]})
    assert status == 200
    (item,) = told["items"]
    assert ("5%" in item["before"], "50%" in item["after"]) == (True, True)
    assert "no contexts are recorded" in told["effect"]["sentence"]
    assert (told["dependents"], told["disturbed"]) == (["leaf"], [])
    assert told["expected"] == [{"section": "flags", "key": "banner", "revision": 2}]
    staff = put("staff", "staff:\n  when: {plan: team}\n", "segments")
    of_segment = shop("POST", f"{PRODUCTION}/reports/preview", {"steps": [staff]})[1]
    assert of_segment["dependents"] == ["button"]
    assert text_of(shop) == before
    body = {"steps": [step], "expected": told["expected"]}
    assert shop("POST", f"{PRODUCTION}/changes", body)[1]["revision"] == 3


def test_an_edit_is_merged_with_what_others_saved(shop: Any) -> None:
    """Fields that both changed clash until somebody chooses; then the text can be saved."""
    mine = "banner:\n  rules:\n    - {name: canary, share: 9%, serve: on}\n"
    body: dict[str, Any] = {"section": "flags", "key": "banner", "text": mine, "opened": 2}
    _, told = shop("POST", f"{PRODUCTION}/reports/merge", body)
    assert (told["text"], told["revision"], told["revisions"]) == (mine, 2, [])
    shop("POST", f"{PRODUCTION}/flags/banner/rules/canary/share", {"share": "7%"})
    shop("POST", f"{PRODUCTION}/flags/banner/kill", {"reason": "broken"})
    _, told = shop("POST", f"{PRODUCTION}/reports/merge", body)
    assert (told["text"], told["revision"]) == (None, 4)
    (clash,) = told["clashes"]
    assert ("7%" in clash["theirs"], "9%" in clash["mine"]) == (True, True)
    assert [row["revision"] for row in told["revisions"]] == [4, 3]
    body["choices"] = {clash["name"]: "mine"}
    _, told = shop("POST", f"{PRODUCTION}/reports/merge", body)
    put = {"text": told["text"], "expected": told["revision"]}
    assert shop("PUT", f"{PRODUCTION}/items/flags/banner", put)[0] == 200
    _, now = shop("GET", f"{PRODUCTION}/items/flags/banner")
    assert ("share: 9%" in now["text"], "killed:" in now["text"]) == (True, True)


def test_a_running_experiment_is_disturbed_only_by_force_and_with_a_reason(shop: Any) -> None:
    """409 names it, 400 asks for the reason; a preview tells before."""
    step = put("staff", "staff:\n  when: {plan: admin}\n", "segments")
    _, told = shop("POST", f"{PRODUCTION}/reports/preview", {"steps": [step]})
    assert "Experiment colour runs on button" in told["disturbed"][0]
    path = f"{PRODUCTION}/items/segments/staff"
    body: dict[str, Any] = {"text": step["text"]}
    status, answer = shop("PUT", path, body)
    assert (status, "running experiment colour" in answer["error"]["message"]) == (409, True)
    for reason in ("", " "):
        assert shop("PUT", path, {**body, "force": True, "reason": reason})[0] == 400
    assert shop("PUT", path, {**body, "force": True, "reason": "wrong segment"})[0] == 200
    undo = f"{PRODUCTION}/revisions/3/undo"
    assert [shop("POST", undo, {"force": force})[0] for force in (False, True)] == [409, 400]
    assert shop("POST", undo, {"force": True, "reason": "right after all"})[0] == 200


def test_an_item_goes_back_and_a_revision_is_undone(shop: Any) -> None:
    """Revert of one item, undo of a revision, both by number."""
    shop("PUT", f"{PRODUCTION}/items/flags/banner", {"text": "banner: {}\n"})
    _, back = shop("POST", f"{PRODUCTION}/items/flags/banner/revert", {"revision": 2})
    assert (back["revision"], text_of(shop)) == (4, FLAGS)
    _, undone = shop("POST", f"{PRODUCTION}/revisions/4/undo")
    assert undone["revision"] == 5
    assert "banner: {}" in text_of(shop)
    status, again = shop("POST", f"{PRODUCTION}/revisions/4/undo")
    assert (status, again["changed"]) == (200, False)
    assert shop("POST", f"{PRODUCTION}/revisions/2/undo")[0] == 409
    _, row = shop("GET", f"{PRODUCTION}/revisions/5")
    assert (row["reason"], row["items"][0]["key"]) == ("undo of revision 4", "banner")


def test_a_flag_is_promoted_after_a_look(shop: Any) -> None:
    """The preview names what the other environment lacks; with it in the same steps all goes."""
    place = "/environments/development"
    flag = {"do": "promote", "from": "production", "section": "flags", "key": "leaf"}
    banner = {**flag, "key": "banner"}
    _, told = shop("POST", f"{place}/reports/preview", {"steps": [flag]})
    assert told["problems"]
    assert told["notes"] == ["development has no flags.banner yet"]
    assert shop("POST", f"{place}/changes", {"steps": [flag]})[0] == 422
    status, answer = shop("POST", f"{place}/changes", {"steps": [banner, flag]})
    assert (status, answer["changed"]) == (200, True)
    assert "requires: {banner: on}" in shop("GET", f"{place}/items/flags/leaf")[1]["text"]


def test_a_flag_that_was_changed_at_home_since_is_not_promoted(shop: Any) -> None:
    """What was previewed is what comes along; another change there is no conflict."""
    step = {"do": "promote", "from": "production", "section": "flags", "key": "banner", "seen": 2}
    shop("POST", f"{PRODUCTION}/flags/leaf/kill", {"reason": "r"})
    place = "/environments/development/changes"
    shop("POST", f"{PRODUCTION}/flags/banner/rules/canary/share", {"share": "7%"})
    status, answer = shop("POST", place, {"steps": [step]})
    assert (status, "flags.banner was changed in production" in answer["error"]["message"]) == (
        409,
        True,
    )
    step["seen"] = 4
    shop("POST", f"{PRODUCTION}/flags/leaf/restore")
    assert shop("POST", place, {"steps": [step]})[0] == 200


@pytest.mark.parametrize(
    "step",
    [
        {"do": "nothing"},
        {"flag": "banner"},
        {"do": "share", "flag": "banner"},
        {"do": "kill", "flag": "banner", "more": 1},
        {"do": "put", "section": "flags", "key": "a", "text": 1},
        {"do": "revert", "revision": 1, "section": "flags"},
        {"do": "revert", "revision": 1, "key": "banner"},
    ],
)
def test_a_step_of_another_form_is_refused(shop: Any, step: dict[str, Any]) -> None:
    """400 with the place, and nothing else is looked at."""
    status, answer = shop("POST", f"{PRODUCTION}/changes", {"steps": [step]})
    assert status == 400
    assert "steps" in answer["error"]["message"]

"""The editor of items, without a browser window."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from flagloop.document.schema import SECTIONS
from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor

BEN = Actor("person", "ben@example.com")
PRODUCTION = "/environments/production"
ITEMS = f"{PRODUCTION}/items"
EVIL = "<script>alert(1)</script>\"'"
MORE = """\
experiments:
  half_test: {owner: growth@example.com}

metrics:
  errors: {event: error, better: lower}

layers:
  page: {}

holdouts:
  rest: {share: 2%}

flags:
  tested:
    variants: {a: x, b: y}
    default: a
    rules:
      - {name: split, experiment: half_test, split: {a: 50%, b: 50%}}
"""


def stored(app: Application, section: str, key: str) -> str:
    """The text of an item in production."""
    return app.store.document("production").document.items[section, key].text


def field(page: str, name: str) -> str:
    """The value of a hidden field or the text of the (first) text area of that name."""
    area = re.search(rf'<textarea[^>]* name="{name}"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    found = area or re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, name
    return unescape(found[1])


def form(page: str, **fields: str) -> dict[str, str]:
    """What the editor's form sends."""
    names = ("section", "key", "opened", "text")
    return {**{name: field(page, name) for name in names}, **fields}


def steps(visitor: Any, page: str, *made: dict[str, Any], text: str | None = None) -> Any:
    """What the server answers to steps of the cards."""
    body: dict[str, Any] = form(page)
    body["opened"] = int(body["opened"])
    body["text"] = body["text"] if text is None else text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    return visitor.client.post(
        f"{PRODUCTION}/reports/draft",
        json={**body, "steps": list(made)},
        headers={"X-CSRF-Token": token[1]},
    )


@pytest.fixture
def lab(shop: Application) -> Application:
    """The shop with an item in every section, and a running experiment."""
    text = shop.store.document("production").document.text
    head, _, flags = text.partition("flags:\n")
    extra, _, tested = MORE.partition("flags:\n")
    whole = head + extra + "flags:\n" + flags + "\n" + tested
    shop.changes.apply(change.put_document("production", whole), BEN, "more")
    return shop


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("flags", "tested"),
        ("segments", "staff"),
        ("experiments", "half_test"),
        ("metrics", "errors"),
        ("layers", "page"),
        ("holdouts", "rest"),
    ],
)
def test_an_item_of_every_section_is_edited(
    lab: Application, visit: Any, section: str, key: str
) -> None:
    """Opened, previewed, saved, undone; only the new line is new."""
    visitor = visit("editor")
    before = stored(lab, section, key)
    page = visitor.get(f"{ITEMS}/{section}/{key}/edit").text
    text = field(page, "text")
    lines = text.splitlines()
    new = text + "  description: told\n" if len(lines) > 1 else f"{key}: {{description: told, "
    if len(lines) == 1:
        new += lines[0].partition("{")[2] + "\n"
        new = new.replace(", }", "}")
    preview = visitor.post(f"{PRODUCTION}/reports/edit", **form(page, text=new)).text
    assert "told" in preview.partition("What changes in the text")[2]
    done = visitor.post(f"{PRODUCTION}/edit", **form(preview, reason="because"))
    assert f"Saved {key}." in done.text
    assert "description: told" in stored(lab, section, key)
    number = lab.store.environment("production").revision
    visitor.post(f"{PRODUCTION}/revisions/{number}/undo")
    assert stored(lab, section, key) == before


@pytest.mark.parametrize("section", SECTIONS)
def test_a_new_item_begins_with_one_that_can_be_saved(
    shop: Application, visit: Any, section: str
) -> None:
    """Its key is read from its text; an address of no section says which there are."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/{section}/new").text
    preview = visitor.post(f"{PRODUCTION}/reports/edit", **form(page)).text
    assert "(new)" in preview
    saved = visitor.post(f"{PRODUCTION}/edit", **form(preview))
    key = f"new_{section.removesuffix('s')}"
    assert f"Added {key}." in saved.text
    assert (section, key) in shop.store.document("production").document.items
    other = field(page, "text").replace(":\n", ":  # mine\n", 1)
    again = visitor.post(f"{PRODUCTION}/edit", **form(page, text=other))
    assert again.status_code == 409
    assert "exists already" in again.text
    seen = visitor.post(f"{PRODUCTION}/reports/edit", **form(page, text=other))
    assert "exists already" in seen.text
    assert "Save in production" not in seen.text
    wrong = visitor.get(f"{ITEMS}/poems/new")
    assert wrong.status_code == 404
    assert "segments" in wrong.text


def test_a_step_gives_text_cards_and_problems(shop: Application, visit: Any) -> None:
    """The answer to a card's change; nothing is stored."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/cta_color/edit").text
    share = {"do": "set", "path": ["rules", 1, "share"], "value": "60", "kind": "percent"}
    answer = steps(visitor, page, share).json
    assert "share: 60%, serve: treatment}   # keep this comment" in answer["text"]
    assert 'value="60%"' in answer["html"]
    assert (answer["problems"], answer["readable"], answer["reformatted"]) == ([], True, False)
    assert answer["focus"] == "c:rules:1:share"
    wrong = {**share, "value": "600"}
    (problem,) = steps(visitor, page, wrong).json["problems"]
    assert problem["line"] == 11
    assert problem["text"].startswith("rules[1].share: 600% is over 100%")
    assert "60%" not in stored(shop, "flags", "cta_color")


def test_a_text_that_cannot_be_read_has_no_cards(visit: Any) -> None:
    """The answer says so, with the line; the page too."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/cta_color/edit").text
    answer = steps(visitor, page, text="cta_color:\n  tags: ]\n").json
    assert not answer["readable"]
    assert answer["problems"][0]["line"] == 2
    broken = visitor.post(f"{PRODUCTION}/reports/edit", **form(page, text="cta_color: ]\n")).text
    assert '<fieldset id="cards" disabled' in broken
    assert "stay as they were last read" in broken


@pytest.mark.parametrize(
    "step",
    [
        {"do": "set", "path": ["rules", 7, "share"], "value": "5"},
        {"do": "dance", "path": []},
        {"do": "set", "path": [], "value": "5"},
        {"do": "copy", "path": []},
        {"do": "rename", "path": []},
        {"do": "move", "path": ["variants", 0]},
        {"do": "segments", "path": []},
        {"do": "insert", "path": ["rules"], "value": 3},
        {"do": "set", "path": ["owner"], "value": "x", "kind": "poem"},
        {"do": "part", "path": ["rules", 0, "when"], "value": {"a": 1}},
        {"do": "spread", "path": ["variants"]},
        {"do": "outcome", "path": ["rules", 0], "value": ["split"]},
    ],
)
def test_no_step_is_an_error_of_the_server(visit: Any, step: dict[str, Any]) -> None:
    """What is not possible is told, or makes problems; the text that comes back is whole."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/cta_color/edit").text
    answer = steps(visitor, page, step)
    assert answer.status_code == 200
    assert answer.json["refusal"] or answer.json["problems"]
    assert answer.json["text"].startswith("# asked for by marketing\ncta_color:")


def test_the_draft_asks_for_a_token_and_a_known_body(visit: Any) -> None:
    """It stores nothing, and yet takes no orders from elsewhere."""
    visitor = visit("editor")
    path = f"{PRODUCTION}/reports/draft"
    assert visitor.client.post(path, json={}).status_code == 400
    page = visitor.get(f"{ITEMS}/flags/cta_color/edit").text
    assert steps(visitor, page, {"do": 5, "path": "x"}).status_code == 400


def test_cards_escape_what_people_write(shop: Application, visit: Any) -> None:
    """In every field, also in what comes as JSON."""
    quoted = '"<script>alert(1)</script>\\"\'"'
    text = (
        f"evil:\n  description: {quoted}\n  owner: {quoted}\n  tags: [{quoted}]\n"
        f"  variants: {{a: {quoted}, b: x}}\n  default: a\n  rules:\n"
        f"    - {{name: r, when: {{{quoted}: {quoted}, any: [{{plan: {{ne: {quoted}}}}}]}},"
        " serve: b}\n"
    )
    planned = change.put_item("production", "flags", "evil", text)
    shop.changes.apply(planned, BEN, EVIL)
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/evil/edit").text
    assert "<script>alert" not in page
    answer = steps(visitor, page, {"do": "rule", "path": []}).json
    assert "&lt;script&gt;alert" in answer["html"]
    assert "<script>alert" not in answer["html"]


def test_what_somebody_else_saved_is_merged_into_the_text(shop: Application, visit: Any) -> None:
    """Told with who and why, in the text, previewed, and saved only then."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/cta_color/edit").text
    text = field(page, "text").replace("growth@", "brand@")
    other = change.set_share("production", "cta_color", "half", "60%")
    shop.changes.apply(other, BEN, "all well")
    assert steps(visitor, page).json["meanwhile"]
    early = visitor.post(f"{PRODUCTION}/edit", **form(page, text=text, reason="a new name"))
    assert early.status_code == 409
    assert 'name="reason" value="a new name"' in early.text
    preview = visitor.post(f"{PRODUCTION}/reports/edit", **form(page, text=text)).text
    for shown in (early.text, preview):
        assert "Both changes are in the text below" in shown
        assert "all well" in shown
        assert "share: 60%" in field(shown, "text")
        assert "brand@" in field(shown, "text")
    assert "brand@" not in stored(shop, "flags", "cta_color")
    assert "Saved cta_color." in visitor.post(f"{PRODUCTION}/edit", **form(preview)).text
    assert "share: 60%" in stored(shop, "flags", "cta_color")
    assert "brand@" in stored(shop, "flags", "cta_color")


def test_a_clash_is_never_saved_before_somebody_chose(shop: Application, visit: Any) -> None:
    """However often one presses save; then the choice and all other changes stand."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/cta_color/edit").text
    text = field(page, "text").replace("share: 50%", "share: 20%").replace("growth@", "brand@")
    other = change.set_share("production", "cta_color", "half", "60%")
    shop.changes.apply(other, BEN, "all well")
    for _ in range(2):
        clash = visitor.post(f"{PRODUCTION}/edit", **form(page, text=text))
        assert clash.status_code == 409
        assert 'name="choice:rules.half.share" value="theirs"' in clash.text
        page = clash.text
    chosen = form(page, text=text) | {"choice:rules.half.share": "theirs"}
    preview = visitor.post(f"{PRODUCTION}/reports/edit", **chosen).text
    assert "share: 60%" in field(preview, "text")
    assert "Saved cta_color." in visitor.post(f"{PRODUCTION}/edit", **form(preview)).text
    saved = stored(shop, "flags", "cta_color")
    assert "share: 60%" in saved
    assert "brand@" in saved


def test_an_item_that_was_removed_meanwhile_does_not_come_back(
    lab: Application, visit: Any
) -> None:
    """The editor says what became of it."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/metrics/errors/edit").text
    lab.changes.apply(change.remove_item("production", "metrics", "errors"), BEN, "unused")
    answer = visitor.post(f"{PRODUCTION}/edit", **form(page))
    assert answer.status_code == 409
    assert "it was removed meanwhile" in answer.text
    assert ("metrics", "errors") not in lab.store.document("production").document.items


def test_a_running_experiment_is_not_disturbed_by_accident(lab: Application, visit: Any) -> None:
    """Refused without force, refused without a reason, done and kept with both."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/tested/edit").text
    text = field(page, "text").replace("a: 50%, b: 50%", "a: 10%, b: 90%")
    preview = visitor.post(f"{PRODUCTION}/reports/edit", **form(page, text=text)).text
    assert "Experiment half_test runs on tested" in preview
    assert 'name="force" required' in preview
    refused = visitor.post(f"{PRODUCTION}/edit", **form(preview))
    assert refused.status_code == 409
    assert "disturb the running experiment half_test" in refused.text
    nameless = visitor.post(f"{PRODUCTION}/edit", **form(preview, force="on"))
    assert nameless.status_code == 400
    assert "needs a reason" in nameless.text
    assert "a: 50%" in stored(lab, "flags", "tested")
    done = visitor.post(f"{PRODUCTION}/edit", **form(preview, force="on", reason="broken arm"))
    assert "broken arm" in done.text
    assert "a: 10%" in stored(lab, "flags", "tested")
    assert "Killed" in visitor.post(f"{PRODUCTION}/flags/tested/kill", reason="INC-1").text


def test_the_share_control_does_not_disturb_either(lab: Application, visit: Any) -> None:
    """The same words as in the editor, the same force."""
    visitor = visit("editor")
    address = f"{PRODUCTION}/flags/tested"
    page = visitor.get(f"{address}/reports/share/split?share=40").text
    assert 'name="force" required' in page
    fields = {"share": "40%", "opened": field(page, "opened")}
    refused = visitor.post(f"{address}/share/split", **fields)
    assert refused.status_code == 409
    assert "disturb the running experiment half_test" in refused.text
    forced = visitor.post(f"{address}/share/split", **fields, force="on", reason="too broad")
    assert "Changed the share of tested." in forced.text


def test_going_back_does_not_disturb_either(lab: Application, visit: Any) -> None:
    """The way back of a forced change is as forced."""
    before = stored(lab, "flags", "tested")
    number = lab.store.environment("production").revision
    moved = change.set_share("production", "tested", "split", "40%")
    lab.changes.apply(moved, BEN, "by hand")
    visitor = visit("editor")
    fields = {"number": str(number), "section": "flags", "key": "tested"}
    page = visitor.get(f"{PRODUCTION}/reports/revert", query_string=fields).text
    assert 'name="force" required' in page
    assert visitor.post(f"{PRODUCTION}/revert", **fields).status_code == 409
    assert visitor.post(f"{PRODUCTION}/revert", **fields, force="on").status_code == 400
    done = visitor.post(f"{PRODUCTION}/revert", **fields, force="on", reason="too broad")
    assert "Reverted tested." in done.text
    assert stored(lab, "flags", "tested") == before


def test_an_undo_does_not_disturb_either(lab: Application, visit: Any) -> None:
    """It is refused with a way to force it; a kill is taken back without."""
    before = stored(lab, "flags", "tested")
    moved = change.set_share("production", "tested", "split", "40%")
    number = lab.changes.apply(moved, BEN, "by hand").revision
    visitor = visit("editor")
    place = f"{PRODUCTION}/revisions/{number}/undo"
    visitor.get(f"{PRODUCTION}/revisions/{number}")
    refused = visitor.post(place)
    assert (refused.status_code, stored(lab, "flags", "tested") == before) == (409, False)
    assert "disturb the running experiment half_test" in refused.text
    assert 'name="force" required' in refused.text
    assert visitor.post(place, force="on", reason=" ").status_code == 400
    visitor.get(f"{PRODUCTION}/revisions/{number}")
    assert "Undo" in visitor.post(place, force="on", reason="too broad").text
    assert stored(lab, "flags", "tested") == before
    killed = lab.changes.apply(change.kill("production", "tested"), BEN, "it burns").revision
    assert visitor.post(f"{PRODUCTION}/revisions/{killed}/undo").status_code == 200
    assert stored(lab, "flags", "tested") == before


def test_removal_is_refused_while_something_names_the_item(lab: Application, visit: Any) -> None:
    """With the list of what does; else it goes, with its reason, and can be undone."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/segments/staff/edit").text
    assert "Not while it is named by" in page
    assert "flags.cta_color" in page
    refused = visitor.post(f"{ITEMS}/segments/staff/remove", reason="away")
    assert refused.status_code == 409
    assert "named by flags.cta_color" in refused.text
    assert "Remove errors" in visitor.get(f"{ITEMS}/metrics/errors/edit").text
    gone = visitor.post(f"{ITEMS}/metrics/errors/remove", reason="nobody looks")
    assert "nobody looks" in gone.text
    items = lab.store.document("production").document.items
    assert ("metrics", "errors") not in items
    assert ("segments", "staff") in items


def test_a_flag_is_archived_from_its_page(lab: Application, visit: Any) -> None:
    """With a reason; one whose experiment runs needs force."""
    visitor = visit("editor")
    assert "Archive cta_color" in visitor.get(f"{PRODUCTION}/flags/cta_color").text
    visitor.post(f"{ITEMS}/flags/cta_color/remove", reason="everyone has it")
    assert ("flags", "cta_color") not in lab.store.document("production").document.items
    assert visitor.post(f"{ITEMS}/flags/tested/remove", reason="x").status_code == 409
    visitor.post(f"{ITEMS}/flags/tested/remove", reason="x", force="on")
    assert ("flags", "tested") not in lab.store.document("production").document.items


def test_a_rollout_is_paused_and_resumed_from_its_flag(lab: Application, visit: Any) -> None:
    """Two buttons, each taken back by the other."""
    text = (
        "climb:\n  rules:\n    - name: up\n      rollout: {to: on, stages: [1%, 100%], stage: 1%}\n"
    )
    lab.changes.apply(change.put_item("production", "flags", "climb", text), BEN, "")
    before = stored(lab, "flags", "climb")
    visitor = visit("editor")
    assert "Pause the rollout" in visitor.get(f"{PRODUCTION}/flags/climb").text
    paused = visitor.post(f"{PRODUCTION}/flags/climb/pause/up").text
    assert "Paused the rollout of climb." in paused
    assert "Resume the rollout" in paused
    assert "paused: true" in stored(lab, "flags", "climb")
    visitor.post(f"{PRODUCTION}/flags/climb/resume/up")
    assert stored(lab, "flags", "climb") == before


def test_rules_lead_to_their_cards(visit: Any) -> None:
    """The link of a rule ends at its card."""
    visitor = visit("editor")
    page = visitor.get(f"{PRODUCTION}/flags/cta_color").text
    assert f'href="{PRODUCTION}/flags/cta_color/edit#c:rules:1"' in page
    assert 'id="c:rules:1"' in visitor.get(f"{PRODUCTION}/flags/cta_color/edit").text
    assert "Edit" not in re.sub(
        r"<[^>]+>", "", visit("viewer").get(f"{PRODUCTION}/flags/cta_color").text
    )


def test_removal_takes_nothing_along_that_was_not_seen(lab: Application, visit: Any) -> None:
    """Somebody changed the item since the page was opened."""
    visitor = visit("editor")
    page = visitor.get(f"{PRODUCTION}/flags/cta_color").text
    opened = re.search(r'name="opened" value="(\d+)"', page)
    assert opened is not None
    planned = change.set_share("production", "cta_color", "half", "60%")
    lab.changes.apply(planned, BEN, "all well")
    sent = {"reason": "everyone has it", "opened": opened[1]}
    refused = visitor.post(f"{ITEMS}/flags/cta_color/remove", **sent)
    assert refused.status_code == 409
    assert "share: 60%" in stored(lab, "flags", "cta_color")


def test_the_page_knows_what_is_not_saved(shop: Application, visit: Any) -> None:
    """A preview's text is not; what was opened is."""
    visitor = visit("editor")
    page = visitor.get(f"{ITEMS}/flags/cta_color/edit").text
    assert "data-unsaved" not in page
    text = field(page, "text").replace("growth@", "brand@")
    assert (
        "data-unsaved" in visitor.post(f"{PRODUCTION}/reports/edit", **form(page, text=text)).text
    )

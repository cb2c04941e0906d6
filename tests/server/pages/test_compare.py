"""Two environments beside each other, and promoting."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor

BEN = Actor("person", "ben@example.com")
PAGE = "/environments/development/compare/production"
PROMOTE = "/environments/production/reports/promote/development/flags"
SAVE = "/environments/production/promote/development/flags"

AHEAD = """\
version: 1

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}
  early:
    when: {plan: early}

flags:
  # asked for by marketing
  cta_color:
    description: Colour of the sign-up button
    owner: growth@example.com
    tags: [landing]
    variants: {control: blue, treatment: green}
    default: control
    off: control
    rules:
      - {name: staff, when: {segment: staff}, serve: treatment}
      - {name: half, share: 50%, serve: treatment}   # keep this comment

  new_checkout:
    rules:
      - {name: early, when: {segment: early}, serve: on}

  fresh: {}
"""


@pytest.fixture
def ahead(shop: Application) -> Application:
    """Development differs in one flag, has another, a segment, and runs one differently."""
    shop.changes.apply(change.push("development", AHEAD), BEN, "what comes next")
    shop.changes.apply(change.kill("production", "cta_color"), BEN, "INC-77")
    return shop


def test_the_first_line_counts_what_differs(ahead: Application, visit: Any) -> None:
    """Flags first; what only runs differently is counted apart."""
    html = visit("viewer", "*").get(PAGE).text
    assert (
        "1 flag differs and 1 is only in development; 1 other item is only in development; "
        "1 runs differently." in html
    )
    assert "<code>killed</code> in production, not in development" in html
    assert "killed:" not in html
    assert "+    - {name: early, when: {segment: early}, serve: on}" in html
    assert "Promote to production" not in html


def test_the_list_is_narrowed_by_the_address(ahead: Application, visit: Any) -> None:
    """By state, section and name."""
    visitor = visit("viewer", "*")
    for query, shown in (
        ("show=differs", {"flags.new_checkout"}),
        ("show=here", {"flags.fresh", "segments.early"}),
        ("show=there", set()),
        ("show=runs", {"flags.cta_color"}),
        ("show=same", {"flags.cta_color", "segments.staff"}),
        ("section=segments", {"segments.early"}),
        ("q=FRESH", {"flags.fresh"}),
    ):
        html = visitor.get(f"{PAGE}?{query}").text
        found = {part.split('"')[0] for part in html.split('class="compared" id="')[1:]}
        assert found == shown, query
    assert "No item matches." in html or shown


def test_equal_and_empty_environments_say_so(shop: Application, visit: Any) -> None:
    """Each with what to do next."""
    visitor = visit("viewer", "*")
    same = visitor.get("/environments/production/compare/production").text
    assert "Nothing differs between production and production." in same
    empty = visitor.get("/environments/development/compare/development").text
    assert "Both are empty" in empty


def test_promote_brings_along_what_is_missing(ahead: Application, visit: Any) -> None:
    """Preview, save, confirmation with undo; the target keeps its runtime words."""
    visitor = visit("editor", "*")
    html = visitor.get(f"{PROMOTE}/new_checkout").text
    assert "production lacks 1 item that it needs:" in html
    assert "segments.early (new)" in html
    seen = ahead.store.environment("development").revision
    opened = ahead.store.environment("production").revision
    fields = {"seen": str(seen), "opened": str(opened), "reason": "looks good"}
    answer = visitor.post(f"{SAVE}/new_checkout", **fields, **{"with": "segments.early"})
    assert answer.status_code == 200
    assert "Promoted new_checkout." in answer.text
    assert "/undo" in answer.text
    document = ahead.store.document("production").document
    assert "segment: early" in document.items["flags", "new_checkout"].text
    assert "killed" in document.items["flags", "cta_color"].text
    visitor.post(f"/environments/production/revisions/{opened + 1}/undo")
    assert ("segments", "early") not in ahead.store.document("production").document.items


def test_left_behind_what_is_missing_refuses(ahead: Application, visit: Any) -> None:
    """The validator's words, and no way to save."""
    visitor = visit("editor", "*")
    html = visitor.get(f"{PROMOTE}/new_checkout?chosen=1").text
    assert "unknown segment &#39;early&#39;" in html
    assert '<button class="primary">Promote' not in html
    answer = visitor.post(f"{SAVE}/new_checkout", seen="99", opened="3")
    assert answer.status_code == 422
    assert "unknown segment" in answer.text


@pytest.mark.parametrize("side", ["development", "production"])
def test_a_change_on_either_side_is_shown_before_saving(
    ahead: Application, visit: Any, side: str
) -> None:
    """409 with the preview of now and the reason kept; nothing is overwritten."""
    visitor = visit("editor", "*")
    visitor.get(f"{PROMOTE}/new_checkout")
    seen = ahead.store.environment("development").revision
    opened = ahead.store.environment("production").revision
    text = "new_checkout:\n  owner: somebody\n"
    ahead.changes.apply(change.put_item(side, "flags", "new_checkout", text), BEN, "meanwhile")
    fields = {"seen": str(seen), "opened": str(opened), "reason": "looks good"}
    answer = visitor.post(f"{SAVE}/new_checkout", **fields, **{"with": "segments.early"})
    assert answer.status_code == 409
    assert "Nothing was saved:" in answer.text
    assert 'value="looks good"' in answer.text
    row = ahead.store.revisions("production", limit=1)[0]
    assert row.action != "promote"


def test_promote_needs_a_role_on_both_sides(ahead: Application, visit: Any) -> None:
    """An editor of production alone does not read development."""
    visitor = visit("editor")
    assert visitor.get(f"{PROMOTE}/new_checkout").status_code == 403
    assert visitor.get(PAGE).status_code == 403
    assert visitor.post(f"{SAVE}/new_checkout", seen="9", opened="9").status_code == 403
    assert visit("viewer", "*").get(f"{PROMOTE}/new_checkout").status_code == 403


def test_what_cannot_be_promoted_says_so(ahead: Application, visit: Any) -> None:
    """Unknown items and sections; an item that is the same already."""
    visitor = visit("editor", "*")
    assert visitor.get(f"{PROMOTE}/none").status_code == 404
    base = "/environments/production/reports/promote/development"
    assert visitor.get(f"{base}/nonsense/x").status_code == 404
    assert "it is so already" in visitor.get(f"{base}/segments/staff").text


def test_flag_and_environments_lead_here(ahead: Application, visit: Any) -> None:
    """From the flag's page to its promotion, from the list to the comparison."""
    html = visit("editor", "*").get("/environments/development/flags/fresh").text
    assert f'href="{PROMOTE}/fresh"' in html
    assert f'href="{PAGE}"' in visit("viewer", "*").get("/environments").text


def test_disturbing_an_experiment_needs_force_and_a_reason(shop: Application, visit: Any) -> None:
    """As with every other change."""
    running = AHEAD.replace(
        "flags:\n",
        "metrics:\n  m: {event: e, better: higher}\n\nexperiments:\n  x: {primary: m}\n\nflags:\n",
        1,
    )
    running = running.replace(
        "early, when: {segment: early}, serve: on", "x, experiment: x, split: {off: 50%, on: 50%}"
    )
    for name, text in (
        ("production", running),
        ("development", running.replace("off: 50%, on: 50%", "off: 40%, on: 60%")),
    ):
        shop.changes.apply(change.push(name, text), BEN, "")
    visitor = visit("editor", "*")
    html = visitor.get(f"{PROMOTE}/new_checkout").text
    assert "disturbs its result" in html
    fields = {"seen": "99", "opened": str(shop.store.environment("production").revision)}
    assert visitor.post(f"{SAVE}/new_checkout", **fields).status_code == 409
    assert visitor.post(f"{SAVE}/new_checkout", **fields, force="on").status_code == 400
    done = visitor.post(f"{SAVE}/new_checkout", **fields, force="on", reason="it is over")
    assert "Promoted new_checkout." in done.text

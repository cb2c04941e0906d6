"""Archiving several flags by the pages, the archive, and the way back."""

from __future__ import annotations

import re
from typing import Any

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor

BEN = Actor("person", "ben@example.com")
HERE = "/environments/production"
PREVIEW = f"{HERE}/reports/archive"
NEEDY = "needy:\n  requires: {cta_color: treatment}\n"
EVIL = "<script>alert(1)</script>"


def flags(app: Application) -> list[str]:
    """The flags of production."""
    return [*app.store.document("production").document.mapping.get("flags", {})]


def test_the_preview_names_what_stays_and_why(shop: Application, visit: Any) -> None:
    """A flag that another needs cannot go; nothing is changed by looking."""
    shop.changes.apply(change.put_item("production", "flags", "needy", NEEDY), BEN, "")
    text = visit("editor").get(f"{PREVIEW}?flag=cta_color&flag=new_checkout&flag=gone").text
    assert "1 flag cannot go" in text
    assert f'<a class="key" href="{HERE}/flags/needy">needy</a>' in text
    assert "Archive 1 flag in production" in text
    assert '<input type="hidden" name="flag" value="new_checkout">' in text
    assert '<input type="hidden" name="flag" value="cta_color">' not in text
    assert "No flag of this name: gone" in text
    assert flags(shop) == ["cta_color", "new_checkout", "needy"]


def test_several_flags_go_and_come_back_together(shop: Application, visit: Any) -> None:
    """One revision with the reason; undo brings the same bytes back."""
    before = shop.store.document("production").document.raw
    visitor = visit("editor")
    visitor.get(f"{PREVIEW}?flag=cta_color&flag=new_checkout")
    fields = {"flag": ["cta_color", "new_checkout"], "reason": "not needed"}
    done = visitor.post(f"{HERE}/archive", **fields)
    assert done.request.path == f"{HERE}/archive"
    assert "Archived cta_color, new_checkout." in done.text
    assert "2 flags of <strong>production</strong> are archived" in done.text
    assert flags(shop) == []
    number = shop.store.environment("production").revision
    visitor.post(f"{HERE}/revisions/{number}/undo")
    assert shop.store.document("production").document.raw == before


def test_nothing_goes_where_one_cannot(shop: Application, visit: Any) -> None:
    """A form that was sent anyway changes nothing and says why."""
    shop.changes.apply(change.put_item("production", "flags", "needy", NEEDY), BEN, "")
    visitor = visit("editor")
    answer = visitor.post(f"{HERE}/archive", flag=["cta_color", "new_checkout"], reason="x")
    assert answer.status_code == 422
    assert "needy" in answer.text
    assert len(flags(shop)) == 3
    assert visitor.post(f"{HERE}/archive", reason="x").status_code == 400


def test_a_flag_that_was_changed_since_the_preview_stays(shop: Application, visit: Any) -> None:
    """None goes, and the answer names it; what others changed beside them is no conflict."""
    visitor = visit("editor")
    found = re.search(
        'name="opened" value="([0-9]+)"', visitor.get(f"{PREVIEW}?flag=cta_color").text
    )
    assert found is not None
    fields = {"flag": ["cta_color", "new_checkout"], "reason": "x", "opened": found[1]}
    shop.changes.apply(change.kill("production", "cta_color"), BEN, "it blinks")
    answer = visitor.post(f"{HERE}/archive", **fields)
    assert answer.status_code == 409
    assert "hanged by somebody else since you opened it: flags.cta_color" in answer.text
    assert flags(shop) == ["cta_color", "new_checkout"]
    visitor.post(f"{HERE}/archive", **{**fields, "flag": "new_checkout"})
    assert flags(shop) == ["cta_color"]


def test_a_running_experiment_is_disturbed_only_by_force(shop: Application, visit: Any) -> None:
    """The preview says so; without the box the answer is a conflict."""
    experiment = "colour:\n  hypothesis: green is better\n"
    tested = "tested:\n  rules: [{name: a, experiment: colour, split: {on: 50%, off: 50%}}]\n"
    texts = {("experiments", "colour"): experiment, ("flags", "tested"): tested}
    shop.changes.apply(change.put_items("production", texts), BEN, "")
    visitor = visit("editor")
    assert "colour runs on tested" in visitor.get(f"{PREVIEW}?flag=tested").text
    assert visitor.post(f"{HERE}/archive", flag="tested", reason="x").status_code == 409
    assert "tested" in flags(shop)
    visitor.post(f"{HERE}/archive", flag="tested", reason="x", force="on")
    assert "tested" not in flags(shop)


def test_the_archive_tells_who_when_why_and_brings_back(shop: Application, visit: Any) -> None:
    """With the last text; nothing that people wrote is taken for HTML."""
    text = f"promo:\n  description: {EVIL}\n"
    shop.changes.apply(change.put_item("production", "flags", "promo", text), BEN, "")
    shop.changes.apply(change.archive_flag("production", "promo"), BEN, f"over {EVIL}")
    shop.changes.apply(change.archive_flag("production", "new_checkout"), BEN, "done")
    viewer = visit("viewer")
    seen = viewer.get(f"{HERE}/archive").text
    assert seen.index("new_checkout") < seen.index("promo")
    assert EVIL not in seen
    assert "over &lt;script&gt;" in seen
    assert "description: &lt;script&gt;" in seen
    assert "Restore" not in seen
    found = viewer.get(f"{HERE}/archive?q=PROMO").text
    assert "1 of 2 matches." in found
    assert "new_checkout" not in found
    editor = visit("editor")
    editor.get(f"{HERE}/archive")
    back = editor.post(f"{HERE}/archive/promo/restore")
    assert back.request.path == f"{HERE}/flags/promo"
    assert "Brought promo back from the archive." in back.text
    assert shop.store.document("production").document.mapping["flags"]["promo"]
    assert editor.post(f"{HERE}/archive/promo/restore").status_code == 404


def test_the_archive_is_searched_and_paged(shop: Application, visit: Any) -> None:
    """The latest first, in any script and case; a page reads no more than it shows."""
    texts = {("flags", f"promo_{n}"): f"promo_{n}:\n  owner: SOSS\n" for n in range(120)}
    texts["flags", "street"] = "street:\n  owner: Stra\u00dfe\n"
    shop.changes.apply(change.put_items("production", texts), BEN, "")
    shop.changes.apply(change.archive_flag("production", "street"), BEN, "")
    gone = [key for _, key in texts if key != "street"]
    shop.changes.apply(change.archive_flags("production", gone), BEN, "")
    viewer = visit("viewer")
    first, second = (viewer.get(f"{HERE}/archive{page}").text for page in ("", "?start=101"))
    assert "Rows 1 to 100 of 121." in first
    assert "Rows 101 to 121 of 121." in second
    shown = re.findall('<strong class="key">(.+)</strong>', first + second)
    assert (len(set(shown)), shown[-1]) == (121, "street")
    found = viewer.get(f"{HERE}/archive?q=STRASSE+street").text
    assert "1 of 121 matches." in found
    assert "0 of 121 match." in viewer.get(f"{HERE}/archive?q={'no+' * 5_000}").text
    assert len(shop.store.archive_page("production", "soss", start=118, limit=9)[1]) == 2


def test_more_flags_than_go_at_once_are_refused(shop: Application, visit: Any) -> None:
    """An address or a form by hand is told so, none is left out in silence."""
    many = "&".join(f"flag=f{n}" for n in range(501))
    editor = visit("editor")
    answer = editor.get(f"{PREVIEW}?{many}")
    assert (answer.status_code, "these are 501" in answer.text) == (400, True)
    names: Any = [f"f{n}" for n in range(501)]
    answer = editor.post(f"{HERE}/archive", flag=names, reason="x")
    assert (answer.status_code, "these are 501" in answer.text) == (400, True)
    assert editor.get(f"{PREVIEW}?{many.removesuffix('&flag=f500')}&flag=f0").status_code == 200


def test_an_empty_archive_and_an_empty_choice_say_what_to_do(visit: Any) -> None:
    """Both lead on to the list."""
    editor = visit("editor")
    assert "/flags?stale=yes" in editor.get(f"{HERE}/archive").text
    assert "No flag was chosen." in editor.get(PREVIEW).text

"""The history with its filters, revert with its preview, the ledger with its check and export."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor
from flagloop_server.web.pages.moments import address_text

ANA = Actor("person", "ana@example.com")
BEN = Actor("person", "ben@example.com")
HISTORY = "/environments/production/history"


@pytest.fixture
def told(shop: Application) -> Application:
    """Revision 3: a share by Ana; 4: a kill by Ben; 5: a segment by Ana."""
    apply = shop.changes.apply
    apply(change.set_share("production", "new_checkout", "canary", "9%"), ANA, "healthy")
    apply(change.kill("production", "cta_color"), BEN, "INC-77")
    text = "staff:\n  when: {plan: staff}\n"
    apply(change.put_item("production", "segments", "staff", text), ANA, "")
    return shop


def numbers(html: str) -> list[int]:
    """The revisions of the list."""
    rows = html.partition("<tbody")[2].split(">revision ")[1:]
    return [int(part.split("<")[0]) for part in rows]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("actor=ANA", [5, 3]),
        ("action=kill", [4]),
        ("item=cta_color", [4, 2]),
        ("item=segments.staff", [5, 2]),
        ("item=staff&actor=ana", [5]),
        ("actor=nobody", []),
        ("since=2999-01-01", []),
        ("until=2000-01-01T00:00", []),
    ],
)
def test_the_history_is_narrowed_by_the_address(
    told: Application, visit: Any, query: str, found: list[int]
) -> None:
    """By who, what, which item and when; nothing found says so."""
    html = visit("viewer").get(f"{HISTORY}?{query}").text
    assert numbers(html) == found
    assert ("No revision matches." in html) is not found


def test_times_are_from_and_until(told: Application, visit: Any) -> None:
    """The first is included, the second is not."""
    at = address_text(told.store.revision("production", 4).at)
    visitor = visit("viewer")
    assert min(numbers(visitor.get(f"{HISTORY}?since={at}").text)) == 4
    assert max(numbers(visitor.get(f"{HISTORY}?until={at}").text)) == 3
    assert visitor.get(f"{HISTORY}?since=yesterday").status_code == 400


def test_filters_stay_in_links_and_forms(shop: Application, visit: Any) -> None:
    """Older pages and comparisons keep them; other words of an address go nowhere."""
    for number in range(60):
        planned = change.set_share("production", "new_checkout", "canary", f"{number % 9 + 10}%")
        shop.changes.apply(planned, ANA, "")
    html = visit("viewer").get(f"{HISTORY}?actor=ana&_scheme=evil&_external=1&endpoint=x").text
    link = html.partition(">Older revisions</a>")[0].rpartition('href="')[2].split('"')[0]
    assert link.startswith(f"{HISTORY}?actor=ana&amp;before=")
    assert '<input type="hidden" name="actor" value="ana">' in html
    assert "evil" not in html.partition("</main>")[0]


def test_one_item_goes_back_from_its_revision(told: Application, visit: Any) -> None:
    """The link of the revision leads to the preview, and that to the revert."""
    visitor = visit("editor")
    html = visitor.get("/environments/production/revisions/3").text
    assert "Revert new_checkout to before this" in html
    place = "/environments/production/reports/revert?number=2&section=flags&key=new_checkout"
    html = visitor.get(place).text
    assert "share: 5%" in html
    opened = str(told.store.environment("production").revision)
    fields = {"number": "2", "section": "flags", "key": "new_checkout", "opened": opened}
    done = visitor.post("/environments/production/revert", **fields, reason="too early")
    assert "Reverted new_checkout." in done.text
    assert "share: 5%" in told.store.document("production").document.text


@pytest.mark.parametrize("whole", [True, False])
def test_a_revert_overwrites_nobody(told: Application, visit: Any, whole: bool) -> None:
    """What was changed since the preview is refused, and shown with what it would do now."""
    visitor = visit("editor")
    visitor.get("/environments/production/reports/revert?number=2")
    opened = str(told.store.environment("production").revision)
    planned = change.set_share("production", "new_checkout", "canary", "77%")
    told.changes.apply(planned, BEN, "meanwhile")
    fields = {"number": "2", "opened": opened, "reason": "back"}
    if not whole:
        fields |= {"section": "flags", "key": "new_checkout"}
    answer = visitor.post("/environments/production/revert", **fields)
    assert answer.status_code == 409
    assert "Nothing was saved:" in answer.text
    assert 'value="back"' in answer.text
    assert "share: 77%" in told.store.document("production").document.text


def test_a_new_item_since_the_preview_is_not_reverted_away(told: Application, visit: Any) -> None:
    """It was not there when somebody looked."""
    visitor = visit("editor")
    visitor.get("/environments/production/reports/revert?number=2")
    opened = str(told.store.environment("production").revision)
    told.changes.apply(change.put_item("production", "flags", "fresh", "fresh: {}\n"), BEN, "")
    answer = visitor.post("/environments/production/revert", number="2", opened=opened)
    assert answer.status_code == 409
    assert ("flags", "fresh") in told.store.document("production").document.items


def test_the_ledger_is_narrowed_and_checked(told: Application, visit: Any) -> None:
    """Filters as of the history; the check counts rows, and a kept head must be in the chain."""
    owner = visit("admin", "*")
    html = owner.get("/audit?action=kill&environment=production&actor=ben").text
    assert html.count("data-row>") == 1
    assert "INC-77" in html
    assert "No row matches." in owner.get("/audit?actor=nobody").text
    html = owner.get("/reports/audit").text
    rows = told.store.verify().rows
    head = told.store.verify().head
    assert f"The chain of {rows} rows is whole." in html
    assert head in html
    told.changes.apply(change.restore("production", "cta_color"), BEN, "")
    assert "contains the head that was kept" in owner.get(f"/reports/audit?head={head}").text
    broken = owner.get(f"/reports/audit?head={'0' * 63}1").text
    assert "is broken" in broken
    assert "is not in the chain" in broken


def test_an_altered_row_shows(told: Application, visit: Any) -> None:
    """Whoever edits the file is found by the page."""
    with contextlib.closing(sqlite3.connect(told.config.data / "config.db")) as file:
        file.execute("UPDATE ledger SET reason = 'never' WHERE reason = 'INC-77'")
        file.commit()
    html = visit("admin", "*").get("/reports/audit").text
    assert "reason differs from the payload" in html


def test_the_ledger_is_exported_as_it_is_filtered(told: Application, visit: Any) -> None:
    """JSON lines and CSV, the oldest first; what one may not see is not in them."""
    visitor = visit("viewer")
    lines = visitor.client.get("/reports/audit/export?environment=production").text.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert {row["environment"] for row in rows} == {"production"}
    answer = visitor.client.get("/reports/audit/export?format=csv&action=kill")
    assert answer.mimetype == "text/csv"
    assert 'filename="audit.csv"' in answer.headers["Content-Disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["actor"], row["target"], row["reason"]) == (
        "ben@example.com",
        "cta_color",
        "INC-77",
    )
    everything = visitor.client.get("/reports/audit/export").text
    assert "create-user" not in everything
    assert visitor.client.get("/reports/audit/export?format=pdf").status_code == 400
    assert visitor.client.get("/reports/audit/export?environment=development").status_code == 403

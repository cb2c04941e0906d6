"""The flag list: filters and order in the address, stale flags with their proof."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor

BEN = Actor("person", "ben@example.com")
LIST = "/environments/production/flags"
MORE = """\
old_banner:
  owner: growth@example.com
  expires: 2026-01-31
  rules: [{name: all, serve: on}]
"""


def keys(text: str) -> list[str]:
    """The flags of a list, in their order."""
    return re.findall(r'class="row-link key"[^>]*>([^<]+)<', text)


@pytest.fixture
def many(shop: Application) -> Application:
    """A third flag, which has expired."""
    put = change.put_item("production", "flags", "old_banner", MORE)
    shop.changes.apply(put, BEN, "once")
    return shop


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["cta_color", "new_checkout", "old_banner"]),
        ("type=boolean", ["new_checkout", "old_banner"]),
        ("stale=yes", ["old_banner"]),
        ("stale=no&type=boolean", ["new_checkout"]),
        ("state=stale", ["old_banner"]),
        ("stale=unused", []),
        ("q=GREEN", []),
        ("q=treatment", ["cta_color"]),
        ("owner=growth@example.com&sort=changed", ["old_banner", "cta_color"]),
        ("sort=key&q=o", ["cta_color", "new_checkout", "old_banner"]),
        ("sort=nonsense", ["cta_color", "new_checkout", "old_banner"]),
    ],
)
def test_filters_and_order_stand_in_the_address(
    many: Application, visit: Any, query: str, expected: list[str]
) -> None:
    """What is chosen is shown as chosen, and links of the page keep it."""
    text = visit("viewer").get(f"{LIST}?{query}").text
    assert keys(text) == expected


def test_headings_order_and_keep_the_filter(many: Application, visit: Any) -> None:
    """The column that orders says so to those who cannot see the arrow."""
    text = visit("viewer").get(f"{LIST}?type=boolean&sort=seen").text
    links = [html.unescape(one) for one in re.findall(r'<th[^>]*><a href="([^"]+)"', text)]
    assert f"{LIST}?type=boolean&sort=key" in links
    assert text.count('aria-sort="descending"') == 1
    assert '<option value="boolean" selected>' in text


def test_a_stale_flag_is_proved_and_leads_to_what_proves_it(many: Application, visit: Any) -> None:
    """The reason stands in the row, what it rests on behind it, with a link."""
    text = visit("viewer").get(f"{LIST}?stale=yes").text
    assert "Stale: expired on 2026-01-31" in text
    assert "Its text says expires: 2026-01-31, and today is" in text
    assert f'href="{LIST}/old_banner#text"' in text


def test_a_flag_that_gives_all_the_same_leads_to_the_revision(
    many: Application, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since which nothing else can have been served."""
    monkeypatch.setattr("flagloop_server.staleness.STALE_DAYS", 0)
    number = many.store.environment("production").revision
    text = visit("viewer").get(f"{LIST}?stale=settled").text
    assert keys(text) == ["old_banner"]
    assert f"unchanged since revision {number}" in text
    assert f'href="/environments/production/revisions/{number}"' in text


def test_only_those_who_may_edit_can_choose(many: Application, visit: Any) -> None:
    """A viewer sees no boxes and no button."""
    assert visit("viewer").get(LIST).text.count("data-pick") == 0
    assert visit("editor").get(LIST).text.count('name="flag"') == 3


@pytest.mark.parametrize(
    "place",
    [
        "/environments/production/flags?",
        "/environments/production/segments?",
        "/environments/production/archive?",
        "/environments/production/compare/development?",
        "/environments/production/playground?key=u-1&",
    ],
)
def test_an_address_beyond_the_last_row_shows_the_last(
    many: Application, visit: Any, place: str
) -> None:
    """An old link, or a search that finds less by now, leads to no empty list of rows."""
    many.changes.apply(change.archive_flag("production", "new_checkout"), BEN, "")
    text = visit("viewer", "*").get(f"{place}start=9999").text
    assert ("9,999" in text, "9999 shown" in text, "data-row" in text) == (False, False, True)

"""The playground: what a context gets, why, and what it got before."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor, now_ms
from flagloop_server.store.events import decode_batch
from flagloop_server.web.pages.moments import address_text

BEN = Actor("person", "ben@example.com")
PAGE = "/environments/production/playground"


def ask(visitor: Any, context: dict[str, Any], more: str = "") -> str:
    """The page of a context in the address."""
    answer = visitor.get(f"{PAGE}?context={quote(json.dumps(context))}{more}")
    assert answer.status_code == 200
    text: str = answer.text
    return text


def row(html: str, flag: str) -> str:
    """The line of one flag in the table."""
    rows = html.partition("<tbody")[2].split("<tr ")
    return next(one for one in rows if f">{flag}</a>" in one)


def test_a_context_gets_a_decision_of_every_flag(visit: Any) -> None:
    """Typed into fields: the variant, its value and why, and one sentence for all."""
    visitor = visit("viewer")
    html = visitor.get(f"{PAGE}?key=u-1&name=email&value=a@example.com&name=&value=").text
    assert "<strong>u-1</strong> (email a@example.com) in <strong>production</strong> now" in html
    assert "1 flag served by a rule" in html
    assert "<code>treatment</code>" in row(html, "cta_color")
    assert "rule staff" in row(html, "cta_color")


def test_fields_and_json_say_the_same(visit: Any) -> None:
    """Numbers, texts that look like numbers and lists; JSON where fields cannot say it."""
    visitor = visit("viewer")
    context = {"key": "u-1", "age": 42, "zip": "01234", "langs": ["de", "at"], "pro": True}
    html = ask(visitor, context)
    for text in ('value="42"', 'value="&#34;01234&#34;"', 'value="[de, at]"', 'value="true"'):
        assert text in html
    as_json = ask(visitor, context, "&as=json")
    assert "&#34;langs&#34;:[&#34;de&#34;,&#34;at&#34;]" in as_json
    assert 'name="context"' in ask(visitor, {"key": 42})


def test_why_goes_rule_by_rule(visit: Any) -> None:
    """A hit, what was not reached after it, and the place of a unit against the edges."""
    visitor = visit("viewer")
    html = ask(visitor, {"key": "u-1", "email": "a@example.com"}, "&flag=cta_color")
    why = html.partition('id="why"')[2].partition("</section>")[0]
    assert 'gives <span class="key">treatment</span>' in why
    assert "decides" in why
    assert "already decided" in why
    html = ask(visitor, {"key": "u-1"}, "&flag=new_checkout")
    why = html.partition('id="why"')[2].partition("</section>")[0]
    assert "share: the unit is at " in why
    assert "0% to 5%" in why


def test_the_past_is_told_apart_from_now(shop: Application, visit: Any) -> None:
    """By revision and by time; what decides differently now is marked and can be filtered."""
    before = shop.store.environment("production").revision
    shop.changes.apply(change.kill("production", "cta_color"), BEN, "INC-77")
    shop.changes.apply(
        change.put_item("production", "flags", "fresh", "fresh: {}\n"), BEN, "a new one"
    )
    visitor = visit("viewer")
    staff = {"key": "u-1", "email": "a@example.com"}
    html = ask(visitor, staff, f"&revision={before}&flag=cta_color")
    assert "2 flags decide differently now." in html
    assert "Now it is another:" in html
    assert "changed" in row(html, "cta_color")
    assert "the same" in row(html, "new_checkout")
    assert "no such flag" in row(html, "fresh")
    narrowed = ask(visitor, staff, f"&revision={before}&show=changed")
    assert "2 of 3 flags" in narrowed
    at = shop.store.revision("production", before).at
    assert f"revision {before}</a> of" in ask(visitor, staff, f"&at={address_text(at)}")
    assert "off: killed" in row(ask(visitor, staff), "cta_color")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("context={", "the context is no JSON"),
        ("key=u&name=a&value=1&name=a&value=2", "attribute &#39;a&#39; comes twice"),
        ("key=u&name=key&value=1", "the key has its own field"),
        ("key=u&at=yesterday", "is no time"),
        ("key=u&at=1970-01-01", "did not exist then"),
        ("key=u&revision=999", "no revision 999"),
        ("key=u&revision=x", "is no number of a revision"),
        (f"key={'u' * 4001}", "an address holds a context of 4,000 characters"),
        ("key=u&at=9999-12-31T23:59", ""),
        ("key=u&at=0001-01-01T00:00", "did not exist then"),
    ],
)
def test_what_cannot_be_shown_is_said_and_kept(visit: Any, query: str, says: str) -> None:
    """A problem in words, the fields as they were typed, never a 500."""
    answer = visit("viewer").get(f"{PAGE}?{query}")
    assert answer.status_code == 200
    assert says in answer.text
    assert ("This cannot be shown:" in answer.text) is bool(says)


def test_a_flag_that_there_was_not_is_said(shop: Application, visit: Any) -> None:
    """The rest of the answer stays."""
    html = ask(visit("viewer"), {"key": "u"}, "&flag=cta_colour")
    assert "no flag &#39;cta_colour&#39; in revision" in html
    assert "cta_color" in row(html, "cta_color")


def test_recorded_contexts_are_starters_for_editors(shop: Application, visit: Any) -> None:
    """They hold keys of users, so viewers see none; without any the page says how they come."""
    editor, viewer = visit("editor"), visit("viewer")
    assert "No context was recorded yet" in editor.get(PAGE).text
    batch = {"events": [], "contexts": [{"key": "u-7", "country": "DE"}]}
    env = shop.store.environment("production")
    shop.events.submit(env.id, None, now_ms(), decode_batch(json.dumps(batch).encode())).result(30)
    html = editor.get(f"{PAGE}?flag=cta_color").text
    assert ">u-7</a> <span>country DE</span>" in html
    assert "flag=cta_color" in html.partition(">u-7</a>")[0].rpartition("<a ")[2]
    assert "u-7" not in viewer.get(PAGE).text


def test_the_address_stays_out_of_other_logs(visit: Any) -> None:
    """No page that is asked for from here learns the context from the referrer."""
    answer = visit("viewer").get(f"{PAGE}?key=u-1")
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_user_text_is_escaped(visit: Any) -> None:
    """In keys, attributes, values, filters and addresses."""
    evil = "<script>alert(1)</script>\"'"
    html = ask(visit("editor"), {"key": evil, evil: evil}, f"&q={quote(evil)}&flag={quote(evil)}")
    assert "<script>alert" not in html


def test_flags_lead_to_the_playground(visit: Any) -> None:
    """Each flag's page has the link, with the flag in it."""
    html = visit("viewer").get("/environments/production/flags/cta_color").text
    assert f'href="{PAGE}?flag=cta_color"' in html

"""What the pages say and do, without a browser window."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor, now_ms
from flagloop_server.store.events import decode_batch
from flagloop_server.web.pages import live

BEN = Actor("person", "ben@example.com")
FLAG = "/environments/production/flags/cta_color"
EVIL = "<script>alert(1)</script>\"'"


def test_visitors_are_sent_to_sign_in_and_back(shop: Application, visit: Any) -> None:
    """After signing in one is where one wanted to go; only on this server."""
    visitor = visit(None)
    response = visitor.get(FLAG)
    assert response.status_code == 303
    assert response.location == f"/login?next={FLAG}"
    shop.auth.create_user("ana@example.com", "Ana", {"*": "admin"}, Actor("person", "ben"))
    shop.auth.set_password("ana@example.com", "a long sentence", Actor("person", "ben"))
    visitor.get(response.location)
    landed = visitor.post(
        "/login", email="ana@example.com", password="a long sentence", next="//evil.example/x"
    )
    assert landed.request.path == "/environments/production/flags"


def test_sign_in_keeps_what_an_address_asks_for(visit: Any) -> None:
    """Also what stands behind its first `&`."""
    wanted = "/environments/production/history?from=1&to=2"
    sent = visit(None).get(wanted)
    assert parse_qs(urlsplit(sent.location).query) == {"next": [wanted]}


def test_a_wrong_password_says_no_more_than_needed(visit: Any) -> None:
    """The answer is the same for an unknown person; too many attempts are stopped."""
    visitor = visit(None)
    visitor.get("/login")
    answers = [
        visitor.post("/login", email="nobody@example.com", password="wrong wrong wrong")
        for _ in range(6)
    ]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert "The address or the password is wrong." in answers[0].text
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_every_page_is_strict_about_what_it_loads(visit: Any) -> None:
    """No inline script, no other origin, no frame; pages are never cached."""
    visitor = visit("viewer")
    for path in (FLAG, "/environments/production/flags/none", "/login", "/audit"):
        headers = visitor.client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_list_tells_state_and_who_gets_what(visit: Any) -> None:
    """Each row has its word and its sentence; the filter is in the address."""
    visitor = visit("viewer")
    html = visitor.get("/environments/production/flags").text
    assert "2 flags in <strong>production</strong>: 2 live" in html
    assert "staff get treatment; 50% of everyone gets treatment; all others get control" in html
    filtered = visitor.get("/environments/production/flags?q=checkout").text
    assert "new_checkout" in filtered
    assert "cta_color" not in filtered
    assert "1 of 2 flags matches." in filtered
    assert "flags match" not in html


def test_the_list_of_one_flag_says_so(shop: Application, visit: Any) -> None:
    """In the singular, in all places where a number stands."""
    alone = change.put_item("development", "flags", "alone", "alone: {rules: []}\n")
    shop.changes.apply(alone, BEN, "the first")
    html = visit("editor", "development").get("/environments/development/flags").text
    assert "1 flag in <strong>development</strong>" in html
    assert "the one shown" in html


def test_the_list_shows_what_was_evaluated_today(shop: Application, visit: Any) -> None:
    """The sum of the last 24 hours, its hours as a line, and when the flag was last asked for."""
    counts = [
        {"flag": "cta_color", "variant": "control", "n": 1_200},
        {"flag": "cta_color", "variant": "treatment", "rule": "half", "n": 34},
    ]
    batch = decode_batch(json.dumps({"events": [], "counts": counts}).encode())
    place = shop.store.environment("production")
    shop.events.submit(place.id, 1, now_ms(), batch).result(30)
    html = visit("viewer").get("/environments/production/flags").text
    rows = html.partition("<tbody")[2].split("<tr ")
    used = next(row for row in rows if "cta_color" in row)
    unused = next(row for row in rows if "new_checkout" in row)
    assert 'title="1,234 evaluations in the last 24 hours"' in used
    assert "highest 1,234" in used
    assert "<polyline" in used
    assert " s ago" in used
    assert 'title="0 evaluations in the last 24 hours"' in unused
    assert "<polyline" not in unused
    assert "never" in unused


def test_a_long_list_comes_in_pages(shop: Application, visit: Any) -> None:
    """100 rows at once; the next page keeps the filter."""
    flags = "".join(f"  flag_{number:03}: {{owner: me}}\n" for number in range(250))
    text = f"version: 1\nflags:\n{flags}"
    shop.changes.apply(change.push("development", text), Actor("person", "ben"), "")
    visitor = visit("viewer", "development")
    html = visitor.get("/environments/development/flags?owner=me").text
    assert "Rows 1 to 100 of 250" in html
    assert "flag_100" not in html
    html = visitor.get("/environments/development/flags?start=201&owner=me").text
    assert "Rows 201 to 250 of 250" in html
    assert "flag_249" in html


def test_an_empty_environment_teaches_the_next_command(visit: Any) -> None:
    """The real address is there to paste; the key is a placeholder."""
    visitor = visit("admin", "*")
    for page in ("flags", "document"):
        html = visitor.get(f"/environments/development/{page}").text
        assert "flagloop push flags.yaml --url http://localhost --key KEY --env development" in html


def test_kill_undo_restore(shop: Application, visit: Any) -> None:
    """A kill is confirmed with its undo, which gives the old bytes back."""
    before = shop.store.document("production").document.raw
    visitor = visit("editor")
    visitor.get(FLAG)
    html = visitor.post(f"{FLAG}/kill", reason="INC-77").text
    assert "Killed cta_color." in html
    assert "everyone gets control (INC-77)" in html
    number = shop.store.environment("production").revision
    html = visitor.post(f"/environments/production/revisions/{number}/undo").text
    assert "Restored cta_color" in html
    assert shop.store.document("production").document.raw == before


def test_a_kill_names_every_flag_that_hangs_on_it(shop: Application, visit: Any) -> None:
    """Those that require it, and those that require it through others; many are counted."""
    near = "near:\n  requires: {cta_color: treatment}\n"
    texts = {("flags", f"far_{n}"): f"far_{n}:\n  requires: {{near: on}}\n" for n in range(22)}
    shop.changes.apply(
        change.put_items("production", {("flags", "near"): near, **texts}), BEN, "needs"
    )
    text = visit("editor").get(f"{FLAG}?kill=1").text
    assert "23 flags may change with it: near; through it also far_0, far_1," in text
    assert "far_19 and 2 more.</p>" in text
    assert (
        "may change with it"
        not in visit("editor", "*").get("/environments/production/flags/far_3").text
    )


def test_undo_is_not_offered_once_somebody_changed_the_flag_again(
    shop: Application, visit: Any
) -> None:
    """Undo would take back the other change too."""
    visitor = visit("editor")
    visitor.get(FLAG)
    visitor.post("/environments/production/flags/cta_color/share/half", share="60")
    number = shop.store.environment("production").revision
    other = change.set_share("production", "cta_color", "half", "70%")
    shop.changes.apply(other, Actor("person", "cleo"), "")
    page = visitor.get(f"{FLAG}?done={number}")
    assert "Changed the share" in page.text
    assert ">Undo<" not in page.text
    refused = visitor.post(f"/environments/production/revisions/{number}/undo")
    assert refused.status_code == 409
    assert "share: 70%" in shop.store.document("production").document.text


def test_a_share_is_not_set_over_somebody_elses_change(shop: Application, visit: Any) -> None:
    """Who saves sees what was changed since the preview, and may save again with that in mind."""
    visitor = visit("editor")
    html = visitor.get(f"{FLAG}/reports/share/half?share=60").text
    opened = html.partition('name="opened" value="')[2].partition('"')[0]
    other = change.put_item(
        "production", "flags", "new_checkout", "  new_checkout: {description: other}\n"
    )
    shop.changes.apply(other, Actor("person", "cleo"), "")  # another flag does not matter
    theirs = change.set_share("production", "cta_color", "half", "70%")
    shop.changes.apply(theirs, Actor("person", "cleo"), "INC-78")
    path = f"{FLAG}/share/half"
    refused = visitor.post(path, share="60", opened=opened, reason="my words")
    assert refused.status_code == 409
    assert "Nothing was saved: cta_color was changed since you looked." in refused.text
    assert "cleo: share, INC-78" in refused.text
    assert 'value="my words"' in refused.text
    assert "share: 70%" in shop.store.document("production").document.text
    again = refused.text.partition('name="opened" value="')[2].partition('"')[0]
    saved = visitor.post(path, share="60", opened=again)
    assert "Changed the share of cta_color." in saved.text
    assert "share: 60%" in shop.store.document("production").document.text


def test_what_a_change_says_is_told_once(shop: Application, visit: Any) -> None:
    """That nothing was to be done, or that the text was laid out anew."""
    visitor = visit("editor")
    visitor.get(FLAG)
    visitor.post(f"{FLAG}/kill", reason="INC-77")
    number = shop.store.environment("production").revision
    again = visitor.post(f"{FLAG}/kill", reason="INC-77")
    assert "&#39;cta_color&#39; is killed already." in again.text
    assert "is killed already" not in visitor.get(FLAG).text
    assert shop.store.environment("production").revision == number
    flow = "version: 1\nflags: {b: {rules: [{name: r, share: 5%, serve: on}]}}\n"
    shop.changes.apply(change.push("development", flow), BEN, "")
    other = visit("editor", "development")
    other.get("/environments/development/flags/b")
    killed = other.post("/environments/development/flags/b/kill", reason="x")
    assert "Killed b." in killed.text
    assert "flags.b was laid out anew." in killed.text


@pytest.mark.parametrize("text", ["x", "{}", "[1, null]", "%22x%22", quote(f'["{EVIL[:20]}"]')])
def test_notes_that_somebody_else_wrote_do_no_harm(visit: Any, text: str) -> None:
    """They are read from a cookie: whatever it holds, the page comes and stays clean."""
    visitor = visit("viewer")
    visitor.client.set_cookie("flagloop_notes", text, path=FLAG)
    page = visitor.get(FLAG)
    assert page.status_code == 200
    assert "<script>alert" not in page.text


def test_undo_of_a_share_keeps_the_comment(shop: Application, visit: Any) -> None:
    """The text is byte for byte what it was."""
    before = shop.store.document("production").document.raw
    visitor = visit("editor")
    visitor.get(FLAG)
    visitor.post("/environments/production/flags/cta_color/share/half", share="60 %")
    number = shop.store.environment("production").revision
    assert (
        "share: 60%, serve: treatment}   # keep" in shop.store.document("production").document.text
    )
    visitor.post(f"/environments/production/revisions/{number}/undo")
    assert shop.store.document("production").document.raw == before


def test_a_new_flag_is_added_and_its_undo_archives_it(shop: Application, visit: Any) -> None:
    """The key comes from the text; a mistake is told with its line and nothing is saved."""
    visitor = visit("editor")
    visitor.get("/environments/production/new-flag")
    wrong = visitor.post(
        "/environments/production/reports/edit", text="fresh:\n  defualt: on\n", opened="0", flag=""
    )
    assert "line 2" in wrong.text
    assert "did you mean &#39;default&#39;?" in wrong.text
    right = visitor.post(
        "/environments/production/edit", text="fresh:\r\n  rules: []\r\n", opened="0", flag=""
    )
    assert "Added fresh." in right.text
    assert shop.store.document("production").document.items["flags", "fresh"].text == (
        "  fresh:\n    rules: []\n"
    )
    number = shop.store.environment("production").revision
    twice = visitor.post("/environments/production/edit", text="fresh: {}", opened="0", flag="")
    assert twice.status_code == 409
    assert "already" in twice.text
    visitor.post(f"/environments/production/revisions/{number}/undo")
    assert ("flags", "fresh") not in shop.store.document("production").document.items


def test_text_of_users_is_never_markup(shop: Application, visit: Any) -> None:
    """A script in any field is shown as text on every page that shows the field."""
    import json

    evil = json.dumps(EVIL)
    text = (
        f"evil:\n  description: {evil}\n  owner: {evil}\n  tags: [{evil}]\n"
        f"  variants: {{one: {evil}, two: x}}\n  default: one\n  off: one\n"
        f"  rules:\n    - {{name: r, when: {{{evil}: {evil}}}, serve: two}}\n"
    )
    planned = change.put_item("production", "flags", "evil", text)
    actor = Actor("person", EVIL)
    shop.changes.apply(planned, actor, EVIL)
    shop.store.create_key("production", "server", EVIL, actor)
    shop.changes.apply(change.kill("production", "evil"), actor, EVIL)
    visitor = visit("admin", "*")
    revision = shop.store.environment("production").revision
    production = "/environments/production"
    for path in (
        f"{production}/flags",
        f"{production}/flags?q={EVIL}",
        f"{production}/flags/evil",
        f"{production}/flags/evil/edit",
        f"{production}/flags/evil/history?from=2&to={revision}",
        f"{production}/flags/{EVIL}",
        f"{production}/history",
        f"{production}/revisions/{revision}",
        f"{production}/document",
        f"{production}/keys",
        f"{production}/flags/evil/reports/share/r?share={EVIL}",
        f"/audit?target={EVIL}",
        f"/login?next={EVIL}",
    ):
        html = visitor.get(path).text
        assert "<script>alert" not in html, path
        assert "<h1" in html or path.startswith("/login"), path


def test_missing_things_are_named(visit: Any) -> None:
    """An unknown flag, environment or revision is a 404 that says what is near."""
    visitor = visit("admin", "*")
    missing = visitor.get("/environments/production/flags/cta_colour")
    assert missing.status_code == 404
    assert "did you mean &#39;cta_color&#39;?" in missing.text
    for path in (
        "/environments/prodution/flags",
        "/environments/production/revisions/99",
        "/environments/production/flags/cta_color/reports/share/none",
        "/environments/production/document?revision=99",
        "/environments/production/history?from=1&to=99",
        "/environments/production/reports/revert?number=99",
        "/no/such/page",
    ):
        assert visitor.get(path).status_code == 404, path


def test_a_secret_is_in_one_answer_only(shop: Application, visit: Any) -> None:
    """The key works, and no later page shows more of it than its beginning."""
    visitor = visit("admin")
    visitor.get("/environments/production/keys")
    html = visitor.post("/environments/production/keys", kind="server", name="shop").text
    secret = html.partition('<code id="secret">')[2].partition("<")[0]
    from flagloop_server.store import hash_key

    found = shop.store.find_key(hash_key(secret))
    assert found is not None
    assert secret not in visitor.get("/environments/production/keys").text
    visitor.post(f"/environments/production/keys/{found.id}/revoke")
    revoked = shop.store.find_key(hash_key(secret))
    assert revoked is not None
    assert revoked.revoked_at is not None


def test_an_environment_admin_revokes_no_key_of_elsewhere(shop: Application, visit: Any) -> None:
    """Neither by the other environment's address nor a key that is good for both."""
    both, _ = shop.store.create_key(
        ["production", "development"], "admin", "both", Actor("person", "ben"), role="editor"
    )
    other = shop.store.keys("development")[0]
    visitor = visit("admin")
    visitor.get("/environments/production/keys")
    for number in (both.id, other.id):
        visitor.post(f"/environments/production/keys/{number}/revoke")
    kept = [shop.store.keys("production"), shop.store.keys("development")]
    assert {key.id for keys in kept for key in keys} >= {both.id, other.id}


def test_the_document_is_downloaded_byte_for_byte(shop: Application, visit: Any) -> None:
    """Now and as of an old revision."""
    visitor = visit("viewer")
    path = "/environments/production/document.yaml"
    assert visitor.client.get(path).data == shop.store.document("production").document.raw
    old = visitor.client.get(f"{path}?revision=1")
    assert old.data == shop.store.document("production", 1).document.raw


def test_a_killed_flag_shows_what_everyone_gets(shop: Application, visit: Any) -> None:
    """The off variant has its line at once, before anything was evaluated."""
    assert "<strong>off</strong>" not in visit("viewer").get(FLAG).text
    shop.changes.apply(change.kill("production", "cta_color"), BEN, "INC-77")
    assert "<strong>off</strong>" in visit("viewer", "*").get(FLAG).text


def test_a_revert_that_cannot_take_back_a_kill_says_what_can(shop: Application, visit: Any) -> None:
    """A revert leaves runtime words alone, so it points to the page that has Restore."""
    number = shop.store.environment("production").revision
    shop.changes.apply(change.kill("production", "cta_color"), BEN, "INC-77")
    page = visit("editor").get(
        f"/environments/production/reports/revert?number={number}&section=flags&key=cta_color"
    )
    assert "This changes nothing" in page.text
    assert f'on the page of <a href="{FLAG}">' in page.text.partition("<em>Restore</em>")[2]


def test_one_revision_is_compared_with_nothing(visit: Any) -> None:
    """No button that could only say "no difference"."""
    visitor = visit("viewer")
    assert "Compare</button>" not in visitor.get(f"{FLAG}/history").text
    assert "Compare</button>" in visitor.get("/environments/production/history").text


def test_live_parts_are_fragments(visit: Any) -> None:
    """What is refreshed every few seconds comes without the frame."""
    visitor = visit("viewer")
    parts = {part: visitor.client.get(f"{FLAG}/live/{part}").text for part in live.PARTS}
    assert "is live in" in parts["state"]
    assert "<table" in parts["usage"]
    assert "Change the share" not in parts["rules"]
    assert "Change the share" in visit("editor").client.get(f"{FLAG}/live/rules").text
    assert all("<html" not in text for text in parts.values())
    assert visitor.client.get(f"{FLAG}/live/none").status_code == 404


def test_people_are_invited_given_roles_and_shut_out(shop: Application, visit: Any) -> None:
    """The whole life of an account by its forms; the last admin stays."""
    visitor = visit("admin", "*")
    visitor.get("/people")
    html = visitor.post(
        "/people", email="eve@example.com", name="Eve", environment="production", role="viewer"
    ).text
    assert "http://localhost/setup/" in html
    path = "/people/eve@example.com"
    visitor.post(path, action="role", environment="development", role="editor")
    assert shop.auth.user("eve@example.com").roles == {
        "production": "viewer",
        "development": "editor",
    }
    visitor.post(path, action="take", environment="production")
    visitor.post(path, action="disable")
    eve = shop.auth.user("eve@example.com")
    assert "active, without a password" in visitor.get("/people").text  # this visitor, by a link
    assert eve.roles == {"development": "editor"}
    assert eve.disabled_at is not None
    assert "/setup/" in visitor.post(path, action="link").text
    myself = "/people/admin-@example.com"
    shop.auth.complete_setup(
        shop.auth.setup_link(shop.auth.user("admin-@example.com").id), password="a long sentence"
    )
    link = shop.auth.sign_in_link(shop.auth.user("admin-@example.com").id)
    visitor.get(f"/sign-in/{link}")
    visitor.post(f"/sign-in/{link}")
    visitor.get("/people")
    assert visitor.post(myself, action="disable").status_code == 400


def test_environments_are_made_renamed_archived(shop: Application, visit: Any) -> None:
    """By the forms of the page; a bad name is told."""
    visitor = visit("admin", "*")
    visitor.get("/environments")
    visitor.post("/environments", key="staging")
    visitor.post("/environments/staging/settings", action="rename", key="qa")
    visitor.post("/environments/qa/settings", action="production")
    assert shop.store.environment("qa").production
    visitor.post("/environments/qa/settings", action="archive")
    assert shop.store.environment("qa").archived_at is not None
    visitor.post("/environments/qa/settings", action="unarchive")
    assert shop.store.environment("qa").archived_at is None
    assert visitor.post("/environments", key="no spaces").status_code == 400


@pytest.mark.parametrize("value", ["", "0", "-1", "9" * 30, "x", "\x00", "\U0001f600", "25%"])
def test_no_odd_value_breaks_a_page(visit: Any, value: str) -> None:
    """Whatever stands in an address is answered as a page or as a client's mistake."""
    visitor = visit("admin", "*")
    production = "/environments/production"
    text = quote(value)
    for path in (
        f"{production}/flags?q={text}&state={text}&owner={text}&start={text}",
        f"{production}/flags/cta_color?done={text}",
        f"{production}/flags/cta_color/live/{text}",
        f"{production}/flags/cta_color/history?from={text}&to={text}&before={text}",
        f"{production}/history?from={text}&to={text}&before={text}",
        f"{production}/document?revision={text}",
        f"{production}/document.yaml?revision={text}",
        f"{production}/reports/revert?number={text}&section={text}&key={text}",
        f"{production}/flags/cta_color/reports/share/half?share={text}",
        f"{production}/revisions/{text}",
        f"{production}/flags/{text}",
        f"/environments/{text}/flags",
        f"/audit?environment={text}&target={text}&before={text}",
        f"/setup/{text}",
        f"/login?next={text}",
    ):
        assert visitor.get(path).status_code < 500, path
    for path in (
        f"{production}/revisions/{text or 0}/undo",
        f"{production}/keys/{text or 0}/revoke",
        f"{production}/flags/cta_color/share/half",
        f"{production}/reports/edit",
        f"{production}/edit",
        f"{production}/revert",
        f"{production}/keys",
        f"{production}/settings",
        "/environments",
        "/people",
        "/theme",
    ):
        fields = ("number", "section", "key", "share", "text", "opened", "flag", "kind", "name")
        more = ("role", "email", "environment", "action", "next", "theme", "reason")
        answer = visitor.post(path, **dict.fromkeys((*fields, *more), value))
        assert answer.status_code < 500, path

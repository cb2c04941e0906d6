"""The admin API of documents: push, kill, restore, share, revert, and who may."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from flagloop_server.store import SYSTEM

if TYPE_CHECKING:
    from flagloop_server.app import Application

PRODUCTION = "/environments/production"


def text_of(admin: Any) -> str:
    """The document's text."""
    status, answer = admin("GET", f"{PRODUCTION}/document")
    assert status == 200
    return str(answer["text"])


def code(answer: Any) -> str:
    """The error's code."""
    return str(answer["error"]["code"])


def test_the_document_comes_back_byte_for_byte(caller: Any) -> None:
    """CRLF, a BOM, comments and a missing last newline survive push and pull."""
    admin = caller()
    text = '\ufeffversion: 1\r\n\r\nflags:\r\n  # why\r\n  a: {}   # odd\r\n  b: {description: "ü"}'
    assert admin("POST", f"{PRODUCTION}/push", {"text": text})[0] == 200
    assert text_of(admin) == text


def test_a_revision_is_named_by_lineage_and_number(admin: Any) -> None:
    """The document, the push and the ruleset's ETag agree; old revisions stay readable."""
    _, now = admin("GET", f"{PRODUCTION}/document")
    _, before = admin("GET", f"{PRODUCTION}/document", query=f"revision={now['revision'] - 1}")
    assert before["text"] != now["text"]
    environment = admin.app.store.environment("production")
    snapshot = admin.app.publisher.snapshots.get(environment.id)
    assert snapshot.revision == f"{now['lineage']}.{now['revision']}"


def test_environments_have_lineages_of_their_own(admin: Any) -> None:
    """Or the ETag of one would be current in another."""
    names = [item.lineage for item in admin.app.store.environments()]
    assert len(set(names)) == len(names) == 2


def test_a_push_without_a_base_tells_what_it_undoes(caller: Any, admin: Any) -> None:
    """By item, with who did it and when; the key's next push has a base of its own."""
    old = admin("GET", f"{PRODUCTION}/document")[1]["text"]
    admin("POST", f"{PRODUCTION}/flags/cta_color/rules/canary/share", {"share": "50%"})
    new = admin("GET", f"{PRODUCTION}/document")[1]["text"]
    admin("POST", f"{PRODUCTION}/push", {"text": new, "base_text": new})
    job = caller()
    for body in ({"text": old, "dry_run": True}, {"text": old}):
        status, answer = job("POST", f"{PRODUCTION}/push", body)
        (one,) = answer["undoes"]
        assert (status, one["key"], one["action"]) == (200, "cta_color", "share")
        assert one["actor"].startswith("laptop (key ")
    admin("POST", f"{PRODUCTION}/push", {"text": new, "base_text": old})
    status, answer = job("POST", f"{PRODUCTION}/push", {"text": old})
    assert (answer["applied"], answer["undoes"]) == (False, [])
    assert admin("GET", f"{PRODUCTION}/document")[1]["text"] == new


def test_a_push_warns_of_experiments_that_it_disturbs(admin: Any) -> None:
    """It is done all the same, since a pipeline cannot be asked; the trial says it too."""
    split = "split: {a: 50%, b: 50%}"
    text = (
        "version: 1\nexperiments:\n  e: {}\nflags:\n  f:\n    variants: {a: x, b: y}\n"
        f"    default: a\n    rules:\n      - {{name: r, experiment: e, {split}}}\n"
    )
    first = admin("POST", f"{PRODUCTION}/push", {"text": text, "base_text": text_of(admin)})
    assert first[0] == 200
    other = text.replace("a: 50%, b: 50%", "a: 10%, b: 90%")
    for trial in (True, False):
        body = {"text": other, "base_text": text, "dry_run": trial}
        status, answer = admin("POST", f"{PRODUCTION}/push", body)
        assert status == 200
        (problem,) = [one for one in answer["problems"] if one["path"] == "experiments.e"]
        assert problem["severity"] == "warning"
        assert "Experiment e runs on f" in problem["message"]
    assert "b: 90%" in text_of(admin)


def test_a_push_tells_what_it_took(caller: Any) -> None:
    """Added, changed and dropped items by name; a second push changes nothing."""
    admin = caller()
    first = "version: 1\nflags:\n  a: {}\n  b: {}\nsegments:\n  s: {when: {plan: pro}}\n"
    admin("POST", f"{PRODUCTION}/push", {"text": first})
    second = "version: 1\nflags:\n  a: {description: new}\n  c: {}\n"
    status, answer = admin("POST", f"{PRODUCTION}/push", {"text": second})
    assert status == 200
    assert answer["applied"] is True
    taken = {(ref["section"], ref["key"]) for ref in answer["taken"]}
    assert taken >= {("flags", "a"), ("flags", "c")}
    assert answer["archived"] == [{"section": "flags", "key": "b"}]
    assert answer["removed"] == [{"section": "segments", "key": "s"}]
    status, again = admin("POST", f"{PRODUCTION}/push", {"text": second})
    assert (again["applied"], again["revision"]) == (False, answer["revision"])


def test_a_dry_run_changes_nothing(admin: Any) -> None:
    """It tells the same as the push would and names the present revision."""
    before = admin("GET", f"{PRODUCTION}/document")[1]
    changed = before["text"] + "  one_more: {}\n"
    _, answer = admin("POST", f"{PRODUCTION}/push", {"text": changed, "dry_run": True})
    assert answer["taken"] == [{"section": "flags", "key": "one_more"}]
    assert (answer["applied"], answer["revision"]) == (False, before["revision"])
    assert admin("GET", f"{PRODUCTION}/document")[1] == before


def test_two_edits_of_one_flag_conflict_and_nothing_is_applied(admin: Any) -> None:
    """409 with the three texts, for the push and its dry run alike."""
    base = text_of(admin)
    theirs = base.replace("default: control", "default: treatment")
    assert admin("POST", f"{PRODUCTION}/push", {"text": theirs})[0] == 200
    mine = base.replace("share: 5%", "share: 7%")
    body = {"text": mine, "base_text": base}
    status, answer = admin("POST", f"{PRODUCTION}/push", body)
    assert (status, code(answer)) == (409, "conflict")
    (conflict,) = answer["error"]["conflicts"]
    assert (conflict["section"], conflict["key"]) == ("flags", "cta_color")
    assert "share: 7%" in conflict["mine"]
    assert "default: treatment" in conflict["theirs"]
    assert "share: 5%" in conflict["base"]
    assert admin("POST", f"{PRODUCTION}/push", {**body, "dry_run": True})[0] == 409
    assert text_of(admin) == theirs


def test_edits_of_two_flags_merge(admin: Any) -> None:
    """Against the base that was pulled, by its text or its revision."""
    _, pulled = admin("GET", f"{PRODUCTION}/document")
    theirs = pulled["text"].replace("share: 5%", "share: 7%")
    admin("POST", f"{PRODUCTION}/push", {"text": theirs})
    mine = pulled["text"].replace("new_checkout: {}", "new_checkout: {description: Mine}")
    body = {"text": mine, "base": pulled["revision"]}
    status, answer = admin("POST", f"{PRODUCTION}/push", body)
    assert status == 200
    assert answer["kept"] == [{"section": "flags", "key": "cta_color"}]
    assert text_of(admin) == theirs.replace("new_checkout: {}", "new_checkout: {description: Mine}")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_broken_document_is_refused_with_all_its_lines(admin: Any, dry_run: bool) -> None:
    """422 with each problem's line and mend; nothing is applied."""
    before = text_of(admin)
    broken = "version: 1\nflags:\n  a:\n    defalt: on\n  b:\n    rules:\n      - {serve: on}\n"
    status, answer = admin("POST", f"{PRODUCTION}/push", {"text": broken, "dry_run": dry_run})
    assert (status, code(answer)) == (422, "invalid_document")
    problems = answer["error"]["problems"]
    assert {problem["line"] for problem in problems} == {4, 7}
    assert any("default" in (problem["hint"] or "") for problem in problems)
    assert text_of(admin) == before


def test_a_syntax_error_is_refused_with_its_line(admin: Any) -> None:
    """422 also for text that is no YAML of ours."""
    status, answer = admin("POST", f"{PRODUCTION}/push", {"text": "flags: &anchor {}\n"})
    assert (status, code(answer)) == (422, "invalid_document")
    assert answer["error"]["problems"][0]["line"] == 1


def test_kill_and_restore_bring_back_the_same_bytes(admin: Any) -> None:
    """A kill inserts one line, restore removes exactly it; both are idempotent."""
    before = text_of(admin)
    status, killed = admin("POST", f"{PRODUCTION}/flags/cta_color/kill", {"reason": "errors"})
    assert (status, killed["changed"]) == (200, True)
    _, again = admin("POST", f"{PRODUCTION}/flags/cta_color/kill", {"reason": "errors"})
    assert (again["changed"], again["revision"]) == (False, killed["revision"])
    assert len(text_of(admin).splitlines()) == len(before.splitlines()) + 1
    _, restored = admin("POST", f"{PRODUCTION}/flags/cta_color/restore")
    assert restored["changed"] is True
    assert text_of(admin) == before


def test_a_kill_is_served_at_once(admin: Any, call: Any) -> None:
    """The next request of an SDK has it: the snapshot is made before the answer."""
    from flagloop_server.store import SYSTEM

    _, secret = admin.app.store.create_key("production", "server", "sdk", SYSTEM)
    header = [("authorization", f"Bearer {secret}")]
    first = call(admin.app.asgi, "GET", "/api/v1/ruleset", header)
    assert "killed" not in json.loads(first.body)["flags"]["cta_color"]
    admin("POST", f"{PRODUCTION}/flags/cta_color/kill", {"reason": "errors"})
    tag = ("if-none-match", first.headers["etag"])
    second = call(admin.app.asgi, "GET", "/api/v1/ruleset", [*header, tag])
    assert json.loads(second.body)["flags"]["cta_color"]["killed"]


def test_a_push_of_the_old_file_does_not_revive_a_killed_flag(admin: Any) -> None:
    """The runtime word is ignored and listed."""
    old = text_of(admin)
    admin("POST", f"{PRODUCTION}/flags/cta_color/kill", {"reason": "errors"})
    status, answer = admin("POST", f"{PRODUCTION}/push", {"text": old})
    assert status == 200
    (ignored,) = answer["ignored"]
    assert (ignored["section"], ignored["key"], ignored["path"]) == (
        "flags",
        "cta_color",
        "killed",
    )
    assert ignored["mine"] is None
    assert ignored["theirs"]
    assert "killed" in text_of(admin)


def test_a_kill_needs_a_reason(admin: Any) -> None:
    """400 without one; a restore needs none."""
    for body in (None, {}, {"reason": "  "}):
        status, answer = admin("POST", f"{PRODUCTION}/flags/cta_color/kill", body)
        assert (status, code(answer)) == (400, "bad_request")


def test_a_share_changes_one_word(admin: Any) -> None:
    """Before and after are told; the same share again changes nothing."""
    before = text_of(admin)
    path = f"{PRODUCTION}/flags/cta_color/rules/canary/share"
    _, answer = admin("POST", path, {"share": "25%", "reason": "looks good"})
    assert (answer["before"], answer["after"], answer["changed"]) == ("5%", "25%", True)
    assert text_of(admin) == before.replace("5%", "25%")
    _, again = admin("POST", path, {"share": "25%"})
    assert again["changed"] is False


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/flags/cta_colour/kill", {"reason": "x"}, 404),
        ("POST", "/flags/cta_color/rules/canry/share", {"share": "1%"}, 404),
        ("POST", "/flags/cta_color/rules/canary/share", {"share": "lots"}, 422),
        ("POST", "/flags/cta_color/rules/staff/share", {"share": "101%"}, 422),
        ("POST", "/flags/cta_color/rules/canary/share", {}, 400),
        ("POST", "/flags/cta_color/kill", {"reason": 5}, 400),
        ("POST", "/flags/cta_color/kill", {"reason": "x", "force": True}, 400),
        ("POST", "/push", {"txt": "x"}, 400),
        ("POST", "/push", {"text": "version: 1\nenvironment: development\n"}, 422),
        ("GET", "/document", None, 404),
        ("GET", "/nothing", None, 404),
        ("PUT", "/document", None, 405),
    ],
)
def test_mistakes_are_told_in_json(
    admin: Any, method: str, path: str, body: Any, status: int
) -> None:
    """Each with its status, a code and a message; nothing is applied."""
    before = text_of(admin)
    query = "revision=999" if path == "/document" else ""
    got, answer = admin(method, PRODUCTION + path, body, query=query)
    assert got == status, answer
    assert answer["error"]["message"]
    assert text_of(admin) == before


def test_near_misses_get_a_hint(admin: Any) -> None:
    """The message names what is missing and what was probably meant."""
    _, answer = admin("POST", f"{PRODUCTION}/flags/cta_colour/kill", {"reason": "x"})
    assert "cta_color" in answer["error"]["message"].replace("cta_colour", "")


def test_a_body_that_is_no_json_is_refused(admin: Any, call: Any) -> None:
    """400 with the place."""
    for body in (b"{", b"[]", b'"\xff"'):
        path = f"/api/v1/admin{PRODUCTION}/push"
        answer = call(admin.app.asgi, "POST", path, admin.headers, body)
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["message"]


def test_an_item_is_written_only_if_nobody_changed_it(admin: Any) -> None:
    """`expected` is the revision at which the item was read: 409 when it moved on."""
    path = f"{PRODUCTION}/items/flags/new_checkout"
    _, first = admin("PUT", path, {"text": "  new_checkout: {description: One}\n"})
    expected = first["revision"]
    body = {"text": "  new_checkout: {description: Two}\n", "expected": expected}
    assert admin("PUT", path, body)[0] == 200
    late = {**body, "text": "  new_checkout: {description: Three}\n"}
    status, answer = admin("PUT", path, late)
    assert (status, code(answer)) == (409, "conflict")
    assert "description: Two" in text_of(admin)


def test_history_and_revert(admin: Any) -> None:
    """Revisions tell who, why and what; a revert brings the old text back as a new one."""
    before = admin("GET", f"{PRODUCTION}/document")[1]
    path = f"{PRODUCTION}/flags/cta_color/rules/canary/share"
    admin("POST", path, {"share": "50%", "reason": "go on"})
    _, history = admin("GET", f"{PRODUCTION}/revisions", query="limit=1")
    (newest,) = history["revisions"]
    assert newest["reason"] == "go on"
    assert newest["actor"]["kind"] == "key"
    assert newest["changed"] == [{"section": "flags", "key": "cta_color"}]
    _, one = admin("GET", f"{PRODUCTION}/revisions/{newest['revision']}")
    (item,) = one["items"]
    assert "50%" in item["after"]
    assert "50%" not in item["before"]
    number = before["revision"]
    _, answer = admin("POST", f"{PRODUCTION}/revisions/{number}/revert", {"reason": "oops"})
    assert answer["revision"] == newest["revision"] + 1
    assert text_of(admin) == before["text"]


def test_a_removed_flag_is_archived(admin: Any) -> None:
    """It leaves the document; its history stays."""
    status, _ = admin("DELETE", f"{PRODUCTION}/items/flags/new_checkout", {"reason": "done"})
    assert status == 200
    assert "new_checkout" not in text_of(admin)
    _, history = admin("GET", f"{PRODUCTION}/revisions", query="flag=new_checkout")
    assert len(history["revisions"]) == 2


@pytest.mark.parametrize(
    ("role", "read", "kill", "keys"),
    [("viewer", 200, 403, 403), ("editor", 200, 200, 403), ("admin", 200, 200, 200)],
)
def test_roles_are_held(
    admin: Any, caller: Callable[..., Any], role: str, read: int, kill: int, keys: int
) -> None:
    """A viewer reads, an editor changes, an admin manages; 403 says what is missing."""
    who = caller("production", role)
    assert who("GET", f"{PRODUCTION}/document")[0] == read
    assert who("POST", f"{PRODUCTION}/flags/cta_color/kill", {"reason": "x"})[0] == kill
    assert who("GET", f"{PRODUCTION}/keys")[0] == keys


def test_a_key_of_one_environment_is_nothing_in_another(
    admin: Any, caller: Callable[..., Any]
) -> None:
    """403 for every action elsewhere, and the list shows only what it may see."""
    who = caller("development", "admin")
    status, answer = who("GET", f"{PRODUCTION}/document")
    assert status == 403
    assert answer["error"]["message"] == (
        "'view' in production is not allowed: this key is for development; make another on the "
        "server: flagloop keys create --kind admin --env production --role viewer"
    )
    assert who("POST", f"{PRODUCTION}/flags/cta_color/kill", {"reason": "x"})[0] == 403
    assert who("POST", "/environments", {"key": "qa"})[0] == 403
    _, listed = who("GET", "/environments")
    assert [item["key"] for item in listed["environments"]] == ["development"]


def test_live_counts_follow_what_is_sent(app: Application, admin: Any, call: Any) -> None:
    """Units exposed to each variant, and what they did, as soon as the batch is acknowledged."""
    _, secret = app.store.create_key("production", "server", "s", SYSTEM)
    headers = [("authorization", f"Bearer {secret}")]
    exposures = [
        {"type": "exposure", "flag": "cta_color", "variant": variant, "unit": unit, "at": 1}
        for unit, variant in (("u-1", "control"), ("u-2", "treatment"), ("u-3", "treatment"))
    ]
    done = [{"type": "event", "event": "sign_up", "unit": "u-2", "at": 2, "value": 3}]
    body = json.dumps({"events": exposures + done}).encode()
    assert call(app.asgi, "POST", "/api/v1/events", headers, body).status == 200
    status, live = admin("GET", f"{PRODUCTION}/flags/cta_color/live")
    assert status == 200
    assert (live["environment"], live["flag"]) == ("production", "cta_color")
    assert live["units"] == {"control": 1, "treatment": 2}
    assert live["events"] == {"sign_up": {"treatment": {"units": 1, "events": 1, "value": 3.0}}}
    assert (live["mixed"], live["complete"]) == (0, True)
    status, other = admin("GET", f"{PRODUCTION}/flags/new_checkout/live")
    assert (status, other["units"], other["events"]) == (200, {}, {})


def test_live_counts_of_an_unknown_flag_or_place_are_a_404(
    admin: Any, caller: Callable[..., Any]
) -> None:
    """The message names the nearest flag; without a role there it is a 403."""
    status, answer = admin("GET", f"{PRODUCTION}/flags/cta_colour/live")
    assert status == 404
    assert "did you mean 'cta_color'" in answer["error"]["message"]
    assert admin("GET", "/environments/nowhere/flags/cta_color/live")[0] == 404
    stranger = caller("development", "admin")
    assert stranger("GET", f"{PRODUCTION}/flags/cta_color/live")[0] == 403

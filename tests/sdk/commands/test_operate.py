"""`kill`, `restore`, `share`, and how every answer of the admin API becomes an exit code."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import responses

from flagloop.commands import operate
from flagloop.testing import FakeClock
from helpers.loopback import Request, plainly, serving

Run = Callable[..., Any]

URL = "http://flags.test"
KEY = "fl_adm_secret"
PLACE = f"{URL}/api/v1/admin/environments/production"
ON = ("--url", URL, "--key", KEY, "--env", "production")


def done(changed: bool = True, **more: Any) -> dict[str, Any]:
    """The server's answer to a change."""
    return {
        "environment": "production",
        "lineage": "k",
        "revision": 9,
        "changed": changed,
        **more,
    }


def sent() -> Any:
    """The JSON of the last request."""
    return json.loads(responses.calls[-1].request.body)


@responses.activate
def test_kill_posts_the_reason(run: Run) -> None:
    """And tells the revision and how to undo it."""
    responses.post(f"{PLACE}/flags/cta_color/kill", json=done())
    result = run("kill", "cta_color", "--reason", "errors doubled", *ON)
    assert result.exit_code == 0
    assert sent() == {"reason": "errors doubled"}
    assert responses.calls[0].request.headers["Authorization"] == f"Bearer {KEY}"
    assert "killed cta_color (production, revision 9)" in result.output
    assert "flagloop restore cta_color" in result.output


def test_a_kill_needs_a_reason(run: Run) -> None:
    """Without one nothing is sent."""
    assert run("kill", "cta_color", *ON).exit_code == 2


@responses.activate
def test_what_is_so_already_is_no_failure(run: Run) -> None:
    """Killing twice, restoring a live flag, the same share: exit code 0 and said."""
    responses.post(f"{PLACE}/flags/a/kill", json=done(False))
    responses.post(f"{PLACE}/flags/a/restore", json=done(False))
    responses.post(f"{PLACE}/flags/a/rules/r/share", json=done(False))
    kill = run("kill", "a", "--reason", "x", *ON)
    restore = run("restore", "a", *ON)
    share = run("share", "a", "r", "5%", *ON)
    assert [one.exit_code for one in (kill, restore, share)] == [0, 0, 0]
    assert "was killed already" in kill.output
    assert "was not killed" in restore.output
    assert "takes 5% already" in share.output


@responses.activate
def test_restore_takes_a_reason(run: Run) -> None:
    """It is optional."""
    responses.post(f"{PLACE}/flags/a/restore", json=done())
    result = run("restore", "a", "--reason", "fixed", *ON)
    assert sent() == {"reason": "fixed"}
    assert result.output == "restored a (production, revision 9)\n"


@responses.activate
def test_share_sends_the_percentage_as_written(run: Run) -> None:
    """Exact text, and the one before is told."""
    responses.post(f"{PLACE}/flags/a/rules/canary/share", json=done(before="5%", after="2.5%"))
    result = run("share", "a", "canary", "2.5%", "--reason", "slower", *ON)
    assert sent() == {"share": "2.5%", "reason": "slower"}
    run("share", "a", "canary", "2.5%", "--reason", "slower", "--force", *ON)
    assert sent() == {"share": "2.5%", "reason": "slower", "force": True}
    assert "rule canary of a takes 2.5%, was 5%" in result.output


@pytest.mark.parametrize("percent", ["25", "101%", "-1%", "0.1234567%", "many"])
def test_a_share_that_is_none_is_wrong_usage(run: Run, percent: str) -> None:
    """It is refused before anything is sent."""
    assert run("share", "a", "r", "--url", URL, "--key", KEY, "--", percent).exit_code == 2


@responses.activate
def test_json_prints_the_servers_answer(run: Run) -> None:
    """As it came."""
    responses.post(f"{PLACE}/flags/a/kill", json=done())
    result = run("kill", "a", "--reason", "x", *ON, "--json")
    assert json.loads(result.stdout) == done()


@responses.activate
def test_names_are_escaped_in_the_path(run: Run) -> None:
    """A name can never leave its place in the URL."""
    responses.post(f"{URL}/api/v1/admin/environments/a%2Fb/flags/..%2Fx%3Fy/kill", json=done())
    words = ("--url", URL, "--key", KEY, "--env", "a/b")
    assert run("kill", "../x?y", "--reason", "x", *words).exit_code == 0


@responses.activate
def test_the_keys_environment_is_used_when_none_is_named(run: Run) -> None:
    """It is asked for by whoami."""
    responses.get(f"{URL}/api/v1/admin/whoami", json={"environment": "production"})
    responses.post(f"{PLACE}/flags/a/restore", json=done())
    assert run("restore", "a", "--url", URL, "--key", KEY).exit_code == 0


@responses.activate
def test_a_key_of_every_environment_needs_env(run: Run) -> None:
    """The message lists which there are."""
    whoami = {"environment": None, "environments": ["development", "production"]}
    responses.get(f"{URL}/api/v1/admin/whoami", json=whoami)
    result = run("restore", "a", "--url", URL, "--key", KEY)
    assert result.exit_code == 2
    assert "development, production" in result.stderr


@pytest.mark.parametrize(
    ("status", "error", "code", "says"),
    [
        (400, {"message": "a kill needs a reason"}, 1, "a kill needs a reason"),
        (401, {"message": "no"}, 4, "key revoked or unknown"),
        (403, {"message": "viewers may not kill"}, 4, "viewers may not kill"),
        (404, {"message": "no flag 'a' in production"}, 1, "no flag 'a' in production"),
        (404, None, 4, "no flagloop server"),
        (409, {"message": "changed meanwhile"}, 3, "changed meanwhile"),
        (422, {"message": "rule r takes no share"}, 1, "rule r takes no share"),
        (
            422,
            {"message": "x", "problems": [{"path": "flags.a", "line": 3, "message": "bad"}]},
            1,
            "line 3: flags.a: bad",
        ),
        (429, {"message": "slow down"}, 4, "try again in 7 s"),
        (500, None, 4, "answered 500"),
        (503, {"message": "the disk is full"}, 4, "the disk is full (503)"),
        (302, None, 4, "redirects to https://flags.test (302); use that url"),
    ],
)
@responses.activate
def test_each_refusal_has_its_exit_code(
    run: Run, status: int, error: dict[str, Any] | None, code: int, says: str
) -> None:
    """1 the answer is no, 3 conflict, 4 the server; the server's own words are shown."""
    body = "<html>" if error is None else json.dumps({"error": {"code": "x", **error}})
    headers = {429: {"Retry-After": "7"}, 302: {"Location": "https://flags.test/api/v1/x"}}
    responses.post(f"{PLACE}/flags/a/kill", status=status, body=body, headers=headers.get(status))
    result = run("kill", "a", "--reason", "x", *ON)
    assert result.exit_code == code
    assert says in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize(
    "body", ["", "[]", "garbage", '{"error": 3}', '{"error": {"problems": 3}}']
)
@responses.activate
def test_garbage_in_place_of_an_error_is_no_crash(run: Run, body: str) -> None:
    """A proxy in between may answer anything."""
    for status, code in ((422, 1), (500, 4), (200, 4)):
        responses.post(f"{PLACE}/flags/a/kill", status=status, body=body)
        result = run("kill", "a", "--reason", "x", *ON)
        if not (status == 200 and body.startswith("{")):
            assert result.exit_code == code
        responses.reset()


@pytest.mark.parametrize("key", ["fl_srv_x", "fl_cli_x"])
def test_the_wrong_sort_of_key_is_told_at_once(run: Run, key: str) -> None:
    """FLAGLOOP_KEY is often the SDK's: nothing is sent, the mend is named."""
    result = run("kill", "a", "--reason", "x", env={"FLAGLOOP_URL": URL, "FLAGLOOP_KEY": key})
    assert result.exit_code == 2
    assert "needs an admin key" in result.stderr


def obedience(complete: bool, **more: Any) -> dict[str, Any]:
    """The server's answer to who obeys."""
    sentence = "off on 2 of 2 instances in 42 ms" if complete else "off on 1 of 2 instances; ..."
    return {"sentence": sentence, "complete": complete, "settled": complete, **more}


OBEYED = f"{PLACE}/revisions/9/instances"


@pytest.mark.parametrize(("verb", "told"), [("kill", "killed"), ("restore", "restored")])
@responses.activate
def test_wait_tells_when_all_obey(run: Run, verb: str, told: str) -> None:
    """It asks again until then, and the exit code is 0."""
    responses.post(f"{PLACE}/flags/a/{verb}", json=done())
    responses.get(OBEYED, json=obedience(False))
    responses.get(OBEYED, status=503)
    responses.get(OBEYED, json=obedience(True))
    result = run(verb, "a", "--reason", "x", *ON, "--wait")
    assert result.exit_code == 0
    assert result.output.startswith(f"{told} a (production, revision 9)\n")
    assert result.output.endswith("off on 2 of 2 instances in 42 ms\n")


@responses.activate
def test_wait_for_what_was_so_already_tells_of_which_revision_it_speaks(run: Run) -> None:
    """The latest revision may be a restore of another flag: nobody reads it as one of this."""
    responses.post(f"{PLACE}/flags/a/kill", json=done(False))
    responses.get(OBEYED, json={**obedience(True), "sentence": "restored on 2 of 2 instances"})
    result = run("kill", "a", "--reason", "x", *ON, "--wait")
    assert result.exit_code == 0
    assert "a was killed already" in result.output
    assert "may be of something else: restored on 2 of 2 instances\n" in result.output


@responses.activate
def test_wait_ends_with_5_when_somebody_is_missing(run: Run) -> None:
    """After the time that it was given; the kill is told all the same."""
    responses.post(f"{PLACE}/flags/a/kill", json=done())
    responses.get(OBEYED, json=obedience(False))
    result = run("kill", "a", "--reason", "x", *ON, "--wait", "0")
    assert result.exit_code == 5
    assert "killed a (production" in result.output
    assert result.output.endswith("off on 1 of 2 instances; ...\n")


@responses.activate
def test_wait_with_json_adds_who_obeys(run: Run) -> None:
    """One mapping: the change, and the last word about it."""
    responses.post(f"{PLACE}/flags/a/kill", json=done())
    responses.get(OBEYED, json=obedience(False, missing=[{"id": "i-1"}]))
    result = run("kill", "a", "--reason", "x", *ON, "--wait=0", "--json")
    assert result.exit_code == 5
    found = json.loads(result.stdout)
    assert found["changed"] is True
    assert found["obedience"]["missing"] == [{"id": "i-1"}]


@responses.activate
def test_a_server_that_falls_silent_after_the_kill_is_an_error(run: Run) -> None:
    """What is done was said before; an older server cannot tell who obeys."""
    responses.post(f"{PLACE}/flags/a/kill", json=done())
    responses.get(OBEYED, status=502)
    result = run("kill", "a", "--reason", "x", *ON, "--wait", "0")
    assert result.exit_code == 4
    assert "killed a (production, revision 9)" in result.output
    responses.replace(responses.GET, OBEYED, json={"what": 1})
    result = run("kill", "a", "--reason", "x", *ON, "--wait", "0")
    assert result.exit_code == 4
    assert "no word about who obeys" in result.stderr


@responses.activate
def test_json_tells_of_a_kill_whose_server_fell_silent(run: Run) -> None:
    """It is done, and nobody must think that it is not; one mapping, as always."""
    responses.post(f"{PLACE}/flags/a/kill", json=done())
    responses.get(OBEYED, status=502)
    result = run("kill", "a", "--reason", "x", *ON, "--wait", "0", "--json")
    assert result.exit_code == 4
    found = json.loads(result.stdout)
    assert (found["changed"], found["revision"], found["obedience"]) == (True, 9, None)
    assert "answered 502" in found["problem"]


@responses.activate
def test_what_was_known_before_the_server_fell_silent_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the trouble beside it."""
    clock = FakeClock()
    monkeypatch.setattr(operate, "time", SimpleNamespace(monotonic=clock, sleep=clock.advance))
    responses.post(f"{PLACE}/flags/a/kill", json=done())
    responses.get(OBEYED, json=obedience(False))
    responses.get(OBEYED, status=502)
    result = run("kill", "a", "--reason", "x", *ON, "--wait", "1")
    assert result.exit_code == 5
    assert "off on 1 of 2 instances; ...\n" in result.stdout
    assert "then the server fell silent: http://flags.test: answered 502" in result.stderr


def test_a_server_that_hangs_is_not_waited_for_longer_than_said(run: Run) -> None:
    """The kill is answered, then nothing: the command ends when its time is over."""
    answered = threading.Event()

    def answer(request: Request) -> None:
        if request.command == "POST":
            plainly(request, json.dumps(done()).encode())
        else:
            answered.wait(60)
            request.close_connection = True

    with serving(answer) as url:
        began = time.monotonic()
        words = ("--url", url, "--key", KEY, "--env", "production")
        result = run("kill", "a", "--reason", "x", *words, "--wait", "0.1")
        took = time.monotonic() - began
        answered.set()
    assert result.exit_code == 4
    assert "killed a (production" in result.stdout
    assert took < 30  # the server hangs for longer


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--wait", "a"), "put the flag before --wait"),
        (("a", "--wait=86401"), "is not from 0"),
        (("a", "--wait", "nan"), "is not from 0"),
    ],
)
def test_a_time_that_is_none_is_wrong_usage(run: Run, words: tuple[str, ...], says: str) -> None:
    """Nothing is sent."""
    result = run("kill", *words, "--reason", "x", *ON)
    assert result.exit_code == 2
    assert says in result.stderr

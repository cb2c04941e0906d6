"""`eval` and `explain`, by file and by server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import responses

from flagloop.document.schema import wire
from flagloop.document.yamlfile import parse
from flagloop.evaluation.ruleset import Ruleset

Run = Callable[..., Any]

URL = "http://flags.test"
SERVER = ("--url", URL, "--key", "fl_srv_x")
ADMIN = ("--url", URL, "--key", "fl_adm_x")


def test_eval_prints_the_decision_as_json(run: Run, file: Path) -> None:
    """flag, variant, value, reason, rule."""
    user = json.dumps({"key": "u-42", "email": "a@example.com"})
    result = run("eval", "cta_color", "--user", user, "--file", file, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "flag": "cta_color",
        "variant": "treatment",
        "value": "green",
        "reason": "TARGETING_MATCH",
        "rule": "staff",
    }


def test_eval_prints_a_line_for_people(run: Run, file: Path) -> None:
    """The variant, its value and why."""
    result = run("eval", "new_checkout", "--user", '{"key": "u", "plan": "pro"}', "--file", file)
    assert result.output == "new_checkout: on true (TARGETING_MATCH, rule beta)\n"


def test_a_bare_user_is_the_key(run: Run, file: Path) -> None:
    """`--user u-42` is `--user '{"key": "u-42"}'`."""
    for key in ("u-42", "42", "", '"quoted"', "[x"):
        plain = run("eval", "cta_color", "--user", key, "--file", file, "--json")
        object_ = run(
            "eval", "cta_color", "--user", json.dumps({"key": key}), "--file", file, "--json"
        )
        assert plain.exit_code == object_.exit_code == 0
        assert plain.stdout == object_.stdout


@pytest.mark.parametrize("user", ['{"key": ', '{"key": NaN}', "{key: u}", '{"a": 1}}', "{" * 5000])
def test_a_user_that_is_no_json_is_wrong_usage(run: Run, file: Path, user: str) -> None:
    """The message names the option, exit code 2."""
    result = run("eval", "cta_color", "--user", user, "--file", file)
    assert result.exit_code == 2
    assert "--user" in result.output


def test_an_unknown_flag_exits_1_with_a_hint(run: Run, file: Path) -> None:
    """The caller's default is no answer; a near name is offered."""
    result = run("eval", "cta_colour", "--user", "u", "--file", file, "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["variant"], answer["error"]) == (None, "FLAG_NOT_FOUND")
    assert "did you mean 'cta_color'?" in result.stderr


def test_a_broken_flag_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    """As in an application; the file's problems are pointed at."""
    path = tmp_path / "flags.yaml"
    path.write_text("version: 1\nflags:\n  good: {}\n  bad: {killd: true}\n")
    good = run("eval", "good", "--user", "u", "--file", path)
    assert (good.exit_code, good.stdout) == (0, "good: off false (STATIC)\n")
    assert "has 1 problem, see: flagloop validate" in good.stderr
    bad = run("eval", "bad", "--user", "u", "--file", path)
    assert bad.exit_code == 1
    assert "PARSE_ERROR" in bad.stdout


def test_a_file_that_cannot_be_read_as_yaml_is_told_with_its_line(run: Run, tmp_path: Path) -> None:
    """Exit code 1, file and line."""
    path = tmp_path / "flags.yaml"
    path.write_text("version: 1\nflags: [\n")
    result = run("eval", "a", "--user", "u", "--file", path)
    assert result.exit_code == 1
    assert f"{path}:" in result.stderr


def test_at_decides_as_of_a_moment(run: Run, file: Path) -> None:
    """A window can be asked before it opens; the end is exclusive."""
    words = ("eval", "new_checkout", "--user", "u", "--file", file, "--at")
    assert "rule spring" in run(*words, "2127-03-01").output
    assert "DEFAULT" in run(*words, "2127-02-28T23:59:59Z").output
    assert "DEFAULT" in run(*words, "2127-06-01").output
    assert run(*words, "tomorrow").exit_code == 2


@pytest.mark.parametrize("form", ["lines", "list", "keys", "recorded"])
def test_many_users_are_decided_at_once(run: Run, file: Path, tmp_path: Path, form: str) -> None:
    """Each line is what the evaluator says, in the order of the file, in every form of file."""
    users = [{"key": f"u-{n}"} for n in range(300)]
    lines = {
        "lines": "\n".join(json.dumps(user) for user in users) + "\n\n",
        "list": json.dumps(users, indent=1),
        "keys": json.dumps([user["key"] for user in users]),
        "recorded": "\n".join(json.dumps({**user, "attributes": {}}) for user in users),
    }
    contexts = tmp_path / "contexts.json"
    contexts.write_text(lines[form])
    result = run("eval", "cta_color", "--contexts", contexts, "--file", file, "--json")
    assert result.exit_code == 0
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    ruleset = Ruleset(parse(file.read_bytes()).mapping)
    expected = [{**user, **ruleset.evaluate("cta_color", user, 0.0).to_mapping()} for user in users]
    assert printed == expected
    assert {one["variant"] for one in printed} == {"control", "treatment"}


def test_bad_contexts_are_told_with_their_lines(run: Run, file: Path, tmp_path: Path) -> None:
    """All of them at once, exit code 1."""
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text('{"key": "a"}\n{"key"\n\n7\n"b"\n')
    result = run("eval", "cta_color", "--contexts", contexts, "--file", file)
    assert result.exit_code == 1
    assert f"{contexts}:2: no JSON" in result.stderr
    assert f"{contexts}:4: a context is an object or a key, not int" in result.stderr
    assert ":5:" not in result.stderr


def test_somebody_must_be_asked_about(run: Run, file: Path) -> None:
    """Neither or both of --user and --contexts is wrong usage."""
    assert run("eval", "cta_color", "--file", file).exit_code == 2
    both = run("eval", "cta_color", "--file", file, "--user", "u", "--contexts", file)
    assert both.exit_code == 2


def test_explain_walks_the_rules(run: Run, file: Path) -> None:
    """Rule by rule, as text and as JSON, with the same decision as eval."""
    words = ("cta_color", "--user", "u-42", "--file", file)
    told = run("explain", *words)
    assert told.exit_code == 0
    assert "staff" in told.output
    assert "half" in told.output
    decision = json.loads(run("eval", *words, "--json").stdout)
    explained = json.loads(run("explain", *words, "--json").stdout)
    steps = explained.pop("steps")
    assert explained == decision
    assert [one["name"] for one in steps][:2] == ["staff", "half"]
    assert run("explain", "gone", "--user", "u", "--file", file).exit_code == 1


def snapshot(text: str) -> dict[str, Any]:
    """What the server sends for a document."""
    return {
        **wire(parse(text).mapping),
        "format": 1,
        "revision": "k.7",
        "environment": "production",
    }


@responses.activate
def test_a_server_key_decides_by_the_ruleset(run: Run, file: Path) -> None:
    """Exactly what an SDK with this key would serve."""
    responses.get(f"{URL}/api/v1/ruleset", json=snapshot(file.read_text()))
    for n in range(20):
        words = ("eval", "cta_color", "--user", f"u-{n}", "--json")
        assert run(*words, *SERVER).stdout == run(*words, "--file", file).stdout


@responses.activate
def test_a_server_key_of_another_environment_is_refused(run: Run, file: Path) -> None:
    """--env must not be silently ignored."""
    responses.get(f"{URL}/api/v1/ruleset", json=snapshot(file.read_text()))
    result = run("eval", "cta_color", "--user", "u", *SERVER, "--env", "development")
    assert result.exit_code == 2
    assert "belongs to production, not to development" in result.stderr
    assert run("eval", "cta_color", "--user", "u", *SERVER, "--env", "production").exit_code == 0


@responses.activate
def test_an_admin_key_decides_by_the_document_of_any_revision(run: Run, file: Path) -> None:
    """The key's environment is asked for when --env is left out."""
    place = f"{URL}/api/v1/admin"
    stored = {"environment": "production", "lineage": "k", "text": file.read_text()}
    responses.get(f"{place}/whoami", json={"environment": "production"})
    responses.get(
        f"{place}/environments/production/document",
        json={**stored, "revision": 3},
        match=[responses.matchers.query_param_matcher({"revision": 3})],
    )
    result = run("explain", "cta_color", "--user", "u", *ADMIN, "--revision", "3")
    assert result.exit_code == 0, result.output


def test_the_wrong_sort_of_key_is_named_before_anything_is_sent(run: Run) -> None:
    """A client key reads no rules, a server key no past revisions."""
    client = ("--url", URL, "--key", "fl_cli_x")
    assert "client key" in run("eval", "a", "--user", "u", *client).stderr
    past = run("eval", "a", "--user", "u", *SERVER, "--revision", "1")
    assert (past.exit_code, "admin key" in past.stderr) == (2, True)


def test_what_is_missing_is_named_with_its_variable(run: Run) -> None:
    """No server and no key are different things."""
    none = run("eval", "a", "--user", "u")
    assert (none.exit_code, "FLAGLOOP_URL" in none.stderr) == (2, True)
    keyless = run("eval", "a", "--user", "u", "--url", URL)
    assert (keyless.exit_code, "FLAGLOOP_KEY" in keyless.stderr) == (2, True)


@responses.activate
def test_the_environment_variables_stand_for_the_options(run: Run, file: Path) -> None:
    """And --file wins over FLAGLOOP_URL."""
    responses.get(f"{URL}/api/v1/ruleset", json=snapshot(file.read_text()))
    env = {"FLAGLOOP_URL": URL, "FLAGLOOP_KEY": "fl_srv_x"}
    assert run("eval", "cta_color", "--user", "u", env=env).exit_code == 0
    assert len(responses.calls) == 1
    assert run("eval", "cta_color", "--user", "u", "--file", file, env=env).exit_code == 0
    assert len(responses.calls) == 1


@responses.activate
def test_a_server_that_fails_exits_4(run: Run) -> None:
    """Errors, garbage and a revoked key: said in words, the key in none of them."""
    for status, says in ((500, "answered 500"), (401, "key revoked or unknown")):
        responses.get(f"{URL}/api/v1/ruleset", status=status)
        result = run("eval", "a", "--user", "u", *SERVER)
        assert (result.exit_code, says in result.stderr) == (4, True)
        assert "fl_srv_x" not in result.output
        responses.reset()

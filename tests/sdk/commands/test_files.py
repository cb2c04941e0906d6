"""`push`, `pull` and `diff`: what is sent, what is written, what is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import responses

from flagloop.commands.files import ignored_text
from flagloop.commands.sidefile import side_path

Run = Callable[..., Any]

URL = "http://flags.test"
PLACE = f"{URL}/api/v1/admin/environments/production"
ON = ("--url", URL, "--key", "fl_adm_x", "--env", "production")


def pushed(revision: int = 8, **more: Any) -> dict[str, Any]:
    """The server's answer to a push that took something."""
    return {
        "environment": "production",
        "lineage": "k",
        "revision": revision,
        "applied": True,
        "taken": [],
        "kept": [],
        "archived": [],
        "removed": [],
        "ignored": [],
        "problems": [],
        **more,
    }


def serve(text: str, revision: int = 7, env: str = "production") -> None:
    """Let the server have this document."""
    responses.upsert(
        "GET",
        f"{URL}/api/v1/admin/environments/{env}/document",
        json={"environment": env, "lineage": "k", "revision": revision, "text": text},
    )


def sent() -> Any:
    """The JSON of the last request."""
    return json.loads(responses.calls[-1].request.body)


@responses.activate
def test_a_first_push_sends_the_text_without_a_base(run: Run, file: Path) -> None:
    """The server then takes what the key pushed last without one."""
    responses.post(f"{PLACE}/push", json=pushed())
    result = run("push", file, "--reason", "spring", *ON)
    assert result.exit_code == 0
    assert sent() == {
        "text": file.read_text(),
        "state": False,
        "dry_run": False,
        "reason": "spring",
    }


@responses.activate
def test_what_a_push_without_a_base_undoes_is_told(run: Run, file: Path) -> None:
    """Who did it and when, on stderr; a dry run says that it would."""
    one = {"section": "flags", "key": "a", "revision": 7, "actor": "ana", "action": "share"}
    responses.post(f"{PLACE}/push", json=pushed(undoes=[one]))
    told = "this would replace what ana made of flags.a in revision 7 (share)"
    assert told in run("push", file, "--dry-run", *ON).stderr
    assert told.replace("would replace", "replaced") in run("push", file, *ON).stderr


@responses.activate
def test_the_next_push_sends_what_was_pushed_as_base(run: Run, file: Path) -> None:
    """Not the merged document: what others changed would look like changes of the file."""
    responses.post(f"{PLACE}/push", json=pushed())
    first = file.read_text()
    run("push", file, *ON)
    file.write_text(first + "\n# more\n")
    run("push", file, "--state", *ON)
    assert sent()["base_text"] == first
    assert sent()["state"] is True
    run("push", file, *ON)
    assert sent()["base_text"] == first + "\n# more\n"


@responses.activate
def test_a_named_base_wins_over_the_side_file(run: Run, file: Path) -> None:
    """`--base N` is sent as the number."""
    responses.post(f"{PLACE}/push", json=pushed())
    run("push", file, *ON)
    run("push", file, "--base", "5", *ON)
    assert sent()["base"] == 5
    assert "base_text" not in sent()


@responses.activate
def test_the_bytes_of_the_file_are_what_is_pushed(run: Run, file: Path) -> None:
    """Line ends and a byte order mark arrive as they are, in the base too."""
    content = b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n")
    file.write_bytes(content)
    responses.post(f"{PLACE}/push", json=pushed())
    run("push", file, *ON)
    assert sent()["text"].encode() == content
    run("push", file, *ON)
    assert sent()["base_text"].encode() == content


@responses.activate
def test_environments_have_bases_of_their_own(run: Run, file: Path) -> None:
    """Pushing to one says nothing about another, nor about another server."""
    responses.post(f"{PLACE}/push", json=pushed())
    responses.post(f"{URL}/api/v1/admin/environments/development/push", json=pushed())
    run("push", file, *ON)
    other = (*ON[:4], "--env", "development")
    run("push", file, *other)
    assert "base_text" not in sent()
    file.write_text(file.read_text() + "# x\n")
    run("push", file, *other)
    run("push", file, *ON)
    assert "# x" not in sent()["base_text"]
    copies = json.loads(side_path(file).read_text())["copies"]
    assert {one["environment"] for one in copies} == {"production", "development"}


@responses.activate
def test_a_dry_run_leaves_the_side_file(run: Run, file: Path) -> None:
    """And says `would`."""
    responses.post(f"{PLACE}/push", json=pushed(7, applied=False))
    result = run("push", file, "--dry-run", *ON)
    assert sent()["dry_run"] is True
    assert "would push" in result.output
    assert not side_path(file).exists()


@responses.activate
def test_a_push_tells_each_item(run: Run, file: Path) -> None:
    """Taken, kept, archived, removed, and what stays as it runs."""
    answer = pushed(
        taken=[{"section": "flags", "key": "a"}],
        kept=[{"section": "flags", "key": "b"}],
        archived=[{"section": "flags", "key": "c"}],
        removed=[{"section": "segments", "key": "d"}],
        ignored=[
            {
                "section": "flags",
                "key": "cta_color",
                "path": "killed",
                "mine": None,
                "theirs": True,
            }
        ],
        problems=[{"message": "two salts", "path": "flags.a", "line": 3, "severity": "warning"}],
    )
    responses.post(f"{PLACE}/push", json=answer)
    result = run("push", file, *ON)
    assert result.stdout.splitlines() == [
        f"pushed {file} (production, revision 8)",
        "  taken    flags.a",
        "  kept     flags.b  (changed on the server; pull brings it)",
        "  archived flags.c",
        "  removed  segments.d",
        "cta_color stays killed on the server; --state would revive it",
    ]
    assert f"warning: {file}:3: flags.a: two salts" in result.stderr
    assert json.loads(run("push", file, *ON, "--json").stdout) == answer


@pytest.mark.parametrize(
    ("section", "path", "mine", "theirs", "says"),
    [
        (
            "flags",
            "killed",
            None,
            {"reason": "x"},
            "a stays killed on the server; --state would revive it",
        ),
        ("flags", "killed", True, None, "a stays live on the server; --state would kill it"),
        (
            "flags",
            "rules.canary.rollout.stage",
            "5%",
            "25%",
            "a rule canary stays at stage 25% on the server; --state would set it to 5%",
        ),
        (
            "flags",
            "rules.canary.rollout.stage",
            None,
            "25%",
            "a rule canary stays at stage 25% on the server; --state would set it to 0%",
        ),
        (
            "flags",
            "rules.v1.2.rollout.paused",
            None,
            True,
            "a rule v1.2 stays paused on the server; --state would resume it",
        ),
        (
            "experiments",
            "status",
            None,
            "decided",
            "a stays decided on the server; --state would make it running",
        ),
    ],
)
def test_each_runtime_word_is_told_in_words(
    section: str, path: str, mine: Any, theirs: Any, says: str
) -> None:
    """What stays, and what --state would do."""
    one = {"section": section, "key": "a", "path": path, "mine": mine, "theirs": theirs}
    assert ignored_text(one) == says


CONFLICT = {
    "error": {
        "code": "conflict",
        "message": "conflict",
        "conflicts": [
            {
                "section": "flags",
                "key": "cta_color",
                "base": "  cta_color: {off: a}\n",
                "mine": "  cta_color: {off: b}\n",
                "theirs": "  cta_color: {off: c}\n",
            },
            {"section": "flags", "key": "old", "base": "x", "mine": None, "theirs": "y"},
        ],
    }
}


@responses.activate
def test_a_conflict_shows_both_texts_and_exits_3(run: Run, file: Path) -> None:
    """Nothing was applied, so the side file stays as it was."""
    responses.post(f"{PLACE}/push", json=CONFLICT, status=409)
    result = run("push", file, *ON)
    assert result.exit_code == 3
    assert "conflict: flags.cta_color" in result.stderr
    assert "-  cta_color: {off: c}" in result.stderr
    assert "+  cta_color: {off: b}" in result.stderr
    assert "the file dropped it" in result.stderr
    assert "nothing was applied" in result.stderr
    assert not side_path(file).exists()
    as_json = run("push", file, *ON, "--json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout)["error"]["conflicts"] == CONFLICT["error"]["conflicts"]


@responses.activate
def test_a_refused_document_is_told_by_its_lines(run: Run, file: Path) -> None:
    """The server's problems are named at file:line."""
    problem = {"message": "unknown segment", "path": "flags.cta_color", "line": 8}
    body = {"error": {"code": "invalid_document", "message": "x", "problems": [problem]}}
    responses.post(f"{PLACE}/push", json=body, status=422)
    result = run("push", file, *ON)
    assert result.exit_code == 1
    assert f"{file}:8: flags.cta_color: unknown segment" in result.stderr


def test_a_file_that_is_no_yaml_is_not_sent(run: Run, file: Path) -> None:
    """Its problems are told without a server."""
    file.write_text("version: 1\nflags: [\n")
    result = run("push", file, *ON)
    assert result.exit_code == 1
    assert f"{file}:" in result.stderr


@responses.activate
def test_pull_without_a_file_prints_the_bytes(run: Run) -> None:
    """Byte for byte, for a pipe."""
    text = "\ufeffversion: 1\r\nflags: {}\r\n"
    serve(text)
    assert run("pull", *ON).stdout_bytes == text.encode()
    assert json.loads(run("pull", *ON, "--json").stdout)["revision"] == 7


@responses.activate
def test_pull_writes_a_new_file_and_its_side_file(run: Run, tmp_path: Path) -> None:
    """The bytes are the server's; environment, revision and base are kept beside it."""
    text = "\ufeffversion: 1\r\nflags: {}\r\n"
    serve(text)
    path = tmp_path / "new.yaml"
    result = run("pull", path, *ON)
    assert result.output == f"{path}: written (production, revision 7)\n"
    assert path.read_bytes() == text.encode()
    (copy,) = json.loads(side_path(path).read_text())["copies"]
    assert (copy["environment"], copy["revision"], copy["base"]) == ("production", 7, text)
    assert {one.name for one in tmp_path.iterdir()} == {"new.yaml", ".new.yaml.flagloop"}
    assert "up to date" in run("pull", path, *ON).output


@responses.activate
def test_pull_updates_a_file_that_has_no_changes_of_its_own(run: Run, file: Path) -> None:
    """After a push the file is what was pushed: the server's text replaces it."""
    responses.post(f"{PLACE}/push", json=pushed())
    run("push", file, *ON)
    theirs = file.read_text().replace("share: 50%", "share: 60%")
    serve(theirs)
    file.chmod(0o640)
    result = run("pull", file, *ON)
    assert "updated" in result.output
    assert file.read_text() == theirs
    assert file.stat().st_mode & 0o777 == 0o640


@responses.activate
def test_pull_merges_changes_that_were_not_pushed(run: Run, file: Path) -> None:
    """Mine to one flag and theirs to another are both there; the next push sends mine alone."""
    base = file.read_text()
    serve(base)
    run("pull", file, *ON)
    file.write_text(base.replace("plan: pro", "plan: team"))
    theirs = base.replace("share: 50%", "share: 60%")
    serve(theirs, 8)
    result = run("pull", file, *ON)
    assert "merged" in result.output
    assert file.read_text() == theirs.replace("plan: pro", "plan: team")
    responses.post(f"{PLACE}/push", json=pushed(9))
    run("push", file, *ON)
    assert sent()["base_text"] == theirs


@responses.activate
def test_pull_into_a_conflict_writes_nothing(run: Run, file: Path) -> None:
    """Exit code 3, both texts shown; --force takes the server's."""
    base = file.read_text()
    serve(base)
    run("pull", file, *ON)
    mine = base.replace("share: 50%", "share: 70%")
    file.write_text(mine)
    theirs = base.replace("share: 50%", "share: 60%")
    serve(theirs, 8)
    result = run("pull", file, *ON)
    assert result.exit_code == 3
    assert "conflict: flags.cta_color" in result.stderr
    assert file.read_text() == mine
    assert json.loads(side_path(file).read_text())["copies"][0]["revision"] == 7
    assert run("pull", file, "--force", *ON).exit_code == 0
    assert file.read_text() == theirs


@responses.activate
def test_pull_does_not_write_over_a_file_of_unknown_origin(run: Run, file: Path) -> None:
    """Without a side file nobody knows what would be lost."""
    mine = file.read_text()
    serve("version: 1\nflags: {}\n")
    result = run("pull", file, *ON)
    assert result.exit_code == 3
    assert "--force" in result.stderr
    assert file.read_text() == mine
    assert not side_path(file).exists()


@responses.activate
def test_a_damaged_side_file_is_named_with_the_mend(run: Run, file: Path) -> None:
    """It is not silently replaced: a wrong base would undo others' changes."""
    side_path(file).write_text("{")
    result = run("push", file, *ON)
    assert result.exit_code == 2
    assert f"{side_path(file)} cannot be read" in result.stderr
    assert "--base" in result.stderr


@responses.activate
def test_pull_follows_a_link(run: Run, file: Path, tmp_path: Path) -> None:
    """The file behind a link is updated, the link stays."""
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    serve("version: 1\nflags: {}\n")
    run("pull", link, "--force", *ON)
    assert link.is_symlink()
    assert file.read_text() == "version: 1\nflags: {}\n"


@responses.activate
def test_diff_lists_items_and_lines(run: Run, file: Path) -> None:
    """Exit code 1: changed, only here, only there, then the lines."""
    text = file.read_text()
    theirs = text.replace("share: 50%", "share: 60%").replace("new_checkout", "old_checkout")
    serve(theirs)
    result = run("diff", file, *ON)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "changed            flags.cta_color" in lines
    assert "only in the file   flags.new_checkout" in lines
    assert "only on the server flags.old_checkout" in lines
    assert "-      - {name: half, share: 60%, serve: treatment}" in lines
    assert "+      - {name: half, share: 50%, serve: treatment}" in lines
    answer = json.loads(run("diff", file, *ON, "--json").stdout)
    assert answer["equal"] is False
    assert {one["key"] for one in answer["items"]} == {
        "cta_color",
        "new_checkout",
        "old_checkout",
    }
    assert answer["revision"] == 7
    assert "share: 60%" in answer["diff"]


@responses.activate
def test_no_difference_exits_0(run: Run, file: Path) -> None:
    """As diff(1) does."""
    serve(file.read_text())
    result = run("diff", file, *ON)
    assert (result.exit_code, result.output) == (0, "no difference (production, revision 7)\n")
    assert json.loads(run("diff", file, *ON, "--json").stdout)["equal"] is True


@responses.activate
def test_a_difference_of_comments_alone_is_shown(run: Run, file: Path) -> None:
    """Items may be the same while the header differs."""
    serve("# ours\n" + file.read_text())
    result = run("diff", file, *ON)
    assert result.exit_code == 1
    assert "-# ours" in result.output

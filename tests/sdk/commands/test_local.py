"""`validate` and `replay`: files alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

EIGHT = """\
version: 1
flogs: {}
segments:
  staff: {when: {email: {ends_wiht: "@example.com"}}}
flags:
  a:
    variants: {on: true, off: 3}
    default: on
  b:
    rules:
      - {name: beta, share: 5, serve: on}
      - {name: beta, serve: on}
      - {name: gone, when: {segment: stuff}, serve: on}
  c:
    default: treatmnt
    variants: {control: 1, treatment: 2}
  d:
    killd: true
"""


def test_a_good_file_has_no_problems(run: Run, file: Path, root: Path) -> None:
    """Exit code 0, several files at once."""
    result = run("validate", file, root / "flags.example.yaml")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "2 files without problems"


def test_eight_mistakes_are_told_at_once_with_their_lines(run: Run, tmp_path: Path) -> None:
    """Every problem of a file as file:line: path: message, in order, exit code 1."""
    path = tmp_path / "bad.yaml"
    path.write_text(EIGHT)
    result = run("validate", path)
    assert result.exit_code == 1
    lines = [int(line.split(":")[1]) for line in result.output.splitlines()]
    assert sorted(set(lines)) == [2, 4, 7, 11, 12, 13, 15, 18]
    assert lines == sorted(lines)
    assert f"{path}:2: flogs: " in result.output
    assert "did you mean" in result.output


def test_problems_come_as_json_too(run: Run, file: Path, tmp_path: Path) -> None:
    """Each with file, line, path, message, hint and severity."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(EIGHT)
    result = run("validate", "--json", file, bad)
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["valid"] is False
    assert {one["file"] for one in answer["problems"]} == {str(bad)}
    assert {"line", "path", "message", "hint", "severity"} <= set(answer["problems"][0])
    assert json.loads(run("validate", "--json", file).stdout) == {"valid": True, "problems": []}


def test_a_warning_alone_is_no_failure(run: Run, tmp_path: Path) -> None:
    """It is printed, and the exit code stays 0."""
    path = tmp_path / "warns.yaml"
    path.write_text("version: 1\nflags:\n  a:\n    variants: {x: 2.10}\n    default: x\n")
    result = run("validate", path)
    assert result.exit_code == 0
    assert "warning" in result.output


@pytest.mark.parametrize(
    "content",
    [b"version: 1\nflags: [\n", b"\xff\xfe\x00", b"- a\n- b\n", b"a: &x 1\n", b"\x00"],
)
def test_what_is_no_document_is_a_problem_not_a_crash(
    run: Run, tmp_path: Path, content: bytes
) -> None:
    """Syntax, encoding and the wrong kind of YAML are told like all problems."""
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    result = run("validate", path)
    assert result.exit_code == 1
    assert result.output.startswith(str(path))


def test_a_missing_file_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    """Exit code 2 and the name."""
    result = run("validate", tmp_path / "gone.yaml")
    assert result.exit_code == 2
    assert "gone.yaml" in result.output


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """A thousand users, every tenth on the plan pro."""
    path = tmp_path / "contexts.jsonl"
    users = [{"key": f"u-{n}", "plan": "free" if n % 10 else "pro"} for n in range(1000)]
    path.write_text("".join(json.dumps(user) + "\n" for user in users))
    return path


def test_replay_tells_who_moves(run: Run, file: Path, tmp_path: Path, crowd: Path) -> None:
    """A share that grows moves units in only; the numbers are the evaluator's own."""
    grown = tmp_path / "grown.yaml"
    grown.write_text(file.read_text().replace("share: 50%", "share: 60%"))
    result = run("replay", file, grown, "--contexts", crowd, "--flag", "cta_color", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["contexts"], list(told["flags"])) == (1000, ["cta_color"])
    (move,) = told["flags"]["cta_color"]["moves"]
    served = {
        path: [
            json.loads(line)["variant"]
            for line in run(
                "eval", "cta_color", "--contexts", crowd, "--file", path, "--json"
            ).stdout.splitlines()
        ]
        for path in (file, grown)
    }
    moved = [pair for pair in zip(*served.values(), strict=True) if pair[0] != pair[1]]
    assert set(moved) == {("control", "treatment")}
    assert (move["from"], move["to"], move["n"]) == ("control", "treatment", len(moved))
    assert told["flags"]["cta_color"]["stay"] == 1000 - len(moved)


def test_replay_judges_as_of_a_moment(run: Run, file: Path, tmp_path: Path, crowd: Path) -> None:
    """A window is seen from inside and from outside; the end is exclusive."""
    closed = tmp_path / "closed.yaml"
    closed.write_text(file.read_text().replace("from: 2127-03-01, ", "from: 2127-05-01, "))

    def moved(at: str) -> int:
        words = ("replay", file, closed, "--contexts", crowd, "--at", at, "--json")
        told = json.loads(run(*words).stdout)["flags"]["new_checkout"]
        return int(told["moved"])

    assert [moved(at) for at in ("2127-02-28", "2127-03-01", "2127-05-01")] == [
        0,
        900,
        0,
    ]  # the rest is on pro
    assert run("replay", file, closed, "--contexts", crowd, "--at", "soon").exit_code == 2


def test_replay_prints_lines_for_people(run: Run, file: Path, tmp_path: Path, crowd: Path) -> None:
    """Who stays, who moves, and what the contexts cannot judge."""
    other = tmp_path / "other.yaml"
    other.write_text(file.read_text().replace("plan: pro", "plan: free"))
    result = run("replay", file, other, "--contexts", crowd)
    assert result.exit_code == 0
    assert "new_checkout: 0 stay, 1000 move" in result.output
    assert "rule staff cannot be judged; not recorded: email" in result.output


def test_replay_refuses_what_it_cannot_judge(
    run: Run, file: Path, tmp_path: Path, crowd: Path
) -> None:
    """A broken file and an unknown flag: exit code 1 and the place."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nflogs: {}\n")
    broken = run("replay", file, bad, "--contexts", crowd)
    assert (broken.exit_code, f"{bad}:2" in broken.stderr) == (1, True)
    unknown = run("replay", file, file, "--contexts", crowd, "--flag", "cta_colour")
    assert (unknown.exit_code, "did you mean 'cta_color'?" in unknown.stderr) == (1, True)

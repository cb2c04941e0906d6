"""The commands against a real `flagloop serve`: the loop that a person walks every day."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("flask")

Run = Callable[..., Any]


class Place(NamedTuple):
    """A running server with keys of production, and a file that is pushed to it."""

    run: Run
    file: Path
    url: str
    admin: str
    server: str

    def __call__(self, *words: str | Path, key: str | None = None) -> Any:
        """One command with the admin key."""
        env = {"FLAGLOOP_URL": self.url, "FLAGLOOP_KEY": key or self.admin}
        return self.run(*words, env=env)


@pytest.fixture
def place(run: Run, file: Path, tmp_path: Path, start_server: Callable[..., Any]) -> Place:
    """A server on a new folder that has the small document in production."""
    data = tmp_path / "data"
    server = start_server(data)
    keys = []
    for kind in ("admin", "server"):
        words = ("keys", "create", "--data", data, "--env", "production", "--kind", kind, "--json")
        made = run(*words)
        assert made.exit_code == 0, made.output
        keys.append(json.loads(made.stdout)["key"])
    here = Place(run, file, server.url, *keys)
    pushed = here("push", file, "--reason", "first")
    assert pushed.exit_code == 0, pushed.output
    return here


def revision(place: Place) -> int:
    """The present revision of production."""
    return int(json.loads(place("pull", "--json").stdout)["revision"])


def test_reading_changes_nothing_and_agrees(place: Place, tmp_path: Path) -> None:
    """Pull gives the pushed bytes, eval agrees by file and both keys, a dry run only tells."""
    other = tmp_path / "other.yaml"
    assert place("pull", other).exit_code == 0
    assert other.read_bytes() == place.file.read_bytes()
    assert place("diff", place.file).exit_code == 0
    for n in range(5):
        words = ("eval", "cta_color", "--user", f"u-{n}", "--json")
        by_file = place.run(*words, "--file", place.file).stdout
        assert place(*words).stdout == by_file
        assert place(*words, key=place.server).stdout == by_file
    place.file.write_text(place.file.read_text().replace("plan: pro", "plan: team"))
    number = revision(place)
    result = place("push", place.file, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would push" in result.output
    assert "taken    flags.new_checkout" in result.output
    assert revision(place) == number


def test_a_kill_survives_the_push_of_the_old_file(place: Place) -> None:
    """It says so; restore brings back the exact text; only --state would revive."""
    before = place.file.read_bytes()
    killed = place("kill", "cta_color", "--reason", "errors doubled")
    assert killed.exit_code == 0, killed.output
    assert "killed cta_color (production, revision" in killed.output
    assert "killed already" in place("kill", "cta_color", "--reason", "again").output
    decision = json.loads(
        place("eval", "cta_color", "--user", "u", "--json", key=place.server).stdout
    )
    assert decision["reason"] == "DISABLED"
    number = revision(place)
    again = place("push", place.file)
    assert again.exit_code == 0, again.output
    assert "cta_color stays killed on the server; --state would revive it" in again.output
    assert revision(place) == number
    restored = place("restore", "cta_color")
    assert restored.exit_code == 0, restored.output
    assert place("pull").stdout_bytes == before
    place("kill", "cta_color", "--reason", "x")
    assert place("push", place.file, "--state").exit_code == 0
    assert place("pull").stdout_bytes == place.file.read_bytes()


def test_people_merge_or_conflict(place: Place, tmp_path: Path) -> None:
    """Edits to different flags merge and pull as edited lines; to one flag nothing is applied."""
    base = place.file.read_text()
    shared = place("share", "cta_color", "half", "75%", "--reason", "going well")
    assert shared.exit_code == 0, shared.output
    assert place("diff", place.file).exit_code == 1
    assert place("pull", place.file).exit_code == 0
    assert place.file.read_text() == base.replace("share: 50%", "share: 75%")
    theirs = tmp_path / "theirs.yaml"
    place("pull", theirs)
    base = theirs.read_text()
    theirs.write_text(base.replace("share: 75%", "share: 60%"))
    assert place("push", theirs).exit_code == 0
    place.file.write_text(base.replace("plan: pro", "plan: team"))
    merged = place("push", place.file)
    assert merged.exit_code == 0, merged.output
    assert "taken    flags.new_checkout" in merged.output
    assert "kept     flags.cta_color" in merged.output
    both = base.replace("share: 75%", "share: 60%").replace("plan: pro", "plan: team")
    assert place("pull").stdout == both
    place.file.write_text(place.file.read_text().replace("share: 75%", "share: 70%"))
    number = revision(place)
    conflict = place("push", place.file)
    assert conflict.exit_code == 3
    assert "conflict: flags.cta_color" in conflict.stderr
    assert (revision(place), place("pull").stdout) == (number, both)
    won = place("push", place.file, "--base", str(number))
    assert won.exit_code == 0, won.output
    assert place("pull").stdout == both.replace("share: 60%", "share: 70%")


def test_refusals_name_what_is_wrong(place: Place) -> None:
    """Unknown flag, rule and environment, a bad document, a revoked key."""
    unknown = place("kill", "cta_colour", "--reason", "x")
    assert (unknown.exit_code, "cta_colour" in unknown.stderr) == (1, True)
    rule = place("share", "cta_color", "gone", "5%")
    assert (rule.exit_code, "gone" in rule.stderr) == (1, True)
    elsewhere = place("pull", "--env", "nowhere")
    assert elsewhere.exit_code in (1, 4)
    assert "nowhere" in elsewhere.stderr
    key = place("pull", key="fl_adm_" + "0" * 43)
    assert (key.exit_code, "key revoked or unknown" in key.stderr) == (4, True)
    place.file.write_text(place.file.read_text().replace("share: 50%", "shaer: 50%"))
    bad = place("push", place.file)
    assert (bad.exit_code, f"{place.file}:10:" in bad.stderr) == (1, True)

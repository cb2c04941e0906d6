"""A kill by REST, CLI or page reaches a running SDK at its next poll; restore takes it back."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Do = Callable[[Any, str, str, str], None]

UNCHANGED = 'flagloop_requests_total{route="ruleset",status="304"}'


def by_rest(place: Any, verb: str, flag: str, reason: str) -> None:
    """As a script does."""
    answer = place.rest("POST", f"flags/{flag}/{verb}", {"reason": reason})
    assert answer.status_code == 200, answer.text


def by_cli(place: Any, verb: str, flag: str, reason: str) -> None:
    """As a developer does."""
    done = place.cli(verb, flag, "--reason", reason)
    assert done.exit_code == 0, done.output


def by_page(place: Any, verb: str, flag: str, reason: str) -> None:
    """As whoever is on call does, without JavaScript."""
    browser = place.browsers[0]
    browser.get(f"/environments/{place.name}/flags/{flag}")
    browser.post(f"/environments/{place.name}/flags/{flag}/{verb}", reason=reason)


@pytest.mark.parametrize("do", [by_rest, by_cli, by_page])
def test_at_the_next_poll(root: Path, place: Any, until: Callable[..., Any], do: Do) -> None:
    """No poll after the kill's answer is told "unchanged"; restore gives state and bytes back."""
    file = root / "flags.example.yaml"
    place.push(file)
    if do is by_page:
        place.browser()
    client = place.client()
    users = [f"u-{n}" for n in range(50)]
    before = {user: client.decide("cta_color", user).to_mapping() for user in users}
    assert {one["variant"] for one in before.values()} == {"control", "treatment"}
    text = place.text()
    changes: list[tuple[frozenset[str], float]] = []
    # It is called before the next poll, so no later answer can be among those that it counts.
    client.on_change(lambda changed: changes.append((changed, place.metric(UNCHANGED))))

    do(place, "kill", "cta_color", "errors doubled")
    killed_at = place.revision()
    polls = place.metric(UNCHANGED)
    assert until(lambda: client.status()["revision"] == killed_at)
    assert until(lambda: changes) == [({"cta_color"}, polls)]
    for user in users:
        found = client.decide("cta_color", user)
        assert (found.variant, found.reason.value) == ("control", "DISABLED")
        assert client.value("headline", user, None)
    removed, added = changed_lines(text, place.text())
    assert removed == []
    assert len(added) == 1
    assert "errors doubled" in added[0]

    do(place, "restore", "cta_color", "fixed")
    restored_at = place.revision()
    assert until(lambda: client.status()["revision"] == restored_at)
    assert {user: client.decide("cta_color", user).to_mapping() for user in users} == before
    assert place.text() == text == file.read_text("utf-8")


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and those that came."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return (
        [line[2:] for line in lines if line.startswith("- ")],
        [line[2:] for line in lines if line.startswith("+ ")],
    )


def test_a_push_of_the_old_file_does_not_revive(
    root: Path, tmp_path: Path, place: Any, until: Callable[..., Any]
) -> None:
    """It says so, its other edits are in force, and the SDK goes on serving `off`."""
    file = tmp_path / "flags.yaml"
    file.write_bytes((root / "flags.example.yaml").read_bytes())
    place.push(file)
    client = place.client()
    assert not client.enabled("new_checkout", "u-77")
    by_page_of(place, "cta_color")
    assert "cta_color stays killed on the server; --state would revive it" in place.push(file)
    edited = file.read_text("utf-8").replace("share: 5%, serve: on", "share: 100%, serve: on")
    file.write_text(edited, "utf-8")
    told = place.push(file)
    assert "taken    flags.new_checkout" in told
    assert "cta_color stays killed" in told
    assert until(lambda: client.enabled("new_checkout", "u-77"))
    assert client.decide("cta_color", "u-1").reason.value == "DISABLED"
    place.cli("restore", "cta_color")
    assert until(lambda: client.decide("cta_color", "u-1").reason.value == "SPLIT")
    assert place.text() == edited
    by_page_of(place, "cta_color")
    revived = place.cli("push", file, "--state")
    assert revived.exit_code == 0, revived.output
    assert until(lambda: client.decide("cta_color", "u-1").reason.value == "SPLIT")
    assert place.text() == edited


def by_page_of(place: Any, flag: str) -> None:
    """Somebody kills a flag on its page."""
    if not place.browsers:
        place.browser()
    by_page(place, "kill", flag, "INC-7")
    assert "killed:" in place.text()

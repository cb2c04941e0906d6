"""The file in the repository and the pages of the server change one document."""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def file(root: Path, tmp_path: Path, place: Any) -> Path:
    """The example, with all its comments, pushed."""
    path = tmp_path / "flags.yaml"
    path.write_bytes((root / "flags.example.yaml").read_bytes())
    place.push(path)
    return path


def editor(place: Any, browser: Any, flag: str) -> tuple[str, str]:
    """Open a flag's text in the editor: the text, and the revision that it was opened at."""
    page = browser.get(f"/environments/{place.name}/flags/{flag}/edit").text
    text = re.search(r'<textarea[^>]* name="text"[^>]*>\n(.*?)</textarea>', page, re.S)
    opened = re.search(r'name="opened" value="(\d+)"', page)
    assert text is not None
    assert opened is not None
    return html.unescape(text[1]), opened[1]


def save(place: Any, browser: Any, flag: str, text: str, opened: str, **more: str) -> Any:
    """Look at the preview, then save with what `more` the form asks; browsers send CRLF."""
    fields = {"section": "flags", "key": flag, "text": text.replace("\n", "\r\n"), "opened": opened}
    preview = browser.post(f"/environments/{place.name}/reports/edit", **fields)
    assert f"Save in {place.name}" in preview.text
    return browser.post(f"/environments/{place.name}/edit", **fields, **more)


def edit(place: Any, browser: Any, flag: str, old: str, new: str, **more: str) -> Any:
    """Change one place of a flag's text on its page."""
    text, opened = editor(place, browser, flag)
    assert text.count(old) == 1
    return save(place, browser, flag, text.replace(old, new), opened, **more)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each first replaced by each second, exactly once."""
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


EDITS = [
    ("cta_color", "Colour of the sign-up button", "What colour the sign-up button has"),
    ("sidebar", "width: 240}", "width: 280}"),
]


def test_pull_after_edits_on_pages_changes_those_lines_only(place: Any, file: Path) -> None:
    """Two edited texts and one moved share are three changed lines; every comment stays."""
    browser, before = place.browser(), file.read_text("utf-8")
    for flag, old, new in EDITS:
        assert edit(place, browser, flag, old, new).ok
    browser.get(f"/environments/{place.name}/flags/new_checkout/reports/share/canary?share=25")
    browser.post(f"/environments/{place.name}/flags/new_checkout/share/canary", share="25")
    assert place.cli("diff", file).exit_code == 1
    pulled = place.cli("pull", file)
    assert pulled.exit_code == 0, pulled.output
    pairs = [(old, new) for _, old, new in EDITS]
    expected = replaced(before, *pairs, ("canary, share: 5%", "canary, share: 25%"))
    assert file.read_text("utf-8") == expected
    lines = list(difflib.ndiff(before.splitlines(), expected.splitlines()))
    assert [line[:1] for line in lines if line[:1] in "+-"] == ["-", "+"] * 3
    assert place.cli("diff", file).exit_code == 0


def test_edits_of_different_flags_merge(place: Any, file: Path, tmp_path: Path) -> None:
    """One person on a page, two with files: all three edits are there, everybody is told."""
    browser, before = place.browser(), file.read_text("utf-8")
    other = tmp_path / "other" / "flags.yaml"
    other.parent.mkdir()
    assert place.cli("pull", other).exit_code == 0
    page = ("Colour of the sign-up button", "What colour the sign-up button has")
    mine = ("long: Everything your team needs", "long: All that your team needs")
    theirs = ("salt: sidebar_v2 ", "salt: sidebar_v3 ")
    edit(place, browser, "cta_color", *page)
    file.write_text(replaced(before, mine), "utf-8")
    other.write_text(replaced(before, theirs), "utf-8")
    told = place.push(file)
    assert "taken    flags.headline" in told
    assert "kept     flags.cta_color  (changed on the server; pull brings it)" in told
    told = place.push(other)
    assert "taken    flags.sidebar" in told
    assert "kept     flags.headline" in told
    for path in (file, other):
        assert place.cli("pull", path).exit_code == 0
        assert path.read_text("utf-8") == replaced(before, page, mine, theirs) == place.text()


def test_edits_of_one_flag_conflict(place: Any, file: Path) -> None:
    """Nothing of the file is applied, also not its other edits; both texts are shown."""
    browser, before = place.browser(), file.read_text("utf-8")
    edit(place, browser, "cta_color", "Colour of the sign-up button", "On the page")
    ours = replaced(
        before,
        ("Colour of the sign-up button", "In the file"),
        ("salt: sidebar_v2 ", "salt: sidebar_v3 "),
    )
    file.write_text(ours, "utf-8")
    revision, text = place.revision(), place.text()
    conflict = place.cli("push", file)
    assert conflict.exit_code == 3
    assert "conflict: flags.cta_color" in conflict.stderr
    assert "In the file" in conflict.stderr
    assert "On the page" in conflict.stderr
    assert (place.revision(), place.text()) == (revision, text)
    assert place.cli("pull", file).exit_code == 3
    assert file.read_text("utf-8") == ours
    file.write_text(replaced(ours, ("In the file", "On the page")), "utf-8")
    assert "taken    flags.sidebar" in place.push(file)
    assert place.text() == file.read_text("utf-8")


def test_two_people_in_the_editor(place: Any, file: Path) -> None:
    """The second to save the same flag sees what changed meanwhile; other flags do not matter."""
    anna, ben = place.browser(), place.browser()
    text, opened = editor(place, ben, "cta_color")
    edit(place, anna, "headline", "short: Ship with confidence", "short: Ship it")
    edit(place, anna, "cta_color", "Colour of the sign-up button", "Anna's")
    now = place.text()
    refused = save(
        place, ben, "cta_color", replaced(text, ("tags: [landing]", "tags: [x]")), opened
    )
    assert refused.status_code == 409
    assert "Anna&#39;s" in refused.text
    assert "tags: [x]" in refused.text
    assert place.text() == now
    text, opened = editor(place, ben, "cta_color")
    assert save(
        place, ben, "cta_color", replaced(text, ("tags: [landing]", "tags: [x]")), opened
    ).ok
    assert place.text() == replaced(now, ("    tags: [landing]\n", "    tags: [x]\n"))


def test_an_edit_on_a_page_reaches_the_application(
    place: Any, file: Path, until: Callable[..., Any]
) -> None:
    """What the page previewed is what the SDK serves a poll later."""
    client, browser = place.client(), place.browser()
    assert client.value("headline", {"key": "u-1"}, "") != "Ship it"
    edits = [
        ("split: {long: 50%, short: 50%}", "split: {long: 0%, short: 100%}"),
        ("short: Ship with confidence", "short: Ship it"),
    ]
    for old, new in edits:
        # The experiment runs: whoever disturbs it must mean it.
        assert edit(place, browser, "headline", old, new).status_code == 409
        assert edit(place, browser, "headline", old, new, force="1", reason="it is over").ok
    served = {f"u-{n}" for n in range(300)}
    assert until(
        lambda: (
            {client.value("headline", user, "") for user in served}
            == {"Ship it", "Everything your team needs to ship with confidence"}
        )
    )
    told = {client.decide("headline", user).rule for user in served}
    assert told == {"headline-test", None}  # the layer's other half gets the default

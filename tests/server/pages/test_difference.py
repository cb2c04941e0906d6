"""The lines of a diff, also of texts that repeat themselves."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop_server.web.pages.difference import diff_lines

TEXTS = st.lists(st.sampled_from("abc"), max_size=12).map("\n".join)


def signed(before: str | None, after: str | None) -> list[str]:
    """The lines with their signs."""
    return [line.sign + line.text for line in diff_lines(before, after)]


def test_changed_lines_come_with_three_around_them() -> None:
    """The head says which lines of the new text they are."""
    old = "\n".join("abcdefghij")
    assert signed(old, old.replace("f", "F")) == [
        "@@ lines 3 to 9 @@",
        *(" c", " d", " e", "-f", "+F", " g", " h", " i"),
    ]


@pytest.mark.parametrize(("before", "after"), [(None, "a"), ("a", None), ("", "a"), ("a", "")])
def test_a_text_that_comes_or_goes(before: str | None, after: str | None) -> None:
    """All of it is added, or removed."""
    lines = signed(before, after)
    assert lines[1:] == ["+a" if after else "-a"]


@given(TEXTS, TEXTS)
def test_the_lines_tell_both_texts(before: str, after: str) -> None:
    """Whatever is not shown is the same in both, and nothing is shown of equal texts."""
    lines = diff_lines(before, after)
    assert bool(lines) == (before.splitlines() != after.splitlines())
    removed = [line.text for line in lines if line.kind == "removed"]
    added = [line.text for line in lines if line.kind == "added"]
    old, new = before.splitlines(), after.splitlines()
    assert len(old) - len(removed) == len(new) - len(added)


@pytest.mark.parametrize(
    ("before", "after"),
    [(["{}"] * 9000, ["{}"] * 8990), (["a", "b"] * 4500, ["b", "b", "a"] * 3000)],
)
def test_no_text_holds_a_worker(before: list[str], after: list[str]) -> None:
    """Thousands of equal lines are compared in less than a second, not in minutes."""
    began = time.process_time()
    lines = diff_lines("\n".join(before), "\n".join(after))
    assert time.process_time() - began < 1
    assert sum(line.kind == "removed" for line in lines) >= 10

"""Numbers, times and differences in words."""

from __future__ import annotations

import pytest

from flagloop_server.web.pages import words
from flagloop_server.web.pages.difference import diff_lines
from flagloop_server.web.pages.frame import own_address


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3600, "1 h ago"),
        (47 * 3600, "47 h ago"),
        (48 * 3600, "2 d ago"),
        (-5, "0 s ago"),
    ],
)
def test_ago(seconds: int, text: str) -> None:
    """Two figures are enough, and a clock that runs ahead never gives a negative age."""
    assert words.ago(1_000_000_000, 1_000_000_000 + seconds * 1000) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (None, "no data"),
        (0.0, "0%"),
        (0.0004, "<0.1%"),
        (0.004, "0.4%"),
        (0.5, "50%"),
        (0.976, "97.6%"),
        (1.0, "100%"),
    ],
)
def test_percent_keeps_the_precision_that_matters(part: float | None, text: str) -> None:
    """Near the ends one more figure is told."""
    assert words.percent(part) == text


def test_compact_numbers() -> None:
    """Rows that only have to be compared show three figures."""
    assert [words.compact(n) for n in (7, 999, 12_412, 3_400_000)] == ["7", "999", "12.4k", "3.4M"]


def test_the_diff_shows_changed_lines_with_some_around() -> None:
    """Signs tell added and removed without colour."""
    before = "".join(f"line {n}\n" for n in range(20))
    after = before.replace("line 10\n", "line ten\n")
    lines = diff_lines(before, after)
    assert [line.sign + line.text for line in lines if line.kind in ("added", "removed")] == [
        "-line 10",
        "+line ten",
    ]
    assert len(lines) == 1 + 3 + 2 + 3


def test_a_diff_with_nothing_is_all_added() -> None:
    """A new item has no text before."""
    assert [line.kind for line in diff_lines(None, "a\nb\n")] == ["gap", "added", "added"]
    assert diff_lines("a\n", "a\n") == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/a/b?c=d", "/a/b?c=d"),
        ("//evil.example", "/"),
        ("//[", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("https://evil.example/", "/"),
        ("evil", "/"),
        ("", "/"),
    ],
)
def test_only_addresses_of_this_server_are_followed(text: str, address: str) -> None:
    """`next` of the sign-in page leads nowhere else."""
    assert own_address(text) == address

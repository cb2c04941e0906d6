"""SemVer 2.0.0, strictly."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from flagloop.evaluation.operators import OPERATORS
from flagloop.evaluation.semver import VersionTest, parse_version

numbers = st.integers(0, 10**25).map(str)
labels = st.one_of(numbers, st.from_regex(r"[0-9]*[A-Za-z-][0-9A-Za-z-]*", fullmatch=True))


@given(
    st.tuples(numbers, numbers, numbers),
    st.lists(labels, max_size=3),
    st.lists(st.from_regex(r"[0-9A-Za-z-]+", fullmatch=True), max_size=2),
)
def test_every_version_is_read_and_build_is_ignored(
    core: tuple[str, str, str], before: list[str], build: list[str]
) -> None:
    """Whatever the specification's grammar makes is a version that equals itself without build."""
    text = ".".join(core) + (f"-{'.'.join(before)}" if before else "")
    order = parse_version(text)
    assert order is not None
    assert parse_version(text + (f"+{'.'.join(build)}" if build else "")) == order


@given(st.text(alphabet="0123456789.-+av", max_size=12))
def test_what_is_read_is_what_the_grammar_allows(text: str) -> None:
    """No leading zeros, no empty parts, three numbers."""
    if parse_version(text) is None:
        return
    core = text.partition("+")[0].partition("-")[0].split(".")
    assert len(core) == 3
    assert all(part == str(int(part)) for part in core)


ORDER = [
    "0.0.4",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-11",
    "1.0.0--",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.9.0",
    "1.10.0",
    "2.0.0-a",
    "99999999999999999999999.0.0",
]


def test_precedence_is_that_of_the_specification() -> None:
    """The specification's own chain, and more, is rising."""
    for low, high in pairwise(ORDER):
        assert OPERATORS["semver_lt"](high)(low), (low, high)
        assert OPERATORS["semver_gte"](low)(high), (low, high)
        assert not OPERATORS["semver_gt"](high)(low), (low, high)


def test_remembered_answers_are_bounded() -> None:
    """However many versions an application sends, only so many are kept, all answers right."""
    test = VersionTest(operator.ge, parse_version("5.0.0") or ())
    for i in range(3 * VersionTest.LIMIT):
        text = f"{i % 10}.{i}.0"
        assert test.test(text) is (i % 10 >= 5)
        assert test.test(text) is (i % 10 >= 5)
        assert len(test.passed) + len(test.failed) <= VersionTest.LIMIT


def test_long_texts_are_not_remembered() -> None:
    """An attribute may be what a visitor sends, of any length: it is judged, and forgotten."""
    test = VersionTest(operator.ge, parse_version("5.0.0") or ())
    long = "9" * 10_000
    for text, passes in ((f"{long}.0.0", True), (f"1.0.0-{long}", False), (long, False)):
        assert test.test(text) is passes
    assert not test.passed | test.failed


def test_launchdarkly_pairs(shared: Callable[[str], Path]) -> None:
    """Their lower and higher versions are so here; their short forms are no versions."""
    path = shared("conformance/launchdarkly/operators-semver-unequal.yml")
    pairs = [
        (row["LOWER_VALUE"], row["HIGHER_VALUE"])
        for row in yaml.safe_load(path.read_text("utf-8"))["parameters"]
    ]
    strict = [pair for pair in pairs if pair[0].partition("-")[0].count(".") == 2]
    assert len(strict) >= 9
    for low, high in strict:
        assert OPERATORS["semver_lt"](high)(low), (low, high)
        assert OPERATORS["semver_gt"](low)(high), (low, high)
    for text in {text for pair in pairs if pair not in strict for text in pair}:
        assert parse_version(text) is None, text

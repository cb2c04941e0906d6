"""The test doubles, and the fixture `flags` in a test session of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flagloop import Client, ConfigError, DocumentError, NotFoundError, validate
from flagloop.testing import FakeClock, Flags, MemorySink, document, flag

pytest_plugins = ["pytester"]

FILE = """\
version: 1
flags:
  cta_color:
    variants: {control: blue, treatment: green}
    default: control
    rules:
      - {name: test, split: {control: 50%, treatment: 50%}}
  new_checkout:
    requires: {cta_color: treatment}
    rules: [{name: all, serve: on}]
  dark:
    variants: {yes_please: true, no_thanks: false}
    default: no_thanks
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A flag file."""
    path = tmp_path / "flags.yaml"
    path.write_text(FILE)
    return path


# Builders, sink, clock.


def test_builders_make_valid_documents() -> None:
    """What they build passes the same checks as a file."""
    built = document(
        {"segments": {"staff": {"when": {"plan": "staff"}}}},
        color=flag({"control": "blue", "treatment": "green"}, owner="growth@example.com"),
        other=flag({"a": 1, "b": 2}, default="b"),
        switch=flag(default="on", rules=[{"name": "s", "when": {"segment": "staff"},
                                          "serve": "off"}]),
    )  # fmt: skip
    assert validate(built) == []
    client = Client.from_document(built)
    assert client.variant("color", "u") == "control"
    assert client.value("other", "u", None) == 2
    assert client.enabled("switch", "u")
    assert not client.enabled("switch", {"key": "u", "plan": "staff"})


def test_a_sink_holds_what_would_go_over_the_wire() -> None:
    """Exposures, events and counts, each by itself."""
    sink = MemorySink()
    halves = [{"name": "r", "split": {"a": "50%", "b": "50%"}}]
    with Client.from_document(document(x=flag({"a": 1, "b": 2}, rules=halves)), events=sink) as c:
        c.variant("x", "u-1")
        c.track("click", "u-1", 3, where="top")
    assert [one["unit"] for one in sink.exposures] == ["u-1"]
    assert [(one["event"], one["value"]) for one in sink.events] == [("click", 3)]
    assert [one["n"] for one in sink.counts] == [1]
    assert sum(len(batch["events"]) for batch in sink.batches) == 2


def test_a_fake_clock_stands_still_until_told() -> None:
    """Epoch seconds from 2026-01-01."""
    clock = FakeClock()
    assert clock() == clock() == 1_767_225_600.0
    clock.advance(1.5)
    assert clock() == 1_767_225_601.5


# Flags.


def test_a_set_flag_serves_that_variant_to_everyone(file: Path) -> None:
    """Without an exposure; the others behave as the file says."""
    with Flags(file) as flags:
        flags.set(cta_color="treatment")
        assert {flags.client.value("cta_color", f"u-{n}", None) for n in range(50)} == {"green"}
        assert flags.client.enabled("new_checkout", "u-1")
        assert flags.exposures == []


def test_flags_that_are_not_set_make_exposures(file: Path) -> None:
    """So a test can see that its application asks about the right unit."""
    with Flags(file) as flags:
        flags.client.variant("cta_color", {"key": "u-1"})
        flags.client.track("sign_up", "u-1")
        assert [(one["flag"], one["unit"]) for one in flags.exposures] == [("cta_color", "u-1")]
        assert [one["event"] for one in flags.events] == ["sign_up"]


def test_true_and_false_stand_for_the_variant_of_that_value(file: Path) -> None:
    """`on` and `off`, or whatever the flag calls them."""
    with Flags(file) as flags:
        flags.set(new_checkout=True, dark=True)
        assert flags.client.enabled("new_checkout", "u")
        assert flags.client.variant("dark", "u") == "yes_please"
        flags.set({"dark": False})
        assert flags.client.variant("dark", "u") == "no_thanks"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cta_colour": "treatment"}, "no flag 'cta_colour' .did you mean 'cta_color'"),
        ({"cta_color": "treatmnt"}, "no variant of cta_color 'treatmnt' .did you mean 'treatment'"),
        ({"cta_color": True}, "no variant of cta_color 'True'"),
        ({"new_checkout": 3}, "no variant of new_checkout '3'"),
    ],
)
def test_a_misspelt_name_fails_and_sets_nothing(
    file: Path, wrong: dict[str, Any], says: str
) -> None:
    """A typing error in a test must not make it pass."""
    with Flags(file) as flags:
        with pytest.raises(NotFoundError, match=says):
            flags.set({"dark": True, **wrong})
        assert flags.client.variant("dark", "u") == "no_thanks"


def test_without_a_file_flags_are_made_as_they_are_set() -> None:
    """A variant is its own value, True and False make a boolean flag."""
    with Flags() as flags:
        assert flags.client.value("cta_color", "u", "blue") == "blue"
        flags.set(cta_color="treatment", beta=True, gamma="off")
        assert flags.client.value("cta_color", "u", "blue") == "treatment"
        assert flags.client.enabled("beta", "u")
        assert flags.client.value("gamma", "u", None) is False
        flags.set(cta_color="control")
        assert flags.client.variant("cta_color", "u") == "control"


def test_clear_forgets_what_was_set(file: Path) -> None:
    """The file decides again."""
    with Flags(file) as flags:
        flags.set(dark=True)
        flags.clear()
        assert flags.client.variant("dark", "u") == "no_thanks"


def test_an_existing_client_obeys_until_the_end(file: Path) -> None:
    """Also what is set later; then it decides by its own definitions again."""
    client = Client.from_document(document(dark=flag({"mine": 1})))
    with Flags(file) as flags:
        flags.set(dark=True)
        flags.use(client)
        flags.use(client)
        assert client.variant("dark", "u") == "yes_please"
        flags.set(dark=False)
        assert client.variant("dark", "u") == "no_thanks"
    assert client.variant("dark", "u") == "mine"
    assert not client.status()["overridden"]


def test_an_application_is_told_what_a_test_sets(file: Path) -> None:
    """`on_change` can be tested, too."""
    with Flags(file) as flags:
        told: list[frozenset[str]] = []
        flags.client.on_change(told.append)
        flags.set(dark=True)
        assert told[-1] == {"dark"}


def test_a_broken_or_missing_file_is_told(tmp_path: Path, file: Path) -> None:
    """With its place, before any test runs against an empty set of flags."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        Flags(tmp_path / "nowhere.yaml")
    file.write_text(FILE.replace("variants", "varients"))
    with pytest.raises(DocumentError, match=r"flags\.yaml:4"):
        Flags(file)


def test_a_file_without_flags_knows_none(file: Path) -> None:
    """Each name is unknown then."""
    file.write_text("version: 1\n")
    with Flags(file) as flags, pytest.raises(NotFoundError, match="no flag 'x'"):
        flags.set(x=True)


# The fixture.


def test_the_fixture_reads_the_file_of_the_configuration(pytester: pytest.Pytester) -> None:
    """`flagloop_file` is relative to the root; each test starts anew; a misspelt name fails."""
    pytester.makefile(".yaml", flags=FILE)
    pytester.makeini("[pytest]\nflagloop_file = flags.yaml\n")
    pytester.makepyfile(
        """
        def test_one(flags):
            flags.set(cta_color="treatment")
            assert flags.client.value("cta_color", "u-1", None) == "green"
            assert flags.exposures == []

        def test_two(flags):
            flags.client.variant("cta_color", "u-1")
            assert len(flags.exposures) == 1

        def test_three(flags):
            flags.set(cta_color="treatmnt")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*no variant of cta_color 'treatmnt' (did you mean 'treatment'?)"])


def test_the_fixture_works_without_configuration(pytester: pytest.Pytester) -> None:
    """Flags are made as they are set."""
    pytester.makepyfile(
        """
        def test_one(flags):
            flags.set(beta=True)
            assert flags.client.enabled("beta", "u-1")
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def test_a_missing_file_of_the_configuration_is_named(pytester: pytest.Pytester) -> None:
    """The test that wants flags fails with the path."""
    pytester.makeini("[pytest]\nflagloop_file = flaggs.yaml\n")
    pytester.makepyfile("def test_one(flags): pass")
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ConfigError: cannot read the flag file *flaggs.yaml: No such*"])

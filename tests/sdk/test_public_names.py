"""The names that `flagloop` promises, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flagloop

HEAVY = ("requests", "urllib3", "yaml", "click", "ssl", "http.client", "flask", "re2", "uuid")


def test_the_promised_names() -> None:
    """A name that comes or goes is a decision: change this list with it."""
    assert flagloop.__all__ == [
        "Client",
        "ConfigError",
        "ConflictError",
        "Context",
        "Decision",
        "DocumentError",
        "ErrorCode",
        "FlagloopError",
        "ForbiddenError",
        "NotFoundError",
        "Problem",
        "Reason",
        "Ruleset",
        "TransportError",
        "validate",
    ]
    assert dir(flagloop) == sorted([*flagloop.__all__, "__version__"])


@pytest.mark.parametrize("name", flagloop.__all__)
def test_each_name_is_there(name: str) -> None:
    """It comes from a module of flagloop and says what it is."""
    thing = getattr(flagloop, name)
    assert thing.__module__.startswith("flagloop.")
    assert thing.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="module 'flagloop' has no attribute 'Klient'"):
        _ = flagloop.Klient


def test_all_errors_are_flagloop_errors() -> None:
    """One `except` catches what flagloop raises on purpose."""
    errors = [name for name in flagloop.__all__ if name.endswith("Error")]
    assert len(errors) == 7
    assert all(issubclass(getattr(flagloop, name), flagloop.FlagloopError) for name in errors)


def test_importing_costs_next_to_nothing() -> None:
    """Neither the package nor the client's class loads a network, YAML or command-line library."""
    code = (
        "import sys, flagloop\n"
        "first = sorted(name for name in sys.modules if name.startswith('flagloop.'))\n"
        "flagloop.Client\n"
        f"print(first, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] []\n"


def test_a_client_of_a_document_needs_no_network_library() -> None:
    """Tests and scripts that decide by a mapping start fast."""
    code = (
        "import sys, flagloop\n"
        "client = flagloop.Client.from_document({'flags': {'x': {}}})\n"
        "assert client.variant('x', 'u') == 'off'\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

"""What every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# A shared machine is slow at times: a deadline would make tests fail by chance.
settings.register_profile(
    "flagloop",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("flagloop")


def skip_or_fail(reason: str) -> None:
    """Skip for a missing part of the system; under FLAGLOOP_TEST_ALL=1 that is a failure."""
    if os.environ.get("FLAGLOOP_TEST_ALL") == "1":
        pytest.fail(f"FLAGLOOP_TEST_ALL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared("stats/reference_cases.json")`: a file of ../shared, or the test is skipped."""

    def find(relative: str) -> Path:
        path = ROOT.parent / "shared" / relative
        if not path.exists():
            skip_or_fail(f"../shared/{relative} is absent")
        return path

    return find


@pytest.fixture
def missing_part() -> Callable[[str], None]:
    """`missing_part(reason)` skips, or fails where every part must be present."""
    return skip_or_fail

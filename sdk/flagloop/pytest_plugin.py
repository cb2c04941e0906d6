"""The pytest fixture `flags`: set what flags serve in one test.

    def test_green_button(flags):
        flags.set(cta_color="treatment")
        page = create_app(client=flags.client).test_client().get("/")
        assert "green" in page.text
        assert flags.exposures == []

With `flagloop_file = flags.yaml` in pytest's configuration the flags and variants of that file
are known and a misspelt one fails the test; without it, `set` makes flags as it names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flagloop.testing import Flags


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option `flagloop_file`."""
    parser.addini("flagloop_file", "the YAML flag file that the fixture `flags` starts from")


@pytest.fixture
def flags(request: pytest.FixtureRequest) -> Iterator[Flags]:
    """Flags whose decisions a test sets; `flags.client` is a Client that obeys them."""
    from flagloop.testing import Flags

    file = request.config.getini("flagloop_file")
    with Flags(Path(request.config.rootpath, file) if file else None) as fixture:
        yield fixture

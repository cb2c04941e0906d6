"""Commands run in the process, without what the developer's own shell has set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flagloop.commands.main import cli

DOCUMENT = """\
version: 1

flags:
  # The colour of the button.
  cta_color:
    variants: {control: blue, treatment: green}
    default: control
    rules:
      - {name: staff, when: {email: {ends_with: "@example.com"}}, serve: treatment}
      - {name: half, share: 50%, serve: treatment}

  new_checkout:
    rules:
      - {name: beta, when: {plan: pro}, serve: on}
      - {name: spring, from: 2127-03-01, until: 2127-06-01, serve: on}
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No FLAGLOOP_URL, key or colour setting from outside."""
    for name in ("FLAGLOOP_URL", "FLAGLOOP_KEY", "FLAGLOOP_ENV", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run() -> Callable[..., Result]:
    """`run("eval", "cta_color", ...)`: one command, its output and exit code."""

    def invoke(*words: str | Path, **more: Any) -> Result:
        result = CliRunner().invoke(
            cli, [str(word) for word in words], prog_name="flagloop", **more
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small document."""
    path = tmp_path / "flags.yaml"
    path.write_text(DOCUMENT)
    return path

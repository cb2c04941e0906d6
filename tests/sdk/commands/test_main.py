"""The console script: help, exit codes, commands of other packages, colours, start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest

from flagloop import __version__, errors
from flagloop.commands import main as module
from flagloop.commands.main import COMMANDS, SERVER_COMMANDS, exit_code

Run = Callable[..., Any]


def test_help_names_every_command_and_exit_code(run: Run) -> None:
    """One page says what there is and what the codes mean."""
    result = run("--help")
    assert result.exit_code == 0
    for name in [*COMMANDS, *SERVER_COMMANDS]:
        assert f"\n  {name} " in result.output
    for code in range(5):
        assert f"\n  {code}  " in result.output
    assert "FLAGLOOP_URL" in result.output
    assert "\b" not in result.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(run: Run, name: str) -> None:
    """Each has a description, and a help for each of its options."""
    result = run(name, "--help")
    assert result.exit_code == 0
    command = module.cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.help
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert options
    assert all(one.help for one in options)


def test_the_version_is_printed(run: Run) -> None:
    """It is the one of the package."""
    assert run("--version").output == f"flagloop {__version__}\n"
    assert metadata.version("flagloop") == __version__


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    """Exit code 2, as for every usage error."""
    result = run("frobnicate")
    assert result.exit_code == 2
    assert "frobnicate" in result.output


def test_every_error_of_ours_has_an_exit_code() -> None:
    """The table of `flagloop --help`, held against the whole exception tree."""
    assert exit_code(errors.ConfigError("x")) == 2
    assert exit_code(errors.ConflictError("x")) == 3
    assert exit_code(errors.TransportError("x")) == 4
    assert exit_code(errors.ForbiddenError("x")) == 4
    assert exit_code(errors.NotFoundError("x")) == 1
    assert exit_code(errors.DocumentError([])) == 1


class Point:
    """An entry point whose module needs a package that is not there."""

    def __init__(self, missing: str) -> None:
        self.missing = missing

    def load(self) -> Any:
        """Fail as the import would."""
        raise ModuleNotFoundError(f"No module named {self.missing!r}", name=self.missing)


def test_without_the_extra_a_server_command_says_how_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever options it is called with, also --help."""
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [Point("flask")])
    for words in (["serve"], ["serve", "--port", "0", "x"], ["serve", "--help"]):
        result = run(*words)
        assert result.exit_code == 2
        assert "pip install 'flagloop[server]'" in result.output


def test_a_bug_in_a_server_command_is_no_missing_extra(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module of our own that is missing must not be hidden behind advice."""
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [Point("flagloop_server.gone")])
    with pytest.raises(ModuleNotFoundError):
        run("serve")


def test_help_loads_no_server() -> None:
    """`flagloop --help` and `validate` stay quick: no flask, no requests."""
    code = (
        "import sys\n"
        "from flagloop.commands.main import main\n"
        "sys.argv = ['flagloop', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'flask', 'flagloop_server', 'uvicorn', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_colours_only_where_they_are_wanted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal gets them unless NO_COLOR is set; a pipe never."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nflogs: {}\n")
    assert "\x1b[" in run("validate", bad, color=True).output
    assert "\x1b[" not in run("validate", bad).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run("validate", bad, color=True).output


@pytest.mark.parametrize("encoding", ["latin-1", "cp437"])
def test_a_terminal_that_lacks_a_letter_gets_its_number(tmp_path: Path, encoding: str) -> None:
    """As on standard error: the rest of the answer is there."""
    file = tmp_path / "flags.yaml"
    file.write_text('version: 1\nflags: {a: {variants: {x: "🎉"}, default: x}}\n', "utf-8")
    command = [sys.executable, "-m", "flagloop", "eval", "a", "--user", "u", "--file", str(file)]
    where = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, timeout=60, env=where, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b'a: x "\\U0001f389" (STATIC)\n'


def test_an_error_with_json_is_json_on_standard_output(run: Run) -> None:
    """Programs read one thing from one place; people still get the sentence."""
    import json

    result = run("eval", "a", "--user", "u", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["type"] == "ConfigError"
    assert "error: decide by what?" in result.stderr

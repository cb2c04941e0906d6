"""What README says is run: its Python and YAML blocks, its commands, its list of options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for name, text in BLOCKS if name == language]


def test_first_two_commands_set_everything_up_in_one_line_each() -> None:
    """A newcomer copies two single lines, and both make their own virtual environment."""
    first, second = blocks("bash")[:2]
    for command in (first, second):
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert "flagloop demo" in first
    assert "pytest" in second


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Python block of README is a program that runs beside flags.example.yaml."""
    (tmp_path / "flags.example.yaml").write_bytes((ROOT / "flags.example.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), namespace)
    client = namespace.get("client")
    if client is not None:
        client.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_blocks_validate(text: str) -> None:
    """Each YAML block of README is a valid flag file."""
    from flagloop import validate
    from flagloop.document.yamlfile import parse

    document = parse(text)
    problems = document.locate(validate(document.mapping))
    assert [problem.render("README.md") for problem in problems] == []


def commands() -> dict[str, object]:
    """Every command of the command line, by its words."""
    import click

    from flagloop.commands.main import cli

    found: dict[str, object] = {}

    def walk(prefix: str, command: click.Command) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(f"{prefix} {name}".strip(), child)
        else:
            found[prefix] = command

    walk("", cli)
    return found


def test_every_command_is_documented() -> None:
    """Each command of `flagloop --help` stands in README with its name."""
    missing = [name for name in commands() if f"flagloop {name}" not in README]
    assert missing == []


def test_documented_commands_exist_and_take_the_options_shown() -> None:
    """Each `flagloop ...` line of README's shell blocks names a command and options it has."""
    import click

    known = commands()
    lines = [
        line.strip()
        for text in [*blocks("bash"), *blocks("console")]
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip().removeprefix("$ ").startswith("flagloop ")
    ]
    assert lines, "README shows no command"
    for line in lines:
        words = shlex.split(line.removeprefix("$ "), comments=True)[1:]
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        command = known.get(name)
        assert isinstance(command, click.Command), line
        options = {o for p in command.params for o in [*p.opts, *p.secondary_opts]}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= options | {"--help"}, line

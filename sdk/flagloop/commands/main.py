"""The console script `flagloop`: finds commands, and turns errors into exit codes."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Any

import click

from flagloop.commands.options import JSON_WANTED
from flagloop.commands.output import complain, print_json
from flagloop.errors import (
    ConfigError,
    ConflictError,
    DocumentError,
    FlagloopError,
    ForbiddenError,
    TransportError,
)

EXIT_CODES = """\b
Exit codes:
  0  it is done; the answer is yes
  1  the answer is no: a file has problems, a flag is unknown or broken,
     `diff` found differences, a backup is damaged, the audit log's chain is
     broken, `doctor` found problems
  2  wrong usage: an option, argument or environment variable
  3  conflict: somebody else changed the same, nothing was applied
  4  the server: not reachable, an error, or the key may not do that
  5  it is done, but when the time of --wait was over some instance had not
     said that it obeys, or none was known

\b
Environment: FLAGLOOP_URL, FLAGLOOP_KEY, FLAGLOOP_ENV stand for --url, --key,
--env; NO_COLOR turns colours off."""

COMMANDS = {
    "validate": "flagloop.commands.local:validate",
    "eval": "flagloop.commands.decide:evaluate",
    "explain": "flagloop.commands.decide:explain",
    "replay": "flagloop.commands.local:replay",
    "push": "flagloop.commands.files:push",
    "pull": "flagloop.commands.files:pull",
    "diff": "flagloop.commands.files:diff",
    "kill": "flagloop.commands.operate:kill",
    "restore": "flagloop.commands.operate:restore",
    "share": "flagloop.commands.operate:share",
}

# Their code is loaded only when they are called, so their help stands here too.
SERVER_COMMANDS = {
    "serve": "Run the server.",
    "demo": "Run a server, an application and visitors, to look at.",
    "keys": "Make, list and revoke keys.",
    "users": "Make and list people, set their passwords.",
    "audit": "Check and export the audit log.",
    "backup": "Back a server up while it runs, check backups, restore them.",
    "doctor": "Examine a server's folder and say what to do.",
}

SERVER_EXTRA = "pip install 'flagloop[server]'"


class Commands(click.Group):
    """Commands by name, loaded when called; server commands by entry point."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours in the order of a flag's life, then the server's."""
        return [*COMMANDS, *SERVER_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; one that needs the server extra says so when it is called without."""
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command
        return _installed(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The two lists of `flagloop --help`, without loading the server."""
        ours = [(name, self.get_command(ctx, name)) for name in COMMANDS]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(100)) for name, one in ours if one is not None]
            )
        with formatter.section(f"Server commands ({SERVER_EXTRA})"):
            formatter.write_dl(list(SERVER_COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes, at the margin."""
        formatter.write_paragraph()
        formatter.write_text(EXIT_CODES)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors of ours become one message and an exit code."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except FlagloopError as problem:
            if ctx.meta.get(JSON_WANTED):
                print_json({"error": error_mapping(problem)})
            complain(str(problem))
            ctx.exit(exit_code(problem))
        except ModuleNotFoundError as problem:
            if not _is_server_extra(problem):
                raise
            complain(f"this needs the server ({problem.name} is not installed): {SERVER_EXTRA}")
            ctx.exit(2)


def exit_code(problem: FlagloopError) -> int:
    """The exit code for an error, as `flagloop --help` says."""
    match problem:
        case ConfigError():
            return 2
        case ConflictError():
            return 3
        case TransportError() | ForbiddenError():
            return 4
        case _:
            return 1


def error_mapping(problem: FlagloopError) -> dict[str, Any]:
    """The JSON form of an error: type, message, and its problems or conflicts."""
    full: dict[str, Any] = {"type": type(problem).__name__, "message": str(problem)}
    if isinstance(problem, DocumentError):
        full["problems"] = [
            {"file": problem.file or None, **one.to_mapping()} for one in problem.problems
        ]
    if isinstance(problem, ConflictError):
        full["conflicts"] = getattr(problem, "items", None) or problem.conflicts
    return full


def _installed(name: str) -> click.Command | None:
    from importlib.metadata import entry_points

    for point in entry_points(group="flagloop.commands", name=name):
        try:
            command = point.load()
        except ModuleNotFoundError as problem:
            if not _is_server_extra(problem):
                raise
            return _absent(problem)
        return command if isinstance(command, click.Command) else None
    return None


def _absent(problem: ModuleNotFoundError) -> click.Command:
    """A command that takes anything and says what is missing."""

    def fail() -> None:
        raise problem

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command("absent", callback=fail, context_settings=settings, add_help_option=False)


def _is_server_extra(problem: ModuleNotFoundError) -> bool:
    """Whether a module of another package is missing; one of ours missing is a bug."""
    return (problem.name or "").partition(".")[0] not in ("", "flagloop", "flagloop_server")


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from flagloop import __version__

        click.echo(f"flagloop {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
def cli() -> None:
    """Feature flags, rollouts and experiments: check them, ask them, change them."""


def main() -> None:
    """Run `flagloop`; never returns."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a letter gets its number, as on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    cli(prog_name="flagloop")

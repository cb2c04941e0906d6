"""`flagloop validate` and `flagloop replay`: files alone, no server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flagloop.commands.inputs import check, read_contexts
from flagloop.commands.options import at_option, json_option
from flagloop.commands.output import print_json
from flagloop.document.problem import did_you_mean, errors
from flagloop.errors import DocumentError, NotFoundError

if TYPE_CHECKING:
    from flagloop.evaluation.ruleset import Ruleset

PATH = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@json_option
def validate(*, files: tuple[Path, ...], as_json: bool) -> None:
    """Print every problem of the files as file:line: path: message.

    Exits 1 when there is any; warnings are printed too and do not count.
    """
    found = [(file, problem) for file in files for problem in check(file)[1]]
    wrong = errors(problem for _, problem in found)
    if as_json:
        listed = [{"file": str(file), **problem.to_mapping()} for file, problem in found]
        print_json({"valid": not wrong, "problems": listed})
    else:
        for file, problem in found:
            colour = "yellow" if problem.severity == "warning" else "red"
            place, _, message = problem.render(str(file)).partition(": ")
            click.echo(click.style(place, fg=colour) + ": " + message)
        if not wrong:
            click.echo(f"{len(files)} file{'s' if len(files) > 1 else ''} without problems")
    click.get_current_context().exit(1 if wrong else 0)


@click.command()
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@click.option(
    "--contexts", type=PATH, required=True, help="Who: JSON lines or a JSON list of contexts."
)
@click.option("--flag", "flags", multiple=True, help="Only this flag (may be repeated).")
@at_option
@json_option
def replay(
    *,
    old: Path,
    new: Path,
    contexts: Path,
    flags: tuple[str, ...],
    at: float | None,
    as_json: bool,
) -> None:
    """Run contexts through two files: who keeps the variant, who moves where."""
    from flagloop.evaluation.replay import replay as run

    before, after = _ruleset(old), _ruleset(new)
    known = {*before.names(), *after.names()}
    for flag in flags:
        if flag not in known:
            near = did_you_mean(flag, known)
            hint = f"; {near}" if near else ""
            raise NotFoundError(f"no flag '{flag}' in {old} nor in {new}{hint}")
    now = time.time() if at is None else at
    done = run(before, after, read_contexts(contexts), flags or None, now)
    if as_json:
        print_json(done.to_mapping())
    else:
        click.echo(done.render())


def _ruleset(path: Path) -> Ruleset:
    from flagloop.evaluation.ruleset import Ruleset

    document, found = check(path)
    wrong = errors(found)
    if document is None or wrong:
        raise DocumentError(wrong, str(path))
    return Ruleset(document.mapping)

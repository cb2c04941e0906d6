"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

JSON_WANTED = "flagloop.json"


def _note_json(ctx: click.Context, _: click.Parameter, wanted: bool) -> bool:
    # An error is told outside the command, which then knows in which form.
    ctx.meta[JSON_WANTED] = wanted
    return wanted


json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_note_json, help="Print JSON."
)
file_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"
)


def server_options(function: Function) -> Function:
    """`--url`, `--key` and `--env`, or FLAGLOOP_URL, FLAGLOOP_KEY and FLAGLOOP_ENV."""
    for option in (
        click.option("--env", envvar="FLAGLOOP_ENV", help="Environment; the key's when left out."),
        click.option("--key", envvar="FLAGLOOP_KEY", help="Key; better set FLAGLOOP_KEY."),
        click.option("--url", envvar="FLAGLOOP_URL", help="Server, http://localhost:8377 say."),
    ):
        function = option(function)
    return function


def read_user(_: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any] | None:
    """The context that `--user` says: a JSON object with key and attributes, or the bare key."""
    if value is None:
        return None
    if not value.lstrip().startswith("{"):
        return {"key": value}
    try:
        return dict(json.loads(value, parse_constant=no_constant))
    except json.JSONDecodeError as problem:
        place = f"column {problem.colno}" if problem.lineno == 1 else f"line {problem.lineno}"
        message = f"no JSON: {problem.msg} at {place} of {value!r}"
        raise click.BadParameter(message, param=param) from None
    except (ValueError, RecursionError) as problem:
        raise click.BadParameter(f"no JSON: {problem}", param=param) from None


def read_time(_: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Epoch seconds of a moment, RFC 3339 with an offset, or of a date."""
    from flagloop.document.times import parse_time

    try:
        return None if value is None else parse_time(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param=param) from None


at_option = click.option(
    "--at",
    metavar="TIME",
    callback=read_time,
    help="Decide as of this moment, 2027-03-01T09:00:00Z say.",
)


def read_percent(_: click.Context, param: click.Parameter, value: str) -> str:
    """The text of a percentage with its sign, once it is known to be one."""
    from flagloop.document.definition import WHOLE
    from flagloop.document.percent import parse_percent

    try:
        if parse_percent(value) > WHOLE:
            raise ValueError(f"{value} is more than 100%")
    except ValueError as problem:
        raise click.BadParameter(str(problem), param=param) from None
    return value


def no_constant(name: str) -> Any:
    """Refuse NaN and Infinity, which Python's JSON reader would take."""
    raise ValueError(f"{name} is no JSON")

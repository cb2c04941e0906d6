"""What the commands that work on `--data DIR` share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from flagloop.errors import FlagloopError
from flagloop_server.store import Actor, Store

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_DATA = Path("flagloop-data")
COMMAND = Actor("command", "flagloop")


def data_option(command: F) -> F:
    """The option `--data`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DATA,
        envvar="FLAGLOOP_DATA",
        show_default=True,
        help="The server's folder.",
    )(command)


def json_option(command: F) -> F:
    """The option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextmanager
def opened(data: Path) -> Iterator[Store]:
    """The store in an existing folder, also while a server runs on it.

    Raises click.ClickException (exit code 1) for whatever goes wrong inside the block.
    """
    if not (data / "config.db").is_file():
        raise click.ClickException(f"no server was ever started on {data}: no config.db there")
    with told():
        store = Store(data)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def told() -> Iterator[None]:
    """Turn what can go wrong on purpose into one line on standard error and exit code 1."""
    try:
        yield
    except FlagloopError as problem:
        raise click.ClickException(str(problem)) from None
    except (sqlite3.Error, OSError) as problem:
        raise click.ClickException(f"the data cannot be used: {problem}") from None


def print_json(value: object) -> None:
    """One JSON value on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of text, as wide as needed."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def moment(epoch_ms: int | None) -> str:
    """A time for people, in UTC; `-` for none."""
    if epoch_ms is None:
        return "-"
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def roles_text(roles: Mapping[str, str]) -> str:
    """`admin in *, viewer in production`."""
    return ", ".join(f"{role} in {place}" for place, role in roles.items()) or "none"

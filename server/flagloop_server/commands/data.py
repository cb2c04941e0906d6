"""What the commands that work on `--data DIR` share."""

from __future__ import annotations

import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from flagloop.errors import ConfigError
from flagloop_server.backup import UNFINISHED
from flagloop_server.store import Actor, Store

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_DATA = Path("flagloop-data")
COMMAND = Actor("command", "flagloop")
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


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


@contextmanager
def opened(data: Path) -> Iterator[Store]:
    """The store in an existing folder, also while a server runs on it.

    Raises ConfigError for another folder, click.ClickException (exit code 1) for what the disk
    or the database refuses; other errors of flagloop pass.
    """
    need_server(data)
    with told():
        store = Store(data)
        try:
            yield store
        finally:
            store.close()


def need_server(data: Path) -> None:
    """ConfigError for a folder that has no config.db, which says what became of it."""
    if (data / "config.db").is_file():
        return
    again = f"flagloop backup restore FILE --data {data} --force"
    if (data / UNFINISHED).exists():
        raise ConfigError(f"a restore into {data} was cut off, do it again: {again}")
    if (data / "events.db").is_file():
        raise ConfigError(f"{data} has lost its config.db: restore a backup: {again}")
    raise ConfigError(f"no server was ever started on {data}: there is no config.db")


@contextmanager
def told() -> Iterator[None]:
    """Turn what the disk or the database refuses into one line and exit code 1."""
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads on, `| head` say: click ends quietly
    except (sqlite3.Error, OSError) as problem:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        more = "; 'flagloop doctor' says which file and what to do" if code in DAMAGED else ""
        raise click.ClickException(f"the data cannot be used: {problem}{more}") from None


@contextmanager
def tidied() -> Iterator[None]:
    """Let SIGTERM end a command as ^C does, so that its half-made files go."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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

"""`flagloop serve`: the whole server in one process."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flagloop.commands.output import item_name
from flagloop.document.problem import did_you_mean
from flagloop.errors import ConflictError, DocumentError, NotFoundError
from flagloop_server.commands.data import data_option, told
from flagloop_server.config import Config

if TYPE_CHECKING:
    from flagloop.document.merge import Merge
    from flagloop_server.app import Application
    from flagloop_server.changes import Changes


def read_url(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A URL with its scheme: links are made of it, and cookies marked Secure by it."""
    if value and not re.match(r"https?://[^/]", value):
        raise click.BadParameter(f"{value!r} is not like https://flags.example.com", param=param)
    return value or None


@click.command()
@data_option
@click.option("--host", default="127.0.0.1", envvar="FLAGLOOP_HOST", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8377,
    envvar="FLAGLOOP_PORT",
    show_default=True,
    help="0 takes a free port.",
)
@click.option(
    "--public-url",
    envvar="FLAGLOOP_PUBLIC_URL",
    callback=read_url,
    help="Where people reach it behind a proxy.",
)
@click.option(
    "--trusted-proxies",
    envvar="FLAGLOOP_TRUSTED_PROXIES",
    default="127.0.0.1",
    show_default=True,
    help="Addresses whose X-Forwarded-For and -Proto are believed.",
)
@click.option(
    "--flags",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Merge this file at each start, as a push would.",
)
@click.option(
    "--env",
    "environment",
    envvar="FLAGLOOP_ENV",
    default="production",
    show_default=True,
    help="Where --flags goes.",
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info")
def serve(
    *,
    data: Path,
    host: str,
    port: int,
    public_url: str | None,
    trusted_proxies: str,
    flags: Path | None,
    environment: str,
    log_level: str,
) -> None:
    """Serve flags, take events and show the admin pages.

    SIGTERM and SIGINT end it with exit code 0; 1: the folder or the port cannot be used.
    """
    config = Config(
        data=data,
        host=host,
        port=port,
        url=public_url,
        flags=flags,
        environment=environment,
        trusted_proxies=trusted_proxies,
    )
    from flagloop_server.telemetry import configure_logging

    configure_logging(logging.getLevelNamesMapping()[log_level.upper()])
    with told():
        run(config)
    sys.stdout.flush()
    sys.stderr.flush()
    # A page that still computes would hold the interpreter: the databases are closed by now.
    os._exit(0)


def run(config: Config) -> None:
    """Serve until a signal comes; raises OSError, sqlite3.Error and FlagloopError at start."""
    from flagloop_server.commands.lock import sole_server
    from flagloop_server.edge.server import allow_many_files
    from flagloop_server.memory import give_back

    allow_many_files()
    give_back()
    # All that may fail comes first: it must not spend the keys that are shown once.
    if config.flags is not None:
        check_environment(config.data, config.environment)
    listener = listening(config.host, config.port)
    url = public_url(config, listener)
    with contextlib.closing(listener), sole_server(config.data, url=url):
        from flagloop_server.app import create_app

        app = create_app(config)
        try:
            serve_app(app, config, listener)
        finally:
            close_within(app, config.close_seconds)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket; raises click.ClickException (exit code 1) that says what to choose."""
    from flagloop_server.edge.server import listen

    try:
        if not host.encode("idna"):  # raises UnicodeError for what no name can be
            raise ValueError("the host is empty")  # else: all addresses, and links to none
        return listen(host, port)
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        advice = "choose another --port (0 takes a free one) or --host"
        raise click.ClickException(f"cannot listen: {why}; {advice}") from None


def serve_app(app: Application, config: Config, listener: socket.socket) -> None:
    """Tell what a start tells, then serve until a signal comes."""
    from flagloop_server.edge.server import Server
    from flagloop_server.memory import settle

    url = public_url(config, listener)
    for line in greeting(app.first_keys, app.setup_link, url):
        click.echo(line)
    if config.flags is not None:
        click.echo(merge_flags(app.changes, config.flags, config.environment))
    app.start()
    settle()
    server = Server(
        app.asgi,
        stop_seconds=config.stop_seconds,
        ready=lambda: click.echo(f"flagloop serves {url} from {config.data}"),
        stopping=app.edge.stop,
    )
    server.run(sockets=[listener])


def check_environment(data: Path, environment: str) -> None:
    """Raise NotFoundError if the server on this folder, also a new one, will not have it."""
    from flagloop_server.auth import FIRST_ENVIRONMENTS
    from flagloop_server.store.inspection import read_only, revisions_of

    known: list[str] = []
    # a file without the tables is as good as none
    if (data / "config.db").is_file():
        with contextlib.suppress(sqlite3.OperationalError), read_only(data / "config.db") as file:
            known = [key for key, *_ in revisions_of(file)]
    known = known or list(FIRST_ENVIRONMENTS)
    if environment not in known:
        hint = did_you_mean(environment, known) or f"there are {', '.join(known)}"
        raise NotFoundError(f"--env: no environment '{environment}' in {data}; {hint}")


def close_within(app: Application, seconds: float) -> None:
    """Close, but wait no longer than that for a database that somebody else holds.

    What was acknowledged is committed by then, so nothing is lost.
    """
    closing = threading.Thread(target=app.close, name="close", daemon=True)
    closing.start()
    closing.join(seconds)


def public_url(config: Config, listener: socket.socket) -> str:
    """The URL to print: the public one, else host and the port that was taken."""
    if config.url is not None:
        return config.url.rstrip("/")
    wild = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not bound)
    host = wild.get(config.host, config.host)
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def greeting(keys: Sequence[tuple[str, str]], setup_link: str | None, url: str) -> list[str]:
    """What a first start tells once: keys and the link that makes the first admin."""
    lines = [f"server key for {place}: {secret}" for place, secret in keys]
    if keys:
        lines.append("these keys are not shown again; 'flagloop keys create' makes more")
    if setup_link is not None:
        lines.append(f"first sign-in, once: {url}{setup_link}")
    return lines


def merge_flags(changes: Changes, file: Path, environment: str) -> str:
    """Merge `file`; what cannot be merged is told and the stored document stays in force.

    The base is what this merged last itself, so an unchanged file takes nothing back.

    Raises NotFoundError for an unknown environment and OSError for an unreadable file.
    """
    from flagloop_server.changes import deploy
    from flagloop_server.store import Actor

    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return f"{file} is not UTF-8; the stored document stays in force"
    actor = Actor("command", "flagloop serve")
    reason = f"serve --flags {file.name}"
    try:
        done = changes.apply(deploy(environment, text), actor, reason)
    except ConflictError as conflict:
        items = ", ".join(conflict.conflicts) or str(conflict)
        return (
            f"{file} and {environment} were both changed: {items}\n"
            f"the stored document stays in force; 'flagloop pull' and merge"
        )
    except DocumentError as broken:
        listed = "\n".join(problem.render(str(file)) for problem in broken.problems)
        return f"{listed}\n{file} is not used; the stored document stays in force"
    said = "is merged into" if done.applied else "has nothing new for"
    head = f"{file} {said} {environment}, revision {done.revision}"
    return "\n".join([head, *merged_items(done.merge), *done.notes])


def merged_items(merged: Merge | None) -> list[str]:
    """A line for each item that a merge took, removed or left as the server has it."""
    if merged is None:
        return []
    gone = {
        word: [ref for ref in merged.removed if (ref[0] == "flags") is (word == "archived")]
        for word in ("archived", "removed")
    }
    words = {"taken": merged.taken, **gone, "kept": merged.kept}
    return [
        f"  {word:<9}{item_name(*ref)}{'  (changed on the server)' if word == 'kept' else ''}"
        for word, refs in words.items()
        for ref in refs
    ]

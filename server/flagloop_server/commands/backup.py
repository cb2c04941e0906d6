"""`flagloop backup`: everything of a server in one file, and back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flagloop.commands.options import file_argument, json_option
from flagloop.commands.output import print_json
from flagloop.errors import ConfigError
from flagloop_server.commands.data import COMMAND, data_option, moment, need_server, tidied, told
from flagloop_server.commands.lock import sole_server

if TYPE_CHECKING:
    from flagloop_server.backup.manifest import Checked, Manifest
    from flagloop_server.store.lineages import NewLineage

DATABASES = ("config.db", "events.db", "serve.lock")
"""How the names of files begin that a server uses."""
SINCE = (
    "keys, passwords and kills are as of then: do again what was revoked, changed or killed since;"
    " everybody signs in anew"
)


@click.group()
def backup() -> None:
    """Back a server up while it runs, check backups, restore them."""


@backup.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@data_option
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--no-verify", is_flag=True, help="Do not check the copies and read FILE back.")
@json_option
def create(*, file: Path, data: Path, force: bool, no_verify: bool, as_json: bool) -> None:
    """Write everything of a server into FILE, also while it runs.

    FILE has secrets (hashes of passwords, what users did) and is for its owner only. Exits 1 when
    the data are damaged or do not fit; FILE is then as it was.
    """
    from flagloop_server.backup.create import create as make
    from flagloop_server.store import now_ms

    need_server(data)
    refuse_target(file, data, force=force)
    with told(), tidied():
        made = make(data, file.absolute(), at=now_ms(), verify=not no_verify)
    tell(file, made, "" if no_verify else ", whole", as_json)
    note(data, file, made.manifest, now_ms())


@backup.command()
@file_argument
@json_option
def verify(file: Path, as_json: bool) -> None:
    """Read FILE whole: checksums, databases, audit log. Exits 1 when it cannot be restored."""
    from flagloop_server.backup.restore import verify as check

    with told(), tidied():
        checked = check(file.absolute())
    tell(file, checked, ", whole", as_json)


@backup.command()
@file_argument
@data_option
@click.option("--force", is_flag=True, help="Put databases that are in the folder aside.")
@json_option
def restore(file: Path, data: Path, force: bool, as_json: bool) -> None:
    """Put FILE into a folder on which no server runs.

    Every environment gets a new lineage, so that SDKs with a later revision take the old one.
    Nothing is touched before FILE was read whole; 2: the folder is not empty.
    """
    from flagloop_server.backup.archive import read
    from flagloop_server.backup.restore import refuse_occupied
    from flagloop_server.backup.restore import restore as put
    from flagloop_server.store import now_ms

    refuse_occupied(data, force=force)
    with told(), tidied():
        read(file)
        with sole_server(data, restoring=True):
            done = put(file.absolute(), data, COMMAND, now_ms())
    if as_json:
        aside = None if done.replaced is None else str(done.replaced)
        print_json(
            {
                "manifest": done.manifest.to_mapping(),
                "environments": [one.to_mapping() for one in done.lineages],
                "replaced": aside,
            }
        )
        return
    click.echo(f"{data} is as of {moment(done.manifest.created)} UTC")
    tell_lineages(done.lineages)
    if done.replaced is not None:
        click.echo(f"the former databases are in {done.replaced}; delete them when you like")
    click.echo(SINCE)


@backup.command()
@data_option
@json_option
def adopt(data: Path, as_json: bool) -> None:
    """Prepare a folder that was restored by other means (Litestream, a snapshot, cp).

    Does what `flagloop backup restore` does after unpacking: new lineages, sessions ended.
    """
    from flagloop_server.backup.restore import adopt as take
    from flagloop_server.store import now_ms

    need_server(data)
    with told(), sole_server(data):
        begun = take(data, COMMAND, now_ms())
    if as_json:
        print_json({"environments": [one.to_mapping() for one in begun]})
        return
    tell_lineages(begun)
    click.echo(SINCE)


def refuse_target(file: Path, data: Path, *, force: bool) -> None:
    """ConfigError for what a backup cannot be written to, before anything is copied."""
    place = file.absolute().parent
    if not place.is_dir():
        raise ConfigError(f"there is no folder {place}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{place} cannot be written")
    if place.samefile(data) and file.name.startswith(DATABASES):
        raise ConfigError(f"{file} is the server's own: take another name")
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already: take another name, or --force to replace it")
    if file.exists() and not file.is_file():
        raise ConfigError(f"{file} is no file that can be replaced: take another name")


def tell(file: Path, checked: Checked, state: str, as_json: bool) -> None:
    """What a backup has, for people or as JSON; its problems on standard error."""
    manifest = checked.manifest
    for problem in checked.problems:
        click.echo(problem, err=True)
    if as_json:
        found = {"file": str(file), **manifest.to_mapping(), "problems": list(checked.problems)}
        print_json(found)
        return
    has = manifest.contents
    size = sum(part.size for part in manifest.parts)
    places = ", ".join(f"{one.environment} {one.revision}" for one in has.environments)
    click.echo(
        f"{file}: {moment(manifest.created)} UTC, flagloop {manifest.flagloop},"
        f" {size / 1_000_000:.1f} MB{state}"
    )
    click.echo(f"{places or 'no environments'}; events up to number {has.events}")
    click.echo(f"audit head {has.audit_head}")


def tell_lineages(begun: Sequence[NewLineage]) -> None:
    """Each environment with its old and its new revision's name."""
    for one in begun:
        click.echo(
            f"{one.environment}: {one.after}.{one.revision} (was {one.before}.{one.revision})"
        )


def note(data: Path, file: Path, manifest: Manifest, at: int) -> None:
    """Write the backup into the ledger; one that cannot be noted is a backup all the same."""
    from flagloop_server.store.lineages import note_backup

    details = {"head": manifest.contents.audit_head, "events": manifest.contents.events}
    try:
        note_backup(data / "config.db", file.name, COMMAND, at, details)
    except sqlite3.Error as problem:
        click.echo(f"the backup is not in the audit log: {problem}", err=True)

"""`flagloop keys`: make, list and revoke keys in a server's folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from flagloop.commands.options import json_option
from flagloop.commands.output import print_json
from flagloop.document.times import parse_duration
from flagloop_server.commands.data import (
    COMMAND,
    data_option,
    moment,
    opened,
    print_table,
)
from flagloop_server.store import KeyInfo, KeyKind, Role

KINDS = ["server", "client", "admin"]
ROLES = ["viewer", "editor", "admin"]
LONGEST = 36_500 * 86_400
"""Seconds; what is for longer need not expire."""


@click.group()
def keys() -> None:
    """Make, list and revoke keys (also while the server runs)."""


@keys.command()
@data_option
@click.option("--env", "environment", required=True, envvar="FLAGLOOP_ENV", help="Environment.")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="server",
    show_default=True,
    help="server: rules and events; client: events only, may be public; admin: the admin API.",
)
@click.option("--name", default="", help="What people will know it by.")
@click.option("--role", type=click.Choice(ROLES), help="Of an admin key; editor when left out.")
@click.option("--expires", metavar="DURATION", help="Such as 30d; admin keys: 90d when left out.")
@json_option
def create(
    *,
    data: Path,
    environment: str,
    kind: KeyKind,
    name: str,
    role: Role | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a key and print its secret, this once.

    --env '*' makes an admin key for every environment.
    """
    if kind != "admin" and role is not None:
        raise click.UsageError("--role is for admin keys")
    if kind == "admin" and role is None:
        role = "editor"
    until = None if expires is None else expiry(expires)
    with opened(data) as store:
        info, secret = store.create_key(
            environment, kind, name or f"{kind} key", COMMAND, role=role, expires_at=until
        )
    if as_json:
        print_json({"key": secret, **key_mapping(info)})
        return
    click.echo(secret)
    click.echo(f"key {info.id}, {kind}, {environment}: shown this once", err=True)


@keys.command("list")
@data_option
@click.option("--env", "environment", envvar="FLAGLOOP_ENV", help="Only of this environment.")
@click.option("--revoked", is_flag=True, help="Revoked ones too.")
@json_option
def list_keys(data: Path, environment: str | None, revoked: bool, as_json: bool) -> None:
    """List keys; a secret is never shown again."""
    with opened(data) as store:
        found = store.keys(environment, revoked=revoked)
    if as_json:
        print_json([key_mapping(info) for info in found])
        return
    head = ("ID", "KIND", "ENVIRONMENT", "NAME", "STARTS", "STATE", "LAST USED")
    print_table(head, [key_row(info) for info in found])


@keys.command()
@data_option
@click.argument("key_id", metavar="ID", type=int)
@json_option
def revoke(data: Path, key_id: int, as_json: bool) -> None:
    """Revoke a key; a running server refuses it within a second."""
    with opened(data) as store:
        info = store.revoke_key(key_id, COMMAND)
    if as_json:
        print_json(key_mapping(info))
    else:
        click.echo(f"key {info.id} ({info.name}) is revoked")


def expiry(duration: str) -> int:
    """The time after `duration` from now, in epoch ms; raises click.BadParameter."""
    try:
        seconds = parse_duration(duration)
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"{duration} is not from 1s to {LONGEST // 86_400}d")
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="--expires") from None
    return int((time.time() + seconds) * 1000)


def state(info: KeyInfo) -> str:
    """active, expired or revoked, in words."""
    if info.revoked_at is not None:
        return f"revoked {moment(info.revoked_at)}"
    if not info.active(int(time.time() * 1000)):
        return f"expired {moment(info.expires_at)}"
    return "active" if info.expires_at is None else f"until {moment(info.expires_at)}"


def key_row(info: KeyInfo) -> list[str]:
    """A line of the table."""
    kind = f"{info.kind} ({info.role})" if info.role else info.kind
    places = ", ".join(info.environments)
    used = moment(info.last_used_at)
    return [str(info.id), kind, places, info.name, f"{info.hint}...", state(info), used]


def key_mapping(info: KeyInfo) -> dict[str, Any]:
    """The JSON form, without the secret."""
    return {
        "id": info.id,
        "kind": info.kind,
        "name": info.name,
        "hint": info.hint,
        "environments": list(info.environments),
        "role": info.role,
        "created_at": info.created_at,
        "expires_at": info.expires_at,
        "revoked_at": info.revoked_at,
        "last_used_at": info.last_used_at,
    }

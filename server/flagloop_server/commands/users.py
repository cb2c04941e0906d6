"""`flagloop users`: people who may sign in to the pages."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from flagloop.commands.options import json_option
from flagloop.commands.output import print_json
from flagloop_server.auth import Auth
from flagloop_server.commands.data import (
    COMMAND,
    data_option,
    moment,
    opened,
    print_table,
    roles_text,
)
from flagloop_server.commands.lock import served_url
from flagloop_server.store import Role, User

DEFAULT_URL = "http://127.0.0.1:8377"
ROLES = ["viewer", "editor", "admin"]
url_option = click.option(
    "--url",
    help="Where people reach the server; the link begins with it.  [default: the URL of the"
    f" server that runs on the folder, else FLAGLOOP_PUBLIC_URL, else {DEFAULT_URL}]",
)


@click.group()
def users() -> None:
    """Make and list people, set passwords (also while the server runs)."""


@users.command()
@data_option
@click.argument("email")
@click.option("--name", default="", help="Name to show.")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True)
@click.option("--env", "environment", default="*", show_default=True, help="'*': everywhere.")
@url_option
@json_option
def create(
    *,
    data: Path,
    email: str,
    name: str,
    role: Role,
    environment: str,
    url: str | None,
    as_json: bool,
) -> None:
    """Make a person and print a one-time link to set the password."""
    with opened(data) as store:
        user, token = Auth(store).create_user(email, name, {environment: role}, COMMAND)
        link = setup_url(data, url, token)
    tell_link(user, link, as_json)


@users.command("list")
@data_option
@json_option
def list_users(data: Path, as_json: bool) -> None:
    """List people with their roles."""
    with opened(data) as store:
        found = Auth(store).users()
    if as_json:
        print_json([user_mapping(user) for user in found])
        return
    head = ("ID", "EMAIL", "NAME", "ROLES", "STATE", "LAST SEEN")
    print_table(head, [user_row(user) for user in found])


@users.command()
@data_option
@click.argument("email")
@click.option("--link", is_flag=True, help="Print a one-time link instead of asking.")
@url_option
@json_option
def passwd(data: Path, email: str, link: bool, url: str | None, as_json: bool) -> None:
    """Set a person's password; asks for it, or reads one line where there is no terminal."""
    with opened(data) as store:
        auth = Auth(store)
        user = auth.user(email)
        if link:
            tell_link(user, setup_url(data, url, auth.setup_link(user.id)), as_json)
            return
        auth.set_password(email, ask_password(), COMMAND)
    if as_json:
        print_json({"email": email, "changed": True})
    else:
        click.echo(f"the password of {email} is set; other sessions have ended")


def ask_password() -> str:
    """A password typed twice, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


def setup_url(data: Path, url: str | None, token: str) -> str:
    """The link under `url`, else under what is known of the folder's server."""
    found = url or served_url(data) or os.environ.get("FLAGLOOP_PUBLIC_URL") or DEFAULT_URL
    return f"{found.rstrip('/')}/setup/{token}"


def tell_link(user: User, link: str, as_json: bool) -> None:
    """Print the link to set a password."""
    if as_json:
        print_json({**user_mapping(user), "setup_link": link})
        return
    click.echo(link)
    click.echo(f"{user.email} sets the password there; the link works once", err=True)


def state(user: User) -> str:
    """Whether the person can sign in, in words."""
    if user.disabled_at is not None:
        return "disabled"
    return "active" if user.signed_up else "invited"


def user_row(user: User) -> list[str]:
    """A line of the table."""
    seen = moment(user.last_seen_at)
    return [str(user.id), user.email, user.name, roles_text(user.roles), state(user), seen]


def user_mapping(user: User) -> dict[str, Any]:
    """The JSON form."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "roles": dict(user.roles),
        "state": state(user),
        "last_seen_at": user.last_seen_at,
    }

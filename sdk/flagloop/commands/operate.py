"""`flagloop kill`, `restore` and `share`: one change to one flag of a server, at once."""

from __future__ import annotations

from typing import Any

import click

from flagloop.commands.api import Admin
from flagloop.commands.options import json_option, read_percent, server_options
from flagloop.commands.output import print_json

reason_option = click.option("--reason", default="", help="Why; kept in the audit log.")


@click.command()
@click.argument("flag")
@click.option("--reason", required=True, help="Why; shown beside the flag and kept.")
@server_options
@json_option
def kill(
    *, flag: str, reason: str, url: str | None, key: str | None, env: str | None, as_json: bool
) -> None:
    """Serve a flag's `off` to everyone, now."""
    answer = Admin(url, key, env).kill(flag, reason)
    done = f"killed {flag}" if answer.get("changed") else f"{flag} was killed already"
    _tell(answer, done, f"undo with: flagloop restore {flag}", as_json)


@click.command()
@click.argument("flag")
@reason_option
@server_options
@json_option
def restore(
    *, flag: str, reason: str, url: str | None, key: str | None, env: str | None, as_json: bool
) -> None:
    """Undo a kill: the flag's rules decide again."""
    answer = Admin(url, key, env).restore(flag, reason)
    done = f"restored {flag}" if answer.get("changed") else f"{flag} was not killed"
    _tell(answer, done, "", as_json)


@click.command()
@click.argument("flag")
@click.argument("rule")
@click.argument("percent", callback=read_percent)
@reason_option
@server_options
@json_option
def share(
    *,
    flag: str,
    rule: str,
    percent: str,
    reason: str,
    url: str | None,
    key: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Set the share of a rule, `25%` say (of a rollout: its stage)."""
    answer = Admin(url, key, env).share(flag, rule, percent, reason)
    if answer.get("changed"):
        before = answer.get("before")
        done = f"rule {rule} of {flag} takes {percent}" + (f", was {before}" if before else "")
    else:
        done = f"rule {rule} of {flag} takes {percent} already"
    _tell(answer, done, "", as_json)


def _tell(answer: dict[str, Any], done: str, then: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    place = f"{answer.get('environment')}, revision {answer.get('revision')}"
    click.echo(f"{done} ({place})")
    if then:
        click.echo(then)

"""`flagloop kill`, `restore` and `share`: one change to one flag of a server, at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from flagloop.commands.api import Admin
from flagloop.commands.options import json_option, read_percent, server_options
from flagloop.commands.output import complain, print_json
from flagloop.errors import TransportError

MISSING, SILENT = 5, 4
"""Exit codes: the time to wait ran out before all obeyed; the server said nothing about that."""
WAIT = 15.0
"""Seconds that `--wait` waits by itself: a poll and a bit."""
LONGEST_WAIT = 86_400.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
SHORTEST_ASK = 1.0
"""Seconds that an answer may take also when the time to wait is over."""


def _seconds(_: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The number; a word in its place is most likely the flag."""
    try:
        seconds = None if value is None else float(value)
    except ValueError:
        message = f"{value!r} is no number of seconds: put the flag before --wait"
        raise click.BadParameter(message, param=param) from None
    if seconds is not None and not 0 <= seconds <= LONGEST_WAIT:
        raise click.BadParameter(f"{value} is not from 0 to {LONGEST_WAIT:g}", param=param)
    return seconds


wait_option = click.option(
    "--wait",
    is_flag=False,
    flag_value=str(WAIT),
    callback=_seconds,
    metavar="[SECONDS]",
    help=f"Wait until every instance obeys, {WAIT:g} s at most or so long; 5 if one does not.",
)
reason_option = click.option("--reason", default="", help="Why; kept in the audit log.")


@click.command()
@click.argument("flag")
@click.option("--reason", required=True, help="Why; shown beside the flag and kept.")
@wait_option
@server_options
@json_option
def kill(*, flag: str, reason: str, wait: float | None, as_json: bool, **server: Any) -> None:
    """Serve a flag's `off` to everyone, now."""
    admin = Admin(**server)
    answer = admin.kill(flag, reason)
    done = f"killed {flag}" if answer.get("changed") else f"{flag} was killed already"
    _tell(answer, done, f"undo with: flagloop restore {flag}", as_json, _obeyed(admin, wait))


@click.command()
@click.argument("flag")
@reason_option
@wait_option
@server_options
@json_option
def restore(*, flag: str, reason: str, wait: float | None, as_json: bool, **server: Any) -> None:
    """Undo a kill: the flag's rules decide again."""
    admin = Admin(**server)
    answer = admin.restore(flag, reason)
    done = f"restored {flag}" if answer.get("changed") else f"{flag} was not killed"
    _tell(answer, done, "", as_json, _obeyed(admin, wait))


@click.command()
@click.argument("flag")
@click.argument("rule")
@click.argument("percent", callback=read_percent)
@reason_option
@click.option("--force", is_flag=True, help="Also if it disturbs a running experiment.")
@server_options
@json_option
def share(
    *,
    flag: str,
    rule: str,
    percent: str,
    reason: str,
    force: bool,
    url: str | None,
    key: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Set the share of a rule, `25%` say (of a rollout: its stage)."""
    answer = Admin(url, key, env).share(flag, rule, percent, reason, force=force)
    if answer.get("changed"):
        before = answer.get("before")
        done = f"rule {rule} of {flag} takes {percent}" + (f", was {before}" if before else "")
    else:
        done = f"rule {rule} of {flag} takes {percent} already"
    _tell(answer, done, "", as_json)


Obeyed = Callable[[int], dict[str, Any]]
"""Waits until a revision is obeyed; the server's last word about that."""


def _tell(
    answer: dict[str, Any], done: str, then: str, as_json: bool, obeyed: Obeyed | None = None
) -> None:
    """What became of a change and, if that is wanted, who obeys; exits 5 if somebody does not."""
    if not as_json:
        place = f"{answer.get('environment')}, revision {answer.get('revision')}"
        click.echo(f"{done} ({place})")
        if then:
            click.echo(then)
    if obeyed is None:
        if as_json:
            print_json(answer)
        return
    try:
        # Said first what is done: the server may fall silent now.
        answer["obedience"] = told = obeyed(int(answer["revision"]))
    except TransportError as problem:
        if not as_json:
            raise
        print_json({**answer, "obedience": None, "problem": str(problem)})
        complain(str(problem))
        click.get_current_context().exit(SILENT)
    if as_json:
        print_json(answer)
    else:
        # Nothing changed, so the environment's latest revision may be of something else.
        latest = f"revision {answer['revision']}, the latest, may be of something else: "
        of = "" if answer.get("changed") else latest
        click.echo(of + told["sentence"])
        if "problem" in told:
            complain(f"then the server fell silent: {told['problem']}")
    if not told.get("complete"):
        click.get_current_context().exit(MISSING)


def _obeyed(admin: Admin, seconds: float | None) -> Obeyed | None:
    """How to wait for obedience, None where that is not wanted."""
    return None if seconds is None else partial(_wait, admin, seconds)


def _wait(admin: Admin, seconds: float, revision: int) -> dict[str, Any]:
    """Ask who obeys until all do or the time is over; the last answer, with the `problem` of a
    server that fell silent after it. TransportError when there was none at all.
    """
    left, end = seconds, time.monotonic() + seconds
    pause, told = FIRST_PAUSE, None
    while True:
        silent: TransportError | None = None
        try:
            told = admin.obedience(revision, max(SHORTEST_ASK, left))
            if told.get("complete"):
                return told
        except TransportError as problem:
            silent = problem
        left = end - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
    if told is None:
        assert silent is not None
        raise silent
    return told if silent is None else {**told, "problem": str(silent)}

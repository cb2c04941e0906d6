"""`flagloop eval` and `flagloop explain`: what one user gets, and why."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from flagloop.commands.options import (
    Function,
    at_option,
    json_option,
    read_user,
    server_options,
)
from flagloop.commands.output import print_json
from flagloop.document.problem import did_you_mean
from flagloop.errors import ConfigError, DocumentError

if TYPE_CHECKING:
    from flagloop.evaluation.decision import Decision
    from flagloop.evaluation.ruleset import Ruleset


class Where(TypedDict):
    """Where the definitions come from, as the options name it."""

    file: Path | None
    url: str | None
    key: str | None
    env: str | None
    revision: int | None


def where_options(function: Function) -> Function:
    """`--file`, or a server and the revision."""
    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        click.option("--revision", type=int, help="A past revision of the server (admin key)."),
        click.option("--file", type=path, help="Decide by this file instead of the server."),
    ):
        function = option(function)
    return server_options(function)


@click.command("eval")
@click.argument("flag")
@click.option(
    "--user",
    metavar="JSON",
    callback=read_user,
    help="Who: a JSON object with key, or the bare key.",
)
@click.option(
    "--contexts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Many users instead: JSON lines or a JSON list; one line each is printed.",
)
@at_option
@where_options
@json_option
def evaluate(
    *,
    flag: str,
    user: dict[str, Any] | None,
    contexts: Path | None,
    at: float | None,
    as_json: bool,
    **where: Unpack[Where],
) -> None:
    """Print what a flag serves to a user.

    Exits 1 when the flag is unknown or broken.
    """
    if (user is None) == (contexts is None):
        raise ConfigError("say who: either --user or --contexts")
    ruleset = load(where)
    now = time.time() if at is None else at
    if contexts is not None:
        failed = _print_many(ruleset, flag, contexts, now, as_json)
    else:
        decision = ruleset.evaluate(flag, user or {}, now)
        failed = decision.error is not None
        if as_json:
            print_json(decision.to_mapping())
        else:
            click.echo(f"{flag}: {describe(decision)}")
        _hint(ruleset, decision)
    click.get_current_context().exit(1 if failed else 0)


@click.command()
@click.argument("flag")
@click.option(
    "--user",
    metavar="JSON",
    callback=read_user,
    required=True,
    help="Who: a JSON object with key, or the bare key.",
)
@at_option
@where_options
@json_option
def explain(
    *,
    flag: str,
    user: dict[str, Any],
    at: float | None,
    as_json: bool,
    **where: Unpack[Where],
) -> None:
    """Print rule by rule why a user gets a variant.

    Exits 1 when the flag is unknown or broken.
    """
    from flagloop.evaluation.explain import explain as walk

    explanation = walk(load(where), flag, user, time.time() if at is None else at)
    if as_json:
        print_json(explanation.to_mapping())
    else:
        click.echo(explanation.render())
    click.get_current_context().exit(0 if explanation.decision.error is None else 1)


def describe(decision: Decision) -> str:
    """`treatment "green" (SPLIT, rule colour-test)` for people."""
    parts = [decision.reason.value]
    for name in ("rule", "experiment", "holdout", "prerequisite"):
        if getattr(decision, name) is not None:
            parts.append(f"{name} {getattr(decision, name)}")
    if decision.missing_unit:
        parts.append("the context has no unit")
    for word in (decision.error, decision.message):
        if word is not None:
            parts.append(str(word))
    served = "no variant, the caller's default"
    if decision.variant is not None:
        served = f"{decision.variant} {json.dumps(decision.value, ensure_ascii=False)}"
    return f"{served} ({', '.join(parts)})"


def _hint(ruleset: Ruleset, decision: Decision) -> None:
    """Which flag may have been meant."""
    if decision.error == "FLAG_NOT_FOUND":
        near = did_you_mean(decision.flag, ruleset.names())
        if near:
            click.echo(near, err=True)


def load(where: Where) -> Ruleset:
    """The ruleset of a file or of a server; a server key and an admin key both do."""
    if where["file"] is not None:
        return _from_file(where["file"])
    if not where["url"]:
        raise ConfigError("decide by what? say --file FILE, or --url (FLAGLOOP_URL) of a server")
    return _from_server(where)


def _from_file(path: Path) -> Ruleset:
    from flagloop.commands.inputs import check
    from flagloop.document.problem import errors
    from flagloop.evaluation.ruleset import Ruleset

    document, found = check(path)
    wrong = errors(found)
    if document is None:
        raise DocumentError(wrong, str(path))
    if wrong:
        # As in an application: a broken flag is an error of its own, the others still decide.
        click.echo(
            f"{path} has {len(wrong)} problem{'s' if len(wrong) > 1 else ''}, "
            f"see: flagloop validate {path}",
            err=True,
        )
    return Ruleset(document.mapping)


def _from_server(where: Where) -> Ruleset:
    from flagloop.commands.api import Admin, key_kind, needed
    from flagloop.document.yamlfile import parse
    from flagloop.evaluation.ruleset import Ruleset

    url, key = needed(where["url"], where["key"])
    kind = key_kind(key)
    if kind == "a client key":
        raise ConfigError("a client key reads no rules; use a server key or an admin key")
    if kind == "a server key":
        return _from_ruleset(url, key, where)
    stored = Admin(url, key, where["env"]).document(where["revision"])
    mapping = parse(stored["text"]).mapping
    return Ruleset(mapping, f"{stored['lineage']}.{stored['revision']}", stored["environment"])


def _from_ruleset(url: str, key: str, where: Where) -> Ruleset:
    """What an SDK with this key decides by."""
    from flagloop.evaluation.ruleset import Ruleset
    from flagloop.sync.source import ServerSource
    from flagloop.sync.transport import Transport

    if where["revision"] is not None:
        raise ConfigError(
            "a server key reads the present ruleset only; --revision needs an admin key"
        )
    snapshot = ServerSource(Transport(url, key)).fetch(None)
    assert snapshot is not None  # without a revision there is nothing to be unchanged
    if where["env"] not in (None, "", snapshot.environment):
        raise ConfigError(
            f"this key belongs to {snapshot.environment}, not to {where['env']}; "
            "leave --env out or use another key"
        )
    return Ruleset(snapshot.mapping, snapshot.revision, snapshot.environment)


def _print_many(ruleset: Ruleset, flag: str, path: Path, now: float, as_json: bool) -> bool:
    """One line for each context; whether any was an error."""
    from flagloop.commands.inputs import read_contexts

    failed = False
    for context in read_contexts(path):
        decision = ruleset.evaluate(flag, context, now)
        failed = failed or decision.error is not None
        if as_json:
            click.echo(json.dumps({"key": context.get("key"), **decision.to_mapping()}))
        else:
            click.echo(f"{context.get('key')}: {describe(decision)}")
    return failed

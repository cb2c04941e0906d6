"""`flagloop push`, `pull` and `diff`: a file and the document of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flagloop.commands import sidefile
from flagloop.commands.api import Admin, ItemConflictError, warnings_of
from flagloop.commands.inputs import read_bytes, read_document_text
from flagloop.commands.options import file_argument, json_option, server_options
from flagloop.commands.output import item_name, print_diff, print_json, unified
from flagloop.errors import ConflictError

if TYPE_CHECKING:
    from flagloop.document.merge import ItemChange, Merge


@click.command()
@file_argument
@click.option("--base", type=int, help="The revision that the file was made from.")
@click.option("--state", is_flag=True, help="Also apply killed, stage, paused and status.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--reason", default="", help="Why; kept in the audit log.")
@server_options
@json_option
def push(
    *,
    file: Path,
    base: int | None,
    state: bool,
    dry_run: bool,
    reason: str,
    url: str | None,
    key: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Merge a file into an environment, item by item.

    What only the file changed is taken, what only the server changed stays; what both changed
    is a conflict: nothing is applied then. Killed flags stay killed, rollouts where they are.
    """
    admin = Admin(url, key, env)
    text = read_document_text(file).raw.decode()
    body = {"text": text, "state": state, "dry_run": dry_run, "reason": reason}
    copy = sidefile.find(file, admin.url, admin.environment)
    if base is not None:
        body["base"] = base
    elif copy is not None:
        body["base_text"] = copy.base
    try:
        answer = admin.push(body, str(file))
    except ItemConflictError as problem:
        if not as_json:
            _print_conflicts(problem.items)
        names = ", ".join(problem.conflicts) or str(problem)
        # pull cannot merge into a file of unknown origin, a push makes its origin known
        then = "push it" if copy is None else f"`flagloop pull {file}`"
        raise ItemConflictError(
            f"nothing was applied: {file} and {admin.environment} both changed {names}. "
            f"Put the server's text of these into the file, {then}, change them "
            "again and push (--base and the server's revision would undo every change of others "
            "that the file does not have)",
            problem.items,
        ) from None
    if not dry_run:
        sidefile.keep(file, _copy(admin, answer, text))
    if as_json:
        print_json(answer)
    else:
        _tell_push(file, answer, dry_run)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Write over changes of the file.")
@server_options
@json_option
def pull(
    *,
    file: Path | None,
    force: bool,
    url: str | None,
    key: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Bring an environment's document into FILE; without FILE print it.

    Changes of the file that were not pushed are merged with the server's, item by item; on a
    conflict nothing is written.
    """
    admin = Admin(url, key, env)
    answer = admin.document()
    theirs = str(answer["text"])
    if file is None:
        if as_json:
            print_json(answer)
        else:
            click.echo(theirs.encode(), nl=False)
        return
    told = _bring(admin, file, theirs, force)
    sidefile.keep(file, _copy(admin, answer, theirs))
    if as_json:
        print_json({**_place(answer), "file": str(file), "result": told})
    else:
        click.echo(f"{file}: {told} ({_place_text(answer)})")


@click.command()
@file_argument
@server_options
@json_option
def diff(*, file: Path, url: str | None, key: str | None, env: str | None, as_json: bool) -> None:
    """Show how FILE differs from an environment's document (- server, + file).

    Exits 1 when they differ.
    """
    from flagloop.document.merge import item_diff
    from flagloop.document.yamlfile import parse

    mine = read_document_text(file)
    admin = Admin(url, key, env)
    answer = admin.document()
    theirs = parse(answer["text"])
    changes = item_diff(theirs, mine)
    old, new = theirs.raw.decode(), mine.raw.decode()
    names = f"{answer['environment']} (revision {answer['revision']})", str(file)
    if as_json:
        lines = "\n".join(unified(old, new, *names))
        print_json(
            {
                **_place(answer),
                "equal": old == new,
                "items": [asdict(one) for one in changes],
                "diff": lines,
            }
        )
    elif old == new:
        click.echo(f"no difference ({_place_text(answer)})")
    else:
        for one in changes:
            click.echo(f"{_change_word(one):<19}{item_name(one.section, one.key)}")
        print_diff(old, new, *names)
    click.get_current_context().exit(0 if old == new else 1)


def _bring(admin: Admin, file: Path, theirs: str, force: bool) -> str:
    """Write the server's text into the file, or merge; what was done, in words."""
    if not file.exists():
        sidefile.write_whole(file, theirs.encode())
        return "written"
    mine = read_bytes(file)
    if mine == theirs.encode():
        return "up to date"
    copy = sidefile.find(file, admin.url, admin.environment)
    if force or (copy is not None and mine == copy.base.encode()):
        sidefile.write_whole(file, theirs.encode())
        return "updated"
    if copy is None:
        raise ConflictError(
            f"{file} differs from {admin.environment} and {sidefile.side_path(file).name} does "
            f"not say what it was made from: push it first, or pull --force to write over it"
        )
    merged = _merge(file, copy.base, theirs)
    sidefile.write_whole(file, merged.document.raw)
    return "merged; it has changes that were not pushed yet"


def _merge(file: Path, base: str, theirs: str) -> Merge:
    """The file's unpushed changes on top of the server's text; ItemConflictError with texts."""
    from flagloop.document.merge import merge
    from flagloop.document.yamlfile import parse

    merged = merge(parse(base), read_document_text(file), parse(theirs))
    if not merged.conflicts:
        return merged
    items = [asdict(one) for one in merged.conflicts]
    _print_conflicts(items)
    names = ", ".join(item_name(one.section, one.key) for one in merged.conflicts)
    raise ItemConflictError(
        f"{file} was left as it is: it and the server both changed {names}; "
        "put the server's text into the file, or pull --force to write over it",
        items,
    )


def _print_conflicts(items: list[dict[str, Any]]) -> None:
    """Each item in conflict, as the file and as the server have it."""
    for one in items:
        name = item_name(str(one.get("section")), str(one.get("key")))
        click.echo(click.style(f"conflict: {name}", bold=True), err=True)
        mine, theirs = one.get("mine"), one.get("theirs")
        if mine is None or theirs is None:
            click.echo(f"  the {'file' if mine is None else 'server'} dropped it", err=True)
            continue
        for line in unified(theirs, mine, "server", "file"):
            click.echo(f"  {line}", err=True)


def _tell_push(file: Path, answer: Mapping[str, Any], dry_run: bool) -> None:
    """What a push did or would do, item by item."""
    done = "pushed" if answer.get("applied") else "nothing new in"
    verb = "would push" if dry_run else done
    click.echo(f"{verb} {file} ({_place_text(answer)})")
    for word in ("taken", "kept", "archived", "removed"):
        for ref in answer.get(word) or []:
            note = "  (changed on the server; pull brings it)" if word == "kept" else ""
            click.echo(f"  {word:<9}{item_name(ref['section'], ref['key'])}{note}")
    for one in answer.get("undoes") or []:
        click.echo(undone_text(one, dry_run), err=True)
    for one in answer.get("ignored") or []:
        click.echo(ignored_text(one))
    for problem in warnings_of(answer):
        click.echo(problem.render(str(file)), err=True)


def undone_text(one: Mapping[str, Any], dry_run: bool) -> str:
    """What a push that knew no base of the file made of an item that somebody else wrote."""
    name = item_name(str(one.get("section")), str(one.get("key")))
    word = "would replace" if dry_run else "replaced"
    return (
        f"warning: this {word} what {one.get('actor')} made of {name} in revision "
        f"{one.get('revision')} ({one.get('action')}): this key never pushed here without a base"
    )


def ignored_text(one: Mapping[str, Any]) -> str:
    """`cta_color stays killed on the server; --state would revive it`."""
    path = str(one.get("path"))
    mine, theirs = one.get("mine"), one.get("theirs")
    name = str(one.get("key"))
    start, _, word = path.rpartition(".")
    if start.startswith("rules."):
        name += f" rule {start.removeprefix('rules.').removesuffix('.rollout')}"
    match word:
        case "killed":
            now, then = ("killed", "revive it") if theirs else ("live", "kill it")
        case "paused":
            now, then = ("paused", "resume it") if theirs else ("unpaused", "pause it")
        case "stage":
            now, then = f"at stage {theirs or '0%'}", f"set it to {mine or '0%'}"
        case "status":
            now, then = str(theirs or "running"), f"make it {mine or 'running'}"
        case _:
            now, then = f"at {path} = {theirs!r}", f"make that {mine!r}"
    return f"{name} stays {now} on the server; --state would {then}"


def _change_word(change: ItemChange) -> str:
    if change.before is None:
        return "only in the file"
    return "only on the server" if change.after is None else "changed"


def _copy(admin: Admin, answer: Mapping[str, Any], base: str) -> sidefile.Copy:
    lineage, revision = str(answer.get("lineage")), int(answer.get("revision") or 0)
    return sidefile.Copy(admin.url, admin.environment, lineage, revision, base)


def _place(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer.get(name) for name in ("environment", "lineage", "revision")}


def _place_text(answer: Mapping[str, Any]) -> str:
    return f"{answer.get('environment')}, revision {answer.get('revision')}"

"""`flagloop doctor`: what is wrong with a server's folder, and what to do."""

from __future__ import annotations

from pathlib import Path

import click

from flagloop.commands.options import json_option
from flagloop.commands.output import print_json
from flagloop_server.commands.data import data_option, need_server, told

COLOURS = {"ok": "green", "note": "cyan", "problem": "red"}


@click.command()
@data_option
@json_option
def doctor(data: Path, as_json: bool) -> None:
    """Examine a server's folder, also while the server runs; changes nothing.

    Looks at integrity, schema, audit log, modes, disk, clock, keys, backups, stale SDKs and
    losses, and says what to do. Exits 1 when something needs a person.
    """
    from flagloop_server.commands.doctor.examination import examine

    need_server(data)
    with told():
        found = examine(data)
    wrong = sum(one.level == "problem" for one in found)
    if as_json:
        print_json({"ok": not wrong, "findings": [one.to_mapping() for one in found]})
    else:
        for one in found:
            level = click.style(f"{one.level:<8}", fg=COLOURS[one.level])
            click.echo(f"{level} {one.check:<10} {one.text}")
            if one.do:
                click.echo(f"{'':<20}{one.do}")
    click.get_current_context().exit(1 if wrong else 0)

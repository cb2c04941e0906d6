"""`flagloop audit`: check and export the ledger in a server's folder."""

from __future__ import annotations

from pathlib import Path

import click

from flagloop.commands.options import json_option
from flagloop.commands.output import print_json
from flagloop_server.commands.data import data_option, opened
from flagloop_server.ledgerfile import csv_text, every_row, ndjson


@click.group()
def audit() -> None:
    """Check and export the audit log (also while the server runs)."""


@audit.command()
@data_option
@click.option("--head", metavar="HASH", help="A head kept elsewhere: the chain must contain it.")
@json_option
def verify(data: Path, head: str | None, as_json: bool) -> None:
    """Walk along the whole hash chain; exits 1 when it is broken.

    Whoever can write the files can forge a chain that fits together: keep the head that this
    prints elsewhere, and give it to --head later.
    """
    with opened(data) as store:
        found = store.verify(head or None)
    if as_json:
        problems = list(found.problems)
        print_json({"ok": found.ok, "rows": found.rows, "head": found.head, "problems": problems})
    elif found.ok:
        kept = ", and contains the head that was kept" if head else ""
        if head and not head.strip("0 "):
            kept = "; the head that was kept is that of an empty log, which proves nothing"
        click.echo(f"the chain of {found.rows:,} rows is whole{kept}")
        click.echo(f"head {found.head}")
    else:
        click.echo(f"the chain of {found.rows:,} rows is broken:")
        for problem in found.problems:
            click.echo(f"  {problem}")
    click.get_current_context().exit(0 if found.ok else 1)


@audit.command()
@data_option
@click.option("--env", "environment", envvar="FLAGLOOP_ENV", help="Only of this environment.")
@click.option("--after", metavar="ROW", default=0, help="Only rows after this one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="ndjson: with payloads and digests, so that others can check the chain; csv: to read.",
)
def export(data: Path, environment: str | None, after: int, form: str) -> None:
    """Print every row of the audit log, the oldest first."""
    with opened(data) as store:
        ids = None if environment is None else {store.environment(environment).id}
        rows = every_row(store, after, ids)
        for text in csv_text(rows) if form == "csv" else ndjson(rows):
            click.echo(text, nl=False)

"""What commands print: text for people on a terminal, JSON for programs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

import click

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def print_json(data: Any) -> None:
    """Print `data` as JSON; ASCII, so that any value survives any terminal and pipe."""
    click.echo(json.dumps(data, indent=2))


def complain(text: str) -> None:
    """One message on standard error."""
    click.echo(click.style("error: ", fg="red", bold=True) + text, err=True)


def item_name(section: str, key: str) -> str:
    """`flags.cta_color`: how an item is named in messages; a top-level word has no key."""
    return f"{section}.{key}" if key else section


def unified(old: str, new: str, old_name: str, new_name: str) -> Iterator[str]:
    """The lines (without line ends) of a unified diff."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), old_name, new_name, lineterm="", n=3
    )
    yield from lines


def print_diff(old: str, new: str, old_name: str, new_name: str) -> None:
    """A unified diff, coloured on a terminal."""
    for line in unified(old, new, old_name, new_name):
        click.echo(click.style(line, fg=COLOURS.get(line[:1])))

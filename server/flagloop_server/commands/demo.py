"""`flagloop demo`: the whole loop on this machine, with visitors."""

from __future__ import annotations

import json
import math
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flagloop_server.demo.world import World


class Amount(click.FloatRange):
    """A range that NaN is not in: it is neither below nor above any number."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; raises click.BadParameter."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


@click.command()
@click.option(
    "--seconds",
    type=Amount(min=0),
    help="Stop after so many seconds (default: at Ctrl-C).",
)
@click.option("--port", default=8377, show_default=True, help="The server's port; 0: any free one.")
@click.option(
    "--rate",
    type=Amount(min=0, min_open=True, max=1000),
    default=20.0,
    show_default=True,
    help="Simulated visitors a second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the last counts as JSON at the end.")
def demo(seconds: float | None, port: int, rate: float, as_json: bool) -> None:
    """Start a server, a landing page with an experiment and simulated visitors."""
    from flagloop_server.demo.world import World

    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave a server
        signal.signal(number, _interrupt)
    folder = tempfile.TemporaryDirectory(prefix="flagloop-demo-")
    with folder as path, World(Path(path), port, rate) as world:
        try:
            _introduce(world)
            _watch(world, seconds)
        except KeyboardInterrupt:
            click.echo()
        if not sys.stdout.isatty():
            _print(world)
        counts = world.counts()
    if as_json:
        rows = {name: {"seen": seen, "signed_up": did} for name, (seen, did) in counts.items()}
        click.echo(json.dumps({"variants": rows}))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _introduce(world: World) -> None:
    click.echo(
        f"Landing page    {world.app_url}\n"
        f"Admin UI        {world.url}\n"
        f"Signed in, once {world.link}\n\n"
        "Visitors come and green converts better. Open the landing page beside the admin UI and\n"
        "kill cta_color there: every button turns blue, and the flag's page says after how many\n"
        "milliseconds. Ctrl-C ends it.\n"
    )


def _watch(world: World, seconds: float | None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    lines = 0
    while end is None or time.monotonic() < end:
        time.sleep(1.0 if end is None else max(0.0, min(1.0, end - time.monotonic())))
        lines = _table(world, lines)


def _table(world: World, lines: int) -> int:
    """Draw the counts over the last ones; only a terminal can be drawn over."""
    if not sys.stdout.isatty():
        return 0
    if lines:
        click.echo(f"\x1b[{lines}F\x1b[J", nl=False)
    return _print(world)


def _print(world: World) -> int:
    rows = [f"{'variant':<14}{'visitors':>10}{'signed up':>12}{'rate':>9}"]
    for variant, (seen, signed_up) in world.counts().items():
        rate = f"{signed_up / seen:.1%}" if seen else ""
        rows.append(f"{variant:<14}{seen:>10,}{signed_up:>12,}{rate:>9}")
    rows.append(f"cta_color: {world.obeyed()}")
    # One line each, or the next table could not be drawn over this one.
    width = shutil.get_terminal_size().columns
    click.echo("\n".join(row[: width - 1] for row in rows))
    return len(rows)

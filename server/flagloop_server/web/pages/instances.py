"""The page of an environment's instances: who is there, and who has which revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.typing import ResponseReturnValue

from flagloop_server import obedience
from flagloop_server.instances import Seen
from flagloop_server.obedience import Obedience, State
from flagloop_server.store import Environment
from flagloop_server.web import application
from flagloop_server.web.identity import public_url
from flagloop_server.web.pages.frame import blueprint, enter, first_row, fragment, page

PAGE = 100
"""Rows that are shown at once."""

ORDER: tuple[State, ...] = ("stale", "own rules", "late", "sent", "current")
"""Those first who need a person."""

MEANS: dict[State, str] = {
    "current": "said that it has this revision",
    "sent": "its stream was sent this revision; it says so with its next events",
    "late": "may still say that it has this revision",
    "stale": "should have said so by now: changes do not seem to reach it",
    "own rules": "decides by a file of its own: no change here reaches it",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line; `behind` is how many revisions it lacks, None for another lineage."""

    seen: Seen
    state: State
    revision: str
    behind: int | None
    lost: str


@blueprint.get("/environments/<environment>/instances")
def instances(environment: str) -> ResponseReturnValue:
    """Every instance, those first that need a person."""
    env, _ = enter("view", environment)
    return page("instances.html", env, url=public_url(), **_listed(env))


@blueprint.get("/environments/<environment>/instances/live")
def instances_live(environment: str) -> ResponseReturnValue:
    """The list without the frame of the page."""
    env, _ = enter("view", environment)
    return fragment("instance_rows.html", env=env, environment=environment, **_listed(env))


def _listed(env: Environment) -> dict[str, Any]:
    app = application()
    told = obedience.look(app.store, app.instances, env.key)
    states = sorted(told.states, key=lambda one: ORDER.index(one[1]))
    first = first_row(len(states))
    return {
        "told": told,
        "summary": summary(told),
        "rows": [_row(told, *one) for one in states[first : first + PAGE]],
        "first": first,
        "step": PAGE,
        "means": MEANS,
        "unlisted": told.unlisted,
    }


def _row(told: Obedience, seen: Seen, state: State) -> Row:
    env = told.target.environment
    behind = obedience.behind(seen, env)
    lost = ", ".join(f"{n:,} {why.replace('_', ' ')}" for why, n in sorted(seen.lost.items()))
    revision = obedience.revision_words(seen, env).removeprefix("revision ")
    return Row(seen, state, revision, behind, lost)


def summary(told: Obedience) -> str:
    """`97 of 100 instances are on revision 31; 3 are stale`."""
    verb = "is" if told.reached == 1 else "are"
    noun = "instance" if told.total == 1 else "instances"
    parts = [f"{told.reached:,} of {told.total:,} {noun} {verb} on revision {told.target.number}"]
    for state, words in (
        ("stale", "stale"),
        ("late", "may still come to it"),
        ("sent", "sent it by stream, not confirmed yet"),
        ("own rules", "on rules of their own"),
    ):
        n = told.count(state)  # type: ignore[arg-type]
        if n:
            parts.append(f"{n:,} {words}")
    return "; ".join(parts)

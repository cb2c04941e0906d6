"""The admin API's answers to "who is there" and "who obeys"."""

from __future__ import annotations

from typing import Literal

import msgspec
from flask import Blueprint

from flagloop_server import obedience
from flagloop_server.web import application, records, wire
from flagloop_server.web.identity import Identity, require
from flagloop_server.web.rest import operation

blueprint = Blueprint("instances", __name__, url_prefix="/api/v1/admin")


class Where(wire.Query, frozen=True):
    """Of one environment; left out: of all that the key may view."""

    environment: str | None = None


class Instance(records.Record, frozen=True):
    """A process that decides by this server; times are epoch milliseconds.

    `revision` is what it said to have in force, `behind` by how many that is less than the
    present one (null: it is of another lineage). `state`: current (has it), sent (its stream was
    sent it, and it has not said so yet), late (may still say so), stale (should have), own rules
    (decides by a file of its own). `lost` are records that it lost, by reason.
    """

    id: str
    host: str
    pid: int
    sdk: str
    key: int | None
    revision: str | None
    behind: int | None
    state: Literal["current", "sent", "late", "stale", "own rules"]
    stream: bool
    first_seen: int
    last_seen: int
    lost: dict[str, int]


class InstancesOf(records.Record, frozen=True):
    """The instances of one environment, held against its present revision of that time."""

    environment: str
    lineage: str
    revision: int
    at: int
    sentence: str
    instances: list[Instance]


class Instances(records.Record, frozen=True):
    """By environment; `unlisted` are instances for whom there was no room in the list."""

    environments: list[InstancesOf]
    unlisted: int


class Obedience(records.Record, frozen=True):
    """Who has a revision: `reached` of `instances`, the slowest of them after `seconds`.

    `unlisted` are those for whom the list has no room: nobody knows of them. `complete` when there
    are some and none is late, stale or unlisted, `settled` when nobody is late, so waiting longer
    would tell little; neither for a minute after the server came back. `missing` names at most 100.
    """

    environment: str
    lineage: str
    revision: int
    action: str
    at: int
    instances: int
    reached: int
    seconds: float | None
    unlisted: int
    complete: bool
    settled: bool
    sentence: str
    missing: list[Instance]


@operation(blueprint.get, "/instances", may="known")
def instances(who: Identity, query: Where) -> Instances:
    """Every process that decides by this server, with the revision that it has in force."""
    app = application()
    if query.environment is not None:
        require("view", query.environment)
        keys = [query.environment]
    else:
        keys = [one.key for one in app.store.environments() if who.may("view", one.key)]
    found, unlisted = [], 0
    for key in keys:
        told = obedience.look(app.store, app.instances, key)
        target = told.target
        lines = [
            msgspec.convert(obedience.instance_mapping(seen, target.environment, state), Instance)
            for seen, state in told.states
        ]
        place = target.environment
        unlisted += told.unlisted
        found.append(
            InstancesOf(place.key, place.lineage, target.number, target.at, told.sentence(), lines)
        )
    return Instances(found, unlisted)


@operation(
    blueprint.get,
    f"/environments/<env>/revisions/<{wire.INTEGER}:revision>/instances",
    may="view",
)
def obeyed(env: str, revision: int) -> Obedience:
    """Who has a revision or a later one: "off on 97 of 100 instances in 0.3 s; 3 stale: ..."."""
    app = application()
    told = obedience.look(app.store, app.instances, env, revision)
    return msgspec.convert(told.to_mapping(), Obedience)

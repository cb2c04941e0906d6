"""A route of the admin API, described by the signature of its handler.

    @operation(blueprint.post, "/flags/<flag>/kill", may="kill")
    def kill(env: str, flag: str, who: Identity, body: Kill) -> Applied:
        \"\"\"Serve `off` to everyone.\"\"\"

`who` asks and may do it, `body` is the decoded body, `query` the decoded query; what is returned
is encoded. The OpenAPI document is made of the same signature and docstring, so it cannot drift.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from flask import Response, stream_with_context

from flagloop_server.auth import Action
from flagloop_server.store import EVERYWHERE
from flagloop_server.web import wire
from flagloop_server.web.identity import Identity, known, require

May: TypeAlias = Action | Literal["known", "server"]
"""What the asker must be allowed to: an action in the environment of the path, `known` anybody
with a key or a session, `server` an admin of every environment."""

View = TypeVar("View", bound=Callable[..., Any])

NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Operation:
    """One route as the OpenAPI document tells it; `answer` is the type of one line if `lines`."""

    name: str
    may: May
    text: str
    body: type[Any] | None
    query: type[Any] | None
    answer: Any
    status: int
    lines: bool

    @property
    def media(self) -> str:
        """The content type of its answer."""
        return NDJSON if self.lines else "application/json"

    def authorize(self, environment: str | None) -> Identity:
        """Who is asking; raises Unauthorized or ForbiddenError."""
        match self.may:
            case "known":
                return known()
            case "server":
                return require("admin", EVERYWHERE)
            case _:
                assert environment is not None, f"{self.name} has no environment in its path"
                return require(self.may, environment)

    def respond(self, made: Any) -> Response:
        """The answer to what the handler returned."""
        if self.lines:
            lines = (_json(one) + b"\n" for one in made)
            return Response(stream_with_context(lines), self.status, mimetype=NDJSON)
        return Response(_json(made), self.status, mimetype="application/json")


def operation(
    route: Callable[..., Any], path: str, *, may: May, status: int = 200
) -> Callable[[View], View]:
    """Put a handler at `path` by `route`, which is `blueprint.get` or the like."""

    def put(view: View) -> View:
        described = describe(view, may, status)
        wants_who = "who" in inspect.signature(view).parameters

        @wraps(view)
        def handler(**given: Any) -> Response:
            # The role first: nobody learns from a refused body that something is there.
            who = described.authorize(given.get("env"))
            if wants_who:
                given["who"] = who
            if described.query is not None:
                given["query"] = wire.decode_query(described.query)
            if described.body is not None:
                given["body"] = wire.decode(described.body)
            return described.respond(view(**given))

        handler.operation = described  # type: ignore[attr-defined]
        route(path)(handler)
        return view

    return put


def describe(view: Callable[..., Any], may: May, status: int) -> Operation:
    """What a handler's signature and docstring say."""
    hints = get_type_hints(view, include_extras=True)
    answer = hints.pop("return")
    lines = get_origin(answer) is Iterator
    return Operation(
        name=view.__name__,
        may=may,
        text=inspect.getdoc(view) or "",
        body=hints.get("body"),
        query=hints.get("query"),
        answer=get_args(answer)[0] if lines else answer,
        status=status,
        lines=lines,
    )


def _json(value: Any) -> bytes:
    """JSON by the standard library: values of variants may be integers of any length."""
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()

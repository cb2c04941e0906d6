"""Routes and types -> the OpenAPI 3.1 document. Every route under /api/ has to describe itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from flagloop_server.web import records, wire
from flagloop_server.web.identity import SESSION_COOKIE
from flagloop_server.web.openapi import edge, words
from flagloop_server.web.rest.operation import Operation

if TYPE_CHECKING:
    from flask import Flask

_REF = "#/components/schemas/{name}"
_VARIABLE = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")

_NEEDS = {
    "view": "Needs the role viewer in the environment.",
    "edit": "Needs the role editor in the environment.",
    "kill": "Needs the role editor in the environment.",
    "admin": "Needs the role admin in the environment.",
    "server": "Needs the role admin in every environment.",
    "known": "For every admin key and everybody who is signed in.",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One route of Flask that describes itself."""

    method: str
    path: str
    tag: str
    operation: Operation
    numbers: frozenset[str]

    @property
    def variables(self) -> list[str]:
        """The names of the variables in the path, in order."""
        return re.findall(r"{(\w+)}", self.path)


def routes(flask: Flask) -> Iterator[Route]:
    """The described routes of an application, in the order of their modules."""
    for rule in flask.url_map.iter_rules():
        found = getattr(flask.view_functions[rule.endpoint], "operation", None)
        if isinstance(found, Operation):
            method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"}))
            numbers = {name for kind, name in _VARIABLE.findall(rule.rule) if kind == "int"}
            tag = words.TAG_OF[rule.endpoint.partition(".")[0]]
            path = _VARIABLE.sub(r"{\2}", rule.rule)
            yield Route(method, path, tag, found, frozenset(numbers))


def build(flask: Flask) -> dict[str, Any]:
    """The document of an application and of the edge before it."""
    admin = list(routes(flask))
    schemas, components = _schemas(_types(admin))
    paths: dict[str, dict[str, Any]] = {}
    for one in edge.ROUTES:
        paths.setdefault(one.path, {})[one.method.lower()] = _edge(one, schemas)
    for route in admin:
        paths.setdefault(route.path, {})[route.method.lower()] = _admin(route, schemas)
    paths["/api/openapi.json"] = {"get": _itself()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flagloop",
            "version": version("flagloop"),
            "description": (
                "Feature flags and experiments. Times are epoch milliseconds. Every refusal has "
                "the form of `Error`. `/api/v1/admin` takes an admin key, or the cookie of a "
                "signed-in person, with the header `X-CSRF-Token` for what changes something."
            ),
        },
        "tags": [{"name": name, "description": text} for name, text in words.TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _refusals(),
            "securitySchemes": SECURITY,
        },
    }


SECURITY: dict[str, Any] = {
    "admin_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An admin key, `fl_adm_...`: `flagloop keys create --kind admin`.",
    },
    "sdk_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A server key, `fl_srv_...`; for events also a client key, `fl_cli_...`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "A person who is signed in on the pages.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "The token in the page's forms; needed with a session to change something.",
    },
}


def _types(admin: Iterable[Route]) -> list[Any]:
    found = [kind for one in edge.ROUTES for kind in (one.body, one.answer)]
    for route in admin:
        found += [route.operation.body, route.operation.answer]
    return [kind for kind in dict.fromkeys([*found, records.Error]) if kind not in (None, str)]


def _schemas(types: Sequence[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    found, components = msgspec.json.schema_components(types, ref_template=_REF)
    return dict(zip(types, found, strict=True)), dict(sorted(components.items()))


def _admin(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    operation = route.operation
    statuses = words.READS if route.method == "GET" else words.WRITES
    key: list[dict[str, list[str]]] = [{"admin_key": []}]
    session: dict[str, list[str]] = {"session": []}
    described = {
        **_text(operation.text, _about(operation.query), _NEEDS[operation.may]),
        "operationId": operation.name,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(operation.query)],
        **_body(operation.name, operation.body, schemas),
        "responses": {
            str(operation.status): _answer(operation.media, schemas[operation.answer]),
            **_refused(statuses),
        },
        "security": [*key, session if route.method == "GET" else {**session, "csrf": []}],
        "x-needs": operation.may,
    }
    return {name: value for name, value in described.items() if value != []}


def _edge(one: edge.EdgeRoute, schemas: dict[Any, Any]) -> dict[str, Any]:
    schema = schemas.get(one.answer, {"type": "string"})
    headers = [
        {
            "name": name,
            "in": "header",
            "description": text,
            "required": False,
            "schema": {"type": "string", "pattern": "^[!-~]*$"},
        }
        for name, text in one.headers
    ]
    others: dict[str, Any] = {
        str(status): {"description": text}
        if status < 400
        else {"description": text, **_answer(one.media, schema, text)}
        for status, text in one.others
    }
    return {
        **_text(one.text),
        "operationId": one.name,
        "tags": [one.tag],
        **({"parameters": headers} if headers else {}),
        **_body(one.name, one.body, schemas),
        "responses": {"200": _answer(one.media, schema), **others, **_refused(one.statuses)},
        "security": [] if one.key == "none" else [{"sdk_key": []}],
        "x-needs": one.key,
    }


def _itself() -> dict[str, Any]:
    return {
        "summary": "This document.",
        "operationId": "openapi",
        "tags": ["This document"],
        "responses": {"200": _answer("application/json", {"type": "object"})},
        "security": [],
        "x-needs": "none",
    }


def _text(text: str, *more: str) -> dict[str, str]:
    summary, _, rest = text.partition("\n")
    paragraphs = [part for one in (rest, *more) for part in one.split("\n\n") if part.strip()]
    described = "\n\n".join(" ".join(part.split()) for part in paragraphs)
    return {"summary": summary, **({"description": described} if described else {})}


def _about(query: type[Any] | None) -> str:
    return "" if query is None else f"The query: {inspect.getdoc(query)}"


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": words.PATH_PARAMETERS[name],
            "schema": {"type": "integer", "minimum": 0, "maximum": wire.LARGEST}
            if name in route.numbers
            else {"type": "string", "minLength": 1, "maxLength": 255},
        }
        for name in route.variables
    ]


def _query_parameters(query: type[Any] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    schema = msgspec.json.schema(query)
    (found,) = schema["$defs"].values()
    required = found.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(one),
        }
        for name, one in found["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not sent as null."""
    options = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(options) == 1:
        return dict(options[0])
    return {name: value for name, value in schema.items() if name != "default" or value is not None}


def _body(name: str, body: type[Any] | None, schemas: dict[Any, Any]) -> dict[str, Any]:
    if body is None:
        return {}
    content: dict[str, Any] = {"schema": schemas[body], "example": words.EXAMPLES[name]}
    required = bool(getattr(body, "__struct_fields__", ())) and _needs_words(body)
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def _needs_words(body: type[Any]) -> bool:
    fields = msgspec.structs.fields(body)
    return any(field.required for field in fields)


def _answer(media: str, schema: Any, text: str = "Done.") -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": schema}}}


def _refused(statuses: Iterable[int]) -> dict[str, Any]:
    return {
        str(status): {"$ref": f"#/components/responses/{words.REFUSALS[status][0]}"}
        for status in statuses
    }


def _refusals() -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="Error")}
    return {
        name: _answer("application/json", schema, text) for name, text in words.REFUSALS.values()
    }

"""The OpenAPI document as people read it: operations by group, types in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Words: TypeAlias = tuple[tuple[str, str], ...]
"""A type in words: pieces of text, each with the type that it leads to (empty: none)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a type, or a parameter; `place` is path, query or header for the latter."""

    name: str
    type: Words
    required: bool
    text: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation."""

    name: str
    method: str
    path: str
    summary: str
    text: tuple[str, ...]
    parameters: tuple[Field, ...]
    body: Field | None
    example: str
    status: str
    answer: Field | None
    refusals: tuple[str, ...]
    needs: str


@dataclass(frozen=True, slots=True)
class Group:
    """Operations of one tag."""

    name: str
    text: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """A type that bodies and answers are made of."""

    name: str
    text: str
    fields: tuple[Field, ...]


def groups(document: Mapping[str, Any]) -> list[Group]:
    """The operations by tag, in the document's order."""
    entries: dict[str, list[Entry]] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            entries.setdefault(one["tags"][0], []).append(_entry(method.upper(), path, one))
    return [
        Group(tag["name"], tag["description"], tuple(entries[tag["name"]]))
        for tag in document["tags"]
        if tag["name"] in entries
    ]


def types(document: Mapping[str, Any]) -> list[Type]:
    """The types by name, with their fields."""
    return [
        Type(
            name,
            schema.get("description", ""),
            tuple(
                _field(field, one, field in schema.get("required", ()))
                for field, one in schema.get("properties", {}).items()
            ),
        )
        for name, schema in document["components"]["schemas"].items()
    ]


NEEDS = {
    "known": "any key",
    "view": "viewer",
    "edit": "editor",
    "kill": "editor",
    "admin": "admin",
    "server": "admin of all",
    "any": "server or client key",
    "server_key": "server key",
    "none": "nothing",
}


def type_words(schema: Mapping[str, Any]) -> Words:
    """A schema in words: pieces of text, each with the type that it leads to (empty: none)."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return ((name, name),)
    if "anyOf" in schema:
        return _joined((type_words(one) for one in schema["anyOf"]), " or ")
    if "enum" in schema:
        return ((" or ".join(json.dumps(one) for one in schema["enum"]), ""),)
    if "const" in schema:
        return ((json.dumps(schema["const"]), ""),)
    return _plain(schema)


def _plain(schema: Mapping[str, Any]) -> Words:
    kind = schema.get("type", "any JSON")
    if kind == "array" and "prefixItems" in schema:
        inside = _joined((type_words(one) for one in schema["prefixItems"]), ", ")
        return (("[", ""), *inside, ("]", ""))
    if kind == "array":
        return (("list of ", ""), *type_words(schema.get("items") or {}))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return (("object of ", ""), *type_words(schema["additionalProperties"]))
    return ((kind, ""),)


def _joined(parts: Iterable[Words], between: str) -> Words:
    pieces: list[tuple[str, str]] = []
    for part in parts:
        pieces += [(between, ""), *part] if pieces else part
    return tuple(pieces)


def _field(name: str, schema: Mapping[str, Any], required: bool, **more: str) -> Field:
    return Field(name, type_words(schema), required, **more)


def _entry(method: str, path: str, one: Mapping[str, Any]) -> Entry:
    body, example = _body(one)
    ok = next(status for status in one["responses"] if status.startswith("2"))
    needs = one["x-needs"]
    return Entry(
        name=one["operationId"],
        method=method,
        path=path,
        summary=one["summary"],
        text=tuple(one.get("description", "").split("\n\n")) if "description" in one else (),
        parameters=tuple(_parameters(one)),
        body=body,
        example=example,
        status=ok,
        answer=_content(one["responses"][ok]),
        refusals=tuple(status for status in one["responses"] if status != ok),
        needs=NEEDS["server_key" if needs == "server" and one["tags"] == ["SDKs"] else needs],
    )


def _parameters(one: Mapping[str, Any]) -> Iterator[Field]:
    for found in one.get("parameters", ()):
        text, place = found.get("description", ""), found["in"]
        yield _field(found["name"], found["schema"], found["required"], text=text, place=place)


def _body(one: Mapping[str, Any]) -> tuple[Field | None, str]:
    request = one.get("requestBody")
    if request is None:
        return None, ""
    content = request["content"]["application/json"]
    example = json.dumps(content["example"], indent=2, ensure_ascii=False)
    return _field("body", content["schema"], request["required"]), example


def _content(answer: Mapping[str, Any]) -> Field | None:
    ((media, content),) = answer["content"].items()
    return _field(media, content["schema"], True)

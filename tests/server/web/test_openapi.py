"""The OpenAPI document: every route is in it, and it says what is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flagloop.document.schema_wire import WIRE_SECTIONS
from flagloop_server.app import Application
from flagloop_server.store.events.wire import Good
from flagloop_server.web.openapi import described, edge, reading, words
from flagloop_server.web.openapi.document import routes

README = Path(__file__).resolve().parents[3] / "README.md"
UNDER = "/api/v1/admin"


@pytest.fixture
def document(app: Application) -> dict[str, Any]:
    """The document as it is served."""
    found: dict[str, Any] = described(app.flask)
    return found


def test_every_route_of_the_api_is_described(app: Application, document: dict[str, Any]) -> None:
    """A route of Flask under /api/, or one of the edge, that is not in the document fails here."""
    found = {
        (method, rule.rule)
        for rule in app.flask.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    }
    inside = {(one.method, one.path.count("{")) for one in routes(app.flask)}
    assert len(found) == sum(1 for _ in routes(app.flask)) + 1  # the document itself
    assert inside
    told = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    assert {(one.method, one.path) for one in routes(app.flask)} <= told
    assert ("GET", "/api/openapi.json") in told
    assert set(app.edge._routes) == {one.path for one in edge.ROUTES}
    assert {(one.method, one.path) for one in edge.ROUTES} <= told


def test_it_is_served_to_everybody(app: Application, call: Any) -> None:
    """It holds nothing secret, and comes through the edge as JSON."""
    answer = call(app.asgi, "GET", "/api/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body)["openapi"] == "3.1.0"


def test_operations_and_types_have_names_of_their_own(document: dict[str, Any]) -> None:
    """Two functions or classes of one name would overwrite each other in clients."""
    names = [
        one["operationId"] for methods in document["paths"].values() for one in methods.values()
    ]
    assert len(names) == len(set(names))
    assert [name for name in document["components"]["schemas"] if "." in name] == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Schemas and answers that are named exist."""
    text = json.dumps(document)
    for kind in ("schemas", "responses"):
        used = {part.split('"')[0] for part in text.split(f"#/components/{kind}/")[1:]}
        assert used <= set(document["components"][kind])


def test_examples_are_bodies_that_are_taken(app: Application) -> None:
    """Each body has an example, and it decodes."""
    bodies = {
        **{one.operation.name: one.operation.body for one in routes(app.flask)},
        **{one.name: one.body for one in edge.ROUTES},
    }
    with_body = {name: kind for name, kind in bodies.items() if kind is not None}
    assert set(with_body) == set(words.EXAMPLES)
    for name, kind in with_body.items():
        msgspec.convert(words.EXAMPLES[name], kind)


FLAGS = """\
version: 1
flags:
  new_checkout:
    rules:
      - {name: canary, share: 5%, serve: on}
  cta_color:
    variants: {control: blue, treatment: green}
    default: control
    rules:
      - {name: half, share: 25%, serve: treatment}
      - {name: climb, rollout: {to: treatment, stages: [1%, 100%]}}
  old_banner: {}
  new_logo: {}
  gone: {}
"""

PATHS = {
    "env": "production",
    "flag": "cta_color",
    "rule": "half",
    "section": "flags",
    "key": "new_checkout",
    "revision": "2",
    "email": "ana@example.com",
}
ELSEWHERE = {
    "undo": {"revision": "3"},
    "unarchive": {"flag": "gone"},
    "pause": {"rule": "climb"},
    "resume": {"rule": "climb"},
}


@pytest.mark.parametrize("name", sorted(words.EXAMPLES.keys() - {"events"}))
def test_every_example_is_done(app: Application, call: Any, name: str) -> None:
    """What the document shows as a body works as it stands, and the answer has its form."""
    from flagloop_server import changes as change
    from flagloop_server.store import SYSTEM

    app.changes.apply(change.push("production", FLAGS), SYSTEM, "")
    app.changes.apply(change.archive_flag("production", "gone"), SYSTEM, "")
    app.auth.create_user("ana@example.com", "Ana", {}, SYSTEM)
    if name != "create_environment":
        app.store.create_environment("staging", SYSTEM)
        app.changes.apply(change.push("staging", FLAGS), SYSTEM, "")
    _, secret = app.store.create_key("*", "admin", "key", SYSTEM, role="admin")
    (route,) = [one for one in routes(app.flask) if one.operation.name == name]
    path = route.path.format(**{**PATHS, **ELSEWHERE.get(name, {})})
    body = json.dumps(words.EXAMPLES[name]).encode()
    answer = call(app.asgi, route.method, path, [("authorization", f"Bearer {secret}")], body)
    assert answer.status == route.operation.status, answer.body
    msgspec.json.decode(answer.body, type=route.operation.answer)


def test_the_forms_of_the_edge_are_those_that_it_reads_and_sends(
    app: Application, call: Any
) -> None:
    """Types that only describe are held against what decodes and encodes."""
    assert set(edge.Batch.__struct_fields__) == set(Good.__struct_fields__)
    sections = {"format", "revision", "environment", "recording", *WIRE_SECTIONS}
    assert set(edge.Ruleset.__struct_fields__) == sections
    from flagloop_server.store import SYSTEM

    _, secret = app.store.create_key("production", "server", "sdk", SYSTEM)
    key = [("authorization", f"Bearer {secret}")]
    rules = call(app.asgi, "GET", "/api/v1/ruleset", key)
    msgspec.json.decode(rules.body, type=edge.Ruleset)
    body = json.dumps(words.EXAMPLES["events"]).encode()
    ack = msgspec.json.decode(
        call(app.asgi, "POST", "/api/v1/events", key, body).body, type=edge.Ack
    )
    assert (ack.accepted, ack.rejected) == (2, [])
    for path, kind in (("/healthz", edge.Health), ("/readyz", edge.Readiness)):
        msgspec.json.decode(call(app.asgi, "GET", path).body, type=kind)


def test_the_page_shows_every_operation_and_type(app: Application, document: Any) -> None:
    """It is readable without JavaScript and without signing in, in our own frame."""
    answer = app.flask.test_client().get("/docs/api")
    assert answer.status_code == 200
    for group in reading.groups(document):
        for one in group.entries:
            assert f'<div id="{one.name}">' in answer.text
    for kind in reading.types(document):
        assert f'<div id="type-{kind.name}">' in answer.text
    links = {part.split('"')[0] for part in answer.text.split('href="#')[1:]}
    assert all(f'id="{link}"' in answer.text for link in links)
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]


def test_types_in_words() -> None:
    """What the page says of a schema, and where it leads."""
    ref = {"$ref": "#/components/schemas/Ref"}
    for schema, expected in (
        (ref, "<Ref>"),
        ({"type": "array", "items": ref}, "list of <Ref>"),
        ({"anyOf": [ref, {"type": "string"}, {"type": "null"}]}, "<Ref> or string or null"),
        ({"enum": ["a", "b"]}, '"a" or "b"'),
        ({"const": 1}, "1"),
        ({"type": "object", "additionalProperties": ref}, "object of <Ref>"),
        (
            {"type": "array", "prefixItems": [{"type": "string"}, {"type": "string"}]},
            "[string, string]",
        ),
        ({}, "any JSON"),
    ):
        pieces = reading.type_words(schema)
        assert "".join(f"<{link}>" if link else text for text, link in pieces) == expected


def test_readme_lists_every_route(document: dict[str, Any]) -> None:
    """The table in README is made of the document; this prints the one that is wanted."""
    rows = [f"| under `{UNDER}` | needs | does |", "|---|---|---|"]
    for group in reading.groups(document):
        for one in group.entries:
            if one.path.startswith(f"{UNDER}/"):
                place = one.path.removeprefix(UNDER).replace("{", "<").replace("}", ">")
                rows.append(f"| `{one.method} {place}` | {one.needs} | {one.summary} |")
    wanted = "\n".join(rows)
    assert wanted in README.read_text("utf-8"), f"README should have\n{wanted}\n"

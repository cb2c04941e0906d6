"""Every operation answers as its own description says, whatever is sent: no 500, no other form.

Through the ASGI application, so the edge, its limits and Flask are all inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks, openapi
from schemathesis.core.failures import FailureGroup

from flagloop_server import changes as change
from flagloop_server.app import create_app
from flagloop_server.config import Config
from flagloop_server.store import SYSTEM

if TYPE_CHECKING:
    from flagloop_server.app import Application

FLAGS = """\
version: 1
segments:
  staff: {when: {plan: staff}}
layers:
  l: {}
flags:
  f:
    rules:
      - {name: some, share: 5%, serve: on}
      - {name: climb, rollout: {to: on, stages: [1%, 100%]}}
"""

THERE = {
    "env": "production",
    "flag": "f",
    "rule": "climb",
    "section": "flags",
    "key": "f",
    "revision": 2,
    "key_id": 4,
    "layer": "l",
    "email": "ana@example.com",
}
"""Names of what there is."""

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]

ENDLESS = {"stream"}
"""A stream has no end that a test could wait for; test_stream.py reads it."""


class Api:
    """One application, its operations by name, and keys for them."""

    def __init__(self, app: Application) -> None:
        self.app = app
        app.changes.apply(change.put_document("production", FLAGS), SYSTEM, "")
        app.auth.create_user("ana@example.com", "Ana", {"*": "admin"}, SYSTEM)
        schema = openapi.from_asgi("/api/openapi.json", app.asgi)
        self.document = schema.raw_schema
        found = [one.ok() for one in schema.get_all_operations()]
        self.operations = {one.definition.raw["operationId"]: one for one in found}
        self.keys: dict[str, str] = {}

    def headers(self, name: str, fresh: bool = False) -> dict[str, str]:
        """A key that is good for the operation; a new one after the old one was revoked."""
        kind = "server" if name in ("ruleset", "events") else "admin"
        if fresh or kind not in self.keys:
            role = "admin" if kind == "admin" else None
            place = "*" if kind == "admin" else "production"
            _, self.keys[kind] = self.app.store.create_key(place, kind, kind, SYSTEM, role=role)  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {self.keys[kind]}"}

    def there(self, name: str) -> dict[str, Any]:
        """Path parameters that name something; what archives and renames works elsewhere."""
        operation = self.operations[name]
        names = [one.name for one in operation.path_parameters]
        values = {**THERE, "env": "development"} if name == "edit_environment" else THERE
        return {one: values[one] for one in names}

    def check(self, name: str, case: Any) -> None:
        """Send one request and hold its answer against the document."""
        answer = case.call(headers=self.headers(name))
        if answer.status_code == 401:
            answer = case.call(headers=self.headers(name, fresh=True))
        case.validate_response(
            answer,
            checks=CHECKS,
        )


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One application for all requests: what they do to it is part of the test."""
    with create_app(Config(data=tmp_path_factory.mktemp("schemathesis"))) as app:
        yield Api(app)


def run(api: Api, name: str, strategy: Any, examples: int) -> None:
    """So many requests of one operation."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def one(case: Any) -> None:
        api.check(name, case)

    one()


@pytest.mark.parametrize("where", ["there", "anywhere"])
def test_good_requests_are_answered_as_described(api: Api, where: str) -> None:
    """Bodies and queries of the described form, about things that there are, and any others."""
    for name, operation in api.operations.items():
        if name in ENDLESS:
            continue
        if where == "there":
            run(api, name, operation.as_strategy(path_parameters=api.there(name)), 12)
        elif operation.path_parameters:
            run(api, name, operation.as_strategy(), 3)


def test_bad_requests_are_refused_as_described(api: Api) -> None:
    """Wrong types, missing and unknown words: a refusal in the form of `Error`, never a 500."""
    for name, operation in api.operations.items():
        if name not in ENDLESS and (operation.body or operation.query):
            strategy = operation.as_strategy(
                generation_mode=GenerationMode.NEGATIVE, path_parameters=api.there(name)
            )
            run(api, name, strategy, 10)


def test_the_checks_find_what_is_not_as_described(api: Api) -> None:
    """An answer of another form than the document's is a failure: the checks are awake."""
    document = deepcopy(api.document)
    document["components"]["schemas"]["Whoami"]["properties"]["id"] = {"type": "string"}
    wrong = openapi.from_dict(document)
    wrong.app = api.app.asgi
    operation = wrong["/api/v1/admin/whoami"]["GET"]
    case = operation.Case()
    with pytest.raises(FailureGroup):
        api.check("whoami", case)

"""No admin route answers 500, whatever comes in its address, its query or its body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.routing import Rule

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
flags:
  f:
    rules:
      - {name: some, share: 5%, serve: on}
      - {name: climb, rollout: {to: on, stages: [1%, 100%]}}
"""

GOOD = {
    "env": ["production"],
    "flag": ["f"],
    "rule": ["some", "climb"],
    "section": ["flags", "segments"],
    "key": ["f", "staff"],
    "revision": ["1", "2", "3"],
    "key_id": ["1", "3"],
    "layer": ["l", "x"],
    "email": ["ana@example.com"],
}
"""Values of the variables in routes that name something."""

BODIES: dict[str, dict[str, Any]] = {
    "push": {"text": FLAGS, "base": 2, "base_text": FLAGS, "state": True, "dry_run": False},
    "share": {"share": "7%", "reason": "r"},
    "put_item": {"text": "f: {}", "expected": None, "reason": "r"},
    "revert": {"state": True, "reason": "r"},
    "create_environment": {"key": "qa", "production": False},
    "edit_environment": {"key": None, "production": True, "archived": None},
    "revert_item": {"revision": 2, "state": True, "reason": "r"},
    "change": {
        "steps": [{"do": "share", "flag": "f", "rule": "some", "share": "7%"}],
        "expected": [],
    },
    "preview": {"steps": [{"do": "put", "section": "flags", "key": "f", "text": "f: {}"}]},
    "validate": {"steps": [{"do": "undo", "revision": 2}, {"do": "kill", "flag": "f"}]},
    "merge": {"section": "flags", "key": "f", "text": "f: {}", "opened": 2, "choices": {}},
    "archive_flags": {"flags": ["f"], "force": True, "reason": "r"},
    "decide": {"context": {"key": "u-1"}, "revision": None, "at": None, "flags": ["f"]},
    "explain": {"context": {"key": "u-1"}, "flag": "f", "at": 9_000_000_000_000},
    "invite": {"email": "ben@example.com", "name": "Ben", "roles": {"*": "viewer"}},
    "edit_person": {"roles": {"*": "admin"}, "disabled": False},
    "create_key": {"kind": "admin", "name": "n", "role": "viewer", "expires_at": 9_000_000_000_000},
}
"""Bodies that routes take, by the name of their function; the others take a reason."""

HUGE = [2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**400]
NUMBERS = st.one_of(st.integers(-3, 9), st.sampled_from(HUGE))
ODD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "\x00", "..", "ÿ", "²", "%", "x" * 5000, "1e3", "*", "null", "- ["]),
)
PIECES = st.one_of(st.just(None), st.just(None), NUMBERS.map(str), ODD)
"""A part of the path; None takes a good one."""

VALUES = st.one_of(ODD, NUMBERS, st.none(), st.booleans(), st.floats(), st.just([{}]))
MENDS = st.lists(st.tuples(st.integers(0, 5), VALUES), max_size=2)
RAW = st.sampled_from([None] * 8 + [b"", b"[]", b"{", b"\xff\xfe", b'{"reason": "\\ud800"}'])
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            *("before", "after", "revision", "limit", "start", "from", "to", "with", "flag"),
            *("section", "key", "environment", "target", "archived", "head", "q", "state"),
        ]
    ),
    st.one_of(st.sampled_from(["1", "f", "production"]), NUMBERS.map(str), ODD),
    max_size=2,
)


class Api:
    """The admin routes of one application, called by an admin of everything."""

    def __init__(self, app: Application) -> None:
        app.changes.apply(change.put_document("production", FLAGS), SYSTEM, "")
        self.app = app
        self.headers = self.key()
        self.client = app.flask.test_client()
        rules = app.flask.url_map.iter_rules()
        self.rules = [rule for rule in rules if rule.rule.startswith("/api/v1/admin")]
        self.rules.sort(key=lambda rule: (rule.rule, sorted(rule.methods or ())))

    def key(self) -> dict[str, str]:
        """The headers of a new key."""
        _, secret = self.app.store.create_key("*", "admin", "k", SYSTEM, role="admin")
        return {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def path(self, rule: Rule, pieces: list[str | None], number: int) -> str:
        """The address with a piece for each variable; archiving and renaming are kept off."""
        rest = iter(pieces)

        def fill(found: re.Match[str]) -> str:
            good = GOOD[found[1]][number % len(GOOD[found[1]])]
            if (rule.methods or set()) & {"PATCH"}:
                good = "development"
            piece = next(rest)
            return quote(good if piece is None else piece, safe="")

        return re.sub(r"<(?:[^:>]+:)?(\w+)>", fill, rule.rule)

    def call(self, rule: Rule, path: str, query: dict[str, str], body: bytes) -> int:
        """The status of one request; with another key where the request before revoked it."""
        method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        for _ in range(2):
            answer = self.client.open(
                path, method=method, query_string=query, data=body, headers=self.headers
            )
            if answer.status_code != 401:
                break
            self.headers = self.key()
        return answer.status_code


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One application for all examples: what they do to it is part of the fuzz."""
    with create_app(Config(data=tmp_path_factory.mktemp("fuzz"))) as app:
        yield Api(app)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    number=st.integers(0, 999),
    pieces=st.lists(PIECES, min_size=4, max_size=4),
    query=QUERIES,
    mends=MENDS,
    raw=RAW,
)
def test_no_request_is_a_500(
    api: Api,
    number: int,
    pieces: list[str | None],
    query: dict[str, str],
    mends: list[tuple[int, Any]],
    raw: bytes | None,
) -> None:
    """Odd keys, huge numbers, broken bodies: an answer that says whose mistake it is."""
    rule = api.rules[number % len(api.rules)]
    body = dict(BODIES.get(rule.endpoint.rpartition(".")[2], {"reason": "r"}))
    for place, value in mends:
        body[list(body)[place % len(body)]] = value
    path = api.path(rule, pieces, number // len(api.rules))
    status = api.call(rule, path, query, json.dumps(body).encode() if raw is None else raw)
    assert 200 <= status < 500
    assert status != 401


@pytest.mark.parametrize("digits", ["9007199254740993", str(2**63 - 1), str(2**63), "1" * 5000])
def test_huge_numbers_are_refused_everywhere(app: Application, digits: str) -> None:
    """In the path, the query and the body; SQLite would overflow, Python refuses 4,300 digits."""
    api = Api(app)
    base = "/api/v1/admin/environments/production"
    calls = [
        ("GET", f"{base}/document?revision={digits}", ""),
        ("GET", f"{base}/revisions?before={digits}", ""),
        ("GET", f"/api/v1/admin/audit?before={digits}", ""),
        ("GET", f"{base}/revisions/{digits}", ""),
        ("DELETE", f"/api/v1/admin/keys/{digits}", "{}"),
        ("POST", f"{base}/revisions/{digits}/revert", "{}"),
        ("POST", f"{base}/push", f'{{"text": "version: 1", "base": {digits}, "dry_run": true}}'),
        ("PUT", f"{base}/items/flags/f", f'{{"text": "f: {{}}", "expected": {digits}}}'),
        ("POST", f"{base}/keys", f'{{"kind": "admin", "name": "n", "expires_at": {digits}}}'),
    ]
    for method, path, body in calls:
        answer = api.client.open(path, method=method, data=body, headers=api.headers)
        assert answer.status_code in (400, 404), (method, path[:80], answer.text[:200])


NAMES = st.sampled_from(["f", "g", "staff", "old", "nothing", ""])
TEXTS = st.sampled_from(
    [
        "f: {}\n",
        "f:\n  rules:\n    - {name: some, when: {segment: staff}, serve: on}\n",
        "g:\n  requires: {f: on}\n  killed: true\n",
        "staff: {when: {plan: [a, b]}}\n",
        "old:\n  variants: {a: 1, b: 2}\n  default: a\n",
        "f: [",
        "a: {}\nb: {}\n",
        "- f\n",
        "",
        None,
    ]
)
SECTIONS = st.sampled_from(["flags", "segments", "layers", "recording", "nothing", ""])
REVISIONS = st.integers(0, 12)
STEPS = st.one_of(
    st.fixed_dictionaries({"do": st.just("put"), "section": SECTIONS, "key": NAMES, "text": TEXTS}),
    st.fixed_dictionaries({"do": st.sampled_from(["kill", "restore", "unarchive"]), "flag": NAMES}),
    st.fixed_dictionaries(
        {
            "do": st.just("share"),
            "flag": NAMES,
            "rule": st.sampled_from(["some", "climb", "x"]),
            "share": st.sampled_from(["5%", "0%", "100%", "101%", "5", ""]),
        }
    ),
    st.fixed_dictionaries(
        {"do": st.sampled_from(["pause", "resume"]), "flag": NAMES, "rule": st.just("climb")}
    ),
    st.fixed_dictionaries({"do": st.just("archive"), "flags": st.lists(NAMES, max_size=3)}),
    st.fixed_dictionaries(
        {
            "do": st.just("promote"),
            "from": st.sampled_from(["development", "production", "nowhere"]),
            "section": SECTIONS,
            "key": NAMES,
        }
    ),
    st.fixed_dictionaries(
        {"do": st.just("revert"), "revision": REVISIONS},
        optional={"section": SECTIONS, "key": NAMES, "state": st.booleans()},
    ),
    st.fixed_dictionaries({"do": st.just("undo"), "revision": REVISIONS}),
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=4),
    where=st.sampled_from(["changes", "changes", "reports/preview", "reports/validate"]),
)
def test_steps_of_any_kind_in_any_order_are_no_500(
    api: Api, steps: list[dict[str, Any]], where: str
) -> None:
    """What several steps make of each other is told as well: conflicts, problems, nothing there."""
    body: dict[str, Any] = {"steps": steps}
    if where == "changes":
        body |= {"reason": "r", "force": True}
    path = f"/api/v1/admin/environments/production/{where}"
    answer = api.client.post(path, json=body, headers=api.headers)
    if answer.status_code == 401:  # another test revoked the key
        api.headers = api.key()
        answer = api.client.post(path, json=body, headers=api.headers)
    assert answer.status_code in (200, 400, 404, 409, 422), answer.text

"""The published vectors, through everything that decides: one evaluator, however it is reached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flagloop import Client
from flagloop.document.problem import errors
from flagloop.document.schema import wire
from flagloop.evaluation.explain import explain
from flagloop.evaluation.replay import replay
from flagloop.evaluation.ruleset import Ruleset
from flagloop.evaluation.validate import validate

pytest.importorskip("re2", reason="matches needs the extra 'regex'")

JSON = dict[str, Any]


class Case(NamedTuple):
    """Who asks for what, when (epoch seconds)."""

    flag: str
    context: JSON
    now: float


Decide = Callable[[JSON, list[Case]], list[JSON]]
"""From a document (in the mapping form) and cases to decisions in their JSON form."""


def text(document: JSON) -> str:
    """The document as a file."""
    return json.dumps({"version": 1, **document}, ensure_ascii=False, indent=1)


def moment(now: float) -> str:
    """Epoch seconds as people write them."""
    return datetime.fromtimestamp(now, UTC).isoformat()


class Ways:
    """Each public method is one way; the strict ones take only documents without a problem."""

    def __init__(self, place: Any, run: Any, folder: Path) -> None:
        self._place = place
        self._run = run
        self._folder = folder

    def evaluate(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The pure function."""
        ruleset = Ruleset(document)
        return [ruleset.evaluate(*case).to_mapping() for case in cases]

    def evaluate_wire(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The same by the server's form of the document, after a trip through JSON."""
        return self.evaluate(json.loads(json.dumps(wire(document))), cases)

    def explained(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The second walker."""
        ruleset = Ruleset(document)
        return [explain(ruleset, *case).decision.to_mapping() for case in cases]

    def client_decide(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The SDK's verb."""
        return self._sdk(lambda **more: Client.from_document(document, **more), cases, "decide")

    def client_decide_all(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The SDK's bulk verb."""
        return self._sdk(lambda **more: Client.from_document(document, **more), cases, "all")

    def client_explain(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The SDK's explanation."""
        return self._sdk(lambda **more: Client.from_document(document, **more), cases, "explain")

    def strict_file(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The SDK on a file."""
        path = self._folder / "flags.yaml"
        path.write_text(text(document), "utf-8")
        return self._sdk(lambda **more: Client.from_file(path, **more), cases, "peek")

    def strict_server(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The SDK on a server that the document was pushed to."""
        self._place.put(document)
        return self._sdk(self._place.client, cases, "decide")

    def strict_server_all(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """The same in bulk."""
        self._place.put(document)
        return self._sdk(self._place.client, cases, "all")

    def cli_file(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """`flagloop eval --file`, which decides by broken files as an application would."""
        path = self._folder / "flags.yaml"
        path.write_text(text(document), "utf-8")
        return self._eval(cases, lambda *words: self._run("eval", *words, "--file", path))

    def strict_cli_server(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """`flagloop eval` by what the server sends to SDKs."""
        self._place.put(document)
        return self._eval(cases, lambda *words: self._place.cli("eval", *words, key="server"))

    def strict_cli_document(self, document: JSON, cases: list[Case]) -> list[JSON]:
        """`flagloop eval` by the text that the server keeps."""
        self._place.put(document)
        return self._eval(cases, lambda *words: self._place.cli("eval", *words))

    def _sdk(self, make: Callable[..., Client], cases: list[Case], verb: str) -> list[JSON]:
        clock = Clock()
        client = make(clock=clock)
        ask: Callable[[str, JSON], Any] = {
            "all": lambda flag, user: client.decide_all(user).get(flag) or client.peek(flag, user),
            "explain": lambda flag, user: client.explain(flag, user).decision,
        }.get(verb) or getattr(client, verb)
        found = []
        for flag, context, now in cases:
            clock.now = now
            found.append(ask(flag, context).to_mapping())
        client.close(5)
        return found

    def _eval(self, cases: list[Case], command: Callable[..., Any]) -> list[JSON]:
        """One command for each flag and moment; its lines back in the order of the cases."""
        found: dict[int, JSON] = {}
        contexts = self._folder / "contexts.jsonl"
        numbered = sorted(enumerate(cases), key=lambda one: (one[1].flag, one[1].now))
        for (flag, now), grouped in groupby(numbered, key=lambda one: (one[1].flag, one[1].now)):
            group = list(grouped)
            lines = [json.dumps(case.context) + "\n" for _, case in group]
            contexts.write_text("".join(lines), "utf-8")
            done = command(flag, "--contexts", contexts, "--at", moment(now), "--json")
            printed = [json.loads(line) for line in done.stdout.splitlines()]
            assert len(printed) == len(group), done.output
            for (number, case), line in zip(group, printed, strict=True):
                assert line.pop("key") == case.context.get("key")
                found[number] = line
        return [found[number] for number in range(len(cases))]


class Clock:
    """A clock that says what it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """Epoch seconds."""
        return self.now


WAYS = [name for name in vars(Ways) if not name.startswith("_")]


@pytest.fixture
def decide(request: pytest.FixtureRequest, place: Any, run: Any, tmp_path: Path) -> Decide:
    """One of the ways."""
    way: Decide = getattr(Ways(place, run, tmp_path), request.param)
    return way


def vectors(root: Path, name: str) -> Any:
    """One file of tests/vectors."""
    return json.loads((root / "tests" / "vectors" / name).read_text("utf-8"))


def sound(document: JSON) -> JSON:
    """The part of a document that a strict reader takes: what has a problem is left out."""
    kept = {**document, "version": 1, "metrics": {"m": {"event": "e", "better": "higher"}}}
    while wrong := errors(validate(kept)):
        bad = {problem.path[:2] for problem in wrong}
        kept = {
            section: {key: item for key, item in items.items() if (section, key) not in bad}
            if isinstance(items, dict)
            else items
            for section, items in kept.items()
        }
    return kept


def outcomes(decisions: Iterable[JSON]) -> list[JSON]:
    """Decisions without their words for people."""
    return [{key: one[key] for key in one if key != "message"} for one in decisions]


def takes(name: str, document: JSON) -> JSON:
    """The document as far as a way takes it."""
    return sound(document) if name.startswith("strict") else document


@pytest.mark.parametrize(("decide", "name"), [(one, one) for one in WAYS], indirect=["decide"])
def test_evaluation(root: Path, decide: Decide, name: str) -> None:
    """Each case decides as published: variant, value, reason and every detail."""
    published = vectors(root, "evaluation.json")
    document = takes(name, published["document"])
    asked = [one for one in published["cases"] if one["flag"] in document["flags"]]
    if document is published["document"]:
        asked = published["cases"]
    assert len(asked) > 450
    cases = [Case(one["flag"], one["context"], one["now"]) for one in asked]
    empty = {"rule": None, "variant": None, "value": None}
    expected = [{"flag": one["flag"], **empty, **one["expected"]} for one in asked]
    assert outcomes(decide(document, cases)) == expected


OPERATOR_WAYS = ["evaluate_wire", "client_decide", "strict_server_all", "cli_file"]


@pytest.mark.parametrize("decide", OPERATOR_WAYS, indirect=True)
def test_operators(root: Path, decide: Decide) -> None:
    """Each operator holds as published after files, HTTP and JSON have carried its constant."""
    rows = vectors(root, "operators.json")["test"]
    flags: JSON = {}
    names: dict[str, str] = {}
    for row in rows:
        when = {"a": {row["operator"]: row["constant"]}}
        name = names.setdefault(json.dumps(when), f"flag-{len(names)}")
        flags[name] = {"rules": [{"name": "r", "when": when, "serve": "on"}]}
    cases = [
        Case(names[json.dumps({"a": {row["operator"]: row["constant"]}})], {"a": row["value"]}, 0)
        for row in rows
    ]
    found = [decision["value"] for decision in decide({"flags": flags}, cases)]
    assert found == [row["holds"] for row in rows]


def pinned(flags: Mapping[str, Mapping[str, Any]]) -> JSON:
    """A document that serves whatever variant a context's attribute `got.<flag>` names.

    A flag whose attribute is absent serves the caller's default. `flags` has the variants.
    """
    document: JSON = {}
    for flag, variants in flags.items():
        got = f"got.{flag}"
        served = {"name": "served", "when": {got: {"exists": True}}, "serve": "on"}
        document[f"served.{flag}"] = {"rules": [served]}
        rules = [
            {"name": f"r{n}", "when": {got: name}, "serve": name} for n, name in enumerate(variants)
        ]
        document[flag] = {
            "variants": dict(variants),
            "default": next(iter(variants)),
            "requires": {f"served.{flag}": "on"},
            "rules": rules,
        }
    return {"flags": document}


def test_replay(root: Path) -> None:
    """Against a document that serves each context what the vectors say, nobody moves."""
    published = vectors(root, "evaluation.json")
    old = Ruleset(published["document"])
    by_flag: dict[str, list[Case]] = {}
    served: dict[str, dict[str, int]] = {}
    for one in published["cases"]:
        variant, context = one["expected"]["variant"], dict(one["context"])
        if variant is not None:
            served.setdefault(one["flag"], {}).setdefault(variant, 0)
            context[f"got.{one['flag']}"] = variant
        by_flag.setdefault(one["flag"], []).append(Case(one["flag"], context, one["now"]))
    new = Ruleset(pinned(served))
    stay = 0
    for flag, cases in by_flag.items():
        for now in {case.now for case in cases}:
            contexts = [case.context for case in cases if case.now == now]
            result = replay(old, new, contexts, [flag], now).flags[flag]
            assert result.moves == {}, (flag, now)
            stay += result.stay
    assert stay == len(published["cases"])

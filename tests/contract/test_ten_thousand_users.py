"""The CLI's evaluator, the SDK against a server, and replay give 10,000 users the same."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flagloop.document.times import parse_time
from flagloop.document.yamlfile import parse
from flagloop.evaluation.operators import OPERATORS
from flagloop.evaluation.ruleset import Ruleset

pytest.importorskip("re2", reason="matches needs the extra 'regex'")

JSON = dict[str, Any]

USERS = 10_000
AT = "2027-03-10T12:00:00Z"
CHOICES: JSON = {
    "plan": ["free", "free", "pro", "team", "partner", "RESELLER"],
    "country": ["DE", "FR", "NO", "AT", "US", None],
    "email": ["a@example.com", "b@Partner.Example", "c@other.example", "d@example.org", None],
    "app_version": ["2.3.0", "2.4.1", "3.0.0-rc.1", "4.0.0", "1.9.9", "2.10", 3, None],
    "os_version": ["17.0.0", "17.0.5", "17.1.0", "18.0.0", None],
    "roles": [["owner"], ["billing", "partner"], [], "owner", ["x", 7], None],
    "ip": ["10.1.2.3", "192.168.0.1", "2001:db8::7", "2001:db9::7", "no ip", None],
    "signed_up": ["2026-05-31", "2026-06-01T00:00:01Z", "2026-08-31T21:00:00-02:00", "soon", None],
    "path": ["/a/12", "/b/7x", "/c/1", "/b/0", None],
    "tenant": ["p-1", "P-2", "q-3", None],
    "host": ["my-shop.example", "SHOP", "blog", None],
    "company": ["acme grösse", "ACME GRÖSSE", "Other", None],
    "currency": ["USD", "EUR", "NO", None],
    "suspended": [True, False, None, "true"],
    "opt_in": [True, False, 1, None],
    "segment": ["trial", "paid", None],
    "referrer": ["https://x/?utm_source=partner", "https://y/", None],
    "deleted_at": ["2026-01-01", None, None],
    "opted": [True, None],
}


def users() -> list[JSON]:
    """The same people on every run; None stands for an attribute that is not there."""
    chance = random.Random(20270310)
    people = []
    for n in range(USERS):
        person: JSON = {"key": n if n % 97 == 0 else f"u-{n}"}
        if n % 11:
            person["org"] = n % 700 if n % 5 == 0 else f"o-{n % 700}"
        person["seats"] = chance.choice([1, 5, 42, 42.0, 399, 400, "42", None])
        person["score"] = chance.choice([0.1, 0.25, 0.5, 0.9, 0.95, None])
        for name, values in CHOICES.items():
            person[name] = chance.choice(values)
        people.append({name: value for name, value in person.items() if value is not None})
    return people


def lines(path: Path, people: list[JSON]) -> Path:
    """The users as the CLI reads them."""
    path.write_text("".join(json.dumps(one) + "\n" for one in people), "utf-8")
    return path


def by_cli(run: Callable[..., Any], file: Path, contexts: Path, flag: str) -> list[JSON]:
    """Every user's decision as `flagloop eval` prints it."""
    words = ("eval", flag, "--file", file, "--contexts", contexts, "--at", AT, "--json")
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    for one in printed:
        one.pop("key")
    return printed


def serving(flags: JSON, served: dict[str, set[str | None]]) -> JSON:
    """A document that serves the variant that a context's attribute `got.<flag>` names.

    Where that attribute is absent its flag serves no variant.
    """
    document: JSON = {}
    for key, flag in flags.items():
        got = f"got.{key}"
        rules = [
            {"name": str(variant), "when": {got: variant}, "serve": variant}
            for variant in served[key] - {None}
        ]
        kept = {word: flag[word] for word in ("variants", "default") if word in flag}
        document[f"served.{key}"] = {
            "rules": [{"name": "served", "when": {got: {"exists": True}}, "serve": "on"}]
        }
        document[key] = {**kept, "requires": {f"served.{key}": "on"}, "rules": rules}
    return {"version": 1, "flags": document}


@pytest.mark.parametrize("name", ["flags.example.yaml", "tests/contract/hard.yaml"])
def test_three_ways_agree(
    root: Path, tmp_path: Path, place: Any, run: Callable[..., Any], name: str
) -> None:
    """The CLI and the SDK decide the same; replay against what they served moves nobody."""
    file, people, flags = root / name, users(), parse((root / name).read_bytes()).mapping["flags"]
    contexts = lines(tmp_path / "users.jsonl", people)
    place.push(file)
    client = place.client(clock=lambda: parse_time(AT), exposures=False)
    served: dict[str, set[str | None]] = {}
    for flag in flags:
        printed = by_cli(run, file, contexts, flag)
        decided = [client.decide(flag, person) for person in people]
        assert [one.to_mapping() for one in decided] == printed, flag
        served[flag] = {one.variant for one in decided}
        for person, one in zip(people, decided, strict=True):
            if one.variant is not None:
                person[f"got.{flag}"] = one.variant
    for person in people[::10]:
        found = {flag: one.variant for flag, one in client.decide_all(person).items()}
        assert found == {flag: person.get(f"got.{flag}") for flag in flags}
    told = replayed(run, tmp_path, file, serving(flags, served), people)
    assert {flag: told[flag]["moves"] for flag in flags} == {flag: [] for flag in flags}
    assert {told[flag]["stay"] for flag in flags} == {USERS}
    one = next(person for person in people if "got.cta_color" in person or "got.split" in person)
    flag = "cta_color" if "cta_color" in flags else "split"
    one[f"got.{flag}"] = next(iter(served[flag] - {one[f"got.{flag}"]}))
    told = replayed(run, tmp_path, file, serving(flags, served), people)
    assert {key: told[key]["moved"] for key in flags if told[key]["moved"]} == {flag: 1}


def replayed(
    run: Callable[..., Any], folder: Path, old: Path, new: JSON, people: list[JSON]
) -> JSON:
    """`flagloop replay` from a file to a document."""
    other = folder / "served.yaml"
    other.write_text(json.dumps(new), "utf-8")
    contexts = lines(folder / "served.jsonl", people)
    done = run("replay", old, other, "--contexts", contexts, "--at", AT, "--json")
    assert done.exit_code == 0, done.stderr
    told: JSON = json.loads(done.stdout)["flags"]
    return told


NOBODY = {"by_org.waiting", "windows.past", "windows.future", "killed.all"}


def test_the_hard_document_asks_everything(root: Path) -> None:
    """All operators are in it, every rule but those that cannot serve serves some users."""
    text = (root / "tests/contract/hard.yaml").read_text("utf-8")
    written = set(re.findall(r"\w+", text))
    assert set(OPERATORS) - written == set()
    mapping, now = parse(text).mapping, parse_time(AT)
    ruleset, people = Ruleset(mapping), users()
    seen: Counter[str] = Counter()
    for key in mapping["flags"]:
        for person in people:
            decision = ruleset.evaluate(key, person, now)
            seen[f"{key}.{decision.rule or decision.holdout or decision.reason}"] += 1
            seen[f"missing unit: {decision.missing_unit}"] += 1
    rules = {
        f"{key}.{rule['name']}"
        for key, flag in mapping["flags"].items()
        for rule in flag.get("rules", ())
    }
    assert rules - set(seen) == NOBODY
    assert {f"{key}.year" for key in ("low", "high")} | {"by_org.org_year"} <= set(seen)
    assert {"needs.DISABLED", "killed.DISABLED", "missing unit: True"} <= set(seen)

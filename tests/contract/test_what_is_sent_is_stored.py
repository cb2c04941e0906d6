"""What an application decided and tracked is in the server's numbers: no more, no less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flagloop.document.percent import parse_percent

DOCUMENT = {
    "layers": {"page": {}},
    "holdouts": {"year": {"share": "20%"}},
    "metrics": {"done": {"event": "done", "better": "higher"}},
    "experiments": {"test": {"primary": "done", "layer": {"name": "page", "range": ["0%", "60%"]}}},
    "flags": {
        "half": {"rules": [{"name": "some", "share": "50%", "serve": "on"}]},
        "split": {
            "variants": {"a": 1, "b": 2},
            "default": "a",
            "rules": [{"name": "x", "experiment": "test", "split": {"a": "50%", "b": "50%"}}],
        },
        "rolling": {
            "rules": [
                {
                    "name": "canary",
                    "rollout": {"to": "on", "stages": ["25%", "50%", "100%"], "stage": "25%"},
                }
            ]
        },
        "held": {
            "holdout": "year",
            "log": ["plan"],
            "rules": [{"name": "pro", "when": {"plan": "pro"}, "serve": "on"}],
        },
        "plain": {},
        "by_org": {"unit": "org", "rules": [{"name": "some", "share": "50%", "serve": "on"}]},
        "targeted": {"rules": [{"name": "pro", "when": {"plan": "pro"}, "serve": "on"}]},
    },
}

REJECTED = 'flagloop_events_total{outcome="rejected"}'


def application(place: Any, folder: Path) -> list[Any]:
    """Run the program, change the ruleset when it is ready; the reports of both processes."""
    program = Path(__file__).with_name("busy_application.py")
    command = [sys.executable, str(program), place.url, place.secret("server"), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "ready\n"
            later = json.loads(json.dumps(DOCUMENT))
            later["flags"]["rolling"]["rules"][0]["rollout"]["stage"] = "50%"
            later["flags"]["half"]["rules"][0]["share"] = "80%"
            later["flags"]["split"]["rules"][0]["split"] = {"a": "30%", "b": "70%"}
            place.put(later)
            assert [process.stdout.readline() for _ in range(2)] == ["sent\n"] * 2
            living = until_two(place)
            process.stdin.close()
            assert process.wait(120) == 0
        finally:
            process.kill()
    reports = [json.loads((folder / f"{name}.json").read_text()) for name in ("parent", "child")]
    assert {one.pid for one in living} == {report["pid"] for report in reports}
    assert len({one.id for one in living}) == 2
    assert {one.revision for one in living} == {place.revision()}
    return reports


def until_two(place: Any) -> Any:
    """The instances, as soon as both are on the list on disk with the newest revision."""
    end = time.monotonic() + 60
    while True:
        found = place.store.events.instances(place.environment.id)
        told = [one.revision for one in found] == [place.revision()] * 2
        if told or time.monotonic() > end:
            return found
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_counts_exposures_and_events_reconcile(place: Any, tmp_path: Path) -> None:
    """Over threads, flushes, a change of the ruleset under load, and a fork: exactly."""
    place.put(DOCUMENT)
    rejected = place.metric(REJECTED)
    reports = application(place, tmp_path)
    for report in reports:
        assert report["delivery"]["lost"] == {}
        assert (report["delivery"]["last_error"], report["delivery"]["queued"]) == (None, 0)
        assert report["failures"] == {}
        assert report["delivery"]["sent"] == len(report["exposures"]) + report["tracked"]
    assert place.metric(REJECTED) == rejected
    check_counts(place, reports)
    check_events(place, reports)
    assert place.store.events.losses(place.environment.id) == []


def check_counts(place: Any, reports: list[Any]) -> None:
    """Each evaluation is in the usage of its flag, by variant, rule and reason."""
    made: Counter[str] = sum((Counter(one["counts"]) for one in reports), Counter())
    assert sum(made.values()) > 20_000
    usage = place.usage()
    assert sum(one.today for one in usage.values()) == sum(made.values())
    for place_of, words in ((1, "by_variant"), (2, "by_rule"), (3, "by_reason")):
        expected: Counter[Any] = Counter()
        for outcome, n in made.items():
            row = json.loads(outcome)
            expected[row[0], row[place_of]] += n
        found = {
            (flag, word): n
            for flag, one in usage.items()
            for word, n in getattr(one, words).items()
        }
        assert found == expected
    assert usage["gone"].by_reason.keys() == {"FLAG_NOT_FOUND"}
    assert {"SPLIT", "MISSING_UNIT"} <= usage["by_org"].by_reason.keys()


def check_events(place: Any, reports: list[Any]) -> None:
    """Each exposure and each tracked event is there once, with what the decision said."""
    stored = place.events()
    assert len({row.id for row in stored}) == len(stored)
    found = Counter(
        (row.name, row.unit, row.variant, row.rule, row.experiment, row.stage, bool(row.held))
        for row in stored
        if row.kind == 0
    )
    expected = Counter(
        (flag, unit, variant, rule, experiment, stage and parse_percent(stage), holdout == "year")
        for report in reports
        for flag, unit, variant, rule, experiment, stage, holdout in report["exposures"]
    )
    assert found == expected
    assert len(expected) > 2000
    events = [row for row in stored if row.kind == 1]
    assert len(events) == sum(report["tracked"] for report in reports)
    assert all(
        row.units["key"].startswith("u-") and row.data == {"where": "here"} for row in events
    )
    assert {len(row.units) for row in events} == {1, 2}  # by_org made `org` a unit
    logged = {tuple(row.data or ()) for row in stored if row.kind == 0 and row.name == "held"}
    assert logged <= {("plan",), ()}
    assert all(row.data is None for row in stored if row.kind == 0 and row.name != "held")


def test_nothing_of_a_user_leaves_but_what_the_document_names(place: Any) -> None:
    """Keys and units always, attributes only by `log` and `recording`; all else stays here."""
    document = {**DOCUMENT, "recording": {"attributes": ["country"]}}
    place.put(document)
    client = place.client()
    user = {"key": "u-1", "org": "o-1", "plan": "pro", "country": "DE", "email": "secret@x.example"}
    for flag in DOCUMENT["flags"]:
        client.decide(flag, user)
        client.decide_all(user)
    client.track("done", user, where="here")
    assert client.flush(60)
    contexts = place.store.events.contexts(place.environment.id)
    assert contexts
    for one in contexts:
        assert one.context == {"key": "u-1", "org": "o-1", "country": "DE"}
    held = [row for row in place.events() if row.name == "held"]
    assert [row.data for row in held] == [{"plan": "pro"}]
    assert "secret@x.example" not in repr(place.events())

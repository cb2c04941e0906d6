"""Lists and pages of segments, metrics, layers, holdouts and experiments."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.store import Actor, now_ms
from flagloop_server.store.events import decode_batch

BEN = Actor("person", "ben@example.com")
HERE = "/environments/production"
EVIL = "<script>alert(1)</script>"
MORE = """\
version: 1
layers:
  landing: {description: What visitors see first}
holdouts:
  growth: {share: 2%}
metrics:
  sign_up: {event: sign_up, better: higher}
  revenue: {event: purchase, sum: amount, better: higher}
segments:
  staff:
    when: {email: {ends_with: "@example.com"}}
  insiders:
    description: "<script>alert(1)</script>"
    when: {any: [{segment: staff}, {plan: team}]}
experiments:
  colour:
    hypothesis: Green <b>wins</b>
    primary: sign_up
    secondary: [revenue]
    layer: {name: landing, range: [0%, 50%]}
    plan: {baseline: 5%, mde: 10%, power: 80%, days: 14}
  words:
    status: draft
    layer: {name: landing, range: [40%, 90%]}
flags:
  cta_color:
    variants: {control: blue, treatment: green}
    default: control
    off: control
    holdout: growth
    rules:
      - {name: staff, when: {segment: insiders}, serve: treatment}
      - {name: half, experiment: colour, split: {control: 50%, treatment: 50%}}
"""


@pytest.fixture
def stocked(shop: Application) -> Application:
    """A document with a little of every section."""
    shop.changes.apply(change.push("production", MORE), BEN, "more")
    return shop


@pytest.fixture
def viewer(stocked: Application, visit: Any) -> Any:
    """Somebody who looks at it."""
    return visit("viewer")


def send(app: Application, **words: Any) -> None:
    """A batch of an SDK."""
    batch = decode_batch(json.dumps({"events": [], **words}).encode())
    place = app.store.environment("production")
    app.events.submit(place.id, 1, now_ms(), batch).result(30)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (
            "segments",
            ["2 segments in <strong>production</strong>", "segment staff or plan is team"],
        ),
        ("metrics", ["2 metrics in", "for each unit the sum of amount", "none came"]),
        ("layers", ["1 layer in", "50% is free (50% to 100%)", "words, draft"]),
        ("holdouts", ["1 holdout in", "2% of all units always get the default"]),
        ("experiments", ["2 experiments in", "1 running, 1 draft", "0% to 50%"]),
    ],
)
def test_each_list_tells_its_state_and_what_items_say(
    viewer: Any, section: str, says: list[str]
) -> None:
    """The first line is a sentence; each item leads to its page."""
    text = viewer.get(f"{HERE}/{section}").text
    for words in says:
        assert words in text
    assert EVIL not in text


def test_a_list_is_searched(viewer: Any) -> None:
    """By words of the items and by who uses them; nothing found leads back."""
    text = viewer.get(f"{HERE}/segments?q=cta").text
    assert "1 of 2 segments matches." in text
    assert f"{HERE}/segments/staff" not in text
    assert "No segment matches." in viewer.get(f"{HERE}/segments?q=zebra").text


def test_long_lists_come_in_pages(shop: Application, visit: Any) -> None:
    """100 rows at once."""
    rows = "".join(f"  s{number:03}: {{when: {{plan: a}}}}\n" for number in range(120))
    text = f"version: 1\nsegments:\n{rows}"
    shop.changes.apply(change.push("development", text), BEN, "")
    visitor = visit("viewer", "development")
    first = visitor.get("/environments/development/segments?q=s").text
    assert "Rows 1 to 100 of 120" in first
    assert "s100<" not in first
    assert "s119<" in visitor.get("/environments/development/segments?q=s&start=101").text


@pytest.mark.parametrize("section", ["segments", "metrics", "layers", "holdouts", "experiments"])
def test_an_empty_list_teaches_the_next_command(visit: Any, section: str) -> None:
    """With text that can be pasted, and the way to write it here for those who may."""
    visitor = visit("viewer", "development")
    text = visitor.get(f"/environments/development/{section}").text
    assert f"<code>{section}:\n" in text
    assert "flagloop push flags.yaml --env development" in text
    assert "write it here" not in text
    assert "write it here" in visit("admin", "*").get(f"/environments/development/{section}").text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "segments/staff",
            ["1 flag in <strong>production</strong>", "through another segment", "Part of"],
        ),
        ("segments/insiders", ["decides by it", "rule staff", "&lt;script&gt;"]),
        ("metrics/sign_up", ["1 experiment or rollout looks at it", "primary metric"]),
        ("metrics/revenue", ["None came in the last 90 days", "amount=12.5"]),
        ("layers/landing", ["Dashed: a draft", "40% to 90%", "no rule", "rule half"]),
        ("holdouts/growth", ["always get the default of 1 flag", "changes it keeps away"]),
        (
            "experiments/colour",
            [
                "everyone in 0% to 50% of layer landing is split 50% control, 50% treatment",
                "Green &lt;b&gt;wins&lt;/b&gt;",
                "Counts, not results",
                "baseline 5%; smallest effect worth finding 10%",
            ],
        ),
        ("experiments/words", ["is a draft", "no rule uses it, so that nobody is in it"]),
    ],
)
def test_each_item_has_a_page(viewer: Any, path: str, says: list[str]) -> None:
    """In words, with who uses it, its text and its history; nothing unescaped."""
    text = viewer.get(f"{HERE}/{path}").text
    for words in says:
        assert words in text, words
    assert EVIL not in text
    assert "<b>wins" not in text
    assert "YAML of" in text
    assert "Added " in text


def test_an_unknown_item_names_the_nearest(viewer: Any) -> None:
    """404 with a hint."""
    answer = viewer.get(f"{HERE}/segments/staf")
    assert answer.status_code == 404
    assert "No segment &#39;staf&#39; in production; did you mean &#39;staff&#39;?" in answer.text
    assert viewer.get(f"{HERE}/nonsense").status_code == 404


def test_a_metric_tells_when_its_event_came_last(stocked: Application, viewer: Any) -> None:
    """From the kept counts by hour."""
    one = {"id": str(uuid.uuid4()), "type": "event", "event": "sign_up", "at": now_ms()}
    send(stocked, events=[{**one, "units": {"key": "u-1"}}])
    page = viewer.get(f"{HERE}/metrics/sign_up").text
    assert "1 event in the last 24 hours" in page
    assert "None came" not in page
    assert 'title="1 events in the last 24 hours"' in viewer.get(f"{HERE}/metrics").text


def test_an_experiment_shows_what_its_rule_gave(stocked: Application, viewer: Any) -> None:
    """Counts of that rule alone, beside what is planned."""
    counts = [
        {"flag": "cta_color", "variant": "control", "rule": "half", "n": 25},
        {"flag": "cta_color", "variant": "treatment", "rule": "half", "n": 75},
        {"flag": "cta_color", "variant": "treatment", "rule": "staff", "n": 1_000},
    ]
    send(stocked, counts=counts)
    text = viewer.get(f"{HERE}/experiments/colour").text
    given = [one.partition("<")[0] for one in text.split('data-label="Given">')[1:]]
    assert given == ["25%", "75%"]


def test_editors_edit_and_remove_where_nothing_names_it(
    stocked: Application, viewer: Any, visit: Any
) -> None:
    """What is named is refused with the list; a viewer is offered neither."""
    editor = visit("editor")
    named = editor.get(f"{HERE}/segments/staff").text
    assert f'href="{HERE}/items/segments/staff/edit"' in named
    assert "Not while it is named by" in named
    editor.get(f"{HERE}/experiments/words")
    done = editor.post(f"{HERE}/items/experiments/words/remove", reason="never began")
    assert done.status_code == 200
    assert "words" not in stocked.store.document("production").document.mapping["experiments"]
    looked = viewer.get(f"{HERE}/segments/staff").text
    assert "/edit" not in looked
    assert "removal" not in looked

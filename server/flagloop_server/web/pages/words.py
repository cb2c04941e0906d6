"""Numbers, times and terms as the pages say them; pure functions, used as Jinja filters."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

GLOSSARY: dict[str, str] = {
    "flag": "A named switch in your application; it serves one of its variants.",
    "variant": "One of the answers that a flag can give; each has a name and a value.",
    "context": "Who is asked about: a key and attributes such as plan or country.",
    "unit": "What is kept together when traffic is divided: the context's key, or the attribute "
    "that the rule or the flag names.",
    "rule": "A condition and what it serves. Rules are tried in order, the first that serves wins.",
    "share": "The part of the matching units that a rule takes; the others fall through to the "
    "next rule.",
    "split": "The weights among the variants that a rule serves.",
    "salt": "What is mixed into the division of units; while it stays, each keeps its place.",
    "segment": "A named condition that several rules can use.",
    "layer": "Experiments of one layer never share a unit: each holds its own range.",
    "holdout": "Units that always get the default, so that the sum of all changes can be measured.",
    "prerequisite": "Another flag that must serve a certain variant, else this one is off.",
    "default": "The variant for those whom no rule served.",
    "off": "The variant that everyone gets while the flag is killed.",
    "kill": "Serve the off variant to everyone at once, whatever the rules say.",
    "restore": "Take a kill back: the rules apply again, exactly as they were.",
    "decision": "The answer of a flag for one context: variant, value and the reason.",
    "evaluation": "One decision made by an application; all of them are counted.",
    "exposure": "The record that a unit saw a variant, with rule, experiment and time.",
    "event": "Something that a unit did, sent by the application with track.",
    "experiment": "A split with a plan: what is measured and when it is decided.",
    "rollout": "A share that climbs by stages, watched by guardrails.",
    "stage": "The percentage of a rollout that is in force.",
    "guardrail": "A metric that must not get worse while a rollout or an experiment runs.",
    "harm budget": "The chance that a harmless rollout is rolled back, over all looks at all of "
    "its guardrails.",
    "metric": "How events become one number for each unit.",
    "document": "All definitions of one environment, as one YAML text.",
    "revision": "The number of a state of the document; each change makes the next one.",
    "environment": "A separate document with its own keys and people, such as production.",
    "canary": "A flag whose rollout is on its way.",
    "stale": "A flag that looks ready to be removed, with the reason why.",
    "instance": "One process of an application that decides by this server's rules.",
    "ledger": "The record of every change and decision; each row is chained to the one before.",
    "recorded contexts": "A sample of the contexts that applications asked about, kept so that a "
    "change can be tried before it is saved.",
    "promote": "Copy an item's text to another environment, after a preview of what it does there.",
    "revert": "Bring an old text back as a new revision: of one item, or of the whole document.",
    "runtime word": "A word of the document that operation writes (killed, stage, paused, "
    "status); a push of a file does not change it.",
}
"""The terms of the pages, each with its one-line explanation."""

_STEPS = ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "d"))


def ago(then: int, now: int) -> str:
    """`12 s ago`, for two times in epoch milliseconds."""
    seconds = max(0, (now - then) // 1000)
    size, unit = next((size, unit) for limit, size, unit in _STEPS if seconds < limit)
    return f"{seconds // size} {unit} ago"


def iso(at: int) -> str:
    """An epoch time in milliseconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(at: int) -> str:
    """An epoch time in milliseconds for people: `2026-11-23 05:01:10 UTC`."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def thousands(number: int) -> str:
    """`9,431`."""
    return f"{number:,}"


def compact(number: int) -> str:
    """`12.4k`: three figures are enough where a row only has to be compared with others."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def percent(part: float | None) -> str:
    """A measured part of 1, with the precision that matters: `0.4%`, `98%`."""
    if part is None:
        return "no data"
    value = part * 100
    if value == 0:
        return "0%"
    if value < 0.1:
        return "<0.1%"
    return f"{value:.1f}%" if value < 10 or 90 < value < 100 else f"{value:.0f}%"


def value_text(value: Any) -> str:
    """A variant's value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def plural(number: int, word: str) -> str:
    """`1 unit`, `2 units`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"

"""What was recorded of contexts, by the documents that their senders decided by."""

from __future__ import annotations

from pathlib import Path

from flagloop_server import changes as change
from flagloop_server.auth import Auth, first_start
from flagloop_server.changes import Changes
from flagloop_server.recording import ENOUGH, Recording, recorded_attributes, recording
from flagloop_server.store import SYSTEM, Store
from flagloop_server.store.events import RecordedContext

PLAIN = "version: 1\nflags:\n  f: {rules: [{name: a, share: 5%, unit: org, serve: on}]}\n"
WIDER = PLAIN.replace("flags:", "recording: {attributes: [plan, country]}\nflags:")


def contexts(revision: str | None, number: int, **attributes: str) -> list[RecordedContext]:
    """So many contexts of senders with a revision."""
    return [RecordedContext(0, {"key": f"u-{n}", **attributes}, revision) for n in range(number)]


def test_units_and_named_attributes_are_recorded() -> None:
    """`key` always, what a rule has as unit, and what `recording` names; nothing else."""
    rule = {"name": "a", "share": "5%", "unit": "org", "when": {"email": "x"}, "serve": "on"}
    mapping = {"flags": {"f": {"rules": [rule]}}, "recording": {"attributes": ["plan"]}}
    assert recorded_attributes(mapping) == {"key", "org", "plan"}


def test_each_sender_recorded_by_its_own_revision(tmp_path: Path) -> None:
    """Documents of the past say what was kept then; strangers' revisions say nothing."""
    with Store(tmp_path) as store:
        first_start(store, Auth(store))
        changes = Changes(store)
        old = changes.apply(change.put_document("production", PLAIN), SYSTEM, "")
        new = changes.apply(change.put_document("production", WIDER), SYSTEM, "")
        odd = [None, "x.1", "1", f"{old.lineage}.0", f"{old.lineage}.99", f"{old.lineage}.²"]
        names = [old.name, new.name, *odd, f"{old.lineage}.{'9' * 5000}"]
        seen = [one for name in names for one in contexts(name, 1)]
        found = recording(store, store.environment("production"), seen)
    assert found.attributes == {
        old.name: {"key", "org"},
        new.name: {"key", "org", "plan", "country"},
    }


def test_enough_contexts_of_the_newest_kind_are_preferred() -> None:
    """After an attribute was added to the recording, rules on it are soon judged."""
    attributes = {"l.2": frozenset({"key", "plan"}), "l.1": frozenset({"key"})}
    new, old = contexts("l.2", ENOUGH), contexts("l.1", 2000)
    assert Recording([*new, *old], attributes).newest(10_000) == (new, attributes["l.2"])
    few = [*new[:-1], *old]
    assert Recording(few, attributes).newest(10_000) == (few, attributes["l.1"])


def test_what_was_recorded_of_more_serves_for_less() -> None:
    """After an attribute was taken out of the recording, older contexts still count."""
    attributes = {"l.2": frozenset({"key"}), "l.1": frozenset({"key", "plan"})}
    both = [*contexts("l.2", 1), *contexts("l.1", 5)]
    assert Recording(both, attributes).newest(10_000) == (both, attributes["l.2"])
    assert Recording(both, attributes).newest(3) == (both[:3], attributes["l.2"])


def test_contexts_of_unknown_senders_have_what_they_show() -> None:
    """A script that names no revision is believed to record what any of its contexts has."""
    mixed = [*contexts(None, 2, plan="pro"), *contexts(None, 2, country="DE")]
    assert Recording(mixed).newest(9) == (mixed, frozenset({"key", "plan", "country"}))
    assert Recording([]).newest(9) == ([], frozenset())

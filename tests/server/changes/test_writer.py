"""The one writer: one transaction, listeners in order, other processes and threads beside it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pytest

from flagloop.document.yamlfile import parse
from flagloop.errors import ConfigError, ConflictError, DocumentError
from flagloop_server import changes as change
from flagloop_server.changes import Applied, Changes, Draft, Scene
from flagloop_server.changes.change import Change
from flagloop_server.store import SYSTEM, Actor, Store

OTHER_PROCESS = """
import sys
from pathlib import Path
from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.store import Actor, Store
with Store(Path(sys.argv[1])) as store:
    changes = Changes(store)
    for share in sys.argv[2:]:
        changes.apply(change.set_share("production", "new_checkout", "canary", share),
                      Actor("command", "root"), "from outside")
"""


def test_a_change_its_revision_and_its_ledger_row_are_one(
    pushed: Changes, ana: Actor, store: Store
) -> None:
    """History, items and ledger say the same thing."""
    done = pushed.apply(change.kill("production", "cta_color"), ana, " errors ")
    row = store.revision("production", 3)
    assert (row.action, row.target, row.reason, row.actor) == ("kill", "cta_color", "errors", ana)
    assert row.changed == done.changed == (("flags", "cta_color"),)
    (version,) = store.item_versions("production", 3)
    assert version.before is not None
    assert version.after is not None
    assert "killed" not in version.before
    assert "killed" in version.after
    entry = store.audit(limit=1)[0]
    assert (entry.kind, entry.action, entry.revision) == ("change", "kill", 3)
    assert entry.payload is not None
    (item,) = entry.payload["details"]["items"]
    assert (item["section"], item["key"]) == ("flags", "cta_color")
    assert "treatment" not in str(entry.payload)
    assert store.verify().ok


def test_a_refused_change_leaves_no_trace(pushed: Changes, ana: Actor, store: Store) -> None:
    """No revision, no ledger row, no listener."""
    heard: list[Applied] = []
    pushed.listen(heard.append)
    rows = store.audit()
    with pytest.raises(DocumentError):
        pushed.apply(change.put_item("production", "flags", "x", "  x: {rulse: []}\n"), ana, "")
    assert store.audit() == rows
    assert store.document("production").revision == 2
    assert heard == []


def test_every_revision_can_be_read_again(pushed: Changes, ana: Actor, store: Store) -> None:
    """Texts and item revisions of the past come back, also after a restart."""
    texts = {2: store.document("production").document.text}
    for number, share in enumerate(("6%", "7%", "8%"), 3):
        done = pushed.apply(
            change.set_share("production", "new_checkout", "canary", share), ana, ""
        )
        texts[number] = done.document.document.text
    with Store(store.folder) as again:
        for number, text in texts.items():
            old = again.document("production", number)
            assert old.document.text == text
            assert old.document.mapping == parse(text).mapping
            assert old.item_revisions["flags", "new_checkout"] == number
            assert old.item_revisions["flags", "cta_color"] == 2
            assert old.name == f"{old.lineage}.{number}"


def test_history_of_an_item_and_in_pages(pushed: Changes, ana: Actor, store: Store) -> None:
    """The history of one flag holds its changes only; pages go on where they ended."""
    for share in ("6%", "7%"):
        pushed.apply(change.set_share("production", "new_checkout", "canary", share), ana, "")
        pushed.apply(change.kill("production", "cta_color"), ana, "x")
        pushed.apply(change.restore("production", "cta_color"), ana, "")
    rows = store.revisions("production", section="flags", key="new_checkout")
    assert [row.number for row in rows] == [6, 3, 2]
    first = store.revisions("production", limit=3)
    assert [row.number for row in first] == [8, 7, 6]
    assert [row.number for row in store.revisions("production", limit=9, before=6)] == [
        5,
        4,
        3,
        2,
        1,
    ]


def test_a_revision_costs_bytes_not_the_document(pushed: Changes, ana: Actor, store: Store) -> None:
    """Chunks are stored once: 20 revisions add 20 items, not 20 documents."""
    flags = "".join(f"  f{n}:\n    description: number {n}\n\n" for n in range(500))
    pushed.apply(change.put_document("staging", f"version: 1\nflags:\n{flags}"), ana, "")
    for n in range(20):
        pushed.apply(change.kill("staging", f"f{n * 20}"), ana, "x")
    with store._file.read() as connection:
        chunks = connection.execute("SELECT count(*) FROM chunk").fetchone()[0]
        sizes = connection.execute("SELECT max(length(chunks)) FROM revision").fetchone()[0]
    assert chunks < 500 + 20 + 40
    assert sizes < 400


def test_listeners_hear_every_revision_in_order(
    pushed: Changes, ana: Actor, told: list[Applied]
) -> None:
    """Also when many threads write at once, and each hears the document before and after."""
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait(60)
        for step in range(4):
            share = f"{number * 10 + step + 10}%"
            pushed.apply(change.set_share("production", "new_checkout", "canary", share), ana, "")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert [one.revision for one in told] == list(range(3, 27))
    for one in told:
        assert one.previous is not None
        assert one.previous.revision == one.revision - 1
        assert one.environment == "production"


def test_a_listener_may_make_changes(pushed: Changes, ana: Actor) -> None:
    """All listeners hear the first change before the second, and no thread waits for itself."""
    heard: list[tuple[str, int]] = []

    def reacts(done: Applied) -> None:
        heard.append(("reacts", done.revision))
        if done.action == "kill":
            pushed.apply(change.restore("production", "cta_color"), SYSTEM, "no")

    pushed.listen(reacts)
    pushed.listen(lambda done: heard.append(("looks", done.revision)))
    pushed.apply(change.kill("production", "cta_color"), ana, "x")
    assert heard == [("reacts", 3), ("looks", 3), ("reacts", 4), ("looks", 4)]


def test_a_listener_that_fails_keeps_nobody_from_hearing(
    pushed: Changes, ana: Actor, caplog: pytest.LogCaptureFixture
) -> None:
    """The change is committed: its caller gets it, the others are told, the failure is logged."""
    heard: list[int] = []

    def fails(done: Applied) -> None:
        raise RuntimeError("broken listener")

    pushed.listen(fails)
    pushed.listen(lambda done: heard.append(done.revision))
    first = pushed.apply(change.archive_flag("production", "new_ranker"), ana, "")
    second = pushed.apply(change.kill("production", "cta_color"), ana, "x")
    assert (first.revision, second.revision) == (3, 4)
    assert heard == [3, 4]
    assert pushed.failed_calls == 2
    logged = [record for record in caplog.records if "a listener failed" in record.message]
    assert len(logged) == 2
    assert "broken listener" in (logged[0].exc_text or "")


def test_of_two_makers_of_one_key_the_second_is_told(pushed: Changes, ana: Actor) -> None:
    """Revision 0 is "must not be there yet", for items that never were and for removed ones."""
    ref = ("segments", "vip")
    first = change.put_item("production", *ref, "vip: {when: {plan: vip}}\n")
    second = change.put_item("production", *ref, "vip: {when: {plan: gold}}\n")
    pushed.apply(first, ana, "", expected={ref: 0})
    with pytest.raises(ConflictError, match="exists already: segments"):
        pushed.apply(second, ana, "", expected={ref: 0})
    pushed.apply(change.remove_item("production", *ref), ana, "")
    assert pushed.apply(second, ana, "", expected={ref: 0}).applied


def test_many_makers_of_one_key_at_once_make_one(pushed: Changes, ana: Actor) -> None:
    """Whoever commits first has the key, whatever the others saw when they began."""
    start = threading.Barrier(5)

    def make(number: int) -> bool:
        planned = change.put_item("production", "flags", "own", f"own: {{owner: n{number}}}\n")
        start.wait(60)
        try:
            return pushed.apply(planned, ana, "", expected={("flags", "own"): 0}).applied
        except ConflictError:
            return False

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(make, range(5))) == 1


def test_changes_of_another_process_are_found(
    pushed: Changes, ana: Actor, store: Store, told: list[Applied]
) -> None:
    """`poll` tells of them in order; an own change tells of those before it first."""
    command = [sys.executable, "-c", OTHER_PROCESS, str(store.folder)]
    version = store.data_version()
    subprocess.run([*command, "6%", "7%"], check=True, timeout=60)
    assert store.data_version() != version
    assert pushed.poll() == 2
    assert pushed.poll() == 0
    assert [(one.revision, one.actor.name) for one in told] == [(3, "root"), (4, "root")]
    subprocess.run([*command, "8%"], check=True, timeout=60)
    pushed.apply(change.kill("production", "cta_color"), ana, "x")
    assert [one.revision for one in told] == [3, 4, 5, 6]
    assert told[2].details == {}
    assert pushed.poll() == 0
    mapping = told[-1].document.document.mapping["flags"]
    assert mapping["new_checkout"]["rules"][0]["share"] == "8%"
    assert "killed" in mapping["cta_color"]


def test_poll_tells_of_new_environments(
    changes: Changes, store: Store, told: list[Applied]
) -> None:
    """An environment made by whomever has its first revision told."""
    store.create_environment("fresh", SYSTEM)
    assert changes.poll() == 1
    assert [(one.environment, one.action, one.previous) for one in told] == [
        ("fresh", "create", None)
    ]


def test_a_change_computed_on_an_old_document_is_computed_again(
    pushed: Changes, ana: Actor, store: Store
) -> None:
    """Two writers never overwrite each other; after some tries the slow one goes first."""
    runs = []

    def draft(scene: Scene) -> Draft:
        runs.append(scene.stored.revision)
        if len(runs) <= 3:  # somebody is faster each time
            share = f"{len(runs) + 20}%"
            pushed.apply(change.set_share("production", "new_checkout", "canary", share), ana, "")
        return change.kill("production", "cta_color").draft(scene)

    done = pushed.apply(Change("production", "kill", "cta_color", draft), ana, "x")
    assert runs == [2, 3, 4, 5]
    assert done.revision == 6
    rules = store.document("production").document.mapping["flags"]["new_checkout"]["rules"]
    assert rules[0]["share"] == "23%"


def test_what_was_not_committed_is_neither_told_nor_kept(
    pushed: Changes, ana: Actor, store: Store, told: list[Applied]
) -> None:
    """A commit that fails while nobody else may write leaves the document as it was, everywhere."""
    with closing(sqlite3.connect(store.folder / "config.db")) as connection:
        # A reference to nothing, which SQLite finds when it is about to commit.
        connection.execute("CREATE TABLE odd (id REFERENCES user DEFERRABLE INITIALLY DEFERRED)")
        connection.execute(
            "CREATE TRIGGER odd_kill AFTER INSERT ON revision WHEN new.target = 'cta_color'"
            " BEGIN INSERT INTO odd VALUES (99); END"
        )
    kill = change.kill("production", "cta_color")
    shares = iter(("6%", "7%", "8%"))

    def overtaken(scene: Scene) -> Draft:
        made = kill.draft(scene)
        for share in islice(shares, 1):
            step = change.set_share("production", "new_checkout", "canary", share)
            pushed.apply(step, ana, "faster")
        return made

    with pytest.raises(sqlite3.IntegrityError):
        pushed.apply(replace(kill, draft=overtaken), ana, "INC-7")
    assert store.document("production").revision == 5
    with closing(sqlite3.connect(store.folder / "config.db")) as connection:
        connection.execute("DROP TRIGGER odd_kill")
    other = change.kill("production", "new_checkout")
    pushed.apply(other, ana, "INC-8")
    found = store.document("production").document.mapping["flags"]
    assert "killed" in found["new_checkout"]
    assert "killed" not in found["cta_color"]
    assert [(one.action, one.revision) for one in told[-4:]] == [
        *(("share", number) for number in (3, 4, 5)),
        ("kill", 6),
    ]
    assert told[-1].target == "new_checkout"


def test_a_kill_is_not_refused_for_old_problems(pushed: Changes, ana: Actor, store: Store) -> None:
    """A flag that a newer server finds wrong can still be killed and restored."""
    broken = "version: 1\nflags:\n  a:\n    default: nowhere\n    variants: {x: 1}\n"
    stored = store.document("staging")
    from flagloop_server.store import NewRevision

    store.commit(
        NewRevision(stored, parse(broken), (("flags", "a"),), ana, "edit", "a", "", stored.revision)
    )
    pushed.poll()
    assert pushed.apply(change.kill("staging", "a"), ana, "x").applied
    assert pushed.apply(change.restore("staging", "a"), ana, "").applied
    with pytest.raises(DocumentError):
        pushed.apply(change.replace_item("staging", "flags", "a", {"default": "y"}), ana, "")


def test_a_preview_writes_nothing(pushed: Changes, store: Store, text: str) -> None:
    """It shows the document, what changed and every problem."""
    rows = store.audit()
    seen = pushed.preview(change.push("production", text.replace("share: 5%", "share: 50%")))
    assert seen.ok
    assert seen.changed == (("flags", "new_checkout"),)
    assert "share: 50%" in seen.document.text
    bad = pushed.preview(change.push("production", text.replace("share: 5%", "share: 500%")))
    assert not bad.ok
    assert bad.problems[0].line is not None
    assert store.audit() == rows
    assert store.push_base("production").text == text  # type: ignore[union-attr]


def test_a_kill_waits_for_no_slow_change(pushed: Changes, ana: Actor) -> None:
    """A change that takes long to compute holds no lock while it computes."""
    computing, killed = threading.Event(), threading.Event()

    def slow(scene: Scene) -> Draft:
        computing.set()
        assert killed.wait(60)
        return change.set_share("production", "new_checkout", "canary", "9%").draft(scene)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(pushed.apply, Change("production", "share", "x", slow), ana, "")
        assert computing.wait(60)
        assert pushed.apply(change.kill("production", "cta_color"), ana, "x").revision == 3
        killed.set()
        assert running.result(30).revision == 4


def test_a_kill_among_2000_flags_costs_milliseconds(
    changes: Changes, ana: Actor, store: Store
) -> None:
    """An item-level edit, judged alone: the size of the document hardly matters."""
    flags = "".join(
        f"  f{n}:\n    description: number {n}\n    rules:\n"
        f"      - {{name: r, when: {{plan: pro}}, serve: on}}\n"
        f"      - {{name: s, share: 5%, serve: on}}\n"
        for n in range(2000)
    )
    changes.apply(change.put_document("production", f"version: 1\nflags:\n{flags}"), ana, "")
    costs = []
    for n in range(9):
        before = time.thread_time()
        changes.apply(change.kill("production", f"f{n * 200}"), ana, "x")
        costs.append(time.thread_time() - before)
    # 5 ms on a quiet machine; reading the document anew would take over 500 ms
    assert sorted(costs)[4] < 0.05
    assert store.document("production").revision == 11


def test_a_reason_has_an_end_and_a_kill_is_not_refused_for_it(
    pushed: Changes, ana: Actor, store: Store
) -> None:
    """Other changes are refused with both numbers; a kill's is cut, in the text too."""
    long = "x" * 501
    with pytest.raises(ConfigError, match="at most 500 characters, this one has 501"):
        pushed.apply(change.set_share("production", "new_checkout", "canary", "9%"), ana, long)
    assert store.document("production").revision == 2
    pushed.apply(change.set_share("production", "new_checkout", "canary", "9%"), ana, long[:-1])
    done = pushed.apply(change.kill("production", "cta_color"), ana, long)
    assert done.reason == store.revision("production", 4).reason == "x" * 499 + "…"
    killed = done.document.document.items["flags", "cta_color"].mapping["killed"]
    assert killed["reason"] == done.reason

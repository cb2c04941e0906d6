"""The hash chain: whole when nobody touched it, broken when somebody did."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

import pytest

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store import Actor, Store


def tamper(store: Store, sql: str) -> None:
    """Write to the file as somebody who has it in hand."""
    connection = sqlite3.connect(store.folder / "config.db")
    with connection:
        connection.execute(sql)
    connection.close()


def filled(store: Store, ana: Actor) -> None:
    """Five rows."""
    for name in "abcde":
        store.create_environment(name, ana)


def test_an_untouched_chain_is_whole(store: Store, ana: Actor) -> None:
    """Each digest is sha256(previous + sha256(payload)), from 32 zero bytes on."""
    filled(store, ana)
    found = store.verify()
    assert found.ok
    assert found.rows == 5
    previous = bytes(32)
    for row in reversed(store.audit()):
        payload = json.dumps(row.payload, separators=(",", ":")).encode()
        previous = hashlib.sha256(previous + hashlib.sha256(payload).digest()).digest()
        assert row.digest == previous.hex()
    assert found.head == previous.hex()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger SET reason = 'other' WHERE seq = 3",
        "UPDATE ledger SET actor = 'eve' WHERE seq = 3",
        "UPDATE ledger SET at = at + 1 WHERE seq = 1",
        "UPDATE ledger SET environment_id = 1 WHERE seq = 3",
        "UPDATE ledger SET payload = replace(payload, 'ana', 'eve') WHERE seq = 2",
        "UPDATE ledger SET payload_digest = zeroblob(32) WHERE seq = 2",
        "DELETE FROM ledger WHERE seq = 2",
        "UPDATE ledger SET seq = 9 WHERE seq = 2",
        "UPDATE ledger SET payload = NULL WHERE seq = 2",
        "UPDATE ledger SET payload = NULL, target = '', actor = 'eve' WHERE seq = 5",
    ],
)
def test_a_touched_row_is_found(store: Store, ana: Actor, sql: str) -> None:
    """Altered, deleted and moved rows all show."""
    filled(store, ana)
    tamper(store, sql)
    assert not store.verify().ok


def test_a_cut_end_is_found_only_with_an_exported_head(store: Store, ana: Actor) -> None:
    """Without a head the chain proves consistency only."""
    filled(store, ana)
    head = store.verify().head
    assert store.verify(head).ok
    tamper(store, "DELETE FROM ledger WHERE seq = 5")
    assert store.verify().ok
    assert not store.verify(head).ok


def test_a_head_stays_good_while_the_chain_grows(store: Store, ana: Actor) -> None:
    """A head exported long ago is still part of the chain."""
    filled(store, ana)
    head = store.verify().head
    store.create_environment("later", ana)
    assert store.verify(head).ok


def test_a_redaction_empties_the_payload_and_keeps_the_chain(store: Store, ana: Actor) -> None:
    """What was said is gone, that it was said and that it was redacted stay."""
    filled(store, ana)
    store.redact(2, ana, "a name was in it")
    row = next(row for row in store.audit() if row.seq == 2)
    assert (row.payload, row.target, row.reason, row.actor.name) == (None, "", "", "")
    assert store.verify().ok
    assert (store.audit()[0].action, store.audit()[0].reason) == ("redact", "a name was in it")
    with pytest.raises(NotFoundError):
        store.redact(99, ana, "x")


def test_an_empty_row_needs_one_that_says_who_did_it(store: Store, ana: Actor) -> None:
    """One that stands after it, of that row; and this one cannot be emptied in its turn."""
    filled(store, ana)
    store.redact(2, ana, "a name was in it")
    with pytest.raises(ConfigError, match="it stays"):
        store.redact(6, ana, "and in that reason")
    assert store.verify().ok
    tamper(store, "UPDATE ledger SET payload = NULL WHERE seq = 3")
    assert store.verify().problems == ("row 3: it is empty, and no later row says who did it",)


def test_a_head_may_be_written_in_any_case(store: Store, ana: Actor) -> None:
    """It is a number; and that of an empty ledger is where every chain begins."""
    empty = store.verify().head
    assert empty == "0" * 64
    filled(store, ana)
    assert store.verify(f" {store.verify().head.upper()}").ok
    assert store.verify(empty).ok


def test_the_ledger_is_read_in_pages_and_by_environment(store: Store, ana: Actor) -> None:
    """Newest first; `before` goes on; filters hold."""
    filled(store, ana)
    first = store.audit(limit=2)
    assert [row.environment for row in first] == ["e", "d"]
    rest = store.audit(limit=2, before=first[-1].seq)
    assert [row.environment for row in rest] == ["c", "b"]
    ids = {store.environment(name).id for name in "ac"}
    assert [row.target for row in store.audit(environments=ids)] == ["c", "a"]
    assert store.audit(environments=()) == []
    assert store.audit(target="nothing") == []


def test_a_new_environment_has_no_rows_of_one_that_had_its_name(store: Store, ana: Actor) -> None:
    """Rows belong to what an environment is, not to what it is called."""
    old = store.create_environment("shop", ana)
    store.create_key("shop", "server", "sdk", ana)
    store.rename_environment("shop", "market", ana)
    new = store.create_environment("shop", ana)
    store.set_production("shop", True, ana)
    assert [row.action for row in store.audit(environments=[old.id])] == [
        "rename-environment",
        "create-key",
        "create",
    ]
    assert [row.action for row in store.audit(environments=[new.id])] == [
        "mark-production",
        "create",
    ]


def test_rows_of_before_find_their_environment(store: Store, ana: Actor, clock: Any) -> None:
    """A file from before ids were written: by the revision, else by name and time."""
    old = store.create_environment("shop", ana)
    store.create_environment("twin", ana)  # in the same millisecond, also as revision 1
    info, _ = store.create_key("shop", "server", "sdk", ana)
    clock.now += 1
    store.rename_environment("shop", "market", ana)
    new = store.create_environment("shop", ana)
    store.revoke_key(info.id, ana)
    wanted = [(row.seq, row.environment_id) for row in store.audit()]
    store.close()
    tamper(store, "DROP INDEX idx_ledger_environment_id_seq")
    tamper(store, "ALTER TABLE ledger DROP COLUMN environment_id")
    tamper(store, "CREATE INDEX idx_ledger_environment_seq ON ledger (environment, seq)")
    tamper(store, "DELETE FROM _sqlite_migrations WHERE name = 'm005_ledger_by_environment'")
    with Store(store.folder) as again:
        found = {row.seq: row.environment_id for row in again.audit()}
        unknown = next(row.seq for row in again.audit() if row.action == "create-key")
        assert found == {**dict(wanted), unknown: None}
        assert len(again.audit(environments=[old.id])) == 3
        assert len(again.audit(environments=[new.id])) == 1


def test_a_redaction_reaches_the_history(store: Store, ana: Actor) -> None:
    """A name in a reason is gone from the revision as well, whatever its environment is called."""
    from flagloop_server.changes import Changes, add_item, archive_flag

    store.create_environment("production", ana)
    changes = Changes(store)
    changes.apply(add_item("production", "flags", "a", {}), ana, "kept")
    changes.apply(archive_flag("production", "a"), ana, "for Jane Doe")
    store.rename_environment("production", "shop", ana)
    store.redact(store.audit()[1].seq, ana, "a name")
    assert [row.reason for row in store.revisions("shop")] == ["", "", "kept", ""]
    assert [flag.reason for flag in store.archived_flags("shop")] == [""]
    assert store.verify().ok

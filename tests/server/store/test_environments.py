"""Environments: made, renamed, archived, each with its ledger row."""

from __future__ import annotations

import pytest

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.store import Actor, Store


def test_a_new_environment_has_an_empty_document_as_revision_1(store: Store, ana: Actor) -> None:
    """Creation writes a document that teaches, a revision and a ledger row."""
    made = store.create_environment("staging", ana)
    document = store.document("staging")
    assert (made.revision, document.revision, document.lineage) == (1, 1, made.lineage)
    assert document.document.mapping == {"version": 1}
    assert document.document.text.startswith("# ")
    assert [row.action for row in store.audit()] == ["create"]
    assert [row.action for row in store.revisions("staging")] == ["create"]


def test_lineages_are_random(store: Store, ana: Actor) -> None:
    """Two environments never share revision names."""
    names = {store.create_environment(f"e{n}", ana).name for n in range(20)}
    assert len(names) == 20


def test_rename_keeps_everything_but_the_key(store: Store, ana: Actor) -> None:
    """Keys, lineage and history go along with the environment."""
    old = store.create_environment("staging", ana)
    info, _ = store.create_key("staging", "server", "app", ana)
    new = store.rename_environment("staging", "preprod", ana)
    assert (new.id, new.lineage, new.key) == (old.id, old.lineage, "preprod")
    assert store.document("preprod").environment == "preprod"
    assert [key.id for key in store.keys("preprod")] == [info.id]
    assert store.keys("preprod")[0].environment == "preprod"
    with pytest.raises(NotFoundError, match="preprod"):
        store.document("staging")


def test_a_rename_is_a_revision_of_the_same_text(store: Store, ana: Actor) -> None:
    """What names the revision also holds the environment's name, for those who ask by it."""
    old = store.create_environment("staging", ana)
    text = store.document("staging").document.text
    new = store.rename_environment("staging", "preprod", ana)
    assert new.revision == old.revision + 1
    assert store.document("preprod").document.text == text
    assert store.document("preprod", 1).document.text == text
    (row, _) = store.revisions("preprod")
    assert (row.action, row.target, row.actor, row.changed) == (
        "rename-environment", "preprod", ana, (),
    )  # fmt: skip
    payload = store.audit()[0].payload
    assert payload is not None
    assert payload["details"] == {"from": "staging", "to": "preprod", "items": []}
    assert store.rename_environment("preprod", "preprod", ana) == new
    with Store(store.folder) as again:
        assert again.document("preprod").name == new.name


def test_archived_environments_are_out_of_the_list_but_kept(store: Store, ana: Actor) -> None:
    """Archiving hides an environment; it comes back as it was."""
    store.create_environment("staging", ana)
    store.archive_environment("staging", ana)
    assert store.environments() == []
    assert [one.key for one in store.environments(archived=True)] == ["staging"]
    assert store.environment("staging").archived_at is not None
    store.unarchive_environment("staging", ana)
    assert [one.key for one in store.environments()] == ["staging"]


def test_production_can_be_marked(store: Store, ana: Actor) -> None:
    """The mark is stored and written down."""
    store.create_environment("live", ana)
    assert store.set_production("live", True, ana).production
    assert store.audit()[0].action == "mark-production"


@pytest.mark.parametrize("key", ["", "a b", "-a", "a/b", "ä", "a:b", "x" * 101])
def test_a_bad_name_is_refused(store: Store, ana: Actor, key: str) -> None:
    """Only keys name environments, and nothing is left of a refused one."""
    with pytest.raises(ConfigError):
        store.create_environment(key, ana)
    assert store.environments(archived=True) == []
    assert store.audit() == []


def test_a_taken_name_is_refused_also_by_an_archived_one(store: Store, ana: Actor) -> None:
    """A key names one environment for ever."""
    store.create_environment("a", ana)
    store.create_environment("b", ana)
    store.archive_environment("a", ana)
    with pytest.raises(ConfigError, match="exists already"):
        store.create_environment("a", ana)
    with pytest.raises(ConfigError, match="exists already"):
        store.rename_environment("b", "a", ana)


def test_an_unknown_environment_is_named_with_the_nearest(store: Store, ana: Actor) -> None:
    """The error helps to find the right one."""
    store.create_environment("production", ana)
    with pytest.raises(NotFoundError, match="did you mean 'production'"):
        store.document("prodution")
    with pytest.raises(NotFoundError, match="no revision 9"):
        store.document("production", 9)

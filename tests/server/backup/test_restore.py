"""Restoring over a folder that has something in it."""

from __future__ import annotations

from pathlib import Path

from flagloop_server.backup.create import create
from flagloop_server.backup.restore import restore
from flagloop_server.store import SYSTEM, Store

AT = 1_800_000_000_000


def test_two_restores_in_one_second_keep_what_each_replaced(tmp_path: Path) -> None:
    """The second one must not take the first one's folder for what is left of itself."""
    data, file = tmp_path / "data", tmp_path / "backup.tar"
    Store(data).close()
    create(data, file, at=AT)
    kept = []
    for name in ("first", "second"):
        with Store(data) as store:
            store.create_environment(name, SYSTEM)
        kept.append(restore(file, data, SYSTEM, AT).replaced)
    found = []
    for aside in kept:
        assert aside is not None
        with Store(aside) as store:
            found += [one.key for one in store.environments()]
    assert found == ["first", "second"]

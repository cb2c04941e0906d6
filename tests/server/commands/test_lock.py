"""Who may serve a folder, and which folder is none to be served."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagloop_server.commands.lock import holder, sole_server
from flagloop_server.store import Store


def test_a_folder_that_lost_its_config_db_is_not_begun_anew(tmp_path: Path) -> None:
    """New environments would get the ids, and with them the events, of those that are gone."""
    with Store(tmp_path):
        pass
    (tmp_path / "config.db").unlink()
    with pytest.raises(OSError, match=r"lost its config\.db: restore"), sole_server(tmp_path):
        pytest.fail("it was served")
    assert holder(tmp_path) is None
    with sole_server(tmp_path, restoring=True):
        assert holder(tmp_path) is not None
    (tmp_path / "events.db").unlink()
    with sole_server(tmp_path):
        assert holder(tmp_path) is not None

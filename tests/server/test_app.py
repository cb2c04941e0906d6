"""The application as a whole: first start, events end to end, metrics, closing."""

from __future__ import annotations

import json
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from flagloop_server.app import create_app
from flagloop_server.config import Config
from flagloop_server.store import SYSTEM


def test_the_first_start_makes_keys_and_a_link_the_second_a_link_only(tmp_path: Path) -> None:
    """While nobody signed up there is a way in; keys are made once."""
    with create_app(Config(data=tmp_path)) as first:
        assert [name for name, _ in first.first_keys] == ["development", "production"]
        assert first.setup_link is not None
    with create_app(Config(data=tmp_path)) as second:
        assert second.first_keys == ()
        assert second.setup_link not in (None, first.setup_link)
        token = (second.setup_link or "").removeprefix("/setup/")
        second.auth.complete_setup(token, password="long enough, no?", email="a@example.com")
    with create_app(Config(data=tmp_path)) as third:
        assert third.setup_link is None


def test_events_are_durable_counted_and_not_doubled(app: Any, call: Any) -> None:
    """The whole way from the socket's bytes to the numbers that pages show."""
    key = dict(app.first_keys)["production"]
    exposure = {
        "id": str(uuid.uuid4()),
        "type": "exposure",
        "at": 1_790_000_000_000,
        "flag": "a",
        "variant": "on",
        "unit": "u-1",
        "unit_by": "key",
        "rule": "canary",
    }
    broken = {**exposure, "id": str(uuid.uuid4()), "unit": None}
    body = json.dumps({"events": [exposure, broken, {"type": "nonsense"}]}).encode()
    header = [("authorization", f"Bearer {key}")]
    first = json.loads(call(app.asgi, "POST", "/api/v1/events", header, body).body)
    assert first["accepted"] == 1
    assert [item["index"] for item in first["rejected"]] == [1, 2]
    assert all(item["problem"] for item in first["rejected"])
    second = json.loads(call(app.asgi, "POST", "/api/v1/events", header, body).body)
    assert (second["accepted"], second["duplicate"]) == (0, 1)
    place = app.store.environment("production").id
    assert app.events.variant_counts(place, "a") == {"on": 1}


def test_metrics_tell_requests_revisions_and_losses(app: Any, call: Any) -> None:
    """In Prometheus' text, without keys or units."""
    key = dict(app.first_keys)["production"]
    header = [("authorization", f"Bearer {key}")]
    lost = [{"reason": "queue_full", "flag": "a", "variant": "on", "n": 7}]
    body = json.dumps({"batch": str(uuid.uuid4()), "events": [], "lost": lost}).encode()
    assert call(app.asgi, "POST", "/api/v1/events", header, body).status == 200
    answer = call(app.asgi, "GET", "/metrics")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'flagloop_requests_total{route="events",status="200"} 1.0' in text
    assert 'flagloop_revision{environment="development"} 1.0' in text
    assert 'flagloop_lost{environment="production",reason="queue_full"} 7.0' in text
    assert "flagloop_events_waiting" in text
    assert key not in text


def test_senders_cannot_make_labels_without_end(app: Any, call: Any) -> None:
    """They name the reasons of their losses; the metrics have twenty, and "other" for the rest."""
    header = [("authorization", f"Bearer {dict(app.first_keys)['production']}")]
    lost = [{"reason": f"reason {n}", "n": 100 - n} for n in range(50)]
    body = json.dumps({"events": [], "lost": lost}).encode()
    assert call(app.asgi, "POST", "/api/v1/events", header, body).status == 200
    text = call(app.asgi, "GET", "/metrics").body.decode()
    assert text.count("flagloop_lost{") == 21
    rest = sum(range(51, 81))
    assert f'flagloop_lost{{environment="production",reason="other"}} {rest}.0' in text


def test_the_last_use_of_keys_is_written(app: Any, call: Any) -> None:
    """Not at each request, but now and then and at the end."""
    info, secret = app.store.create_key("production", "server", "sdk", SYSTEM)
    call(app.asgi, "GET", "/api/v1/ruleset", [("authorization", f"Bearer {secret}")])
    app.touch_keys()
    listed = app.store.keys("production")
    (used,) = [key.last_used_at for key in listed if key.id == info.id]
    assert used is not None


def test_a_fresh_application_is_ready_before_and_while_it_runs(app: Any, call: Any) -> None:
    """/readyz asks the database, the snapshots and the jobs."""
    assert call(app.asgi, "GET", "/readyz").status == 200
    app.start()
    assert call(app.asgi, "GET", "/readyz").status == 200


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    """The serve command closes early, the context manager again."""
    app = create_app(Config(data=tmp_path))
    app.start()
    app.close()
    app.close()
    assert not app.background.jobs[0].alive()


def test_whatever_fails_at_the_end_the_databases_are_closed(tmp_path: Path) -> None:
    """The list of instances can no longer be written: the event log was closed before."""
    app = create_app(Config(data=tmp_path))
    app.instances.polled(app.store.environment("production").id, 1, b"i-1", b"k.1")
    app.events.close()
    app.close()
    with pytest.raises(sqlite3.ProgrammingError):
        app.store.environments()

"""Who is there and who obeys, by the admin API."""

from __future__ import annotations

from typing import Any


def tell(app: Any, environment: str, name: str, number: int) -> None:
    """A process says which revision it has."""
    env = app.store.environment(environment)
    said = f"{name}; host=web-7; pid=42; sdk=flagloop-python/1.2".encode()
    app.instances.polled(env.id, 1, said, f'"{env.lineage}.{number}"'.encode())


def test_instances_are_listed_by_environment(admin: Any) -> None:
    """All that the key may view, or the one that is named."""
    now = admin.app.store.environment("production").revision
    tell(admin.app, "production", "i-1", now)
    tell(admin.app, "development", "i-2", 1)
    status, answer = admin("GET", "/instances")
    assert (status, answer["unlisted"]) == (200, 0)
    by_name = {one["environment"]: one for one in answer["environments"]}
    assert set(by_name) == {"development", "production"}
    status, answer = admin("GET", "/instances", query="environment=production")
    assert status == 200
    (only,) = answer["environments"]
    assert only["revision"] == now
    assert only["sentence"] == "in force on 1 of 1 instance"
    (one,) = only["instances"]
    assert {name: one[name] for name in ("id", "host", "pid", "sdk", "state", "behind")} == {
        "id": "i-1",
        "host": "web-7",
        "pid": 42,
        "sdk": "flagloop-python/1.2",
        "state": "current",
        "behind": 0,
    }


def test_roles_are_respected(admin: Any, caller: Any) -> None:
    """Each key sees its environment alone."""
    tell(admin.app, "production", "i-1", 1)
    stranger = caller("development", "viewer")
    status, answer = stranger("GET", "/instances")
    assert status == 200
    assert [one["environment"] for one in answer["environments"]] == ["development"]
    assert stranger("GET", "/instances", query="environment=production")[0] == 403
    assert stranger("GET", "/environments/production/revisions/1/instances")[0] == 403
    assert admin("GET", "/instances", query="environment=nowhere")[0] == 404


def test_who_obeys_a_revision_is_one_question(admin: Any) -> None:
    """After a kill: how many, who is missing, and the sentence that pages show."""
    tell(admin.app, "production", "i-1", 1)
    tell(admin.app, "production", "i-2", 1)
    admin.app.instances.settle()
    status, done = admin("POST", "/environments/production/flags/cta_color/kill", {"reason": "x"})
    assert status == 200
    path = f"/environments/production/revisions/{done['revision']}/instances"
    status, answer = admin("GET", path)
    assert (status, answer["reached"], answer["complete"]) == (200, 0, False)
    tell(admin.app, "production", "i-1", done["revision"])
    status, answer = admin("GET", path)
    assert (answer["action"], answer["instances"], answer["reached"]) == ("kill", 2, 1)
    assert [one["id"] for one in answer["missing"]] == ["i-2"]
    assert answer["sentence"].startswith("off on 1 of 2 instances in ")
    assert answer["seconds"] >= 0
    assert "1 not yet: web-7:42 (revision 1, last seen" in answer["sentence"]
    assert admin("GET", "/environments/production/revisions/99/instances")[0] == 404
    earlier = admin("GET", "/environments/production/revisions/1/instances")[1]
    assert (earlier["reached"], earlier["complete"]) == (2, True)

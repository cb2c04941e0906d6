"""Documents are read and compiled before somebody waits for a page."""

from __future__ import annotations

from flagloop_server import changes, playground
from flagloop_server.app import Application
from flagloop_server.store import SYSTEM
from flagloop_server.warming import Warmer

FLAGS = "version: 1\nflags:\n  first: {}\n  second: {requires: {first: on}}\n"


def compiled(app: Application) -> list[str]:
    """The flags of production that the playground would not have to compile any more."""
    ruleset = playground.look(app.store, "production").ruleset
    return [name for name in ruleset.names() if name in ruleset._compiled]


def test_every_flag_is_compiled_after_a_start_and_after_a_change(app: Application) -> None:
    """The second look at the same revision does nothing; a new revision is taken up."""
    app.changes.apply(changes.push("production", FLAGS), SYSTEM, "")
    assert compiled(app) == []
    warm = Warmer(app.store, app.flask.jinja_env)
    warm()
    assert compiled(app) == ["first", "second"]
    app.changes.apply(changes.put_item("production", "flags", "third", "third: {}\n"), SYSTEM, "")
    assert "third" not in compiled(app)
    warm()
    assert compiled(app) == ["first", "second", "third"]


def test_production_is_ready_although_there_are_more_environments_than_are_kept(
    app: Application,
) -> None:
    """It is the oldest, and would be the first to be forgotten."""
    names = ["production", "development", *(f"stage-{n}" for n in range(8))]
    for name in names:
        if name.startswith("stage"):
            app.store.create_environment(name, SYSTEM)
        app.changes.apply(
            changes.push(name, f"version: 1\nflags:\n  at_{name}: {{}}\n"), SYSTEM, ""
        )
    Warmer(app.store, app.flask.jinja_env)()
    assert compiled(app) == ["at_production"]


def test_the_server_does_it_by_itself(app: Application) -> None:
    """Among its periodic jobs."""
    assert "warm" in [job.name for job in app.background.jobs]


def test_every_template_is_compiled(app: Application) -> None:
    """Each of them can be; afterwards they come from the cache of Jinja."""
    templates = app.flask.jinja_env
    Warmer(app.store, templates)()
    assert templates.cache is not None
    assert len(templates.cache) == len(templates.list_templates()) > 50

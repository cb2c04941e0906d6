"""What `status()` says: how old definitions are, and the first thing that is wrong."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flagloop.errors import TransportError
from flagloop.evaluation.ruleset import Ruleset
from flagloop.events.delivery import Delivery
from flagloop.health import health
from flagloop.sync.refresh import Refresh
from flagloop.sync.source import Snapshot
from flagloop.testing import FakeClock


class Source:
    """A source whose next answer a test sets."""

    name = "source"
    interval = 10.0
    patience = 60.0

    def __init__(self) -> None:
        self.answer: Snapshot | Exception | None = None
        self.noted: dict[str, str] = {}

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The answer."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def cut(self) -> None:
        """It waits for no network."""

    def notes(self) -> dict[str, str]:
        """What the test noted."""
        return self.noted


class Scene:
    """The parts that `health` looks at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.source = Source()
        self.refresh = Refresh(self.source, lambda _: None, clock=self.clock)
        self.snapshot: Snapshot | None = Snapshot(
            {}, "k.7", "production", "cache", self.clock.now - 30
        )
        self.ruleset = Ruleset({})
        self.delivery: Delivery | None = None
        self.failures: dict[str, int] = {}

    def told(self, **more: Any) -> dict[str, Any]:
        """What `status()` would say now."""
        parts = (self.snapshot, self.ruleset, self.refresh, self.delivery, self.failures)
        return health(*parts, now=self.clock.now, **more)


@pytest.fixture
def scene() -> Scene:
    """A client that began with a copy from disk, half a minute old."""
    return Scene()


@pytest.fixture
def delivery() -> Iterator[Delivery]:
    """One that works on the caller's thread and refuses what has an event of the name `bad`."""

    def send(body: bytes) -> None:
        if b'"bad"' in body:
            raise TransportError("away")

    made = Delivery(send, background=False)
    made.adopt(Ruleset({}))
    yield made
    made.close(0.0)


def test_a_copy_ages_until_the_server_confirms_it(scene: Scene) -> None:
    """From when the server sent it; a 304 makes it new, an outage lets it age again."""
    assert scene.told()["age"] == 30
    scene.clock.advance(5)
    assert scene.told()["age"] == 35
    scene.refresh.step()
    assert scene.told()["age"] == 0
    scene.source.answer = TransportError("away")
    scene.clock.advance(100)
    scene.refresh.step()
    assert scene.told()["age"] == 100


def test_a_copy_from_the_future_is_new(scene: Scene) -> None:
    """The clock of this machine may have been set back."""
    scene.clock.advance(-60)
    assert scene.told()["age"] == 0


def test_a_document_has_no_age_and_nothing_has_none(scene: Scene) -> None:
    """What never changes is never old; without definitions there is no number."""
    assert scene.snapshot is not None
    scene.snapshot = scene.snapshot._replace(origin="document")
    assert scene.told()["age"] == 0
    scene.snapshot = None
    told = scene.told()
    assert (told["age"], told["ready"], told["origin"]) == (None, False, None)
    assert told["problem"] == "definitions: none yet"
    told = scene.told(overridden=True)
    assert (told["ready"], told["overridden"], told["problem"]) == (True, True, None)


def test_the_definitions_in_force_are_named(scene: Scene) -> None:
    """Where they came from, which revision of which environment, how many flags."""
    scene.ruleset = Ruleset({"flags": {"a": {}, "b": {}}})
    told = scene.told()
    wanted = {"origin": "cache", "revision": "k.7", "environment": "production", "flags": 2}
    assert wanted.items() <= told.items()
    assert (told["ready"], told["overridden"], told["delivery"]) == (True, False, None)
    assert told["problem"] is None


class Silent(Source):
    """A source that answers only when a test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answered = threading.Event(), threading.Event()

    def fetch(self, revision: str | None) -> Snapshot | None:
        """The answer, in the end."""
        self.asked.set()
        self.answered.wait(60)
        return super().fetch(revision)


@pytest.mark.parametrize("answer", [None, TransportError("away")])
def test_a_first_request_without_an_answer_is_told_after_seconds(
    scene: Scene, until: Any, answer: Exception | None
) -> None:
    """Whom it asks and for how long, until there is any answer."""
    source = Silent()
    source.answer = answer
    scene.refresh = Refresh(source, lambda _: None, clock=scene.clock)
    assert scene.told()["problem"] is None
    scene.refresh.start()
    assert source.asked.wait(60)
    scene.clock.advance(1)
    assert scene.told()["problem"] is None
    scene.clock.advance(4)
    told = scene.told()
    assert told["problem"] == "definitions: no answer yet from source, asking for 5 s"
    assert told["refresh"]["waiting"] == 5
    source.answered.set()
    if answer is None:
        assert scene.refresh.wait_first(60)
    else:
        until(lambda: scene.told()["refresh"]["failures_ever"])
    scene.clock.advance(60)
    told = scene.told()
    assert told["refresh"]["waiting"] is None
    assert told["problem"] == (None if answer is None else "definitions: away")
    assert scene.refresh.stop(60)


def test_events_that_found_no_room_are_told(scene: Scene) -> None:
    """Also while nothing was sent yet, so that there is no error of sending."""
    sent: list[bytes] = []
    with contextlib.closing(Delivery(sent.append, background=False, queue=2)) as delivery:
        delivery.adopt(Ruleset({}))
        scene.delivery = delivery
        for n in range(5):
            delivery.track("sign_up", {"key": f"u-{n}"})
        told = scene.told()
    assert told["delivery"]["last_error"] is None
    assert told["problem"] == "events were lost: 3 queue_full"


def test_the_first_problem_is_the_one_that_matters_most(scene: Scene, delivery: Delivery) -> None:
    """Each trouble hides those below it: definitions, copy, flags, sending, losses, failures."""
    scene.failures = {"KeyError": 2}
    scene.delivery = delivery
    problems: list[Any] = [scene.told()["problem"]]

    def add(trouble: Callable[[], Any]) -> None:
        trouble()
        problems.append(scene.told()["problem"])

    add(lambda: delivery._outbox.lost_rows.update(counts=4))
    add(lambda: delivery.track("sign_up", {"plan": "pro"}))
    add(lambda: delivery.track("bad", {"key": "u"}) and delivery.flush(0.0))
    add(lambda: setattr(scene, "ruleset", Ruleset({"flags": {"a": {"dfault": "on"}}})))
    add(lambda: scene.source.noted.update(cache="it is damaged"))
    scene.source.answer = TransportError("no answer")
    add(scene.refresh.step)
    assert problems == [
        "2 KeyError while deciding, tracking or telling of a change",
        "the server never got what was reported: 4 counts",
        "events were lost: 1 invalid (the user has no key, so the event would belong to nobody)",
        "events: away",
        "flags.a.dfault: unknown word 'dfault' in a flag (did you mean 'default'?)",
        "cache: it is damaged",
        "definitions: no answer",
    ]
    told = scene.told()
    assert [one["path"] for one in told["broken"]] == ["flags.a.dfault"]
    assert told["failures"] == {"KeyError": 2}
    assert told["failures"] is not scene.failures
    assert told["refresh"]["error"] == "no answer"
    assert told["delivery"]["lost"] == {"invalid": 1}

"""A room of events on a fake clock, driven step by step without any thread; and its disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flagloop.errors import TransportError
from flagloop.evaluation.decision import Decision
from flagloop.evaluation.ruleset import Ruleset
from flagloop.events.event import Instance, tracked
from flagloop.events.exposure import Exposures
from flagloop.events.inbox import Inbox
from flagloop.events.outbox import Clocks, Outbox, Policy, Sources
from flagloop.events.queue import MemoryQueue, Queue
from flagloop.events.recording import Counts, Losses, Reservoir

DOCUMENT = {
    "version": 1,
    "holdouts": {"growth": {"share": "20%"}},
    "recording": {"attributes": ["plan", "missing"]},
    "flags": {
        "color": {
            "variants": {"blue": "b", "green": "g"},
            "default": "blue",
            "rules": [{"name": "test", "split": {"blue": "50%", "green": "50%"}}],
        },
        "logged": {
            "variants": {"blue": "b", "green": "g"},
            "default": "blue",
            "log": ["country", "plan"],
            "rules": [{"name": "test", "split": {"blue": "50%", "green": "50%"}}],
        },
        "held": {
            "variants": {"blue": "b", "green": "g"},
            "default": "blue",
            "holdout": "growth",
            "rules": [{"name": "test", "serve": "green"}],
        },
        "rolling": {
            "variants": {"old": 1, "new": 2},
            "default": "old",
            "unit": "org",
            "rules": [
                {
                    "name": "canary",
                    "rollout": {"to": "new", "stages": ["2.5%", "100%"], "stage": "2.5%"},
                }
            ],
        },
        "plain": {"default": "on"},
    },
}


class World:
    """Everything between an evaluation and the server, in one thread with a clock of its own."""

    def __init__(
        self,
        queue: int = 1000,
        memory: int = 1000,
        batches: Callable[[Clocks], Queue] | None = None,
        **policy: Any,
    ) -> None:
        self.now = 1_767_225_610.0  # ten seconds into a minute
        self.batches: list[dict[str, Any]] = []
        self.tries: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self.default: Any = None
        self.woken = 0
        self.started = 0
        self.jitter = 0.5
        self.losses = Losses()
        self.inbox = Inbox(queue, max(memory // 8, 1), self._wake, self.losses.add)
        self.exposures = Exposures(self.inbox, lambda: self.now, memory)
        self.counts = Counts(self._start, lambda: self.now)
        self.reservoir = Reservoir(self._start, lambda: self.now)
        clocks = Clocks(lambda: self.now, lambda: self.now, lambda: self.jitter)
        self.outbox = Outbox(
            self.send,
            Sources(self.inbox, self.counts, self.losses, self.reservoir),
            Policy(**policy),
            clocks,
            sdk="test/1",
            instance=Instance(),
            queue=batches(clocks) if batches else MemoryQueue(),
        )
        self.adopt(DOCUMENT, "abc.1")

    def adopt(self, document: Mapping[str, Any], revision: str | None) -> Ruleset:
        """Put a document in force as the client does."""
        self.ruleset = Ruleset(document, revision)
        self.outbox.revision = revision
        self.exposures.adopt(revision)
        self.counts.adopt(self.ruleset)
        self.reservoir.adopt(self.ruleset.units, self.ruleset.recording)
        return self.ruleset

    def decide(self, flag: str, user: Mapping[str, Any]) -> Decision:
        """What the client does for each evaluation."""
        decision = self.ruleset.evaluate(flag, user, self.now)
        decision.count += 1
        if decision.exposed is not None:
            last, unit_by, record = decision.watch or self.exposures.watch(decision)
            unit = user[unit_by]
            if (was := last(unit)) is not decision.exposed:
                record(unit, user, was)
        if self.reservoir.armed:
            self.reservoir.take(user)
        return decision

    def track(self, name: str, key: str) -> bool:
        """An event of the unit `key`."""
        return self.inbox.put(tracked(name, {"key": key}, ["key"]), None, self.now)

    def send(self, body: bytes) -> Any:
        """The server: answers what the test laid out, and keeps what it took."""
        batch = json.loads(body)
        self.tries.append(batch)
        answer = self.answers.pop(0) if self.answers else self.default
        if isinstance(answer, Exception):
            raise answer
        self.batches.append(batch)
        return answer

    def flush(self, rounds: int = 1000) -> bool:
        """Step, letting the time pass that each step asks for, until all is settled."""
        self.outbox.begin_flush()
        for _ in range(rounds):
            wait = self.outbox.step()
            if self.outbox.flushed:
                return True
            self.now += wait
        return False

    def run(self, seconds: float) -> None:
        """Let time pass; the worker comes whenever it said it would."""
        end = self.now + seconds
        while self.now < end:
            self.now += min(max(self.outbox.step(), 0.001), end - self.now)
        self.outbox.step()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the server took, in order."""
        return [event for batch in self.batches for event in batch["events"]]

    @property
    def units(self) -> list[str]:
        """The units of the exposures that the server took."""
        return [event["unit"] for event in self.events if event["type"] == "exposure"]

    @property
    def counted(self) -> Counter[tuple[str, str | None, str]]:
        """Evaluations that the server knows, by flag, variant and reason."""
        total: Counter[tuple[str, str | None, str]] = Counter()
        for batch in self.batches:
            for row in batch["counts"]:
                total[row["flag"], row["variant"], row["reason"]] += row["n"]
        return total

    @property
    def reported(self) -> Counter[tuple[str, str | None, str | None]]:
        """Losses that the server knows, by reason, flag and variant."""
        total: Counter[tuple[str, str | None, str | None]] = Counter()
        for batch in self.batches:
            for row in batch["lost"]:
                total[row["reason"], row["flag"], row["variant"]] += row["n"]
        return total

    def _wake(self) -> None:
        self.woken += 1

    def _start(self) -> None:
        self.started += 1


@pytest.fixture
def world() -> World:
    """A room of events with room for 1,000 records."""
    return World()


@pytest.fixture
def make_world() -> type[World]:
    """`make_world(queue=10, events=5)`: a room with limits of the test's own."""
    return World


@pytest.fixture
def down() -> TransportError:
    """What `send` raises while the server is away."""
    return TransportError("no answer")


class Death(BaseException):
    """The process ends here."""


class Machine:
    """A folder, a server that keeps what arrives by id, and processes that come and go."""

    Death = Death

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored: dict[str, Any] = {}
        self.batches: set[str] = set()
        self.rows: Counter[str] = Counter()
        self.down = False
        self.tries: list[str] = []

    def process(self, limit: float = 256, identity: str = "server", **options: Any) -> Any:
        """A new one, which sends to the server."""
        from flagloop.events.spool import Spool

        made: list[Spool] = []

        def spool(clocks: Any) -> Spool:
            made.append(Spool(self.folder, identity, limit, clocks))
            return made[0]

        world = World(batches=spool, **{"interval": 1.0, **options})
        world.send = world.outbox._send = self.receive
        world.spool = made[0]
        return world

    def receive(self, body: bytes) -> Any:
        """The server's side of one request."""
        batch = json.loads(body)
        self.tries.append(batch["batch"])
        if self.down:
            raise TransportError("no answer")
        self.store(batch)
        return None

    def store(self, batch: dict[str, Any]) -> None:
        """Keep events by id; ignore the rest of a batch that was seen."""
        self.stored.update({event["id"]: event for event in batch["events"]})
        if batch["batch"] not in self.batches:
            self.batches.add(batch["batch"])
            for row in batch["counts"]:
                self.rows["counted"] += row["n"]
            for row in batch["lost"]:
                self.rows[row["reason"]] += row["n"]

    def kill(self, world: Any) -> int:
        """End a process at once; the number of records that were in no batch."""
        waiting: int = world.outbox.waiting
        world.spool.reset()
        return waiting

    @property
    def units(self) -> list[str]:
        """Whose events the server has."""
        return sorted(event["units"]["key"] for event in self.stored.values())

    def files(self, suffix: str = ".spool") -> list[Path]:
        """The files in the folder with that ending."""
        return sorted(self.folder.glob(f"*{suffix}"))

    @staticmethod
    def track(world: Any, start: int, stop: int) -> list[str]:
        """Events of so many units; their names, sorted."""
        names = [f"u{n:06d}" for n in range(start, stop)]
        assert all(world.track("click", name) for name in names)
        return names


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with an empty folder; where there is no flock, there is no spool."""
    pytest.importorskip("fcntl")
    return Machine(tmp_path / "spool")

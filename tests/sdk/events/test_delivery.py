"""The worker: lazy, bounded in time, safe across threads, forks and the end of the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flagloop.errors import TransportError
from flagloop.evaluation.ruleset import Ruleset
from flagloop.events.delivery import Delivery
from flagloop.events.outbox import Policy

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "flags": {
        "color": {
            "variants": {"blue": "b", "green": "g"},
            "default": "blue",
            "rules": [{"name": "test", "split": {"blue": "50%", "green": "50%"}}],
        },
        "plain": {"default": "on"},
    },
}


class Application:
    """A delivery and what an application does with it, on real threads and clocks."""

    def __init__(self, send: Callable[[bytes], Any] | None = None, **options: Any) -> None:
        self.batches: list[dict[str, Any]] = []
        self.delivery = Delivery(send or self._take, **options)
        self.ruleset = Ruleset(DOCUMENT, "abc.1")
        self.delivery.adopt(self.ruleset)

    def decide(self, flag: str, key: str) -> None:
        """One evaluation, as the client does it."""
        user = {"key": key}
        decision = self.ruleset.evaluate(flag, user)
        decision.count += 1
        if decision.exposed is not None:
            last, unit_by, record = decision.watch or self.delivery.exposures.watch(decision)
            unit = user[unit_by]
            if (was := last(unit)) is not decision.exposed:
                record(unit, user, was)
        if self.delivery.reservoir.armed:
            self.delivery.reservoir.take(user)

    @property
    def units(self) -> list[str]:
        """Units of all exposures sent."""
        return [event["unit"] for batch in self.batches for event in batch["events"]]

    @property
    def counted(self) -> int:
        """All evaluations that were told."""
        return sum(row["n"] for batch in self.batches for row in batch["counts"])

    def _take(self, body: bytes) -> None:
        self.batches.append(json.loads(body))


@pytest.fixture
def make() -> Iterator[Callable[..., Application]]:
    """`make(send, queue=10)`: an application that is closed after the test."""
    made: list[Application] = []

    def build(*args: Any, **options: Any) -> Application:
        made.append(Application(*args, **options))
        return made[-1]

    yield build
    for one in made:
        one.delivery.close(0)


def test_no_thread_before_the_first_evaluation(make: Callable[..., Application]) -> None:
    """A client that is only made starts nothing; to flush or close it is free."""
    app = make()
    assert app.delivery.flush(0)
    assert not app.delivery._running
    app.decide("plain", "u")
    assert app.delivery._running


def test_flush_delivers_everything_before_it(make: Callable[..., Application]) -> None:
    """After flush the sink has each exposure, event and count of before."""
    app = make()
    for i in range(3000):
        app.decide("color", f"u{i}")
    assert app.delivery.track("sign_up", {"key": "u1"}, 2, {"plan": "pro"})
    assert app.delivery.flush(60)
    events = [event for batch in app.batches for event in batch["events"]]
    assert [event["unit"] for event in events[:-1]] == [f"u{i}" for i in range(3000)]
    assert events[-1]["properties"] == {"plan": "pro"}
    assert app.counted == 3000
    status = app.delivery.status()
    assert status == {
        "queued": 0,
        "sent": 3001,
        "lost": {},
        "last_error": None,
        "failures": 0,
        "lost_rows": {},
        "retry_in": None,
        "invalid": None,
        "spool": None,
    }


def test_unknown_flags_alone_are_told_too(make: Callable[..., Application]) -> None:
    """A process that only ever asks for unknown flags reports that."""
    from flagloop.evaluation.decision import ErrorCode

    app = make()
    app.delivery.counts.error("nope", ErrorCode.FLAG_NOT_FOUND)
    assert app.delivery.flush(60)
    assert app.counted == 1


def test_threads_and_flushes_at_once_lose_nothing(make: Callable[..., Application]) -> None:
    """Eight threads evaluate while two flush: counts and exposures agree to the last one."""
    app = make(queue=1_000_000, memory=1_000_000)
    gate = threading.Barrier(10)
    done = threading.Event()

    def evaluate(thread: int) -> None:
        gate.wait()
        for i in range(1500):
            app.decide("color", f"{thread}-{i}")
            app.decide("plain", "u")

    def flush() -> None:
        gate.wait()
        while not done.is_set():
            assert app.delivery.flush(60)

    threads = [threading.Thread(target=evaluate, args=(n,)) for n in range(8)]
    flushers = [threading.Thread(target=flush) for _ in range(2)]
    for thread in threads + flushers:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in flushers:
        thread.join()
    assert app.delivery.flush(60)
    assert Counter(app.units) == Counter(f"{n}-{i}" for n in range(8) for i in range(1500))
    assert app.counted == 2 * 8 * 1500
    assert app.delivery.status()["lost"] == {}


def test_nothing_waits_for_a_server_that_hangs(make: Callable[..., Application]) -> None:
    """With `send` stuck, evaluating goes on, flush and close return in time, losses are counted."""
    stuck, release = threading.Event(), threading.Event()

    def send(body: bytes) -> None:
        stuck.set()
        release.wait(60)

    app = make(send, queue=100)
    try:
        app.decide("color", "first")
        app.delivery.flush(0)
        assert stuck.wait(60)
        start = time.monotonic()
        for i in range(500):
            app.decide("color", f"u{i}")
        assert not app.delivery.flush(0.1)
        assert not app.delivery.close(0.1)
        assert time.monotonic() - start < 30  # `send` is stuck for longer
        assert app.delivery.status()["lost"] == {"queue_full": 400}
        app.decide("color", "late")
        assert app.delivery.status()["lost"] == {"queue_full": 400, "closed": 1}
    finally:
        release.set()


def test_close_counts_what_it_could_not_send(make: Callable[..., Application], until: Any) -> None:
    """Closing while the server is away counts the rest and stops the worker."""

    def send(body: bytes) -> None:
        raise TransportError("no answer")

    app = make(send)
    for i in range(5):
        app.decide("color", f"u{i}")
    assert not app.delivery.close(1)
    until(lambda: not app.delivery._running)  # a busy machine may need more than that second
    status = app.delivery.status()
    assert (status["queued"], status["lost"]) == (0, {"closed": 5})
    app.decide("color", "later")
    assert not app.delivery._running


def test_a_send_with_a_bug_does_not_end_the_worker(make: Callable[..., Application]) -> None:
    """Whatever `send` raises is counted and said, and the batch goes out once it works."""
    failing = [ValueError("odd"), RuntimeError("odder")]

    def send(body: bytes) -> None:
        if failing:
            raise failing.pop()
        app.batches.append(json.loads(body))

    app = make(send, policy=Policy(backoff=0.01))
    app.decide("color", "u")
    assert app.delivery.flush(60)
    assert app.units == ["u"]
    assert not failing


def test_status_says_what_is_wrong(make: Callable[..., Application], until: Any) -> None:
    """An unreachable server and a refused event are visible with their reasons."""

    def send(body: bytes) -> None:
        raise TransportError("key revoked or unknown (401)", 401)

    app = make(send)
    app.decide("color", "u")
    assert not app.delivery.track("sign_up", {"key": "u"}, properties={"x": object()})
    assert not app.delivery.flush(0.0)
    until(lambda: app.delivery.status()["failures"])
    status = app.delivery.status()
    assert status["queued"] == 1
    assert status["last_error"] == "key revoked or unknown (401)"
    assert status["failures"] >= 1
    assert 0 < status["retry_in"] <= 60
    assert status["lost"] == {"invalid": 1}
    assert "type object" in status["invalid"]


def test_without_background_flush_does_the_work(make: Callable[..., Application]) -> None:
    """Where threads are unwelcome, flush and close deliver on the caller's thread."""
    names: set[str] = set()

    def send(body: bytes) -> None:
        names.add(threading.current_thread().name)
        app.batches.append(json.loads(body))

    app = make(send, background=False)
    for i in range(2500):
        app.decide("color", f"u{i}")
    assert app.delivery.flush(60)
    assert len(app.units) == app.counted == 2500
    app.decide("color", "last")
    assert app.delivery.close(60)
    assert app.units[-1] == "last"
    assert names == {threading.current_thread().name}


pytestmark_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """Fork, run `work` in the child, return its exit status and what it returned."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(120)
            os.write(writer, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), json.loads(answer or b"null")


@pytestmark_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12: fork with threads, the point here
def test_a_forked_child_sends_its_own_and_only_its_own(make: Callable[..., Application]) -> None:
    """What waits in the parent is the parent's; the child starts empty and delivers its own."""
    app = make()
    for i in range(10):
        app.decide("color", f"parent{i}")
    parent_id = app.delivery.instance.id

    def child() -> Any:
        app.batches.clear()
        assert not app.delivery._running
        for i in range(10):
            app.decide("color", f"parent{i}")  # known already: no second exposure
        for i in range(5):
            app.decide("color", f"child{i}")
        flushed = app.delivery.flush(60)
        ids = {batch["instance"]["id"] for batch in app.batches}
        return flushed, app.units, app.counted, sorted(ids), app.delivery.status()["sent"]

    code, answer = in_child(child)
    assert code == 0
    flushed, units, counted, ids, sent = answer
    assert flushed
    assert units == [f"child{i}" for i in range(5)]
    assert counted == 15
    assert sent == 5
    assert len(ids) == 1
    assert ids != [parent_id]
    assert app.delivery.flush(60)
    assert app.units == [f"parent{i}" for i in range(10)]
    assert app.counted == 10


@pytestmark_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_under_load_all_deliver(make: Callable[..., Application]) -> None:
    """Children forked while threads evaluate, flush and start workers: each one delivers."""
    app = make(queue=1_000_000)
    done = threading.Event()

    def evaluate(thread: int) -> None:
        i = 0
        while not done.is_set():
            app.decide("color", f"{thread}-{i}")
            i += 1
            if i % 50 == 0:
                app.delivery.flush(1)

    threads = [threading.Thread(target=evaluate, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()

    def child() -> Any:
        app.batches.clear()
        for i in range(20):
            app.decide("color", f"child-{i}")
        return app.delivery.flush(60), app.units

    try:
        answers = [in_child(child) for _ in range(8)]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert answers == [(0, [True, [f"child-{i}" for i in range(20)]])] * 8
    assert app.delivery.flush(60)
    assert len(app.units) == len(set(app.units))
    assert not any(unit.startswith("child") for unit in app.units)


@pytestmark_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_evaluates_nothing_exits_clean(make: Callable[..., Application]) -> None:
    """A fork alone starts no thread and holds no lock."""
    app = make()
    app.decide("color", "u")
    assert in_child(lambda: (app.delivery.close(60), threading.active_count())) == (0, [True, 1])


SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
from test_delivery import Application
from pathlib import Path
out = Path(sys.argv[1])
def send(body):
    if sys.argv[2] == "hang":
        time.sleep(110)
    with out.open("ab") as file:
        file.write(body + b"\\n")
app = Application(send)
for i in range(1500):
    app.decide("color", f"u{{i}}")
if sys.argv[2] == "fork":
    import os
    if os.fork() == 0:
        app.decide("color", "child")
        sys.exit(0)
    os.wait()
"""


def run_script(tmp_path: Path, how: str) -> tuple[list[dict[str, Any]], float]:
    """The batches that a whole process sent without ever flushing, and how long it took."""
    out = tmp_path / "batches"
    script = tmp_path / "app.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent)))
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, out, how],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    took = time.monotonic() - start
    assert (done.stdout, done.stderr) == ("", "")
    lines = out.read_bytes().splitlines() if out.exists() else []
    return [json.loads(line) for line in lines], took


def test_a_program_that_just_ends_delivers_everything(tmp_path: Path) -> None:
    """At exit what waits is sent, without a word from the application."""
    batches, _ = run_script(tmp_path, "well")
    units = [event["unit"] for batch in batches for event in batch["events"]]
    assert units == [f"u{i}" for i in range(1500)]
    assert sum(row["n"] for batch in batches for row in batch["counts"]) == 1500


@pytestmark_fork
def test_a_forked_child_that_ends_delivers_its_own(tmp_path: Path) -> None:
    """Parent and child each send theirs at their end, nothing twice."""
    batches, _ = run_script(tmp_path, "fork")
    by_process: dict[int, list[str]] = {}
    for batch in batches:
        units = by_process.setdefault(batch["instance"]["pid"], [])
        units += [event["unit"] for event in batch["events"]]
    assert sorted(map(len, by_process.values())) == [1, 1500]
    assert ["child"] in by_process.values()


def test_a_program_ends_in_time_although_the_server_hangs(tmp_path: Path) -> None:
    """A server that never answers delays the end by two seconds, not by its timeout."""
    batches, took = run_script(tmp_path, "hang")
    assert batches == []
    assert took < 60

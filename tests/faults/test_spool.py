"""Events on disk, with real processes: killed, ended, forked, hung, out of space."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl")

PROGRAM = """
import os, sys, threading
import flagloop
from helpers import patience

def client(**options):
    return flagloop.Client(sys.argv[1], key="fl_srv_x", spool=sys.argv[2], **options)

def spool():
    return one.status()["delivery"]["spool"]

def until(condition, seconds=None):
    assert patience.until(condition, seconds), one.status()["delivery"]

def track(start, stop):
    for n in range(start, stop):
        one.track("click", f"u-{n}")

pause = threading.Event()
one = client()
"""
LATER = """
until(lambda: one.flush(1))
one.close(5)
"""


class Machine:
    """Runs programs that share a folder and a server."""

    def __init__(self, stage: Any, folder: Path, root: Path) -> None:
        self.stage = stage
        self._tests = root / "tests"
        self.folder = folder
        self._good = stage.events
        self._running: list[subprocess.Popen[str]] = []

    def start(self, code: str) -> subprocess.Popen[str]:
        """A program that begins with a client `one`."""
        # Python 3.12 and later warn of each fork beside threads, which is what is tested here.
        quiet = ["-W", "ignore:This process:DeprecationWarning"]
        program = subprocess.Popen(
            [sys.executable, *quiet, "-c", PROGRAM + code, self.stage.url, str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(self._tests)},
        )
        self._running.append(program)
        return program

    def run(self, code: str) -> str:
        """What such a program prints until it ends by itself, with code 0."""
        program = self.start(code)
        said, complaint = program.communicate(timeout=180)
        assert program.returncode == 0, complaint
        return said

    def kill_at(self, code: str, line: str) -> None:
        """Kill the program at once when it prints that line."""
        program = self.start(code)
        assert program.stdout is not None
        for said in program.stdout:
            if said.strip() == line:
                break
        else:
            pytest.fail(str(program.stderr and program.stderr.read()))
        program.send_signal(signal.SIGKILL)
        program.communicate(timeout=180)

    def down(self, answer: Any) -> None:
        """From now on the server answers that to events."""
        self.stage.events = answer

    def up(self) -> None:
        """The server takes events again."""
        self.stage.events = self._good
        self.stage.release.set()

    def units(self) -> list[int]:
        """Whose events the server has, each id once, in order of the number."""
        found = {one["id"]: one for batch in self.stage.batches for one in batch["events"]}
        return sorted(int(one["units"]["key"][2:]) for one in found.values())

    def end(self) -> None:
        """End what still runs."""
        for program in self._running:
            program.kill()
            program.communicate()


@pytest.fixture
def machine(stage: Any, tmp_path: Path, root: Path) -> Iterator[Machine]:
    """A folder for the spool and a server."""
    machine = Machine(stage, tmp_path / "spool", root)
    yield machine
    machine.end()


@pytest.fixture
def away(faults: Any) -> Any:
    """What a server does that is not there."""
    return faults["closed"][0]


def test_a_killed_process_leaves_its_events_to_the_next(machine: Machine, away: Any) -> None:
    """Within a second they are on disk; the next process delivers each exactly once."""
    machine.down(away)
    machine.kill_at(
        """
track(0, 300)
until(lambda: spool()["events"] == 300, 3)
print("spooled", flush=True)
pause.wait(60)
""",
        "spooled",
    )
    machine.up()
    machine.run(LATER)
    assert machine.units() == list(range(300))
    assert sum(len(batch["events"]) for batch in machine.stage.batches) == 300
    assert list(machine.folder.iterdir()) == []


def test_killed_in_the_midst_of_sending(machine: Machine) -> None:
    """Whatever the server had or not, in the end it has each spooled event exactly once."""
    for start in (0, 10_000, 20_000):
        machine.kill_at(
            f"""
def work():
    for n in range({start}, {start} + 10_000):
        one.track("click", f"u-{{n}}")
        if n % 100 == 0:
            pause.wait(0.001)
threading.Thread(target=work, daemon=True).start()
until(lambda: one.status()["delivery"]["sent"] > 500)
print("sending", flush=True)
pause.wait(60)
""",
            "sending",
        )
    machine.run(LATER)
    units = machine.units()
    assert len(units) == len(set(units)) > 1500
    for start in (0, 10_000, 20_000):
        mine = [unit for unit in units if start <= unit < start + 10_000]
        assert mine == list(range(start, start + len(mine)))


def test_an_abrupt_exit_loses_at_most_the_last_second(machine: Machine, away: Any) -> None:
    """`os._exit` neither hangs nor corrupts what is on disk."""
    machine.down(away)
    machine.run(
        """
track(0, 100)
until(lambda: spool()["events"] == 100, 3)
track(100, 110)
os._exit(0)
"""
    )
    machine.up()
    machine.run(LATER)
    assert machine.units()[:100] == list(range(100))


def test_a_program_that_ends_leaves_everything_on_disk(machine: Machine, away: Any) -> None:
    """Also what it did just before; it does not wait for a server that is away."""
    machine.down(away)
    said = machine.run(
        """
track(0, 100)
until(lambda: one.status()["delivery"]["failures"])
track(100, 1000)
watch = patience.Stopwatch()
one.close()
print(watch.seconds)
"""
    )
    assert float(said) < 1.5
    machine.run("track(1000, 1010)")
    machine.up()
    machine.run(LATER)
    assert machine.units() == list(range(1010))


def test_events_reach_the_disk_while_a_request_hangs(machine: Machine, hanging: Any) -> None:
    """A server that takes the connection and says nothing keeps neither disk nor exit waiting."""
    machine.down(hanging)
    machine.run(
        """
track(0, 10)
until(lambda: spool()["events"] == 10, 3)
for n in range(10, 40, 10):
    track(n, n + 10)
    until(lambda: spool()["events"] == n + 10, 3)
track(40, 50)
"""
    )
    machine.up()
    machine.run(LATER)
    assert machine.units() == list(range(50))


def test_forked_children_have_files_of_their_own(machine: Machine, away: Any) -> None:
    """Parent and children are killed; what each had comes exactly once, from its instance."""
    machine.down(away)
    said = machine.run(
        """
track(0, 10)
until(lambda: spool()["events"] == 10)
children = []
for child in range(1, 4):
    pid = os.fork()
    if pid == 0:
        assert spool()["events"] == 0
        track(child * 10, child * 10 + 10)
        until(lambda: spool()["events"] == 10)
        os._exit(0 if len(os.listdir(sys.argv[2])) > 4 else 1)
    children.append(pid)
track(40, 50)
until(lambda: spool()["events"] == 20)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children], flush=True)
os._exit(0)
"""
    )
    assert said == "[0, 0, 0]\n"
    assert len(list(machine.folder.glob("*.spool"))) == 4
    machine.up()
    machine.run(LATER + "assert not os.listdir(sys.argv[2])")
    assert machine.units() == list(range(50))
    made = {
        int(event["units"]["key"][2:]) // 10: batch["instance"]["pid"]
        for batch in machine.stage.batches
        for event in batch["events"]
    }
    assert made[0] == made[4]
    assert len(set(made.values())) == 4


def test_two_living_processes_share_a_folder(machine: Machine, away: Any) -> None:
    """Neither takes the other's file; the one that lives on takes it after the other's end."""
    machine.down(away)
    living = machine.start(
        """
track(0, 10)
until(lambda: spool()["events"] == 10)
print("spooled", flush=True)
until(lambda: os.path.exists(sys.argv[2] + ".go"))
until(lambda: one.flush(1) and one.status()["delivery"]["sent"] == 30)
one.close(5)
"""
    )
    assert living.stdout is not None
    assert living.stdout.readline() == "spooled\n"
    machine.kill_at(
        """
track(10, 30)
until(lambda: spool()["events"] == 20)
print("spooled", flush=True)
pause.wait(60)
""",
        "spooled",
    )
    assert len(list(machine.folder.glob("*.spool"))) == 2
    machine.up()
    machine.folder.with_suffix(".go").touch()
    _, complaint = living.communicate(timeout=180)
    assert living.returncode == 0, complaint
    assert machine.units() == list(range(30))
    assert list(machine.folder.iterdir()) == []


FULL = """
import resource, shutil
{limit}
track(0, 100)
until(lambda: spool()["events"] == 100)
def noise(start, stop):
    for n in range(start, stop):
        one.track("click", f"u-{{n}}", noise=os.urandom(400).hex())
at = 100
while not spool()["problem"]:
    noise(at, at + 400)
    at += 400
    until(lambda: one.status()["delivery"]["queued"] == spool()["events"] or spool()["problem"])
    assert at < 20_000
assert "events wait in memory" in spool()["problem"], spool()
assert one.status()["problem"]
noise(at, at + 100)
print(at + 100, flush=True)
"""


def test_a_full_disk_leaves_the_memory_queue(machine: Machine, away: Any) -> None:
    """The application goes on, `status` tells, and all arrives when the server is back."""
    machine.down(away)
    program = machine.start(
        FULL.format(limit="resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, -1))")
        + "until(lambda: one.flush(1))\nassert one.status()['delivery']['lost'] == {}\n"
    )
    assert program.stdout is not None
    line = program.stdout.readline()
    machine.up()
    _, complaint = program.communicate(timeout=180)
    assert program.returncode == 0, complaint
    assert machine.units() == list(range(int(line)))


def test_a_disk_that_has_space_again_is_used_again(machine: Machine, away: Any) -> None:
    """What waited in memory goes to disk, so that the next process has it."""
    machine.down(away)
    said = machine.run(
        FULL.format(limit="resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, -1))")
        + """
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
until(lambda: spool()["events"] == at + 100)
assert spool()["problem"] is None
os._exit(0)
"""
    )
    machine.up()
    machine.run(LATER)
    assert machine.units() == list(range(int(said)))


def test_a_folder_that_cannot_be_written_is_told(machine: Machine) -> None:
    """Events go out all the same."""
    machine.folder.mkdir(mode=0o500)
    said = machine.run(
        """
one.close()
if os.getuid() == 0:
    os.setuid(65534)
one = client()
track(0, 100)
until(lambda: one.flush(1))
import json
print(json.dumps([spool()["problem"], one.status()["problem"]]))
"""
    )
    problem, health = json.loads(said)
    assert "Permission denied" in problem
    assert health == f"spool: {problem}"
    assert machine.units() == list(range(100))


def test_50_000_events_survive_an_absent_server(machine: Machine, away: Any) -> None:
    """Two processes killed one after the other, one that delivers: no loss, no double."""
    machine.down(away)
    for start in (0, 25_000):
        machine.kill_at(
            f"""
for n in range({start}, {start} + 25_000, 12_500):
    track(n, n + 12_500)
    until(lambda: one.status()["delivery"]["queued"] == spool()["events"] == n + 12_500)
print("spooled", flush=True)
pause.wait(60)
""",
            "spooled",
        )
    assert sum(path.stat().st_size for path in machine.folder.iterdir()) < 20_000_000
    machine.up()
    machine.run(LATER)
    assert machine.units() == list(range(50_000))
    assert list(machine.folder.iterdir()) == []

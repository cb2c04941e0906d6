"""How a program ends: at its end, late threads, daemons, no server, `os._exit`, SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from helpers.patience import Stopwatch

PROGRAM = """
import os
import signal
import sys
import threading
import time

from flagloop import Client

pause = threading.Event()
client = Client(spool=os.environ.get("SPOOL"))

def decide(unit):
    assert client.wait(60), client.status()
    return client.variant("half", unit)

def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, client.status()
        pause.wait(0.01)
"""


def finished(program: Any) -> tuple[int, str, str]:
    """Exit code, output and complaints."""
    said, complaint = program.communicate(timeout=180)
    return program.returncode, said, complaint


LATE = """
def late():
    until(lambda: not threading.main_thread().is_alive())
    for n in range(10):
        decide(f"late-{n}")
        pause.wait(0.05)

threading.Thread(target=late).start()
"""


def test_a_thread_that_begins_when_the_main_one_is_over(site: Any) -> None:
    """Its first use of the client is its own, and what it decided is delivered."""
    assert finished(site.start(PROGRAM + LATE)) == (0, "", "")
    assert site.exposures(10) == [f"late-{n}" for n in range(10)]


FORKED = """
def late():
    until(lambda: not threading.main_thread().is_alive())
    decide(f"{name}-late")

name = "parent"
decide("before")
child = os.fork()
if child == 0:
    name = "child"
threading.Thread(target=late).start()
decide(name)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sys.exit(5)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_threads_that_begin_after_a_fork(site: Any) -> None:
    """In parent and child; the child, too, delivers at its end and keeps its exit code."""
    assert finished(site.start(PROGRAM + FORKED)) == (5, "", "")
    assert site.exposures(5) == ["before", "child", "child-late", "parent", "parent-late"]


DAEMONS = """
done = []

def go_on(name):
    n = 0
    while True:
        unit = f"{name}-{os.getpid()}-{n}"
        decide(unit)
        client.track("click", unit)
        done.append(unit)
        n += 1
        pause.wait(0.0005)

for name in ("a", "b"):
    threading.Thread(target=go_on, args=(name,), daemon=True).start()
until(lambda: len(done) > 200)
print(*done)
sys.exit(7)
"""


def test_threads_that_decide_while_the_program_ends(site: Any) -> None:
    """What was decided before the end is delivered once, without a word, and the exit code stays,
    although daemon threads go on and changes come all the time.
    """
    over = threading.Event()

    def change() -> None:
        while not over.wait(0.01):
            site.rest("flags/other/kill", reason="test")
            site.rest("flags/other/restore", reason="test")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        ends = [finished(site.start(PROGRAM + DAEMONS)) for _ in range(5)]
    finally:
        over.set()
        changing.join(60)
    assert [(code, complaint) for code, _, complaint in ends] == [(7, "")] * 5
    decided = {unit for _, said, _ in ends for unit in said.split()}
    stored = Counter(site.exposures(len(decided)))
    assert decided - set(stored) == set()
    assert max(stored.values()) == 1


# Code, exit code, last line of the program's own traceback.
ENDS = {
    "os._exit": ("os._exit(4)", 4, ""),
    "the end": ("", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "an exception": ("raise KeyError('mine')", 1, "KeyError: 'mine'"),
}

ENDING = """
for n in range(20):
    decide(f"u-{n}")
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("gone", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_ends_in_time_without_its_server(
    start_server: Any, new_site: Any, tmp_path: Any, gone: int
) -> None:
    """Whether nobody is there or the server hangs: in two seconds, with the exit code and the
    traceback that the program alone would have; `os._exit` at once.
    """
    server = start_server(tmp_path / "data")
    site = new_site(server)
    programs = {
        name: site.start(PROGRAM + ENDING + end, stdin=subprocess.PIPE)
        for name, (end, _, _) in ENDS.items()
    }
    for program in programs.values():
        assert program.stdout.readline() == "ready\n"
    server.process.send_signal(gone)
    abrupt, *others = programs.values()
    for program in abrupt, *others:
        program.stdin.write("go\n")
        program.stdin.flush()
        if program is abrupt:
            watch = Stopwatch()
            assert program.wait(60) == 4
            assert watch.seconds < 1
    watch = Stopwatch()
    for name, (_, expected, own) in ENDS.items():
        code, said, complaint = finished(programs[name])
        assert watch.seconds < 3.5, name
        assert (code, said) == (expected, ""), name
        lines = [line for line in complaint.splitlines() if not line.startswith("flagloop: ")]
        assert (lines[-1] if lines else "") == own, complaint
        assert complaint.count("Traceback") == bool(own), complaint


NAMELESS = """
import socket

asked = threading.Event()

def look_up(*words):
    asked.set()
    threading.Event().wait()

socket.getaddrinfo = look_up
client = Client("http://flags.test:8377", key="fl_srv_x")
assert asked.wait(60)
"""


@pytest.mark.parametrize("last", ["", "client.variant('half', 'u')", "client.track('click', 'u')"])
def test_a_name_that_is_looked_up_for_ever_does_not_hold_an_end(site: Any, last: str) -> None:
    """Also under Python 3.12, where no thread can be started any more that would wait for it."""
    assert finished(site.start(PROGRAM + NAMELESS + last)) == (0, "", "")


IMPATIENT = """
decide("u")
print("ready", flush=True)
sys.stdin.readline()
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.3)
"""


def test_ctrl_c_ends_the_wait_at_the_end(start_server: Any, new_site: Any, tmp_path: Any) -> None:
    """Nobody has to look at a traceback of ours, or to wait until a hanging server is given up."""
    server = start_server(tmp_path / "data")
    program = new_site(server).start(PROGRAM + IMPATIENT, stdin=subprocess.PIPE)
    assert program.stdout.readline() == "ready\n"
    server.process.send_signal(signal.SIGSTOP)
    watch = Stopwatch()
    said, complaint = program.communicate("go\n", timeout=60)
    assert (program.returncode, said, complaint) == (0, "", "")
    assert watch.seconds < 1.5


TICKS = """
n = 0
until(lambda: client.status()["revision"])
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    client.track("tick", f"u-{sys.argv[2]}", n)
    n += 1
    pause.wait(0.005)
print(time.time(), flush=True)
os._exit(0)
"""
LATER = """
until(lambda: client.flush(1))
client.close(5)
"""


@pytest.mark.parametrize("gone", [None, signal.SIGKILL, signal.SIGSTOP])
def test_an_abrupt_end_loses_at_most_the_last_second(
    start_server: Any, new_site: Any, tmp_path: Any, gone: int | None
) -> None:
    """With a spool, by `os._exit` and SIGKILL at any moment, whatever the server does."""
    server = start_server(tmp_path / "data")
    site = new_site(server)
    site.environ["SPOOL"] = str(tmp_path / "spool")
    lives = {"exits": "1.7", "exits-later": "2.3", "killed": "60"}
    programs = {name: site.start(PROGRAM + TICKS, life, name) for name, life in lives.items()}
    for program in programs.values():
        assert program.stdout.readline() == "ready\n"
    if gone:
        server.process.send_signal(gone)
    watch = Stopwatch()
    ended = {name: float(programs[name].stdout.readline()) for name in ("exits", "exits-later")}
    programs["killed"].kill()
    ended["killed"] = time.time()
    busy = watch.passed - watch.seconds
    if gone == signal.SIGKILL:
        start_server(server.data, "--port", server.url.rpartition(":")[2])
    elif gone:
        server.process.send_signal(signal.SIGCONT)
    assert finished(site.start(PROGRAM + LATER)) == (0, "", "")
    assert list((tmp_path / "spool").iterdir()) == []
    for name, end in ended.items():
        rows = [row for row in site.stored(1) if row.units["key"] == f"u-{name}"]
        assert sorted(row.value for row in rows) == list(range(len(rows)))
        times = sorted(row.at / 1000 for row in rows)
        # A machine that is busy with other things is late with everything.
        late = max(after - before for before, after in pairwise(times))
        assert end - times[-1] < 1.0 + late + busy

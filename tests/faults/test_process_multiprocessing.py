"""Children of multiprocessing, by each way it starts them: they decide, deliver and obey."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest

METHODS = [
    pytest.param(method, preload, id=method + "-preloaded" * preload)
    for method, preload in [
        ("fork", False),
        ("spawn", False),
        ("forkserver", False),
        ("forkserver", True),
    ]
    if method in multiprocessing.get_all_start_methods()
]

PROGRAM = """
import multiprocessing
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

from flagloop import Client

pause = threading.Event()
client = Client()  # also in children that import this file anew

def decide(unit):
    assert client.wait(60), client.status()
    return client.variant("half", unit)

def decide_and_fail(unit):
    decide(unit)
    sys.exit(3)

def decide_on_a_thread_that_outlives_the_function(unit):
    last = threading.main_thread()
    def late():
        threading.Event().wait(0.2)
        decide(unit)
    threading.Thread(target=late).start()

def decide_by_a_client_of_its_own(unit):
    own = Client()
    assert own.wait(60)
    own.variant("half", unit)

def decide_in_a_grandchild(unit):
    decide(unit)
    finish(start(decide, f"{unit}-grandchild"))

def start(function, *words):
    started = context.Process(target=function, args=words)
    started.start()
    return started

def finish(started):
    started.join(60)
    print(started.exitcode)

if __name__ in ("__main__", "__mp_main__"):
    context = multiprocessing.get_context(sys.argv[1])
"""

ENDS = """
if __name__ == "__main__":
    if "preload" in sys.argv:
        context.set_forkserver_preload(["__main__"])
    decide("parent")
    kinds = [
        decide,
        decide_and_fail,
        decide_on_a_thread_that_outlives_the_function,
        decide_by_a_client_of_its_own,
        decide_in_a_grandchild,
    ]
    for one in [start(kind, kind.__name__) for kind in kinds]:
        finish(one)
    pool = context.Pool(2, maxtasksperchild=5)
    pool.map(decide, [f"pool-{n}" for n in range(20)], chunksize=1)
    pool.close()
    pool.join()
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(decide, [f"executor-{n}" for n in range(20)]))
"""


@pytest.mark.parametrize(("method", "preload"), METHODS)
def test_children_deliver_what_they_decided(site: Any, method: str, preload: bool) -> None:
    """Each exposure once, although most such children end by `os._exit` and run no `atexit`."""
    program = site.start(PROGRAM + ENDS, method, *["preload"] * preload)
    said, complaint = program.communicate(timeout=180)
    assert (program.returncode, complaint) == (0, "")
    assert sorted(said.split()) == ["0", "0", "0", "0", "0", "3"]
    functions = ["decide", "decide_and_fail", "decide_on_a_thread_that_outlives_the_function"]
    functions += ["decide_by_a_client_of_its_own", "decide_in_a_grandchild"]
    expected = ["parent", *functions, "decide_in_a_grandchild-grandchild"]
    expected += [f"{kind}-{n}" for kind in ("pool", "executor") for n in range(20)]
    assert site.exposures(len(expected)) == sorted(expected)


OBEYS = """
def obey(method):
    decide("u")
    until(lambda: client.status()["refresh"]["mode"] == "stream")
    print("serving", flush=True)
    until(lambda: client.decide("half", "u").reason == "DISABLED")
    assert client.status()["refresh"]["mode"] == "stream", client.status()

def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, client.status()
        pause.wait(0.01)

if __name__ == "__main__":
    decide("u")
    children = []
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        children.append(start(obey, method))
    for one in children:
        finish(one)
"""


def test_children_obey_a_kill(site: Any) -> None:
    """A kill reaches children however they were started, by a stream of their own."""
    methods = multiprocessing.get_all_start_methods()
    program = site.start(PROGRAM + OBEYS, methods[0])
    for _ in methods:
        assert program.stdout.readline() == "serving\n"
    site.rest("flags/half/kill", reason="test")
    said, complaint = program.communicate(timeout=180)
    assert (program.returncode, complaint) == (0, "")
    assert said.split() == ["0"] * len(methods)

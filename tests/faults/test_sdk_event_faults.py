"""Events and a server that does not take them: nothing is lost in silence, nothing is logged."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from flagloop import Client
from helpers.patience import Stopwatch

KEY = "fl_srv_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
MARK = "marker-7f3a"


@pytest.mark.parametrize(
    ("fault", "says"),
    [("error", "answered 500"), ("revoked", "key revoked"), ("garbage", "no JSON"),
     ("closed", "no answer")],
)  # fmt: skip
def test_events_wait_for_a_server_that_fails(
    stage: Any, connect: Any, until: Any, fault: str, says: str, faults: Any
) -> None:
    """Nothing is lost nor doubled: what waited comes once the server is well."""
    client = connect()
    assert client.wait(60)
    good, stage.events = stage.events, faults[fault][0]
    for n in range(100):
        client.variant("color", f"u-{n}")
    until(lambda: client.status()["problem"])
    assert not client.flush(0.1)
    status = client.status()
    assert says in status["problem"]
    assert status["problem"].startswith("events: ")
    assert status["delivery"]["queued"] == 100
    stage.events = good
    until(lambda: client.flush(1))
    assert sorted(one["unit"] for one in stage.exposures) == sorted(f"u-{n}" for n in range(100))
    assert stage.counted == 100
    assert client.status()["problem"] is None


def test_a_server_that_takes_no_more_is_obeyed(
    stage: Any, connect: Any, until: Any, faults: Any
) -> None:
    """429 with Retry-After: not asked again before that, also not by `flush`."""
    client = connect()
    assert client.wait(60)
    stage.events, _ = faults["full"]
    client.variant("color", "u-1")
    assert not client.flush(0.1)
    until(lambda: client.status()["problem"])
    assert not client.flush(0.1)
    assert stage.asked["/api/v1/events"] == 1
    delivery = client.status()["delivery"]
    assert delivery["queued"] == 1
    assert delivery["retry_in"] > 10


def test_a_full_queue_loses_by_name_and_decides_on(
    stage: Any, connect: Any, until: Any, hanging: Any
) -> None:
    """The bound holds, each loss is counted by flag and variant, no decision changes."""
    client = connect(queue=100)
    assert client.wait(60)
    good, stage.events = stage.events, hanging
    client.track("first", "u-0")
    assert not client.flush(0.1)
    assert stage.hanging.wait(60)
    served = [client.variant("color", f"u-{n}") for n in range(1000)]
    status = client.status()
    assert status["delivery"]["queued"] <= 101
    lost = status["delivery"]["lost"]["queue_full"]
    assert 900 <= lost < 1000
    assert f"{lost} queue_full" in status["problem"]
    assert served == [client.peek("color", f"u-{n}").variant for n in range(1000)]
    stage.events = good
    stage.release.set()
    until(lambda: client.flush(1))
    reported = [row for batch in stage.batches for row in batch["lost"]]
    assert sum(row["n"] for row in reported) == lost
    assert {(row["reason"], row["flag"]) for row in reported} == {("queue_full", "color")}
    assert len(stage.exposures) == 1000 - lost
    assert stage.counted == 2000


def test_closing_in_time_although_nobody_takes_the_events(
    stage: Any, connect: Any, hanging: Any
) -> None:
    """What could not be sent is counted as lost, and the program goes on."""
    client = connect()
    assert client.wait(60)
    stage.events = hanging
    client.variant("color", "u-1")
    watch = Stopwatch()
    assert not client.close(0.3)
    assert watch.seconds < 2


# Logs.


def test_no_attribute_is_ever_logged(
    stage: Any, connect: Any, until: Any, caplog: pytest.LogCaptureFixture, faults: Any
) -> None:
    """Not by any logger at any level, whatever goes wrong; nor does `status()` show one."""
    caplog.set_level(logging.DEBUG)
    user = {"key": MARK, "org": MARK, "email": f"{MARK}@b.example", "plan": MARK}
    client = connect(queue=50)
    assert client.wait(60)
    good = stage.events
    for fault in ("error", "revoked", "garbage", "cut", "closed"):
        stage.ruleset = stage.events = faults[fault][0]
        client.variant("color", user)
        client.explain("color", user).render()
        client.enabled("color", user)
        client.decide_all(user)
        client.track("click", user, None, mail=MARK, odd=object())
        client.track("click", user, float("inf"), mail=MARK)
        with pytest.raises(ValueError, match=MARK), client.observe("color", user):
            raise ValueError(MARK)
        client.flush(0.05)
    for n in range(100):
        client.variant("color", f"{MARK}-{n}")
    failed = client.status()
    stage.events = good
    until(lambda: client.flush(1))
    client.close(5)
    assert caplog.records
    assert MARK not in caplog.text
    assert MARK not in json.dumps([failed, client.status()])
    assert MARK in json.dumps(stage.batches)
    assert KEY not in caplog.text


def test_a_sink_that_raises_with_the_batch_in_its_message_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The text of a foreign exception may hold anything."""
    caplog.set_level(logging.DEBUG)

    def fail(batch: bytes) -> None:
        raise RuntimeError(batch.decode())

    document = {"flags": {"color": {}}}
    client = Client.from_document(document, events=fail)
    client.track("click", MARK)
    assert not client.flush(0.2)
    client.close(0.2)
    assert "RuntimeError" in caplog.text
    assert MARK not in caplog.text


# Forks.

CHILD = """
import os, sys
import flagloop

client = flagloop.Client(sys.argv[1], key="fl_srv_x", interval=0.05)
assert client.wait(60)
client.variant("color", "parent-before")
children = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        try:
            here = client.variant("color", f"child-{n}")
            assert here == client.explain("color", f"child-{n}").decision.variant
            assert client.flush(10)
            assert client.status()["refresh"]["running"]
        except BaseException as problem:
            print(repr(problem), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(pid)
client.variant("color", "parent-after")
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
assert client.close(10)
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_children_decide_and_deliver_their_own(stage: Any) -> None:
    """Each exposure once, from the process that made it; the counts of all add up."""
    # Python 3.12 and later warn of each fork beside threads, which is what is tested here.
    quiet = ["-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *quiet, "-c", CHILD, stage.url], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0]\n", "")
    units = sorted(one["unit"] for one in stage.exposures)
    assert units == ["child-0", "child-1", "child-2", "parent-after", "parent-before"]
    by_instance = {
        one["unit"]: (batch["instance"]["id"], batch["instance"]["pid"])
        for batch in stage.batches
        for one in batch["events"]
    }
    assert by_instance["parent-before"] == by_instance["parent-after"]
    assert len(set(by_instance.values())) == 4
    assert stage.counted == 5


EXIT = """
import sys
import flagloop

client = flagloop.Client(sys.argv[1], key="fl_srv_x")
assert client.wait(60)
for n in range(50):
    client.variant("color", f"u-{n}")
"""


def test_a_program_that_ends_delivers_first(stage: Any) -> None:
    """Without `close`, within two seconds."""
    done = subprocess.run(
        [sys.executable, "-c", EXIT, stage.url], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(stage.exposures) == stage.counted == 50


FORKS = """
import os, sys, threading
import flagloop

document = {"flags": {"color": {}}}
clients = [flagloop.Client.from_document(document, events=lambda batch: None) for _ in range(5)]
codes = []

def fork_some():
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if all(client.enabled("color", "u") is False for client in clients) else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        for client in clients:
            client.track("click", "u")

threads = [threading.Thread(target=fork_some, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
print(codes == [0] * 40, all(client.close(5) for client in clients), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_threads_that_fork_at_once_do_not_tangle() -> None:
    """Each fork gives back the locks that it took; afterwards every client still delivers."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


LOGS = """
import os, sys, threading
import flagloop

def fail(batch):
    raise OSError("away")

client = flagloop.Client.from_document({"flags": {"color": {}}}, events=fail)

import logging

inside, forks = threading.Event(), threading.Event()

class Handler(logging.Handler):
    def emit(self, record):
        inside.set()
        assert forks.wait(60)
        logging.getLogger("what needs the lock of logging")

logging.getLogger("flagloop").addHandler(Handler())
os.register_at_fork(before=forks.set)  # the one that came last is called first
sys.setswitchinterval(60)  # and the next ones before the handler goes on
client.track("click", "u")
assert inside.wait(60)
child = os.fork()
if child == 0:
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
client.close(0.1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_while_a_delivery_is_logged_waits_for_it() -> None:
    """Also where the program had imported no `logging` before: its hook would take its lock first,
    the delivery would wait for that, and the fork for the delivery.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", LOGS],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")

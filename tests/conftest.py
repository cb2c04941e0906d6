"""What every test may use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# A shared machine is slow at times: a deadline would make tests fail by chance. A gate must say
# the same of the same code, so there the examples are always the same; elsewhere they are new.
settings.register_profile(
    "flagloop",
    deadline=None,
    max_examples=60,
    derandomize=os.environ.get("FLAGLOOP_TEST_ALL") == "1",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("flagloop")


def skip_or_fail(reason: str) -> None:
    """Skip for a missing part of the system; under FLAGLOOP_TEST_ALL=1 that is a failure."""
    if os.environ.get("FLAGLOOP_TEST_ALL") == "1":
        pytest.fail(f"FLAGLOOP_TEST_ALL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared("stats/reference_cases.json")`: a file of ../shared, or the test is skipped."""

    def find(relative: str) -> Path:
        path = ROOT.parent / "shared" / relative
        if not path.exists():
            skip_or_fail(f"../shared/{relative} is absent")
        return path

    return find


@pytest.fixture
def leaves_no_thread() -> Iterator[None]:
    """At its end, after all other fixtures', no SDK thread that the test started is left.

    A thread of a client that nobody closed would wait, fork and report in the middle of another
    test. Those that are about to end are waited for, long enough for any busy machine.
    """
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + 60
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("flagloop-"):
            thread.join(max(0.0, end - time.monotonic()))
            assert not thread.is_alive(), f"the test left {thread.name} running: close its client"


@pytest.fixture
def missing_part() -> Callable[[str], None]:
    """`missing_part(reason)` skips, or fails where every part must be present."""
    return skip_or_fail


class ServerProcess:
    """A real `flagloop serve` on a folder; `said` are the lines that it printed."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        command = [sys.executable, "-m", "flagloop", "serve", "--data", str(data), *options]
        if "--port" not in options:
            command += ["--port", "0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said: list[str] = []
        self.url = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ready.wait(90)  # its imports alone take a second of a CPU; its end is seen at once
        if not self.url:
            self.kill()
            raise AssertionError("the server did not start:\n" + "\n".join(self.said))

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.said.append(line.rstrip())
                if line.startswith("flagloop serves "):
                    self.url = line.split()[2]
                    self._ready.set()
        self._ready.set()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the exit code."""
        self.process.send_signal(signal_number)
        code = self.process.wait(60)
        self._reader.join(60)
        return code

    def kill(self) -> None:
        """End it without any chance to clean up."""
        self.process.kill()
        self.process.wait(60)
        self._reader.join(60)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One real server for every test that keeps to an environment of its own."""
    server = ServerProcess(tmp_path_factory.mktemp("server") / "data")
    yield server
    server.kill()


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServerProcess]]:
    """`start_server(data, *options)`: a real server on a free port, killed after the test."""
    started: list[ServerProcess] = []

    def start(data: Path, *options: str) -> ServerProcess:
        started.append(ServerProcess(data, *options))
        return started[-1]

    yield start
    for server in started:
        server.kill()

"""Wall clocks that jump by a day, forth and back, in a server and in an SDK: real processes.

Only the wall clock: like in life, the monotonic one goes on as it was.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from helpers.real import Real

DAY = 86_400
JUMPS = (DAY, 0, -DAY, 0)
SOON = 5.0


class Clock:
    """The wall clock of the processes that are started in its environment."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._file = folder / "clock"
        self.env = {
            **os.environ,
            "PYTHONPATH": str(root / "tests" / "helpers" / "shifted"),
            "TEST_CLOCK_FILE": str(self._file),
        }
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """It is off by so much from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path, root: Path) -> Clock:
    """A clock that is right until a test moves it."""
    return Clock(tmp_path, root)


def obeys(real: Real, one: Any, number: int) -> None:
    """A kill and a restore come at once by the stream, and what is decided is delivered."""
    for change in (real.kill_flag, real.restore_flag):
        assert one("all_have", change(), "stream", SOON) is not None, one("status")
    assert set(one("decide", f"jump{number}", 40)) == {"on", "off"}
    assert one("flush", 60), one("status")
    status = one("status")
    assert status["problem"] is None
    assert status["age"] >= 0
    assert status["refresh"]["age"] < 60


def check(real: Real, one: Any, off: tuple[int, ...], streams: float) -> None:
    """Every event once, at the server's time; the stream is the one that it was before."""
    assert one("status")["delivery"]["lost"] == {}
    assert real.metric("flagloop_streams") == 1
    assert real.metric('flagloop_streams_ended_total{reason="slow"}') == 0
    ended = [f'flagloop_streams_ended_total{{reason="{why}"}}' for why in ("gone", "refused")]
    assert [real.metric(line) for line in ended] == [0, 0]
    assert streams == 1
    assert one("close")
    rows = [row for row in real.stored() if row["kind"] == 0]
    assert set(Counter(row["unit"] for row in rows).values()) == {1}
    assert len(rows) == 40 * len(off)
    for number, seconds in enumerate(off):
        times = [row["at"] for row in rows if row["unit"].startswith(f"jump{number}-")]
        right = time.time() + seconds
        assert all(abs(at / 1000 - right) < 300 for at in times), (seconds, times)
    assert real.server.stop() == 0
    assert real.complaints() == []


def streams_ever(real: Real) -> float:
    """How many streams the server has opened."""
    name = "flagloop_streams_opened_total"
    return sum(real.metric(f'{name}{{first="{frame}"}}') for frame in ("snapshot", "comment"))


def test_the_clock_of_an_sdk_jumps(real: Real, clock: Clock, application: Any) -> None:
    """It obeys and delivers on; its events are at the server's time however wrong its own is."""
    one = application(env=clock.env)
    for number, seconds in enumerate(JUMPS):
        clock.jump(seconds)
        obeys(real, one, number)
    check(real, one, (0,) * len(JUMPS), streams_ever(real))
    rows = [row for row in real.stored() if row["kind"] == 0]
    assert {round(row["skew"] / 1000 / DAY) for row in rows} == {-1, 0, 1}


def test_the_clock_of_a_server_jumps(
    tmp_path: Path, clock: Clock, start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams stay, changes are told at once, events are taken, and it ends as it should."""
    from helpers.application import Application

    outside = dict(os.environ)
    for name in ("PYTHONPATH", "TEST_CLOCK_FILE"):
        monkeypatch.setenv(name, clock.env[name])
    real = Real(tmp_path / "data", start_server)
    one = Application(real.url, real.key, env=outside)
    try:
        assert one("all_have", None, "stream", 60) is not None
        for number, seconds in enumerate(JUMPS):
            clock.jump(seconds)
            obeys(real, one, number)
        check(real, one, JUMPS, streams_ever(real))
    finally:
        one.kill()


def test_an_sdk_starts_with_a_copy_from_tomorrow(
    real: Real, clock: Clock, application: Any, tmp_path: Path
) -> None:
    """A copy on disk that is newer than the clock says is used, and replaced by what is true."""
    copies = str(tmp_path / "copies")
    clock.jump(DAY)
    first = application(env=clock.env, cache=copies)
    first("close")
    newest = real.kill_flag()
    clock.jump(-DAY)
    second = application(env=clock.env, cache=copies)
    assert second("all_have", newest, "stream", SOON) is not None
    status = second("status")
    assert (status["problem"], status["origin"]) == (None, "server")
    second("close")
    real.server.kill()
    third = application(env=clock.env, cache=copies, streams=False)
    assert third("status")["revision"] == newest
    assert third("status")["age"] >= 0

"""Proxies between SDKs and a real server that buffer, cut, delay, or lose the other side."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flagloop import Client
from helpers.application import Application
from helpers.patience import Stopwatch
from helpers.proxy import Proxy
from helpers.real import Real

Until = Callable[[Callable[[], Any]], None]
SILENT = 35.0
"""Seconds after a silent break in which every SDK has the newest revision."""


@pytest.fixture
def client(real: Real, proxy: Proxy) -> Iterator[Callable[..., Client]]:
    """`client(**options)`: one behind the proxy."""
    made: list[Client] = []

    def make(**options: Any) -> Client:
        made.append(Client(proxy.url, key=real.key, **options))
        return made[-1]

    yield make
    for one in made:
        one.close(1)


def state(client: Client) -> dict[str, Any]:
    """Of what keeps the definitions fresh."""
    found: dict[str, Any] = client.status()["refresh"]
    return found


def streaming(client: Client) -> bool:
    """Whether the definitions come by the stream."""
    return bool(state(client)["mode"] == "stream")


def follows(client: Client, real: Real, until: Until, changes: int = 2) -> None:
    """Kills and restores are obeyed."""
    for _ in range(changes):
        for change, served in ((real.kill_flag, False), (real.restore_flag, True)):
            newest = change()
            until(lambda newest=newest: client.status()["revision"] == newest)
            assert client.enabled("banner", "u-1") is served


def once(real: Real, client: Client, units: int) -> None:
    """What was decided behind the proxy is stored, each once."""
    found = [client.variant("half", f"u-{n}") for n in range(units)]
    assert set(found) == {"on", "off"}
    assert client.flush(60)
    stored = Counter(row["unit"] for row in real.stored() if row["unit"].startswith("u-"))
    # The exposure of the kill switch's rule that serves everybody is none.
    assert stored == {f"u-{n}": 1 for n in range(units)}


def test_a_proxy_that_buffers(real: Real, proxy: Proxy, client: Any, until: Until) -> None:
    """Polls stand in and say why, all goes on; when it lets streams through they are used."""
    proxy.buffers = True
    one = client(interval=0.2)
    until(lambda: state(one)["mode"] == "poll")
    assert "buffer" in state(one)["why"]
    follows(one, real, until)
    once(real, one, 50)
    proxy.buffers = False
    one._refresh.wake()
    until(lambda: streaming(one))
    follows(one, real, until)
    assert one.status()["problem"] is None


def test_a_proxy_that_cuts_every_stream(
    real: Real, proxy: Proxy, client: Any, until: Until
) -> None:
    """It is followed from cut to cut, resumed where it was, and no event goes astray."""
    proxy.lifetime = 0.5
    one = client(interval=0.5)
    assert one.wait(60)
    for number in range(2, 8, 2):
        until(lambda number=number: proxy.cuts >= number)
        follows(one, real, until, 1)
    once(real, one, 50)
    assert real.metric('flagloop_streams_opened_total{first="comment"}') >= 2
    proxy.lifetime = None
    until(lambda: streaming(one) and one.status()["problem"] is None)
    follows(one, real, until)


def test_a_proxy_that_cuts_healthy_streams_leads_to_no_polls(
    real: Real, proxy: Proxy, client: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cuts every 30 s, thirty times as fast: the stream comes back each time."""
    monkeypatch.setattr("flagloop.sync.pacing.LASTED", 0.0)
    proxy.lifetime = 1.0
    one = client()
    modes = set()
    for number in range(1, 5):
        until(lambda number=number: proxy.cuts >= number)
        modes.add(state(one)["mode"])
        follows(one, real, until, 1)
    assert modes <= {"stream", "connecting"}


def test_a_path_that_delays(real: Real, proxy: Proxy, client: Any, until: Until) -> None:
    """A third of a second in each direction for each piece: later, but all the same."""
    proxy.delay = 0.3
    one = client()
    until(lambda: streaming(one))
    follows(one, real, until)
    once(real, one, 50)
    assert state(one)["failures_ever"] == 0


def test_a_path_that_breaks_is_found_again_at_once(
    real: Real, proxy: Proxy, client: Any, until: Until
) -> None:
    """Reset connections are visible: the newest revision is there within seconds."""
    one = client()
    until(lambda: streaming(one))
    for change in (real.kill_flag, real.restore_flag, real.kill_flag):
        proxy.cut()
        newest = change()
        watch = Stopwatch()
        until(lambda newest=newest: one.status()["revision"] == newest)
        assert watch.seconds < 5
    once(real, one, 50)


def test_silent_breaks_last_at_most_35_seconds(
    real: Real, proxy: Proxy, application: Any, tmp_path: Path, start_server: Any
) -> None:
    """The peer vanishes without a word, another stands still and goes on: real patience.

    Both at once, since this takes as long as it says.
    """
    behind = application(proxy.url)
    standing = Real(tmp_path / "standing", start_server)
    beside = Application(standing.url, standing.key)
    try:
        assert beside("all_have", None, "stream", 60) is not None
        standing.server.process.send_signal(signal.SIGSTOP)
        proxy.vanish()
        watch = Stopwatch()
        newest = real.kill_flag()
        behind("decide", "silent", 50)
        behind.begin("all_have", newest, "stream", SILENT)
        threading.Event().wait(27.0)  # longer than the 25 s after which silence is death
        standing.server.process.send_signal(signal.SIGCONT)
        stood = standing.kill_flag()
        assert beside("all_have", stood, "stream", SILENT - 27.0) is not None, beside("status")
        assert behind.answer() is not None, behind("status")
        assert watch.seconds < SILENT
        assert behind("flush", 60)
        units = [row["unit"] for row in real.stored() if row["kind"] == 0]
        assert sorted(units) == sorted(f"silent-{n}" for n in range(50))
    finally:
        standing.server.process.send_signal(signal.SIGCONT)
        beside.kill()

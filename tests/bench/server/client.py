"""../shared/bench/server/loadclient.py as it is, which waits for a word and tells its own CPU.

    python client.py LOADCLIENT snapshot|sse|ingest URL ... --pid SERVER

Says "ready" when it is about to begin (requests made, streams open and settled), begins after a
line on its standard input, and prints after the load client's JSON a second one: the CPU of client
and server from the word to the end, in seconds, and both moments on the monotonic clock.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any


def loaded(path: Path) -> ModuleType:
    """The load client as a module."""
    spec = importlib.util.spec_from_file_location("loadclient", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Meter:
    """CPU of both sides from `begin` to `end`."""

    def __init__(self, client: ModuleType, pid: int) -> None:
        self._server = lambda: client.cpu_s(pid) if pid else 0.0
        self._at = (0.0, 0.0, 0.0)
        self.found: dict[str, float] = {}

    def begin(self) -> None:
        """Wait for the word."""
        print("ready", flush=True)
        sys.stdin.readline()
        self._at = (time.monotonic(), time.process_time(), self._server())

    def end(self) -> None:
        """The load is over."""
        began, client, server = self._at
        ended = time.monotonic()
        self.found = {
            "began": began,
            "ended": ended,
            "client_cpu_s": time.process_time() - client,
            "server_cpu_s": self._server() - server,
        }


def main() -> None:
    """Run the load client between `begin` and `end`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    sys.argv = sys.argv[1:]
    client = loaded(Path(sys.argv[0]))
    meter = Meter(client, int(sys.argv[sys.argv.index("--pid") + 1]))
    loop, memory, seen = client.closed_loop, client.tree_mem, []

    def closed_loop(*given: Any, **named: Any) -> Any:
        meter.begin()
        taken = loop(*given, **named)
        meter.end()
        return taken

    def tree_mem(pid: int) -> Any:
        seen.append(memory(pid))
        if len(seen) == 2:  # before the streams and with all of them: now come the changes
            meter.begin()
        return seen[-1]

    client.closed_loop = closed_loop
    if sys.argv[1] == "sse":
        client.tree_mem = tree_mem
    client.main()
    if sys.argv[1] == "sse":
        meter.end()
    print(json.dumps(meter.found))


if __name__ == "__main__":
    main()

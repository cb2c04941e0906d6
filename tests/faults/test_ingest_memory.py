"""Bodies that are made to eat the server's memory do not."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

MIB = 1024 * 1024
CONNECTIONS = 16
ADDED = 200
"""MiB that all of it may add to an idle server's memory."""

EVENT = b'{"type":"event","event":"sign_up","unit":"u"}'
NUMBERS = b'{"events":[' + b"1," * 7_000_000 + b"1]}"
TINY = b'{"events":[' + b",".join([EVENT] * 9_999) + b"]}"
GZIP = "Content-Encoding: gzip\r\n"


def chunked(body: bytes) -> Iterator[bytes]:
    """A body in chunks of 64 KB."""
    for first in range(0, len(body), 65_536):
        part = body[first : first + 65_536]
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def plain(body: bytes) -> tuple[str, Callable[[], Iterator[bytes]]]:
    """A header for the length, and the body."""
    return f"Content-Length: {len(body)}\r\n", lambda: iter([body])


ATTACKS: dict[str, tuple[str, Callable[[], Iterator[bytes]], set[int]]] = {
    "30 MB": (*plain(bytes(30 * MIB)), {413}),
    "30 MB in chunks": ("Transfer-Encoding: chunked\r\n", lambda: chunked(bytes(30 * MIB)), {413}),
    "a bomb": (*plain(gzip.compress(bytes(200 * MIB), 1)), {413}),
    "seven million numbers": (*plain(gzip.compress(NUMBERS, 1)), {413}),
    "ten thousand events in 20 KB": (*plain(gzip.compress(TINY)), {200}),
}


def peak(pid: int) -> int:
    """The most memory that a process has had, MiB."""
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) // 1024


def attack(address: tuple[str, int], key: str, name: str) -> int:
    """Post one of the bodies; the status, or 0 where the server hung up on the sender."""
    head, body, _ = ATTACKS[name]
    packed = GZIP if "Length" in head and name != "30 MB" else ""
    with socket.create_connection(address, timeout=60) as connection:
        try:
            connection.sendall(
                "POST /api/v1/events HTTP/1.1\r\nHost: flagloop\r\n"
                f"Authorization: Bearer {key}\r\n{packed}{head}\r\n".encode()
            )
            for part in body():
                connection.sendall(part)
        except OSError:
            pass  # it answered early
        try:
            answer = connection.recv(65_536)
        except OSError:
            return 0
    return int(answer[9:12]) if answer else 0


@pytest.fixture
def server(tmp_path: Path, start_server: Any) -> tuple[Any, str]:
    """A real server and a server key."""
    from flagloop_server.auth import Auth, first_start
    from flagloop_server.store import SYSTEM, Store

    with Store(tmp_path / "data") as store:
        first_start(store, Auth(store))
        _, key = store.create_key("production", "server", "sender", SYSTEM)
    return start_server(tmp_path / "data"), key


def test_many_large_bodies_at_once_take_bounded_memory(server: tuple[Any, str]) -> None:
    """Five ways, from many connections at a time, each refused or taken by its own right."""
    running, key = server
    pid = running.process.pid
    host, port = running.url.removeprefix("http://").split(":")
    answers: dict[str, Counter[int]] = {name: Counter() for name in ATTACKS}
    headers = {"Authorization": f"Bearer {key}"}
    assert requests.get(f"{running.url}/api/v1/ruleset", headers=headers, timeout=60).ok
    idle = peak(pid)

    def work(name: str) -> None:
        answers[name][attack((host, int(port)), key, name)] += 1

    threads = [
        threading.Thread(target=work, args=(name,)) for name in ATTACKS for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    added = peak(pid) - idle
    assert idle <= 100
    assert added <= ADDED, json.dumps(answers)
    for name, (*_, right) in ATTACKS.items():
        # 429, 503: many at once; 0: refused before all was sent
        assert set(answers[name]) <= right | {429, 503, 0}, (name, answers[name])
        assert answers[name].total() == CONNECTIONS
    assert answers["ten thousand events in 20 KB"][200] >= 1
    assert requests.get(f"{running.url}/api/v1/ruleset", headers=headers, timeout=60).ok
    assert running.stop() == 0
    assert not [line for line in running.said if "Traceback" in line]

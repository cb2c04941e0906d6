"""An application in a process of its own, which obeys a test line by line.

As a program it reads `[verb, arguments...]` in JSON from each line and answers with one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flagloop import Client
from helpers.patience import Stopwatch, until


class Application:
    """The test's end: `clients` SDKs of one process, each call is a line to it and back."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        clients: int = 1,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, url, key, str(clients), json.dumps(options)],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=None if env is None else dict(env),
        )

    def __call__(self, verb: str, *arguments: Any) -> Any:
        """What the program answers."""
        self.begin(verb, *arguments)
        return self.answer()

    def begin(self, verb: str, *arguments: Any) -> None:
        """Ask, and do not wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The answer to what was asked."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the application ended with {self.process.wait(10)}"
        return json.loads(line)

    def kill(self) -> None:
        """End it without any chance to clean up."""
        self.process.kill()
        self.process.wait(60)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Program:
    """The application's end."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.client = clients[0]
        self.units = 0
        self._working = threading.Event()
        self._worker: threading.Thread | None = None

    def status(self) -> Any:
        """Of the first client."""
        return self.client.status()

    def revisions(self) -> list[Any]:
        """In force in each client."""
        return [client.status()["revision"] for client in self.clients]

    def modes(self) -> list[Any]:
        """How each client gets its definitions."""
        return [client.status()["refresh"]["mode"] for client in self.clients]

    def all_have(self, revision: str | None, mode: str, seconds: float) -> float | None:
        """Seconds until every client has the revision, if one is named, in that mode."""
        watch = Stopwatch()

        def have() -> bool:
            found = zip(self.revisions(), self.modes(), strict=True)
            return all(revision in (None, one) and mode == way for one, way in found)

        return watch.passed if until(have, seconds) else None

    def decide(self, prefix: str, number: int) -> list[Any]:
        """What so many new units get, each with an exposure and an event."""
        found = []
        for n in range(number):
            found.append(self.client.variant("half", f"{prefix}-{n}"))
            self.client.track("done", f"{prefix}-{n}")
        return found

    def work(self, prefix: str) -> None:
        """Decide for one new unit after the other until told to rest."""

        def run() -> None:
            while not self._working.wait(0.005):
                self.decide(f"{prefix}-{self.units}", 1)
                self.units += 1

        self._worker = threading.Thread(target=run)
        self._worker.start()

    def rest(self) -> int:
        """Stop working; how many units there were."""
        self._working.set()
        assert self._worker is not None
        self._worker.join()
        return self.units

    def flush(self, seconds: float) -> bool:
        """Whether everything was delivered."""
        return self.client.flush(seconds)

    def close(self) -> bool:
        """Whether everything was delivered at the end."""
        closed = [client.close(60) for client in self.clients]
        return all(closed)


def main(url: str, key: str, clients: str, options: str) -> None:
    """Obey until standard input ends."""
    # Hundreds of threads that wait for the interpreter would only wake each other: at the usual
    # 5 ms a thousand of them keep two processors busy with nothing else.
    sys.setswitchinterval(0.005 if clients == "1" else 0.1)
    program = Program([Client(url, key=key, **json.loads(options)) for _ in range(int(clients))])
    verbs: dict[str, Callable[..., Any]] = {
        name: getattr(program, name) for name in dir(program) if not name.startswith("_")
    }
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(verbs[verb](*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

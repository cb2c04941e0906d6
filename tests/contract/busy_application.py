"""A program that decides on several threads and two processes, and tells what it did.

Started by test_what_is_sent_is_stored.py as `busy_application.py URL KEY FOLDER`. It prints
`ready` when the first half is done, waits for another revision, does the second half, forks; each
process prints `sent`, waits for the end of its input, and leaves its report in FOLDER.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flagloop import Client

THREADS = 3
USERS = 400
FLAGS = ("half", "split", "rolling", "held", "plain", "by_org", "targeted", "gone")


class Told:
    """What one process did: evaluations by outcome, exposures that must be sent, events."""

    def __init__(self, seen: dict[Any, Any] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.exposures: list[list[Any]] = []
        self.tracked = 0
        # A child's parent sends what it remembers, so what it saw is not exposed again.
        self.seen = dict(seen or {})
        self.lock = threading.Lock()

    def note(self, decision: Any, user: dict[str, Any], stage: str) -> None:
        """Write down one evaluation, by DESIGN's rules of what is exposed."""
        reason = "MISSING_UNIT" if decision.missing_unit else decision.reason.value
        if decision.error is not None:
            reason = decision.error.value
        by = "org" if decision.flag == "by_org" else "key"
        rolled = stage if decision.flag == "rolling" else None
        said = [decision.variant, decision.rule, decision.experiment, rolled, decision.holdout]
        with self.lock:
            self.counts[json.dumps([decision.flag, decision.variant, decision.rule, reason])] += 1
            exposed = reason == "SPLIT" or (decision.flag == "held" and reason != "DISABLED")
            if exposed and self.seen.get((decision.flag, user[by])) != said:
                self.seen[decision.flag, user[by]] = said
                self.exposures.append([decision.flag, user[by], *said])

    def write(self, path: Path, client: Client) -> None:
        """Leave the report."""
        status = client.status()
        report = {
            "pid": os.getpid(),
            "counts": self.counts,
            "exposures": self.exposures,
            "tracked": self.tracked,
            "delivery": status["delivery"],
            "failures": status["failures"],
        }
        path.write_text(json.dumps(report), "utf-8")


def decide(client: Client, told: Told, first: int, step: int, stage: str) -> None:
    """Every flag for each `step`-th user, twice; each tenth user does something."""
    for n in range(first, USERS, step):
        user = {"key": f"u-{n}", "plan": "pro" if n % 3 else "free"}
        if n % 4:
            user["org"] = f"o-{n}"
        for flag in FLAGS * 2:
            told.note(client.decide(flag, user), user, stage)
        told.note(client.peek("plain", user), user, stage)
        if n % 10 == 0:
            client.track("done", user, n / 2, where="here")
            with told.lock:
                told.tracked += 1


def decide_on_threads(client: Client, told: Told, stage: str) -> None:
    """The same on several threads, each with users of its own."""
    threads = [
        threading.Thread(target=decide, args=(client, told, first, THREADS, stage))
        for first in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def swap_under_load(client: Client, told: Told) -> None:
    """Evaluate without a pause until another revision is in force."""
    first = client.status()["revision"]
    end = time.monotonic() + 60
    print("ready", flush=True)
    user = {"key": "nobody"}
    while client.status()["revision"] == first:
        if time.monotonic() > end:
            raise SystemExit("no other revision came")
        for _ in range(500):
            told.note(client.decide("plain", user), user, "")


def stay(client: Client) -> None:
    """Send what there is and live on until the input ends: whoever leaves is forgotten."""
    client.flush(60)
    os.write(1, b"sent\n")
    while os.read(0, 1):
        pass


def main(url: str, key: str, folder: Path) -> None:
    """Both halves, then the child."""
    client = Client(url, key=key, interval=0.2)
    if not client.wait(60):
        raise SystemExit(json.dumps(client.status()))
    told = Told()
    decide_on_threads(client, told, "25%")
    client.flush(60)
    decide_on_threads(client, told, "25%")
    swap_under_load(client, told)
    decide_on_threads(client, told, "50%")
    child = os.fork()
    if child == 0:
        told = Told(told.seen)
        for n in range(USERS, USERS + 50):
            user = {"key": f"u-{n}", "org": f"o-{n}"}
            for flag in FLAGS:
                told.note(client.decide(flag, user), user, "50%")
        decide(client, told, 0, 1, "50%")
        stay(client)
        client.close(60)
        told.write(folder / "child.json", client)
        os._exit(0)
    decide(client, told, 0, 5, "50%")
    client.flush(60)
    decide(client, told, 0, 7, "50%")
    stay(client)
    os.waitpid(child, 0)
    client.close(60)
    told.write(folder / "parent.json", client)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

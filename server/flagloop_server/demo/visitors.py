"""Simulated visitors of the landing page: they look, and some of them sign up."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping

import requests

COUNTRIES = ("DE", "FR", "GB", "IN", "JP", "PL", "SE", "US")
SIGN_UP_RATE: Mapping[str, float] = {"blue": 0.10, "green": 0.16}
"""How many of those who see this colour sign up: green converts better."""

_COLOR = re.compile(r'data-color="(\w+)"')


class Visitors:
    """A stream of new visitors to `url`, at most `rate` a second, until `stop()`.

    A page that fails is counted in `failures`, and the stream goes on.
    """

    def __init__(self, url: str, rate: float = 20.0, seed: int | None = None) -> None:
        self.url = url
        self.rate = rate
        self.seen: dict[str, int] = {}
        self.failures = 0
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo visitors", daemon=True)

    def start(self) -> None:
        """Open the doors."""
        self._thread.start()

    def stop(self) -> None:
        """Let nobody in any more; returns when the last visitor has left (within 5 s)."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stop.wait(self._random.expovariate(self.rate)):
                session.cookies.clear()
                try:
                    self._visit(session)
                except requests.RequestException:
                    self.failures += 1

    def _visit(self, session: requests.Session) -> None:
        country = self._random.choice(COUNTRIES)
        page = session.get(self.url, headers={"X-Country": country}, timeout=5)
        found = _COLOR.search(page.text)
        color = found.group(1) if found else "none"
        self.seen[color] = self.seen.get(color, 0) + 1
        if self._random.random() < SIGN_UP_RATE.get(color, 0.0):
            session.post(self.url + "/sign-up", timeout=5, allow_redirects=False)

"""One real server, an environment for each test, and every way to a decision."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

pytest.importorskip("flask", reason="the server needs the extra 'server'")

from flagloop import Client
from flagloop.commands.main import cli
from flagloop_server.auth import Auth
from flagloop_server.store import Actor, Environment, Store

TESTER = Actor("person", "tester")
NUMBERS = count(1)


@pytest.fixture(autouse=True)
def tidy(leaves_no_thread: None) -> None:
    """Every client that a test makes ends with it."""


def poll(done: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Ask again and again until the answer is true; the last answer when the time is over."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not (answer := done()) and time.monotonic() < end:
        pause.wait(0.02)
    return answer


@pytest.fixture
def until() -> Callable[..., Any]:
    """`until(question, seconds)`: the first true answer, or the last one."""
    return poll


def run_cli(*words: str | Path, env: Mapping[str, str] | None = None) -> Result:
    """One command in this process; what goes wrong inside it is raised here."""
    names = dict.fromkeys(("FLAGLOOP_URL", "FLAGLOOP_KEY", "FLAGLOOP_ENV", "NO_COLOR"))
    result = CliRunner().invoke(
        cli, [str(word) for word in words], prog_name="flagloop", env={**names, **(env or {})}
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def run() -> Callable[..., Result]:
    """`run("eval", ...)`: one command and its result."""
    return run_cli


class Browser:
    """A person who is signed in: opens pages and sends their forms, token and all."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.cookies.set("flagloop_session", token)
        self.html = ""

    def get(self, path: str) -> requests.Response:
        """Open a page."""
        return self._seen(self.session.get(self.url + path, timeout=60))

    def post(self, path: str, **fields: str) -> requests.Response:
        """Send a form with the token of the page seen last, as the browser does."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.html)
        assert token is not None, "the page has no form"
        fields["csrf_token"] = token[1]
        return self._seen(self.session.post(self.url + path, data=fields, timeout=60))

    def _seen(self, response: requests.Response) -> requests.Response:
        assert response.ok or response.status_code == 409, (response.status_code, response.text)
        self.html = response.text
        return response


@dataclass
class Place:
    """An environment of its own on a running server, with a key of each kind."""

    url: str
    data: Path
    store: Store
    environment: Environment
    keys: dict[str, tuple[int, str]]
    clients: list[Client] = field(default_factory=list)
    browsers: list[Browser] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The key of the environment."""
        return self.environment.key

    def secret(self, kind: str) -> str:
        """The secret of a key: server, client or admin."""
        return self.keys[kind][1]

    def cli(self, *words: str | Path, key: str = "admin") -> Result:
        """One command against this environment."""
        return run_cli(*words, env={"FLAGLOOP_URL": self.url, "FLAGLOOP_KEY": self.secret(key)})

    def push(self, file: Path) -> str:
        """Push a file, which must work; what was told."""
        result = self.cli("push", file, "--reason", "test")
        assert result.exit_code == 0, result.output
        return str(result.output)

    def put(self, document: Mapping[str, Any]) -> None:
        """Replace the document by one in the mapping form."""
        text = json.dumps({"version": 1, **document}, indent=1, ensure_ascii=False)
        answer = self.rest("POST", "push", {"text": text, "state": True})
        assert answer.status_code == 200, answer.text

    def rest(self, method: str, path: str, body: Any = None) -> requests.Response:
        """A call of the admin API below this environment."""
        return requests.request(
            method,
            f"{self.url}/api/v1/admin/environments/{self.name}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.secret('admin')}"},
            timeout=60,
        )

    def text(self) -> str:
        """The document's text as the admin API gives it."""
        return str(self.rest("GET", "document").json()["text"])

    def revision(self) -> str:
        """The name of the present revision."""
        answer = self.rest("GET", "document").json()
        return f"{answer['lineage']}.{answer['revision']}"

    def client(self, **options: Any) -> Client:
        """A running SDK that has its first definitions; it polls every 0.2 s unless told."""
        options = {"interval": 0.2, "key": self.secret("server"), **options}
        client = Client(self.url, **options)
        self.clients.append(client)
        assert client.wait(60), client.status()
        return client

    def browser(self) -> Browser:
        """An editor of this environment who is signed in."""
        auth = Auth(self.store)
        email = f"editor-{next(NUMBERS)}@example.com"
        _, token = auth.create_user(email, "Editor", {self.name: "editor"}, TESTER)
        session = auth.complete_setup(token, password="a long sentence for tests")
        self.browsers.append(Browser(self.url, session.token))
        self.browsers[-1].get("/glossary")
        return self.browsers[-1]

    def events(self) -> list[Any]:
        """Every exposure and event that the server has stored for this environment."""
        found, after = [], 0
        while rows := self.store.events.events(after, 5000):
            found += [row for row in rows if row.environment_id == self.environment.id]
            after = rows[-1].seq
        return found

    def usage(self) -> Any:
        """Flag -> evaluations, as the pages show them."""
        return self.store.events.usage(self.environment.id)

    def metric(self, line: str) -> float:
        """The value of one line of /metrics; 0 when it is not there."""
        text = requests.get(f"{self.url}/metrics", timeout=60).text
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0


def make_place(url: str, data: Path, store: Store) -> Place:
    """A new environment with its keys."""
    name = f"place-{next(NUMBERS)}"
    environment = store.create_environment(name, TESTER)
    keys = {}
    for kind in ("server", "client", "admin"):
        role = "editor" if kind == "admin" else None
        info, secret = store.create_key(name, kind, f"a {kind} key", TESTER, role=role)
        keys[kind] = (info.id, secret)
    return Place(url, data, store, environment, keys)


@pytest.fixture(scope="session")
def store(shared_server: Any) -> Iterator[Store]:
    """The shared server's folder, opened by a second process as commands do."""
    with Store(shared_server.data) as opened:
        yield opened


@pytest.fixture
def place(shared_server: Any, store: Store) -> Iterator[Place]:
    """An environment of its own on the shared server."""
    made = make_place(shared_server.url, shared_server.data, store)
    yield made
    for client in made.clients:
        client.close(5)
    for browser in made.browsers:
        browser.session.close()


@pytest.fixture
def new_place() -> Callable[..., Place]:
    """`new_place(url, data, store)`: an environment of its own on another server."""
    return make_place

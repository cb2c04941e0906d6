"""The demo's world: a server of its own, the landing page, visitors, all in a temporary folder."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, TracebackType

import requests
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from flagloop import Client, FlagloopError
from flagloop_server.auth import Auth, first_start
from flagloop_server.demo.visitors import Visitors
from flagloop_server.store import Actor, Store

FLAG = "cta_color"
ENVIRONMENT = "production"
ADDRESS = re.compile(r"^flagloop serves (http://\S+)")


class DemoError(FlagloopError):
    """The demo could not be started; the text says why."""


def material(name: str) -> Path:
    """A file or folder that the demo needs: in the wheel beside this module, or in a checkout."""
    packed = Path(__file__).parent / name
    if packed.exists():
        return packed
    root = Path(__file__).resolve().parents[3]
    found = root / ("examples/" + name if name == "landing_page" else name)
    if not found.exists():
        raise DemoError(f"{name} is missing: reinstall flagloop")
    return found


def landing_page() -> ModuleType:
    """The example application, imported from where it lies."""
    path = material("landing_page") / "app.py"
    spec = importlib.util.spec_from_file_location("flagloop_demo_landing_page", path)
    if spec is None or spec.loader is None:
        raise DemoError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def start_server(folder: Path, port: int) -> tuple[subprocess.Popen[str], str]:
    """`flagloop serve` on the example flags; the process and its URL."""
    options = ["--data", str(folder), "--port", str(port), "--env", ENVIRONMENT]
    options += ["--flags", str(material("flags.example.yaml"))]
    process = subprocess.Popen(  # noqa: S603 - our own command on our own interpreter
        [sys.executable, "-m", "flagloop", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for the demo alone, which ends the server last
    )
    try:
        return process, address(process)
    except (DemoError, KeyboardInterrupt):
        end(process)
        raise


def address(process: subprocess.Popen[str]) -> str:
    """The URL that the server prints when it is ready; DemoError with its words if it ends."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if (found := ADDRESS.search(line)) is not None:
            # Read to its end: a full pipe would stop the server.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found.group(1)
    raise DemoError("the server did not start:\n" + "".join(said))


def end(process: subprocess.Popen[str]) -> None:
    """Ask the server to end; insist after 10 s."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def start_landing_page(client: Client) -> BaseWSGIServer:
    """The example application on a free port, in threads of this process."""
    app = landing_page().create_app(client)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, name="landing page", daemon=True).start()
    return server


class Quiet(WSGIRequestHandler):
    """Logs no request: the terminal shows the counts."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class World:
    """Everything that `flagloop demo` starts; leaving the context ends all of it.

    `url` is the server, `app_url` the landing page, `link` opens the admin page signed in (once).
    """

    def __init__(self, folder: Path, port: int, rate: float) -> None:
        with ExitStack() as undo:
            self.store = undo.enter_context(Store(folder))
            auth = Auth(self.store)
            self.key = first_start(self.store, auth).keys[ENVIRONMENT]
            self.environment = self.store.environment(ENVIRONMENT)
            admin = Actor("system", "demo")
            user, _ = auth.create_user("demo@example.com", "Demo", {"*": "admin"}, admin)
            token = auth.sign_in_link(user.id)
            _, self._admin_key = self.store.create_key(
                ENVIRONMENT, "admin", "demo", admin, role="viewer"
            )
            process, self.url = start_server(folder, port)
            undo.callback(end, process)
            self.link = f"{self.url}/sign-in/{token}?next=/environments/{ENVIRONMENT}/flags/{FLAG}"
            client = Client(self.url, key=self.key)
            undo.callback(client.close)
            client.wait(10)
            app = start_landing_page(client)
            undo.callback(app.server_close)
            undo.callback(app.shutdown)
            self.app_url = f"http://127.0.0.1:{app.server_port}"
            self.visitors = Visitors(self.app_url, rate)
            self.visitors.start()
            undo.callback(self.visitors.stop)
            self._undo = undo.pop_all()

    def counts(self) -> dict[str, tuple[int, int]]:
        """Per variant of the demo's flag: units that saw it, and how many of those signed up."""
        path = f"/api/v1/admin/environments/{ENVIRONMENT}/flags/{FLAG}/live"
        headers = {"Authorization": f"Bearer {self._admin_key}"}
        live = requests.get(self.url + path, headers=headers, timeout=5).json()
        signed_up = live["events"].get("sign_up", {})
        return {
            variant: (units, signed_up.get(variant, {}).get("units", 0))
            for variant, units in sorted(live["units"].items())
        }

    def obeyed(self) -> str:
        """Who obeys the last change of the demo's flag, as its page says: `off on 1 of 1 ...`."""
        (last,) = self.store.revisions(ENVIRONMENT, section="flags", key=FLAG, limit=1)
        path = f"/api/v1/admin/environments/{ENVIRONMENT}/revisions/{last.number}/instances"
        headers = {"Authorization": f"Bearer {self._admin_key}"}
        answer = requests.get(self.url + path, headers=headers, timeout=5).json()
        return str(answer["sentence"])

    def __enter__(self) -> World:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

"""A real server with a little of everything, and a real Chromium to look at it."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from flagloop.evaluation.ruleset import Ruleset
from flagloop_server import changes as change
from flagloop_server.app import Application, create_app
from flagloop_server.config import Config
from flagloop_server.instances import introduced
from flagloop_server.store import Actor
from flagloop_server.store.events import decode_batch

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)

EMAIL = "ana@example.com"
PASSWORD = "a long sentence for tests"

FLAGS = """\
# What the shop shows to whom.
version: 1

recording: {attributes: [country, plan]}

segments:
  staff:
    when: {email: {ends_with: "@example.com"}}

layers:
  landing_page: {description: What visitors see first}

holdouts:
  growth_2026: {share: 2%}

metrics:
  sign_up: {event: sign_up, better: higher}
  revenue: {event: purchase, sum: amount, better: higher, cap: p99.9}
  errors: {event: error, better: lower}

experiments:
  cta_color_2026:
    hypothesis: A green button raises sign-ups, because it stands out.
    owner: growth@example.com
    primary: sign_up
    secondary: [revenue]
    guardrails: [errors]
    layer: {name: landing_page, range: [0%, 50%]}
    plan: {method: sequential, baseline: 5%, mde: 10%, power: 80%, days: 14}
  hero_image_2026:
    hypothesis: A picture of people raises sign-ups.
    status: decided
    layer: {name: landing_page, range: [50%, 70%]}
  headline_2026:
    hypothesis: A shorter headline is read by more.
    status: draft
    layer: {name: landing_page, range: [60%, 95%]}

flags:
  # asked for by marketing
  cta_color:
    description: Colour of the sign-up button
    owner: growth@example.com
    tags: [landing, marketing]
    variants: {control: blue, treatment: green}
    default: control
    off: control
    holdout: growth_2026
    rules:
      - {name: staff, when: {segment: staff}, serve: treatment}
      - {name: colour-test, experiment: cta_color_2026, split: {control: 50%, treatment: 50%}}

  new_checkout:
    description: One page instead of three
    owner: payments@example.com
    tags: [checkout]
    rules:
      - {name: beta, when: {plan: [pro, team], country: {not_in: [DE, FR]}}, serve: on}
      - {name: canary, share: 5%, serve: on}

  new_ranker:
    owner: search@example.com
    variants: {current: v1, candidate: v2}
    default: current
    off: current
    requires: {new_checkout: on}
    rules:
      - name: canary
        rollout:
          to: candidate
          stages: [1%, 5%, 25%, 100%]
          guardrails: [errors]
          stage: 5%

  old_banner:
    owner: growth@example.com
    expires: 2026-01-31
    rules:
      - {name: everyone, serve: on}

  summer_promo:
    description: A banner for the summer sale
    rules:
      - {name: everyone, serve: on}

  search_limits:
    description: How many results a page and an answer may have
    variants:
      small: {results: 10, answers: 2}
      large: {results: 50, answers: 5}
    default: small
    off: small
"""


@dataclass
class Scene:
    """A running server: its application and its address."""

    app: Application
    url: str
    token: str = ""

    @property
    def actor(self) -> Actor:
        """Somebody who changes things outside the browser."""
        return Actor("person", "ben@example.com")

    def session(self) -> str:
        """A signed-in browser's cookie for the first admin."""
        from flagloop_server.auth import SignInError

        auth = self.app.auth
        try:
            return auth.sign_in(EMAIL, PASSWORD, "127.0.0.1").token
        except SignInError:
            assert self.app.setup_link is not None
            token = self.app.setup_link.rpartition("/")[2]
            made = auth.complete_setup(token, password=PASSWORD, email=EMAIL, name="Ana")
            return made.token


@contextmanager
def serving(folder: Path) -> Iterator[Scene]:
    """A server on a free port of this machine, with its background work."""
    with create_app(Config(data=folder)) as app:
        config = uvicorn.Config(app.asgi, host="127.0.0.1", port=0, log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, name="scene")
        thread.start()
        until(lambda: server.started, "the server to start")
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Scene(app, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            thread.join(10)


def until(test: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """The first true answer of `test`; fails after `seconds`, which only a failure takes.

    A browser refuses an answer between two pages, or about a part that was drawn anew in between:
    it is asked again then.
    """
    from selenium.common.exceptions import WebDriverException

    end = time.monotonic() + seconds
    refusal = ""
    while time.monotonic() < end:
        try:
            found = test()
        except WebDriverException as error:
            found, refusal = None, f"; the browser said {error.msg}"
        if found:
            return found
        threading.Event().wait(0.03)
    raise AssertionError(f"waited {seconds} s for {what}{refusal}")


def fill(scene: Scene, visitors: int = 400) -> None:
    """Flags in production, changes by several people, and what visitors did."""
    app = scene.app
    apply = app.changes.apply
    apply(change.push("production", FLAGS), scene.actor, "first flags")
    apply(change.archive_flag("production", "summer_promo"), scene.actor, "the summer is over")
    apply(change.set_share("production", "new_checkout", "canary", "10%"), scene.actor, "healthy")
    visit(scene, visitors)
    tell(scene, "web-1", 4711)
    apply(change.kill("production", "search_limits"), Actor("person", "cleo@example.com"), "INC-77")
    tell(scene, "web-1", 4712, lost={"queue_full": 12})
    tell(scene, "worker-2", 90, stream=True)
    stage(scene)


def stage(scene: Scene) -> None:
    """Staging: some flags as in production, some ahead, one that only it has."""
    app = scene.app
    if all(one.key != "staging" for one in app.store.environments()):
        app.store.create_environment("staging", scene.actor)
    ahead = FLAGS.replace("plan: [pro, team]", "plan: [pro, team, trial]")
    ahead = ahead.replace("country: {not_in: [DE, FR]}", "segment: early").replace(
        "segments:\n", "segments:\n  early:\n    when: {country: {not_in: [DE]}}\n"
    )
    staff = "{name: staff, when: {segment: staff}, serve: on}"
    ahead += f"\n  only_in_staging:\n    rules:\n      - {staff}\n"
    app.changes.apply(change.push("staging", ahead), scene.actor, "what comes next")


def tell(
    scene: Scene, host: str, pid: int, *, stream: bool = False, lost: Mapping[str, int] = {}
) -> None:
    """A process says that it has the present revision."""
    env = scene.app.store.environment("production")
    known = scene.app.instances
    said = f"{host}-{pid}; host={host}; pid={pid}; sdk=flagloop-python/0.1.0".encode()
    if stream:
        known.opened(env.id, 1, said, env.name.encode())
    else:
        known.polled(env.id, 1, said, env.name.encode())
    who = introduced(said)
    if lost and who is not None:
        known.delivered(env.id, 1, who, env.name, lost)
    known.settle()


def add_flag(scene: Scene, key: str) -> str:
    """A flag for one test alone; the address of its page."""
    text = (
        f"{key}:\n"
        "  # keep me\n"
        f"  description: Made for the test of {key}\n"
        "  variants: {control: blue, treatment: green}\n"
        "  default: control\n"
        "  off: control\n"
        "  rules:\n"
        "    - {name: canary, share: 5%, serve: treatment}  # a first look\n"
    )
    planned = change.put_item("production", "flags", key, text)
    scene.app.changes.apply(planned, scene.actor, "for a test")
    return f"{scene.url}/environments/production/flags/{key}"


def item_text(scene: Scene, key: str) -> str:
    """The stored text of a flag."""
    return scene.app.store.document("production").document.items["flags", key].text


def visit(scene: Scene, visitors: int) -> None:
    """Send what the SDK would: counts, recorded contexts, exposures and events."""
    app = scene.app
    env = app.store.environment("production")
    stored = app.store.document("production")
    ruleset = Ruleset(stored.document.mapping)
    now = time.time_ns() // 1_000_000
    counts: dict[tuple[str, str | None, str | None, str, int], int] = {}
    contexts, events = [], []
    for number in range(visitors):
        at = now - (visitors - number) * 20_000
        context = {
            "key": f"u-{number}",
            "plan": ("free", "free", "pro", "team")[number % 4],
            "country": ("DE", "US", "FR")[number % 3],
        }
        contexts.append(context)
        for flag in ruleset.names():
            decision = ruleset.evaluate(flag, context, now=at / 1000)
            key = (flag, decision.variant, decision.rule, decision.reason.value, at // 60_000)
            counts[key] = counts.get(key, 0) + 1 + number % 7
            if decision.exposed is not None:
                events.append(exposure(decision, context["key"], at))
        if number % 5 == 0:
            events.append(event("sign_up", context["key"], at + 1000))
    names = ("flag", "variant", "rule", "reason", "minute")
    batch = {
        "batch": str(uuid.uuid4()),
        "sent": now,
        "sdk": "flagloop-python/0.1.0",
        "instance": {"id": "i-1", "host": "web-1", "pid": 4242},
        "revision": stored.name,
        "lost": [],
        "counts": [{**dict(zip(names, key, strict=True)), "n": n} for key, n in counts.items()],
        "contexts": contexts,
        "events": events,
    }
    raw = json.dumps(batch).encode()
    app.events.submit(env.id, None, now, decode_batch(raw)).result(10)


def exposure(decision: Any, unit: str, at: int) -> dict[str, Any]:
    """The wire form of an exposure."""
    return {
        "id": str(uuid.uuid4()),
        "type": "exposure",
        "at": at,
        "flag": decision.flag,
        "variant": decision.variant,
        "unit": unit,
        "unit_by": "key",
        "rule": decision.rule,
        "experiment": decision.experiment,
    }


def event(name: str, unit: str, at: int) -> dict[str, Any]:
    """The wire form of an event."""
    return {
        "id": str(uuid.uuid4()),
        "type": "event",
        "at": at,
        "event": name,
        "units": {"key": unit},
    }


def chromium(*, javascript: bool = True) -> Chrome:
    """A headless Chromium; the caller quits it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in QUIET:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not javascript:
        blocked = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", blocked)
    service = webdriver.ChromeService(str(CHROMEDRIVER))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(30)
    return driver


def size(driver: Chrome, width: int, height: int = 900) -> None:
    """Give the page a window of this size."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def scheme(driver: Chrome, name: str) -> None:
    """Let the system prefer `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def sign_in(driver: Chrome, scene: Scene, token: str | None = None) -> None:
    """Give the browser a session without the form."""
    driver.get(f"{scene.url}/static/favicon.svg")
    cookie = {"name": "flagloop_session", "value": token or scene.session(), "path": "/"}
    driver.add_cookie(cookie)


TRIED = "context=%7B%22key%22%3A%22u-42%22%2C%22country%22%3A%22US%22%2C%22plan%22%3A%22free%22%7D"
"""A context in the address of the playground."""

GAINED = "key=u-36&name=country&value=DE&name=plan&value=free"
"""One that a raised share of `new_checkout` has gained."""


SECTIONS = ("segments", "metrics", "layers", "holdouts", "experiments")


def addresses(scene: Scene) -> dict[str, str]:
    """Every page by a name that is good for a file."""
    production = f"{scene.url}/environments/production"
    development = f"{scene.url}/environments/development"
    flag = f"{production}/flags/cta_color"
    newest = scene.app.store.environment("production").revision
    return {
        "flags": f"{production}/flags",
        "flags-filtered": f"{production}/flags?q=check&state=live",
        "flags-none-found": f"{production}/flags?q=nothing-like-it",
        "flags-stale": f"{production}/flags?stale=yes&sort=state",
        "flags-empty": f"{development}/flags",
        "archive": f"{production}/archive",
        "archive-empty": f"{development}/archive",
        "archive-preview": f"{production}/reports/archive?flag=old_banner&flag=new_checkout",
        **{one: f"{production}/{one}" for one in SECTIONS},
        **{f"{one}-empty": f"{development}/{one}" for one in SECTIONS},
        "segment": f"{production}/segments/staff",
        "metric": f"{production}/metrics/sign_up",
        "metric-silent": f"{production}/metrics/errors",
        "layer": f"{production}/layers/landing_page",
        "holdout": f"{production}/holdouts/growth_2026",
        "experiment": f"{production}/experiments/cta_color_2026",
        "experiment-draft": f"{production}/experiments/headline_2026",
        "flag": flag,
        "flag-done": f"{production}/flags/search_limits?done={newest}",
        "flag-kill": f"{flag}?kill=1",
        "flag-rollout": f"{production}/flags/new_ranker",
        "share": f"{production}/flags/new_checkout/reports/share/canary",
        "share-preview": f"{production}/flags/new_checkout/reports/share/canary?share=40",
        "share-unjudged": f"{flag}/reports/share/staff?share=50",
        "edit": f"{flag}/edit",
        "edit-rollout": f"{production}/items/flags/new_ranker/edit",
        "edit-segment": f"{production}/items/segments/staff/edit",
        "edit-experiment": f"{production}/items/experiments/cta_color_2026/edit",
        "new-metric": f"{production}/items/metrics/new",
        "new-flag": f"{production}/new-flag",
        "flag-history": f"{flag}/history",
        "playground": f"{production}/playground",
        "playground-empty": f"{development}/playground",
        "playground-answer": f"{production}/playground?{TRIED}&flag=new_checkout",
        "playground-past": f"{production}/playground?{GAINED}&flag=new_checkout"
        f"&revision={newest - 2}",
        "playground-json": f"{production}/playground?context=%7B&as=json",
        "instances": f"{production}/instances",
        "instances-empty": f"{development}/instances",
        "history": f"{production}/history",
        "history-compare": f"{production}/history?from={newest - 1}&to={newest}",
        "revision": f"{production}/revisions/{newest}",
        "revert": f"{production}/reports/revert?number={newest - 1}",
        "document": f"{production}/document",
        "document-empty": f"{development}/document",
        "keys": f"{production}/keys",
        "environments": f"{scene.url}/environments",
        "compare": f"{scene.url}/environments/staging/compare/production",
        "compare-same": f"{scene.url}/environments/production/compare/production",
        "promote": f"{production}/reports/promote/staging/flags/new_checkout",
        "promote-lacking": f"{production}/reports/promote/staging/flags/new_checkout?chosen=1",
        "people": f"{scene.url}/people",
        "account": f"{scene.url}/account",
        "history-filtered": f"{production}/history?actor=cleo&action=kill",
        "history-none": f"{production}/history?actor=nobody",
        "audit": f"{scene.url}/audit",
        "audit-filtered": f"{scene.url}/audit?environment=production&action=kill",
        "audit-checked": f"{scene.url}/reports/audit",
        "glossary": f"{scene.url}/glossary",
        "api": f"{scene.url}/docs/api",
        "not-found": f"{production}/flags/no_such_flag",
    }

"""Text of other people is text on every page: no script runs, no element comes from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import hostile
import pytest
import walk

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome

WATCH = """
window.told = [];
addEventListener("securitypolicyviolation", (one) =>
  told.push(`${one.violatedDirective} refused ${one.blockedURI} ${one.sample}`), true);
for (const name of ["alert", "confirm", "prompt"]) window[name] = () => told.push(name);
"""

FOUND = """
const made = [...document.querySelectorAll(
  "x-evil, [onerror], [onload], [href^='javascript:' i], [src='x'], main script, img")];
const all = document.documentElement;
const fields = [...document.querySelectorAll("input, textarea")].map((one) => one.value);
const text = all.textContent + fields.join(" ") + document.title
  + [...document.querySelectorAll("[title], [aria-label]")].map((one) =>
      one.title + one.ariaLabel).join(" ");
const wrong = made.map((one) => "made " + one.outerHTML.slice(0, 99));
if (window.ran !== undefined) wrong.push("a script ran");
if (text.includes("50337")) wrong.push("a template was computed");
const walker = document.createTreeWalker(all, NodeFilter.SHOW_TEXT);
for (let one = walker.nextNode(); one; one = walker.nextNode())
  if (/[\\u202a-\\u202e\\u2066-\\u2069]/.test(one.data) && !one.parentElement.closest("textarea"))
    wrong.push(`turns the line: ${one.parentElement.tagName} ${one.data.trim().slice(0, 60)}`);
return [wrong.concat(window.told), text];
"""

REDRAW = """
const done = arguments[arguments.length - 1];
Promise.all([...document.querySelectorAll("[data-live]")].map(async (place) => {
  place.innerHTML = await (await fetch(place.dataset.live)).text();
})).then((all) => done(all.length));
"""

TYPED = {
    "flags/cta_color/edit": ("#text", "reports/draft"),
    "items/segments/staff/edit": ("#text", "reports/draft"),
    "flags/new_checkout/reports/share/canary": ("#share", "reports/share"),
}
"""Pages that draw what the server answers while one types: the field, and what they ask."""

ANSWERED = """
return performance.getEntriesByType("resource").some((one) =>
  one.name.includes(arguments[0]) && one.responseEnd > 0);
"""

ASKED = {
    "flags": "{production}/flags?q={evil}&owner={evil}&tag={evil}&state={evil}&done=1",
    "flag": "{production}/flags/{evil}",
    "context": "{production}/playground?context={evil}&flag={evil}&at={evil}",
    "context-made": "{production}/playground?context=%7B%22key%22%3A%22{json}%22%2C%22{json}"
    "%22%3A%22{json}%22%7D",
    "share": "{production}/flags/new_checkout/reports/share/canary?share={evil}",
    "history": "{production}/history?from={evil}&to={evil}&actor={evil}",
    "environment": "/environments/{evil}/flags",
    "sign-in": "/login?next=javascript:ran=1//{evil}",
    "nowhere": "/{evil}",
}
"""Addresses that a link in a mail may have."""

SEEN = {
    "actor",
    "attribute",
    "constant",
    "context-name",
    "context-value",
    "description",
    "event",
    "experiment-owner",
    "flag-comment",
    "head-comment",
    "host",
    "hypothesis",
    "inner",
    "key",
    "kill-reason",
    "killed",
    "killer",
    "layer-unit",
    "logged",
    "lost",
    "member",
    "owner",
    "person",
    "property",
    "reason",
    "recorded",
    "rule-comment",
    "sdk",
    "segment-attribute",
    "segment-constant",
    "tag",
    "unit",
    "value",
}
"""Fields that some page shows, so that the test cannot pass by looking at nothing."""


@pytest.fixture(scope="module")
def _spoilt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    import scene as stage

    with stage.serving(tmp_path_factory.mktemp("spoilt")) as served:
        stage.fill(served, visitors=20)
        served.token = served.session()
        hostile.spoil(served)
        yield served


@pytest.fixture
def spoilt(_present: None, request: pytest.FixtureRequest) -> Scene:
    """A server with such text in every field."""
    found: Scene = request.getfixturevalue("_spoilt")
    return found


@pytest.fixture
def watched(signed_out: Chrome) -> Iterator[Chrome]:
    """Chromium that notes what a page must not do."""
    command = "Page.addScriptToEvaluateOnNewDocument"
    made = signed_out.execute_cdp_cmd(command, {"source": WATCH})
    yield signed_out
    signed_out.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)


def asked(driver: Chrome, spoilt: Scene) -> Iterator[str]:
    """Addresses that carry such text themselves."""
    production = f"{spoilt.url}/environments/production"
    text = quote(hostile.worse("asked"), safe="")
    inner = quote(hostile.evil("asked-context").replace('"', '\\"'), safe="")
    for name, address in ASKED.items():
        driver.get(
            spoilt.url * address.startswith("/")
            + address.format(production=production, evil=text, json=inner)
        )
        yield f"asked-{name}"


def redrawn(driver: Chrome, spoilt: Scene, tools: Any) -> Iterator[str]:
    """Parts that scripts put into a page: those that are live, and those drawn while one types."""
    production = f"{spoilt.url}/environments/production"
    for name in ("flags/cta_color", "instances"):
        driver.get(f"{production}/{name}")
        assert driver.execute_async_script(REDRAW) > 0
        yield f"live-{name}"
    for name, (field, address) in TYPED.items():
        driver.get(f"{production}/{name}")
        driver.find_element("css selector", field).send_keys(" ")
        tools.until(lambda asks=address: driver.execute_script(ANSWERED, asks), "what is drawn")
        yield f"typed-{name}"


def test_no_text_is_taken_for_anything_else(watched: Chrome, spoilt: Scene, tools: Any) -> None:
    """Scripts, elements, links, templates and turned lines in every field, on every page."""
    wrong, seen = [], set()
    pages = (walk.walk(watched, spoilt), asked(watched, spoilt), redrawn(watched, spoilt, tools))
    for name in chain(*pages):
        found, text = watched.execute_script(FOUND)
        wrong += [f"{name}: {one}" for one in found]
        seen |= set(re.findall("evil-([a-z-]+)", text))
    assert not wrong, "\n".join(wrong)
    assert SEEN - seen == set()

"""What holds of every page, whatever it shows; a page that is missing here fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import accessible
import probes
import pytest
import walk

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome

NO_PAGES = {
    "pages.static",
    "pages.icon",
    "pages.start",  # leads on to the flags
    "pages.document_text",
    "pages.export_audit",
    "pages.flag_live",
    "pages.instances_live",
}
"""Routes that answer GET with something else than a page of their own."""

LOOKS = ((1280, "light"), (390, "light"), (390, "dark"), (1280, "dark"))

SLOW = {"offline": False, "latency": 40, "downloadThroughput": -1, "uploadThroughput": -1}
"""A line on which scripts arrive after a page was painted; milliseconds."""

PACE = 20_000
"""Bytes a second, by which a page comes in parts."""


@pytest.fixture(scope="module")
def _fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    import scene as stage

    with stage.serving(tmp_path_factory.mktemp("fresh")) as served:
        stage.fill(served)
        served.token = served.session()
        yield served


@pytest.fixture
def scene(_present: None, request: pytest.FixtureRequest) -> Scene:
    """A server of its own: what other tests leave is not on these pages."""
    found: Scene = request.getfixturevalue("_fresh")
    return found


@pytest.fixture(scope="session")
def _axe() -> str:
    return accessible.installed()


@pytest.fixture
def axe(_axe: str, missing_part: Callable[[str], None]) -> Callable[..., list[str]]:
    """`axe(driver)`: what the page violates."""
    if _axe:
        missing_part(_axe)
    return accessible.violations


def test_every_page_is_walked(scene: Scene, tools: Any) -> None:
    """Each route that answers with a page has an address among those that are looked at."""
    rules = scene.app.flask.url_map.iter_rules()
    pages = {
        rule.endpoint
        for rule in rules
        if "GET" in (rule.methods or ())
        and (rule.endpoint.startswith("pages.") or rule.endpoint == "openapi.reference")
    }
    known = [*tools.addresses(scene).values(), *walk.signed_out(scene).values()]
    assert pages - NO_PAGES - {walk.endpoint(scene, address) for address in known} == set()


def test_every_page_holds_the_checklist(
    signed_out: Chrome, scene: Scene, tools: Any, axe: Callable[..., list[str]]
) -> None:
    """Heading, state, one primary action, names, contrast, width, stillness, and axe."""
    driver = signed_out
    wrong, titles = [], set()
    driver.get_log("browser")
    for name in walk.walk(driver, scene):
        titles.add(driver.title)
        found = [f"it moves: {one}" for one in driver.execute_async_script(probes.SHIFTS)]
        found += driver.execute_script(probes.HEAD)
        found += said_in_console(driver, name)
        found += faint(driver, tools)
        for width, theme in LOOKS:
            tools.size(driver, width, 9000)  # nothing sticks over something else
            tools.scheme(driver, theme)
            found += [f"axe at {width} {theme}: {one}" for one in axe(driver)]
        found += wide(driver, tools)
        wrong += [f"{name}: {one}" for one in found]
        tools.size(driver, 1280)
        tools.scheme(driver, "light")
    assert not wrong, "\n".join(wrong)
    assert len(titles) > 20


def said_in_console(driver: Chrome, name: str) -> list[str]:
    """What the browser complains about, but for the status of pages that refuse."""
    allowed = ["'beforeunload'"]  # the walk leaves a text that is not saved
    if name in walk.REFUSED:
        allowed.append("the server responded with a status")
    entries = [str(one["message"]) for one in driver.get_log("browser")]
    return [one for one in entries if not any(each in one for each in allowed)]


def faint(driver: Chrome, tools: Any) -> list[str]:
    """Names, and contrast where axe does not look."""
    found = []
    backgrounds = set()
    nameless, twice, heads, language = driver.execute_script(probes.NAMED)
    if nameless or twice or heads != 1 or language != "en":
        found.append(f"nameless {nameless}, ids twice {twice}, {heads} h1, {language}")
    for width, theme in LOOKS:
        tools.size(driver, width)
        tools.scheme(driver, theme)
        texts, background = driver.execute_script(probes.CONTRAST)
        backgrounds.add(background)
        found += [f"faint at {width} {theme}: {one}" for one in texts]
    if len(backgrounds) != 2:
        found.append("the same background in both themes")
    return found


def wide(driver: Chrome, tools: Any) -> list[str]:
    """What does not fit, every menu opened."""
    found = []
    for width in (1280, 390):
        tools.size(driver, width)
        over, beyond = driver.execute_script(probes.OVERFLOW)
        if over > 0 or beyond:
            found.append(f"{over} px too wide at {width}, {beyond}")
        found += [f"cut at {width}: {one}" for one in driver.execute_script(probes.CUT)]
    return found


def test_nothing_moves_on_a_phone_while_scripts_are_on_their_way(
    driver: Chrome, scene: Scene, tools: Any
) -> None:
    """What a script brings has its place before, so that no button goes from under a thumb."""
    tools.size(driver, 390)
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", SLOW)
    wrong = []
    try:
        for name, address in tools.addresses(scene).items():
            driver.get(address)
            wrong += [f"{name}: {one}" for one in driver.execute_async_script(probes.SHIFTS)]
    finally:
        driver.execute_cdp_cmd("Network.disable", {})
    assert not wrong, "\n".join(wrong)


def test_nothing_moves_while_a_page_comes_in_parts(
    driver: Chrome, scene: Scene, tools: Any
) -> None:
    """Columns find their widths before anything is seen, however slow the line is."""
    addresses = tools.addresses(scene)
    driver.get(addresses["flags"])  # what all pages need is there then
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**SLOW, "downloadThroughput": PACE})
    wrong = []
    try:
        for name in ("flags", "history", "keys", "people", "experiment"):
            driver.get(addresses[name])
            wrong += [f"{name}: {one}" for one in driver.execute_async_script(probes.SHIFTS)]
    finally:
        driver.execute_cdp_cmd("Network.disable", {})
    assert not wrong, "\n".join(wrong)


FOOT = """
const places = (all) => JSON.stringify(all.map((one) => one.getBoundingClientRect().toJSON()));
const foot = [...document.querySelectorAll(".foot a, .foot form, .foot span, .foot button")];
const whole = foot.map((_, n) => places(foot.slice(0, n + 1)));
const moved = [];
while (foot.at(-1)?.matches("span, button")) {
  const last = foot.pop();
  last.remove();
  if (places(foot) !== whole[foot.length - 1]) moved.push(last.outerHTML);
}
return [moved, whole.length - foot.length];
"""
"""What else in the foot stands elsewhere without its last parts, and how many these are."""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_foot_that_is_painted_in_parts_does_not_move(
    driver: Chrome, scene: Scene, tools: Any, width: int
) -> None:
    """A browser paints what has come so far, at any place; the rest is added behind it."""
    tools.size(driver, width)
    driver.get(f"{scene.url}/glossary")
    assert driver.execute_script(FOOT) == [[], 4]


def test_a_page_that_moves_is_noticed(driver: Chrome, scene: Scene) -> None:
    """The measure of stillness sees text that is pushed down."""
    driver.get(f"{scene.url}/environments/production/flags")
    assert driver.execute_async_script(probes.SHIFTS) == []
    driver.execute_script(
        "const gap = document.createElement('div'); gap.style.height = '90px';"
        "document.querySelector('main').prepend(gap)"
    )
    assert driver.execute_async_script(probes.SHIFTS) != []

"""What people do with lists: find and kill, choose and archive, look at who holds which range."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome

MOST_BYTES = 60 * 1024
LOADED = re.compile(r'<(?:link rel="stylesheet" href|script type="module" src)="([^"]+)"')
IMPORTED = re.compile(r'^import .*?"(\./[^"]+)"', re.MULTILINE)


class Hands:
    """Does what a person does and counts it: one action is one thing typed or clicked."""

    def __init__(self, driver: Chrome, tools: Any) -> None:
        self.driver = driver
        self.tools = tools
        self.actions = 0

    def type(self, *keys: str) -> None:
        """Type into whatever has the focus."""
        self.actions += 1
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def click(self, selector: str) -> None:
        """Click the first element of the selector as soon as it is there."""
        self.actions += 1

        def clicked() -> bool:
            self.driver.find_element(By.CSS_SELECTOR, selector).click()
            return True

        self.tools.until(clicked, selector)

    def sees(self, text: str) -> None:
        """Wait for the text; looking is no action."""
        say = "return document.readyState === 'complete' && document.body.innerText"
        self.tools.until(lambda: text in (self.driver.execute_script(say) or ""), f"'{text}'")


@pytest.fixture
def hands(driver: Chrome, tools: Any) -> Callable[[str], Hands]:
    """`hands(address)` is somebody who looks at that page."""

    def at(address: str) -> Hands:
        driver.get(address)
        return Hands(driver, tools)

    return at


@pytest.mark.parametrize("width", [1280, 390])
def test_a_flag_is_found_and_killed_in_three_actions(
    hands: Callable[[str], Hands], scene: Scene, tools: Any, width: int
) -> None:
    """From the start page: search, kill on its row, give the reason and confirm; then undo."""
    key = f"quick_kill_{width}"
    tools.add_flag(scene, key)
    person = hands(f"{scene.url}/")
    tools.size(person.driver, width)
    person.sees("Flags in production")
    person.type("/", key, Keys.ENTER)
    person.sees("flags matches.")
    person.click("[data-kill-link]")
    person.sees("at once")
    focused = "return document.activeElement.id"
    tools.until(lambda: person.driver.execute_script(focused) == "reason", "the reason's field")
    person.type("INC-7", Keys.ENTER)
    person.sees(f"Killed {key}.")
    assert person.actions <= 3
    assert "killed:" in tools.item_text(scene, key)
    person.click(".note.done button")
    person.sees(f"Restored {key}")
    assert "killed:" not in tools.item_text(scene, key)


def test_chosen_flags_are_archived_together_and_brought_back(
    hands: Callable[[str], Hands], scene: Scene, tools: Any
) -> None:
    """The boxes count, the preview names what refers to them, undo brings both back."""
    for key in ("bulk_one", "bulk_two"):
        tools.add_flag(scene, key)
    before = scene.app.store.document("production").document.raw
    person = hands(f"{scene.url}/environments/production/flags?q=bulk_")
    person.click("[data-pick][value=bulk_one]")
    person.sees("1 flag is chosen.")
    person.click("[data-pick-all] input")
    person.sees("2 flags are chosen.")
    person.click("#chosen button")
    person.sees("2 flags can go")
    person.click("#reason")
    person.type("not needed", Keys.ENTER)
    person.sees("Archived bulk_one, bulk_two.")
    assert "bulk_one" not in scene.app.store.document("production").document.text
    person.click(".note.done button")
    document = scene.app.store.document
    tools.until(lambda: document("production").document.raw == before, "both to be back")


def test_archiving_needs_no_javascript(scriptless: Chrome, scene: Scene, tools: Any) -> None:
    """Boxes, preview and reason are plain forms; so is the way back from the archive."""
    tools.add_flag(scene, "lone_flag")
    person = Hands(scriptless, tools)
    scriptless.get(f"{scene.url}/environments/production/flags?q=lone_flag")
    person.click("[data-pick][value=lone_flag]")
    person.click("#chosen button")
    person.click("#reason")
    person.type("not needed", Keys.ENTER)
    person.sees("Archived lone_flag.")
    person.click("form[action$='archive/lone_flag/restore'] button")
    person.sees("Brought lone_flag back from the archive.")
    assert "keep me" in tools.item_text(scene, "lone_flag")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_map_shows_who_holds_which_range(
    driver: Chrome, scene: Scene, tools: Any, width: int
) -> None:
    """Bars are as wide as their ranges, no bar of one lane covers another, all have names."""
    tools.size(driver, width)
    driver.get(f"{scene.url}/environments/production/layers/landing_page")
    whole = driver.find_element(By.CSS_SELECTOR, ".layer .track").rect
    bars = {}
    for one in driver.find_elements(By.CSS_SELECTOR, ".layer > svg"):
        title = one.find_element(By.TAG_NAME, "title").get_attribute("textContent")
        held = one.find_elements(By.CSS_SELECTOR, ".held")
        if held:
            bars[title] = held[0].rect
    assert {
        title: round((bar["width"] + 3) / whole["width"] * 100) for title, bar in bars.items()
    } == {
        "cta_color_2026, running: 0% to 50%": 50,
        "hero_image_2026, decided: 50% to 70%": 20,
        "headline_2026, draft: 60% to 95%": 35,
    }
    decided = bars["hero_image_2026, decided: 50% to 70%"]
    draft = bars["headline_2026, draft: 60% to 95%"]
    assert decided["y"] + decided["height"] <= draft["y"]


@pytest.mark.parametrize("width", [1280, 390])
def test_groups_of_the_navigation_lead_on(
    hands: Callable[[str], Hands], scene: Scene, tools: Any, width: int
) -> None:
    """Opened by the keyboard, closed by Escape; the group says where one is."""
    person = hands(f"{scene.url}/environments/production/flags")
    tools.size(person.driver, width)
    group = person.driver.find_element(By.CSS_SELECTOR, "nav .group summary")
    group.send_keys(Keys.ENTER)
    link = person.driver.find_element(By.LINK_TEXT, "Layers")
    tools.until(link.is_displayed, "the group to open")
    box = link.rect
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    group.send_keys(Keys.ESCAPE)
    tools.until(lambda: not link.is_displayed(), "the group to close")
    group.send_keys(Keys.ENTER)
    link.click()
    person.sees("Layers of production")
    here = person.driver.find_element(By.CSS_SELECTOR, "nav .group summary.here")
    assert "Definitions" in here.text


def test_no_page_loads_more_than_60_kb_of_ours(scene: Scene, tools: Any) -> None:
    """The scripts and styles of each page, with what its scripts import."""
    folder = scene.app.flask.blueprints["pages"].static_folder
    assert folder is not None
    files = {path.name: path.read_text() for path in Path(folder).iterdir()}

    def with_imports(name: str, seen: set[str]) -> set[str]:
        if name not in seen:
            seen.add(name)
            for other in IMPORTED.findall(files[name]):
                with_imports(urljoin(f"/{name}", other).lstrip("/"), seen)
        return seen

    heavy = {}
    cookies = {"flagloop_session": scene.token}
    for name, address in tools.addresses(scene).items():
        text = requests.get(address, cookies=cookies, timeout=30).text
        loaded: set[str] = set()
        for source in LOADED.findall(text):
            with_imports(source.rpartition("/")[2], loaded)
        assert "flagloop.css" in loaded, name
        assert "keyboard.js" in loaded, name
        size = sum(len(files[one].encode()) for one in loaded)
        if size > MOST_BYTES:
            heavy[name] = size
    assert heavy == {}

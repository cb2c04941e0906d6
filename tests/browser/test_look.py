"""What eyes and fingers meet: themes, the way to the kill, keys, the skip link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome


def test_the_theme_switch_beats_the_system(driver: Chrome, scene: Scene, tools: Any) -> None:
    """A chosen theme stays over pages, whatever the system prefers."""
    driver.get(f"{scene.url}/glossary")
    read = "return getComputedStyle(document.body).backgroundColor"
    light = driver.execute_script(read)
    driver.find_element(By.CSS_SELECTOR, "button[name=theme][value=dark]").click()
    tools.until(lambda: driver.execute_script(read) != light, "the dark theme")
    driver.get(f"{scene.url}/environments/production/flags")
    assert driver.execute_script(read) != light
    assert driver.find_element(By.TAG_NAME, "html").get_attribute("data-theme") == "dark"


@pytest.mark.parametrize("width", [1280, 390])
def test_kill_is_in_view_without_scrolling(
    driver: Chrome, scene: Scene, tools: Any, width: int
) -> None:
    """On a flag's page the kill button is in the first screen."""
    tools.size(driver, width, 700)
    driver.get(f"{scene.url}/environments/production/flags/cta_color")
    button = driver.find_element(By.CSS_SELECTOR, "details[data-kill] summary")
    assert button.rect["y"] + button.rect["height"] < 700


def test_keyboard_moves_helps_and_closes(driver: Chrome, scene: Scene, tools: Any) -> None:
    """`j` and `k` move the focus over rows, `?` opens the help, Escape closes it."""
    driver.get(f"{scene.url}/environments/production/flags")

    def focused() -> str:
        return driver.switch_to.active_element.text

    keys = driver.find_element(By.TAG_NAME, "body")
    tools.until(lambda: driver.execute_script("return document.readyState") == "complete", "load")
    rows = [one.text for one in driver.find_elements(By.CSS_SELECTOR, ".row-link")]
    keys.send_keys("j")
    keys.send_keys("j")
    assert focused() == rows[1]
    keys.send_keys("k")
    assert focused() == rows[0]
    keys.send_keys("?")
    help_box = driver.find_element(By.CSS_SELECTOR, "dialog[data-help]")
    assert help_box.is_displayed()
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    tools.until(lambda: not help_box.is_displayed(), "the help to close")


def test_the_skip_link_comes_first(driver: Chrome, scene: Scene, tools: Any) -> None:
    """The first Tab reaches a link to the content, and it can be seen then."""
    driver.get(f"{scene.url}/environments/production/flags")
    driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    link = driver.switch_to.active_element
    assert link.get_attribute("textContent") == "Skip to the content"
    tools.until(lambda: link.rect["y"] > 0, "the link to come into view")


@pytest.mark.parametrize("secure", [True, False])
def test_a_key_is_copied_whatever_the_address(
    driver: Chrome, scene: Scene, tools: Any, secure: bool
) -> None:
    """Also where a page came by plain HTTP, to which browsers give no clipboard."""
    key = f"copied_{'with' if secure else 'without'}"
    driver.get(f"{tools.add_flag(scene, key)}?kill=1")
    if not secure:
        driver.execute_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    driver.find_element(By.CSS_SELECTOR, "button[data-copy]").click()
    driver.find_element(By.TAG_NAME, "body").send_keys("x")
    field = driver.find_element(By.ID, "reason")
    tools.until(field.is_displayed, "the dialog")

    def pasted() -> bool:
        field.clear()
        field.send_keys(Keys.CONTROL + "v")
        return bool(field.get_attribute("value") == key)

    tools.until(pasted, "the key to be copied")

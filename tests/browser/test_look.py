"""Every page at both widths and in both themes: nothing overflows, everything can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome

OVERFLOW = """
for (const menu of document.querySelectorAll("details")) menu.open = true;
const wide = [];
const limit = document.documentElement.clientWidth;
for (const one of document.querySelectorAll("body *")) {
  const box = one.getBoundingClientRect();
  const clipped = one.closest("pre, textarea, .skip, .cards thead, .layer > *");
  if (clipped || !one.checkVisibility()) continue;
  if ((box.right > limit + 1 || box.left < -1) && box.width > 1)
    wide.push(one.tagName + "." + one.className + " " + Math.round(box.right));
}
return [document.documentElement.scrollWidth - limit, wide.slice(0, 5)];
"""

CONTRAST = """
const rgb = (text) => {
  const m = text.match(/[\\d.]+/g).map(Number);
  return text.startsWith("color(srgb") ? [m[0] * 255, m[1] * 255, m[2] * 255, m[3] ?? 1]
                                        : [m[0], m[1], m[2], m[3] ?? 1];
};
const light = ([r, g, b]) => {
  const f = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
};
const behind = (one) => {
  for (let place = one; place; place = place.parentElement) {
    const colour = rgb(getComputedStyle(place).backgroundColor);
    if (colour[3] === 1) return colour;
  }
  return [255, 255, 255, 1];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text = walker.nextNode(); text; text = walker.nextNode()) {
  const one = text.parentElement;
  if (!text.data.trim() || !one.checkVisibility({ visibilityProperty: true })) continue;
  const front = light(rgb(getComputedStyle(one).color)), back = light(behind(one));
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (ratio < 4.5) found.push(ratio.toFixed(2) + " " + text.data.trim().slice(0, 40));
}
return [found, getComputedStyle(document.body).backgroundColor];
"""

NAMED = """
const nameless = [];
const fields = "input:not([type=hidden]), select, textarea:not([hidden])";
for (const one of document.querySelectorAll(fields))
  if (!one.labels?.length && !one.ariaLabel) nameless.push(one.outerHTML.slice(0, 80));
for (const one of document.querySelectorAll("button, a, summary"))
  if (!one.hidden && !one.textContent.trim() && !one.ariaLabel)
    nameless.push(one.outerHTML.slice(0, 80));
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
const twice = ids.filter((id, place) => ids.indexOf(id) !== place);
return [nameless, twice, document.querySelectorAll("h1").length, document.documentElement.lang];
"""


def test_every_page_holds_the_checklist(driver: Chrome, scene: Scene, tools: Any) -> None:
    """No overflow, contrast of 4.5 in both themes, every field named, one h1, no console error."""
    wrong = []
    titles = set()
    driver.get_log("browser")
    for name, address in tools.addresses(scene).items():
        driver.get(address)
        titles.add(driver.title)
        for width in (390, 1280):
            tools.size(driver, width)
            over, wide = driver.execute_script(OVERFLOW)
            if over > 0 or wide:
                wrong.append(f"{name} at {width}: {over} px too wide, {wide}")
        backgrounds = set()
        for theme in ("light", "dark"):
            tools.scheme(driver, theme)
            faint, background = driver.execute_script(CONTRAST)
            backgrounds.add(background)
            if faint:
                wrong.append(f"{name} {theme}: {faint}")
        if len(backgrounds) != 2:
            wrong.append(f"{name}: the same background in both themes")
        nameless, twice, heads, language = driver.execute_script(NAMED)
        if nameless or twice or heads != 1 or language != "en":
            wrong.append(f"{name}: nameless {nameless}, ids twice {twice}, {heads} h1, {language}")
        for entry in driver.get_log("browser"):
            if not (name == "not-found" and "404" in entry["message"]):
                wrong.append(f"{name}: {entry['message']}")
    assert wrong == []
    assert len(titles) > 15


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

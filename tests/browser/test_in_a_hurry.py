"""Pressed twice, edited while saving, signed out meanwhile: what a browser does in a hurry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome

SHARE = "c:rules:0:share:set"


def shown(driver: Chrome) -> str:
    """All that is seen; nothing before the page is whole."""
    seen = "return document.readyState === 'complete' ? document.body.innerText : ''"
    return str(driver.execute_script(seen))


def write(driver: Chrome, place: str, value: str) -> None:
    """Into a field, without leaving it."""
    field = driver.find_element(By.ID, place)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys(value)


def press(driver: Chrome, text: str) -> None:
    """A button by what it says."""
    button = driver.find_element(By.XPATH, f"//button[normalize-space(.)='{text}']")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    ActionChains(driver).move_to_element(button).click().perform()


PRESSED_TWICE = """
const stopped = [];
document.addEventListener("submit", (event) => {
  stopped.push(event.defaultPrevented);
  event.preventDefault();  // the answer never comes
});
arguments[0].requestSubmit();
arguments[0].requestSubmit();
return stopped;
"""


def test_a_form_that_is_pressed_twice_is_sent_once(driver: Chrome, scene: Scene) -> None:
    """The second press makes no second key, whose secret nobody would see; a search may repeat."""
    driver.get(f"{scene.url}/environments/development/keys")
    driver.find_element(By.ID, "name").send_keys("made in a hurry")
    form = driver.find_element(By.CSS_SELECTOR, "main form[method=post]")
    assert driver.execute_script(PRESSED_TWICE, form) == [False, True]
    driver.get(f"{scene.url}/environments/production/flags")
    form = driver.find_element(By.CSS_SELECTOR, "form[role=search]")
    assert driver.execute_script(PRESSED_TWICE, form) == [False, False]


def test_a_card_that_is_changed_after_the_preview_is_not_lost(
    driver: Chrome, scene: Scene, tools: Any
) -> None:
    """Save does not take the text of before: that is saved only when it is taken back."""
    driver.get(tools.add_flag(scene, "changed_late") + "/edit")
    text = "return document.getElementById('text').value"
    tools.until(lambda: driver.find_elements(By.ID, SHARE), "the cards")
    write(driver, SHARE, "30")
    press(driver, "Show what it would do")
    tools.until(lambda: "Save in production" in shown(driver), "the preview")
    write(driver, SHARE, "40")
    press(driver, "Save in production")
    tools.until(lambda: "share: 40%" in driver.execute_script(text), "the later share")
    assert "The text has changed since." in shown(driver)
    assert "5%" in tools.item_text(scene, "changed_late")
    press(driver, "Undo last change")
    tools.until(lambda: "Save in production" in shown(driver), "what was shown")
    press(driver, "Save in production")
    tools.until(lambda: "Saved changed_late." in shown(driver), "the confirmation")
    assert "share: 30%" in tools.item_text(scene, "changed_late")


def test_a_page_says_that_its_numbers_stand_still(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Beside the state, which is what one looks at, and why."""
    driver.get(tools.add_flag(scene, "looked_at"))
    driver.delete_all_cookies()
    lead = ".lead [data-live-note]"
    tools.until(
        lambda: "You are signed out" in driver.find_element(By.CSS_SELECTOR, lead).text, "why"
    )

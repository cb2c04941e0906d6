"""Explain at a past time, compare and promote, revert, check the ledger: in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from flagloop_server import changes as change

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


def one(driver: Chrome, selector: str) -> WebElement:
    """The first element of a CSS selector."""
    return driver.find_element(By.CSS_SELECTOR, selector)


def click(driver: Chrome, tools: Any, text: str) -> None:
    """The button, link or summary that says `text`, once it is there."""
    path = f"//*[self::button or self::a or self::summary][contains(., '{text}')]"

    def clicked() -> bool:
        found = driver.find_element(By.XPATH, path)
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        found.click()
        return True

    tools.until(clicked, f"'{text}' to be there")


def arrive(driver: Chrome, tools: Any, text: str) -> None:
    """Wait until the page says `text`."""
    script = (
        "return document.readyState === 'complete'"
        " && document.body.textContent.replace(/\\s+/g, ' ').includes(arguments[0])"
    )
    tools.until(lambda: driver.execute_script(script, text), f"'{text}'")


def write(driver: Chrome, selector: str, text: str) -> None:
    """Fill a field that was empty or not."""
    field = one(driver, selector)
    field.clear()
    field.send_keys(text)


def test_explain_at_a_past_time(driver: Chrome, scene: Scene, tools: Any) -> None:
    """From a flag's page: who gets it now, what they got before the kill, and why; linkable."""
    page = tools.add_flag(scene, "explained")
    text = tools.item_text(scene, "explained").replace(
        "{name: canary, share: 5%", "{name: canary, when: {plan: pro}"
    )
    scene.app.changes.apply(
        change.put_item("production", "flags", "explained", text), scene.actor, "for pro"
    )
    scene.app.changes.apply(change.kill("production", "explained"), scene.actor, "INC-9")
    driver.get(page)
    click(driver, tools, "Try a context")
    arrive(driver, tools, "Put in a context")
    write(driver, "#key", "u-1")
    click(driver, tools, "Add attribute")
    assert len(driver.find_elements(By.CSS_SELECTOR, ".attribute")) == 3
    names = driver.find_elements(By.CSS_SELECTOR, "[name=name]")
    values = driver.find_elements(By.CSS_SELECTOR, "[name=value]")
    names[2].send_keys("plan")
    values[2].send_keys("pro" + Keys.ENTER)
    arrive(driver, tools, "Why explained gives control")
    assert "killed: INC-9" in one(driver, "#why").text
    assert "name=&" not in driver.current_url
    click(driver, tools, "Before the last change")
    arrive(driver, tools, "Why explained gives treatment")
    assert "Now it is another: control, off: killed" in one(driver, "#why").text
    assert "1 flag decides differently now." in one(driver, ".lead").text
    address = driver.current_url
    driver.get(f"{scene.url}/glossary")
    driver.get(address)
    arrive(driver, tools, "Why explained gives treatment")
    click(driver, tools, "why now")
    arrive(driver, tools, "Why explained gives control")


def test_the_playground_without_javascript(scriptless: Chrome, scene: Scene, tools: Any) -> None:
    """A form by GET: fields, JSON and back, a filter, a starter."""
    driver = scriptless
    driver.get(f"{scene.url}/environments/production/playground")
    starter = tools.until(lambda: driver.find_elements(By.CSS_SELECTOR, ".starters a"), "starters")
    unit = starter[0].text
    assert not one(driver, "[data-add]").is_displayed()  # it would do nothing
    starter[0].click()
    arrive(driver, tools, f"{unit} (")
    click(driver, tools, "As JSON")
    arrive(driver, tools, "As fields")
    write(driver, "#context", '{"key": "u-1", "plan": "pro", "country": "US"}')
    click(driver, tools, "As fields")
    arrive(driver, tools, "u-1 (plan pro, country US)")
    write(driver, "#q", "checkout")
    click(driver, tools, "Filter")
    tools.until(lambda: "new_checkout" in one(driver, "[data-row]").text, "its row to be the first")
    assert "rule beta" in one(driver, "[data-row]").text


def test_compare_and_promote(driver: Chrome, scene: Scene, tools: Any) -> None:
    """From the environments to what differs, the preview with what is missing, save, undo."""
    segment = "trusted:\n  when: {plan: team}\n"
    flag = "promoted:\n  rules:\n    - {name: all, when: {segment: trusted}, serve: on}\n"
    for section, key, text in (("segments", "trusted", segment), ("flags", "promoted", flag)):
        planned = change.put_item("staging", section, key, text)
        scene.app.changes.apply(planned, scene.actor, "made in staging")
    driver.get(f"{scene.url}/environments")
    click(driver, tools, "staging with production")
    arrive(driver, tools, "staging beside production")
    write(driver, "#q", "promoted" + Keys.ENTER)
    arrive(driver, tools, "1 item.")
    click(driver, tools, "Promote to production")
    arrive(driver, tools, "production lacks 1 item that it needs:")
    one(driver, "input[name=with]").click()
    click(driver, tools, "Show what it would do")
    arrive(driver, tools, "unknown segment")
    one(driver, "input[name=with]").click()
    click(driver, tools, "Show what it would do")
    arrive(driver, tools, "segments.trusted (new)")
    write(driver, "#reason", "proved in staging")
    click(driver, tools, "Promote to production")
    arrive(driver, tools, "Promoted promoted.")
    items = scene.app.store.document("production").document.items
    assert ("segments", "trusted") in items
    assert "segment: trusted" in items["flags", "promoted"].text
    click(driver, tools, "Undo")

    def undone() -> bool:
        now = scene.app.store.document("production").document.items
        return ("flags", "promoted") not in now

    tools.until(undone, "the promotion to be undone")


def test_revert_one_item_from_the_history(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Found by who and what; its preview says who moves; somebody else's change stops it."""
    tools.add_flag(scene, "regretted")
    before = tools.item_text(scene, "regretted")
    planned = change.set_share("production", "regretted", "canary", "60%")
    scene.app.changes.apply(planned, scene.actor, "too bold")
    driver.get(f"{scene.url}/environments/production/history")
    write(driver, "#item", "regretted")
    write(driver, "#actor", "ben" + Keys.ENTER)
    arrive(driver, tools, "2 revisions match")
    one(driver, "[data-row] .row-link").click()
    arrive(driver, tools, "Revert regretted to before this")
    click(driver, tools, "Revert regretted to before this")
    arrive(driver, tools, "recorded contexts move")
    meanwhile = change.set_share("production", "regretted", "canary", "70%")
    scene.app.changes.apply(meanwhile, scene.actor, "bolder")
    click(driver, tools, "Revert in production")
    arrive(driver, tools, "Nothing was saved:")
    click(driver, tools, "Revert in production")
    arrive(driver, tools, "Reverted regretted.")
    assert tools.item_text(scene, "regretted") == before


def test_the_chain_is_checked_against_a_kept_head(driver: Chrome, scene: Scene, tools: Any) -> None:
    """The head that the page gave is in the chain later; another is not."""
    driver.get(f"{scene.url}/audit")
    click(driver, tools, "Check the chain")
    arrive(driver, tools, "is whole.")
    head = one(driver, ".note code").text
    tools.add_flag(scene, "after_the_head")
    write(driver, "#head", head + Keys.ENTER)
    arrive(driver, tools, "and contains the head that was kept")
    write(driver, "#head", "f" * 64 + Keys.ENTER)
    arrive(driver, tools, "is not in the chain")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_answer_is_reached_by_the_keyboard_alone(
    driver: Chrome, scene: Scene, tools: Any, width: int
) -> None:
    """`/` goes to the key, Enter decides, `j` and Enter open the first flag's reasons."""
    tools.size(driver, width)
    driver.get(f"{scene.url}/environments/production/playground")
    arrive(driver, tools, "Put in a context")
    body = one(driver, "body")
    body.send_keys("/")
    driver.switch_to.active_element.send_keys("u-5" + Keys.ENTER)
    arrive(driver, tools, "What every flag decides for this context")
    one(driver, "body").send_keys("j")
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    arrive(driver, tools, "Why cta_color gives")

"""Editing a flag in cards and in YAML, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from flagloop_server import changes as change

if TYPE_CHECKING:
    from collections.abc import Callable

    from scene import Scene
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


def editor(driver: Chrome, scene: Scene, tools: Any, key: str) -> Callable[[], str]:
    """Opens the editor of a flag of its own; returns what reads the text."""
    driver.get(tools.add_flag(scene, key) + "/edit")
    tools.until(lambda: text_of(driver).startswith(key), "the text")
    return lambda: text_of(driver)


def text_of(driver: Chrome) -> str:
    """The text in the editor."""
    return str(driver.execute_script("return document.getElementById('text').value"))


def show(driver: Chrome, found: WebElement) -> WebElement:
    """In the middle of the window, where nothing lies over it."""
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    return found


def named(driver: Chrome, label: str) -> WebElement:
    """A button by what it says or is called."""
    path = f"//button[normalize-space(.)='{label}' or @aria-label='{label}']"
    return show(driver, driver.find_element(By.XPATH, path))


def press(driver: Chrome, tools: Any, label: str) -> None:
    """Press it; cards that were drawn anew in between are looked at again."""

    def pressed() -> bool:
        named(driver, label).click()
        return True

    tools.until(pressed, label)


def fill(driver: Chrome, place: str, value: str) -> None:
    """Write into a field of the cards and leave it."""
    found = show(driver, driver.find_element(By.ID, place))
    found.send_keys(Keys.CONTROL + "a")
    found.send_keys(value + Keys.TAB)


def shown(driver: Chrome) -> str:
    """All that is seen; nothing before the page is whole."""
    seen = "return document.readyState === 'complete' ? document.body.innerText : ''"
    return str(driver.execute_script(seen))


def test_cards_and_text_say_the_same(driver: Chrome, scene: Scene, tools: Any) -> None:
    """A card writes the text, the text draws the cards, problems stand at both."""
    text = editor(driver, scene, tools, "both_ways")
    fill(driver, "c:rules:0:share:set", "30")
    tools.until(lambda: "share: 30%, serve: treatment}  # a first look" in text(), "the share")
    press(driver, tools, "condition")
    tools.until(lambda: '"": ""' in text(), "a condition")
    driver.switch_to.active_element.send_keys("country" + Keys.TAB)
    tools.until(lambda: "when: {country: " in text(), "its attribute")
    fill(driver, "c:rules:0:when:country:eq:constant", "DE")
    tools.until(lambda: "when: {country: DE}" in text(), "its value")
    tools.until(lambda: "30% of those where country is DE" in shown(driver), "the sentence")

    area = driver.find_element(By.ID, "text")
    now = text().replace("share: 30%", "share: 300%")
    driver.execute_script("arguments[0].value = arguments[1]", area, now)
    area.send_keys(" ")
    tools.until(lambda: driver.find_elements(By.CSS_SELECTOR, "#cards [aria-invalid]"), "the field")
    wrong = driver.find_element(By.CSS_SELECTOR, "#cards [aria-invalid]")
    assert wrong.get_attribute("value") == "300%"
    assert "rules[0].share: 300% is over 100%" in driver.find_element(By.ID, "told").text
    marked = driver.find_element(By.CSS_SELECTOR, "[data-gutter] .error").text
    assert marked.strip("▸") == str(now[: now.index("300%")].count("\n") + 1)

    driver.execute_script("arguments[0].value += '  tags: ['", area)
    area.send_keys(" ")
    note = driver.find_element(By.ID, "visual-note")
    tools.until(note.is_displayed, "that the text cannot be read")
    assert driver.find_element(By.ID, "cards").get_attribute("disabled")
    assert "keep me" in tools.item_text(scene, "both_ways")
    assert "country" not in tools.item_text(scene, "both_ways")


def test_rules_are_ordered_by_buttons_and_by_dragging(
    driver: Chrome, scene: Scene, tools: Any
) -> None:
    """Added, copied, moved by keyboard and by the grip, removed, and taken back."""
    text = editor(driver, scene, tools, "in_order")

    def order() -> list[str]:
        names = driver.find_elements(By.CSS_SELECTOR, ".rule-head > input")
        return [str(one.get_attribute("value")) for one in names]

    press(driver, tools, "Add a rule")
    tools.until(lambda: order() == ["canary", "new-rule"], "a second rule")
    press(driver, tools, "Duplicate canary")
    tools.until(lambda: order() == ["canary", "canary-copy", "new-rule"], "a copy")
    named(driver, "Move new-rule up").send_keys(Keys.ENTER)
    tools.until(lambda: order() == ["canary", "new-rule", "canary-copy"], "the move")
    grips = driver.find_elements(By.CSS_SELECTOR, ".grip")
    show(driver, grips[1])
    ActionChains(driver).drag_and_drop(grips[2], grips[0]).perform()
    tools.until(lambda: order() == ["canary-copy", "canary", "new-rule"], "the drag")
    press(driver, tools, "Remove canary-copy")
    tools.until(lambda: order() == ["canary", "new-rule"], "the removal")
    press(driver, tools, "Undo last change")
    tools.until(lambda: order() == ["canary-copy", "canary", "new-rule"], "the undo")
    assert "# a first look" in text()


def test_the_keyboard_stays_where_it_is(driver: Chrome, scene: Scene, tools: Any) -> None:
    """New cards take the focus from nobody: not from a field, a button or a heading."""
    text = editor(driver, scene, tools, "by_keys")
    fill(driver, "c:rules:0:share:set", "6")
    tools.until(lambda: "share: 6%" in text(), "the share")
    at = "return document.activeElement."
    tools.until(lambda: driver.execute_script(at + "tagName") == "SUMMARY", "the next stop")
    share = driver.find_element(By.ID, "c:rules:0:share:set")
    share.send_keys(Keys.CONTROL + "a")
    share.send_keys("7" + Keys.ENTER)
    tools.until(lambda: driver.execute_script(at + "value") == "7%", "it in the field")
    named(driver, "a split").send_keys(Keys.ENTER)
    tools.until(lambda: "split: {" in text(), "the split")
    tools.until(lambda: driver.execute_script(at + "textContent") == "a split", "the button")


def test_undo_takes_back_one_change_after_the_other(
    driver: Chrome, scene: Scene, tools: Any
) -> None:
    """Also what was typed into the text after a card's change."""
    text = editor(driver, scene, tools, "step_by_step")
    first = text()
    fill(driver, "c:rules:0:share:set", "6")
    tools.until(lambda: "share: 6%" in text(), "the share")
    second = text()
    driver.find_element(By.ID, "text").send_keys(Keys.CONTROL + Keys.END)
    # at once: what is typed slowly, as on a busy machine, is several changes
    driver.execute_cdp_cmd("Input.insertText", {"text": "  tags: [a]\n"})
    tag = "return document.getElementById('c:tags:set').value"
    tools.until(lambda: driver.execute_script(tag) == "a", "the tag")
    press(driver, tools, "Undo last change")
    assert text() == second
    press(driver, tools, "Undo last change")
    assert text() == first


def test_the_weights_of_a_split_are_summed_while_one_types(
    driver: Chrome, scene: Scene, tools: Any
) -> None:
    """Before anything is sent; what is left is told in words."""
    text = editor(driver, scene, tools, "summed")
    press(driver, tools, "a split")
    tools.until(lambda: "split: {control: 50%, treatment: 50%}" in text(), "a split")
    weight = show(driver, driver.find_element(By.ID, "c:rules:0:split:control:set"))
    weight.send_keys(Keys.CONTROL + "a")
    weight.send_keys("12,5")
    rest = driver.find_element(By.CSS_SELECTOR, "[data-rest]")
    assert rest.text == "37.5% left"
    assert "split: {control: 50%" in text()
    weight.send_keys(Keys.TAB)
    tools.until(lambda: "control: 12.5%" in text(), "the weight")
    fill(driver, "c:rules:0:split:treatment:set", "87.5")
    tools.until(lambda: "sums to 100%" in shown(driver), "the sum")


def test_a_visual_edit_is_previewed_merged_and_saved(
    driver: Chrome, scene: Scene, tools: Any
) -> None:
    """Only the lines of the change are new, and somebody else's change is kept."""
    text = editor(driver, scene, tools, "seen_first")
    before = tools.item_text(scene, "seen_first")
    fill(driver, "c:rules:0:share:set", "45")
    tools.until(lambda: "share: 45%" in text(), "the share")
    press(driver, tools, "Show what it would do")
    tools.until(lambda: "recorded contexts move control → treatment" in shown(driver), "numbers")
    assert "\nBy " in shown(driver)
    assert "none back" in shown(driver)
    theirs = before.replace("Made for the test of", "Found in the test of")
    planned = change.put_item("production", "flags", "seen_first", theirs)
    scene.app.changes.apply(planned, scene.actor, "better words")
    press(driver, tools, "Save in production")
    tools.until(lambda: "Somebody else changed it too" in shown(driver), "the merge")
    assert "better words" in shown(driver)
    assert tools.item_text(scene, "seen_first") == theirs
    press(driver, tools, "Save in production")
    tools.until(lambda: "Saved seen_first." in shown(driver), "the flag's page")
    assert tools.item_text(scene, "seen_first") == theirs.replace("share: 5%", "share: 45%")


def test_what_was_just_written_goes_along(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Whoever presses the button with the caret in a card previews what stands there."""
    editor(driver, scene, tools, "at_once")
    found = show(driver, driver.find_element(By.ID, "c:rules:0:share:set"))
    found.send_keys(Keys.CONTROL + "a")
    found.send_keys("77")
    driver.find_element(By.CSS_SELECTOR, "[data-show]").click()
    tools.until(lambda: "What changes in the text" in shown(driver), "the preview")
    assert "+    - {name: canary, share: 77%, serve: treatment}" in shown(driver)
    assert "share: 77%" in text_of(driver)


def test_nobody_leaves_without_being_asked(driver: Chrome, scene: Scene, tools: Any) -> None:
    """While there is something to lose: typed, in a card, in a preview. Cancel says it already."""

    def asks() -> bool:
        return bool(
            driver.execute_script(
                "const leave = new Event('beforeunload', {cancelable: true});"
                "return !dispatchEvent(leave)"
            )
        )

    text = editor(driver, scene, tools, "not_lost")
    assert not asks()
    found = show(driver, driver.find_element(By.ID, "c:rules:0:share:set"))
    found.send_keys("1")
    assert asks()
    found.send_keys(Keys.TAB)
    tools.until(lambda: "share: 5%1" in text(), "the share")
    assert asks()
    press(driver, tools, "Undo last change")
    assert not asks()
    value = "return document.getElementById('c:rules:0:share:set').value"
    tools.until(lambda: driver.execute_script(value) == "5%", "the cards of before")
    fill(driver, "c:rules:0:share:set", "6")
    tools.until(lambda: "share: 6%" in text(), "the share")
    press(driver, tools, "Show what it would do")
    tools.until(lambda: "What changes in the text" in shown(driver), "the preview")
    assert asks()
    driver.find_element(By.LINK_TEXT, "Cancel").click()
    tools.until(lambda: "is live in" in shown(driver), "the flag's page")


def test_a_new_flag_is_made_in_cards_alone(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Its key is a field too."""
    driver.get(f"{scene.url}/environments/production/new-flag")
    fill(driver, "c:key", "made_in_cards")
    tools.until(lambda: text_of(driver).startswith("made_in_cards:"), "the key")
    press(driver, tools, "Show what it would do")
    tools.until(lambda: "flags.made_in_cards (new)" in shown(driver), "the preview")
    press(driver, tools, "Save in production")
    tools.until(lambda: "Added made_in_cards." in shown(driver), "the flag's page")


def test_the_editor_leaves_the_frame_as_it_is(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Its style sheet is for its cards: the navigation stands where it stands on other pages."""
    places = (
        "return [...document.querySelectorAll('header nav *')].map("
        "one => { const {y, height} = one.getBoundingClientRect(); return [y, height] })"
    )
    url = tools.add_flag(scene, "in_frame")
    driver.get(url)
    expected = driver.execute_script(places)
    assert expected
    driver.get(f"{url}/edit")
    assert driver.execute_script(places) == expected


def test_the_cards_work_at_the_width_of_a_phone(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Buttons are large enough for a thumb, and the way on stays in sight."""
    tools.size(driver, 390)
    text = editor(driver, scene, tools, "by_thumb")
    move = named(driver, "Duplicate canary")
    assert move.size["height"] >= 40
    move.click()
    tools.until(lambda: "canary-copy" in text(), "the copy")
    bottom = "return arguments[0].getBoundingClientRect().bottom <= innerHeight"
    button = driver.find_element(By.CSS_SELECTOR, "[data-show]")
    driver.execute_script("scrollTo(0, 300)")
    assert driver.execute_script(bottom, button)


def test_the_text_is_edited_without_javascript(
    scriptless: Chrome, scene: Scene, tools: Any
) -> None:
    """No cards then, that would do nothing; the form previews and saves."""
    driver = scriptless
    driver.get(tools.add_flag(scene, "by_form") + "/edit")
    before = tools.item_text(scene, "by_form")
    assert not driver.find_element(By.CSS_SELECTOR, ".visual").is_displayed()
    area = driver.find_element(By.ID, "text")
    text = str(area.get_attribute("value"))
    area.clear()
    area.send_keys(text.replace("share: 5%", "share: 15%"))
    press_form(driver, "Show what it would do")
    tools.until(lambda: "recorded contexts move" in shown(driver), "the preview")
    press_form(driver, "Save in production")
    tools.until(lambda: "Saved by_form." in shown(driver), "the flag's page")
    assert tools.item_text(scene, "by_form") == before.replace("share: 5%", "share: 15%")


def press_form(driver: Chrome, label: str) -> None:
    """Press a button where no script can scroll to it."""
    path = f"//button[normalize-space(.)='{label}']"
    driver.find_element(By.XPATH, path).send_keys(Keys.ENTER)

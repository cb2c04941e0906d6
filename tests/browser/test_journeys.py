"""What people come for, done in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


def one(driver: Chrome, selector: str) -> WebElement:
    """The first element of a CSS selector."""
    return driver.find_element(By.CSS_SELECTOR, selector)


def button(driver: Chrome, text: str) -> WebElement:
    """The button, link or summary that says `text`."""
    path = f"//*[self::button or self::a or self::summary][contains(., '{text}')]"
    return driver.find_element(By.XPATH, path)


def click(driver: Chrome, tools: Any, text: str) -> None:
    """Click it as soon as it is there."""

    def clicked() -> bool:
        button(driver, text).click()
        return True

    tools.until(clicked, f"'{text}' to be there")


def body(driver: Chrome) -> str:
    """All text that is seen."""
    return one(driver, "body").text


def arrive(driver: Chrome, tools: Any, text: str) -> None:
    """Wait until the page says `text`."""
    script = (
        "return document.readyState === 'complete'"
        " && document.body.innerText.includes(arguments[0])"
    )
    tools.until(lambda: driver.execute_script(script, text), f"'{text}'")


def press(driver: Chrome, keys: str) -> None:
    """Type into whatever has the focus."""
    driver.switch_to.active_element.send_keys(keys)


def test_the_setup_link_makes_the_first_admin(
    signed_out: Chrome, tools: Any, tmp_path: Path
) -> None:
    """The link of the first start asks for a password, signs in, and works once."""
    driver = signed_out
    with tools.serving(tmp_path) as fresh:
        driver.get(f"{fresh.url}{fresh.app.setup_link}")
        one(driver, "#email").send_keys("first@example.com")
        one(driver, "#name").send_keys("First")
        one(driver, "#password").send_keys("too short")
        driver.execute_script("document.querySelector('#password').removeAttribute('minlength')")
        click(driver, tools, "Set password")
        arrive(driver, tools, "at least")
        assert one(driver, "#email").get_attribute("value") == "first@example.com"
        one(driver, "#password").send_keys("a password that is long")
        click(driver, tools, "Set password")
        arrive(driver, tools, "No flags in production yet")
        cookie = driver.get_cookie("flagloop_session")
        assert cookie is not None
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Lax"
        driver.delete_all_cookies()
        driver.get(f"{fresh.url}{fresh.app.setup_link}")
        arrive(driver, tools, "used")
        driver.get(f"{fresh.url}/environments/production/keys")
        one(driver, "#email").send_keys("first@example.com")
        one(driver, "#password").send_keys("a password that is long")
        click(driver, tools, "Sign in")
        arrive(driver, tools, "Keys of production")


def test_sign_in_and_out_without_javascript(scriptless: Chrome, scene: Scene, tools: Any) -> None:
    """The form alone leads to the page that was asked for, and the button out again."""
    driver = scriptless
    driver.delete_all_cookies()
    driver.get(f"{scene.url}/environments/production/history")
    one(driver, "#email").send_keys(tools.EMAIL)
    one(driver, "#password").send_keys("not the password" + Keys.ENTER)
    arrive(driver, tools, "wrong")
    one(driver, "#password").send_keys(tools.PASSWORD + Keys.ENTER)
    arrive(driver, tools, "History of production")
    one(driver, "header .push > summary").click()
    click(driver, tools, "Sign out")
    arrive(driver, tools, "Sign in")
    driver.get(f"{scene.url}/environments/production/history")
    assert driver.find_elements(By.ID, "password")


def test_find_and_kill_by_keyboard_and_undo(driver: Chrome, scene: Scene, tools: Any) -> None:
    """From the list: search, open, kill with a reason, undo; the text is what it was."""
    tools.add_flag(scene, "by_keyboard")
    before = tools.item_text(scene, "by_keyboard")
    driver.get(f"{scene.url}/")
    arrive(driver, tools, "Flags in production")
    press(driver, "/")
    press(driver, "by_keyboard" + Keys.ENTER)
    arrive(driver, tools, "flags matches.")
    press(driver, "j")
    press(driver, Keys.ENTER)
    arrive(driver, tools, "Rules, in order")
    one(driver, "body").send_keys("x")
    tools.until(lambda: driver.switch_to.active_element.get_attribute("id") == "reason", "focus")
    press(driver, "errors doubled" + Keys.ENTER)
    arrive(driver, tools, "Killed by_keyboard.")
    assert "by_keyboard is killed in production: everyone gets control (errors doubled)" in body(
        driver
    )
    assert "killed:" in tools.item_text(scene, "by_keyboard")
    click(driver, tools, "Undo")
    arrive(driver, tools, "Restored by_keyboard")
    assert tools.item_text(scene, "by_keyboard") == before


def test_keys_mean_the_only_flag_that_was_found(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Nobody has to select it first."""
    tools.add_flag(scene, "found_alone")
    driver.get(f"{scene.url}/environments/production/flags?q=found_alone")
    arrive(driver, tools, "flags matches.")
    press(driver, "x")
    arrive(driver, tools, "Rules, in order")
    tools.until(lambda: driver.switch_to.active_element.get_attribute("id") == "reason", "focus")


def test_kill_and_restore_without_javascript(scriptless: Chrome, scene: Scene, tools: Any) -> None:
    """Both are plain forms."""
    driver = scriptless
    before_address = tools.add_flag(scene, "no_script")
    driver.get(f"{scene.url}/environments/production/flags?q=no_script")
    click(driver, tools, "Kill …")
    arrive(driver, tools, "Rules, in order")
    assert driver.current_url.startswith(before_address)
    assert not one(driver, "[data-copy]").is_displayed()  # it would do nothing
    one(driver, "#reason").send_keys("INC-12")
    click(driver, tools, "Kill no_script in production")
    arrive(driver, tools, "Killed no_script.")
    assert "killed:" in tools.item_text(scene, "no_script")
    click(driver, tools, "Restore: the rules apply again")
    arrive(driver, tools, "Restored no_script")
    assert "killed:" not in tools.item_text(scene, "no_script")


def test_a_kill_is_watched_until_all_obey(driver: Chrome, scene: Scene, tools: Any) -> None:
    """The page itself says who is missing and, without a reload, when nobody is any more."""
    address = tools.add_flag(scene, "watched")
    for pid in (1, 2):
        tools.tell(scene, "web-9", pid)
    driver.get(f"{address}?kill=1")
    one(driver, "#reason").send_keys("INC-9" + Keys.ENTER)
    arrive(driver, tools, "Killed watched.")
    arrive(driver, tools, "web-9:2 (revision")
    tools.tell(scene, "web-9", 1)
    tools.tell(scene, "web-9", 2)

    def told() -> str:
        """Read in one go: the part is replaced while one looks."""
        found: str = driver.execute_script("return document.querySelector('.obeyed').innerText")
        return found

    tools.until(lambda: "web-9:" not in told(), "all to obey")
    assert "Off on 2 of " in told()
    click(driver, tools, "All instances")
    arrive(driver, tools, "Instances of production")
    arrive(driver, tools, "web-9:2")


def test_a_kill_needs_a_reason(scriptless: Chrome, scene: Scene, tools: Any) -> None:
    """The browser stops a blank one, where it can still be written, also without scripts."""
    driver = scriptless
    driver.get(tools.add_flag(scene, "needs_reason") + "?kill=1")
    field = one(driver, "#reason")
    field.send_keys("   ")
    click(driver, tools, "Kill needs_reason in production")
    assert field.get_property("validity")["patternMismatch"]
    assert "killed:" not in tools.item_text(scene, "needs_reason")
    field.send_keys("INC-78")
    click(driver, tools, "Kill needs_reason in production")
    arrive(driver, tools, "INC-78")
    assert "killed:" in tools.item_text(scene, "needs_reason")


def test_raise_a_share_after_a_preview(driver: Chrome, scene: Scene, tools: Any) -> None:
    """The preview counts recorded contexts while one types; saving changes one line."""
    driver.get(tools.add_flag(scene, "shared_out"))
    before = tools.item_text(scene, "shared_out")
    click(driver, tools, "Change the share (5%)")
    arrive(driver, tools, "Share of canary")
    field = one(driver, "#share")
    field.clear()
    field.send_keys("45")
    arrive(driver, tools, "recorded contexts move control → treatment")
    arrive(driver, tools, "Set to 45% in production")
    assert len(driver.find_elements(By.TAG_NAME, "h1")) == 1  # a part of a page, not all of it
    one(driver, "#proposal #reason").send_keys("healthy so far")
    click(driver, tools, "Set to 45% in production")
    arrive(driver, tools, "Changed the share of shared_out.")
    after = tools.item_text(scene, "shared_out")
    assert after == before.replace("share: 5%", "share: 45%")
    assert "45% of everyone gets treatment" in body(driver)


def test_share_preview_without_javascript(scriptless: Chrome, scene: Scene, tools: Any) -> None:
    """The same with two plain forms; a wrong percentage is told in words."""
    driver = scriptless
    driver.get(tools.add_flag(scene, "plain_share"))
    click(driver, tools, "Change the share")
    arrive(driver, tools, "Share of canary")
    one(driver, "#share").clear()
    one(driver, "#share").send_keys("a lot")
    click(driver, tools, "Show what it would do")
    arrive(driver, tools, "1 problem, nothing was saved.")
    one(driver, "#share").clear()
    one(driver, "#share").send_keys("20%")
    click(driver, tools, "Show what it would do")
    arrive(driver, tools, "Set to 20% in production")
    click(driver, tools, "Set to 20% in production")
    arrive(driver, tools, "Changed the share of plain_share.")


def test_edit_yaml_then_compare_and_revert(driver: Chrome, scene: Scene, tools: Any) -> None:
    """An edit shows its diff before it is saved; its revision can be compared and reverted."""
    driver.get(tools.add_flag(scene, "edited"))
    before = tools.item_text(scene, "edited")
    one(driver, "body").send_keys("e")
    arrive(driver, tools, "Edit edited")
    field = one(driver, "#text")
    text = field.get_attribute("value")
    assert text is not None
    field.clear()
    field.send_keys(text.replace("default: control", "default: treatment"))
    click(driver, tools, "Show what it would do")
    arrive(driver, tools, "-  default: control")
    assert "+  default: treatment" in body(driver)
    assert tools.item_text(scene, "edited") == before
    click(driver, tools, "Save in production")
    arrive(driver, tools, "Saved edited.")
    changed = tools.item_text(scene, "edited")
    assert changed == before.replace("default: control", "default: treatment")
    click(driver, tools, "Compare revisions and revert")
    arrive(driver, tools, "History of edited")
    click(driver, tools, "Compare")
    arrive(driver, tools, "+  default: treatment")
    click(driver, tools, "Revert to revision")
    arrive(driver, tools, "-  default: treatment")
    click(driver, tools, "Revert in production")
    arrive(driver, tools, "Reverted edited.")
    assert tools.item_text(scene, "edited") == before


def test_an_edit_never_overwrites_somebody_else(driver: Chrome, scene: Scene, tools: Any) -> None:
    """Who saves after another sees what changed meanwhile, and both in the text, unsaved."""
    driver.get(tools.add_flag(scene, "contested") + "/edit")
    click(driver, tools, "Show what it would do")
    arrive(driver, tools, "changes nothing")
    driver.execute_script(
        "const f = document.querySelector('#text'); f.value = f.value.replace('blue', 'red')"
    )
    click(driver, tools, "Show what it would do")
    arrive(driver, tools, "Save in production")
    from flagloop_server import changes as change

    other = change.set_share("production", "contested", "canary", "9%")
    scene.app.changes.apply(other, scene.actor, "meanwhile")
    click(driver, tools, "Save in production")
    arrive(driver, tools, "nothing was saved yet")
    assert "meanwhile" in body(driver)
    text = one(driver, "#text").get_attribute("value") or ""
    assert "share: 9%" in text
    assert "red" in text
    assert "red" not in tools.item_text(scene, "contested")


def test_counts_and_state_are_live(driver: Chrome, scene: Scene, tools: Any) -> None:
    """What applications report and what others change appears without a reload."""
    driver.get(tools.add_flag(scene, "counted"))
    read = "return document.querySelector('[data-variant=control]').textContent"
    assert driver.execute_script(read) == "0"
    driver.execute_script("window.notReloaded = true")
    from flagloop_server import changes as change

    tools.visit(scene, 30)
    scene.app.changes.apply(change.kill("production", "counted"), scene.actor, "from elsewhere")
    arrive(driver, tools, "counted is killed in production")
    tools.until(lambda: driver.execute_script(read) != "0", "the counts")
    assert driver.execute_script("return window.notReloaded")
    told = one(driver, "#announcer").get_attribute("textContent") or ""
    assert told.startswith(
        "counted is killed in production: everyone gets control (from elsewhere)"
    )


def test_a_key_is_shown_once_and_can_be_revoked(driver: Chrome, scene: Scene, tools: Any) -> None:
    """The secret is in the answer to the form and never again."""
    driver.get(f"{scene.url}/environments/production/keys")
    one(driver, "#name").send_keys("shop of the test")
    click(driver, tools, "Make a key")
    arrive(driver, tools, "Copy its secret now")
    secret = one(driver, "#secret").text
    assert secret.startswith("fl_srv_")
    driver.get(f"{scene.url}/environments/production/keys")
    assert secret not in driver.page_source
    click(driver, tools, "shop of the test")
    arrive(driver, tools, "This cannot be taken back")
    click(driver, tools, "Revoke shop of the test")
    row = "//tr[contains(., 'shop of the test')]"
    tools.until(lambda: "revoked " in driver.find_element(By.XPATH, row).text, "the row's state")


def test_an_invited_viewer_changes_nothing(signed_out: Chrome, scene: Scene, tools: Any) -> None:
    """The setup link of an invited viewer leads to pages without any way to change something."""
    driver = signed_out
    tools.sign_in(driver, scene, scene.token)
    driver.get(f"{scene.url}/people")
    one(driver, "#email").send_keys("viewer@example.com")
    click(driver, tools, "Invite")
    arrive(driver, tools, "Send this setup link")
    link = one(driver, ".secret code").text
    driver.delete_all_cookies()
    driver.get(link)
    one(driver, "#password").send_keys("a password for looking" + Keys.ENTER)
    arrive(driver, tools, "Flags in production")
    driver.get(f"{scene.url}/environments/production/flags/cta_color")
    arrive(driver, tools, "Rules, in order")
    forms = driver.find_elements(By.CSS_SELECTOR, "main form")
    assert forms == []
    assert "Edit" not in body(driver)

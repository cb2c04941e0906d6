"""A walk over every page: those that have an address, and those that only a form leads to."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import scene as stage
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome

SEND = """
const [selector, values] = arguments;
const form = [...document.forms].find((one) => one.matches(selector));
form.noValidate = true;
for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
form.requestSubmit();
"""

PRODUCTION = "/environments/production"

FORMS: dict[str, tuple[str, str, dict[str, str]]] = {
    "edit-preview": (
        f"{PRODUCTION}/flags/cta_color/edit",
        "form[action*='reports/edit']",
        {"text": "cta_color:\n  description: Another\n  rules: []\n"},
    ),
    "edit-refused": (
        f"{PRODUCTION}/flags/cta_color/edit",
        "form[action*='reports/edit']",
        {"text": "cta_color:\n  descriptoin: Another\n"},
    ),
    "kill-refused": (
        f"{PRODUCTION}/flags/cta_color?kill=1",
        "form[action$='kill']",
        {"reason": " "},
    ),
    "key-made": (f"{PRODUCTION}/keys", "form[action$='keys']", {"name": "shop"}),
    "invited": ("/people", "form[action$='people']", {"email": "", "name": "Dora"}),
    "account-refused": ("/account", "form[action$='account']", {"old": "x", "new": "y"}),
}
"""What stands only in the answer to a form: where the form is, which it is, what is written."""

REFUSED = {
    "not-found",
    "setup-used",
    "sign-in-used",
    "edit-refused",
    "kill-refused",
    "account-refused",
}
"""Pages whose status is no success."""


def signed_out(scene: Scene) -> dict[str, str]:
    """The pages of those who are not signed in, with fresh links."""
    auth = scene.app.auth
    user, setup = auth.create_user(f"{uuid.uuid4().hex[:8]}@example.com", "", {}, scene.actor)
    return {
        "sign-in": f"{scene.url}/login",
        "setup": f"{scene.url}/setup/{setup}",
        "setup-used": f"{scene.url}/setup/used-up",
        "sign-in-link": f"{scene.url}/sign-in/{auth.sign_in_link(user.id)}",
        "sign-in-used": f"{scene.url}/sign-in/used-up",
    }


def walk(driver: Chrome, scene: Scene, *, forms: bool = True) -> Iterator[str]:
    """Open every page, one after the other, and say its name."""
    for name, address in signed_out(scene).items():
        driver.delete_all_cookies()
        driver.get(address)
        yield name
    stage.sign_in(driver, scene, scene.token)
    for name, address in stage.addresses(scene).items():
        driver.get(address)
        yield name
    for name in FORMS if forms else ():
        send(driver, scene, name)
        yield name


def send(driver: Chrome, scene: Scene, name: str) -> None:
    """Open the page of a form, fill it in and wait for the answer."""
    path, selector, values = FORMS[name]
    if "email" in values:
        values = {**values, "email": f"{uuid.uuid4().hex[:8]}@example.com"}
    driver.get(f"{scene.url}{path}")
    driver.execute_script("window.before = true")
    driver.execute_script(SEND, selector, values)
    ready = "return !window.before && document.readyState === 'complete'"
    stage.until(lambda: driver.execute_script(ready), f"the answer to {name}")


def endpoint(scene: Scene, address: str) -> str | None:
    """Which route of the application answers an address."""
    path = address.removeprefix(scene.url).partition("?")[0]
    try:
        found, _ = scene.app.flask.url_map.bind("127.0.0.1").match(path)
    except (HTTPException, RequestRedirect):
        return None
    return str(found)

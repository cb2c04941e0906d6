"""What holds of every page, whatever it shows; a page that is missing here fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import accessible
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


def test_axe_finds_no_violation_on_any_page(
    signed_out: Chrome, scene: Scene, tools: Any, axe: Callable[..., list[str]]
) -> None:
    """WCAG 2.2 AA and best practice, wide and narrow; contrast in the dark theme as well."""
    found = []
    for name in walk.walk(signed_out, scene):
        for width in (1280, 390):
            tools.size(signed_out, width)
            for theme, rules in (("light", None), ("dark", ["color-contrast"])):
                tools.scheme(signed_out, theme)
                wrong = axe(signed_out, rules)
                found += [f"{name} at {width} {theme}: {one}" for one in wrong]
        tools.scheme(signed_out, "light")
        tools.size(signed_out, 1280)
    assert not found, "\n".join(found)

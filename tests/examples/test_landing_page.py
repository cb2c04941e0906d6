"""The landing page: its colour comes from the flag, its button tracks the sign-up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from flagloop.testing import Flags
from flagloop_server.demo.world import landing_page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example, imported as the demo imports it."""
    return landing_page()


@pytest.fixture
def flags() -> Iterator[Flags]:
    """The flags of the example file."""
    with Flags(ROOT / "flags.example.yaml") as fixture:
        yield fixture


@pytest.mark.parametrize(("variant", "color"), [("control", "blue"), ("treatment", "green")])
def test_the_button_has_the_colour_of_the_variant(
    example: ModuleType, flags: Flags, variant: str, color: str
) -> None:
    """The variant's value is the button's colour."""
    flags.set(cta_color=variant)
    page = example.create_app(flags.client).test_client().get("/")
    assert f'data-color="{color}"' in page.text


def test_an_open_page_learns_of_a_kill_without_a_reload(example: ModuleType, flags: Flags) -> None:
    """The address that the page asks gives the colour that the flag has now."""
    browser = example.create_app(flags.client).test_client()
    flags.set(cta_color="treatment")
    assert "follow.js" in browser.get("/").text
    assert browser.get("/color").json == {"color": "green"}
    flags.set(cta_color="control")
    assert browser.get("/color").json == {"color": "blue"}
    script = browser.get("/follow.js")
    assert (script.mimetype, "data-color" in script.text) == ("text/javascript", True)


def test_the_button_is_blue_when_the_flag_is_unknown(example: ModuleType) -> None:
    """Without definitions the caller's default is shown."""
    with Flags() as nothing:
        page = example.create_app(nothing.client).test_client().get("/")
    assert 'data-color="blue"' in page.text


def test_a_sign_up_is_tracked_for_the_visitor_who_saw_the_page(
    example: ModuleType, flags: Flags
) -> None:
    """The cookie ties the event to the unit that was exposed."""
    browser = example.create_app(flags.client).test_client()
    browser.get("/")
    cookie = browser.get_cookie("visitor")
    assert cookie is not None
    answer = browser.post("/sign-up")
    assert answer.status_code == 303
    assert browser.get("/welcome").status_code == 200
    assert [(e["event"], e["units"]["key"]) for e in flags.events] == [("sign_up", cookie.value)]


def test_a_sign_up_without_a_visitor_tracks_nothing(example: ModuleType, flags: Flags) -> None:
    """A form sent by somebody who never saw the page belongs to no unit."""
    example.create_app(flags.client).test_client().post("/sign-up")
    assert flags.events == []

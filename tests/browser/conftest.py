"""One server with example data and one Chromium for all browser tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import scene as stage

if TYPE_CHECKING:
    from scene import Scene
    from selenium.webdriver import Chrome


@pytest.fixture(scope="session")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with stage.serving(tmp_path_factory.mktemp("served")) as served:
        stage.fill(served)
        served.token = served.session()
        yield served


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Chrome]:
    driver = stage.chromium()
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def _scriptless() -> Iterator[Chrome]:
    driver = stage.chromium(javascript=False)
    yield driver
    driver.quit()


@pytest.fixture
def _present(missing_part: Callable[[str], None]) -> None:
    for program in (stage.CHROMIUM, stage.CHROMEDRIVER):
        if not program.exists():
            missing_part(f"{program} is not installed")


@pytest.fixture
def scene(_present: None, request: pytest.FixtureRequest) -> Scene:
    """The running server."""
    found: Scene = request.getfixturevalue("_served")
    return found


def _ready(driver: Chrome) -> Chrome:
    driver.delete_all_cookies()
    stage.size(driver, 1280)
    stage.scheme(driver, "light")
    return driver


@pytest.fixture
def signed_out(_present: None, request: pytest.FixtureRequest) -> Chrome:
    """Chromium without a session."""
    return _ready(request.getfixturevalue("_chromium"))


@pytest.fixture
def driver(scene: Scene, signed_out: Chrome) -> Chrome:
    """Chromium, signed in as the first admin."""
    stage.sign_in(signed_out, scene, scene.token)
    return signed_out


@pytest.fixture
def scriptless(scene: Scene, request: pytest.FixtureRequest) -> Chrome:
    """The same with JavaScript off."""
    driver = _ready(request.getfixturevalue("_scriptless"))
    stage.sign_in(driver, scene, scene.token)
    return driver


@pytest.fixture
def tools() -> Any:
    """The module scene.py."""
    return stage

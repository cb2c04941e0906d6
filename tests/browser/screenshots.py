"""Pictures of every page at 1280 and 390 px, light and dark.

    python tests/browser/screenshots.py OUTPUT_FOLDER [NAME ...]

A server with example data is started in a temporary folder for it; names choose pages.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scene import addresses, chromium, fill, scheme, serving, sign_in, size

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

SIZES = (1280, 390)
SCHEMES = ("light", "dark")


def shoot(driver: Chrome, file: Path) -> None:
    """The whole page, in a window as high as it, so that nothing sticks in its middle."""
    box = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    size(driver, round(box["width"]), round(box["height"]))
    clip = {"x": 0, "y": 0, "width": box["width"], "height": box["height"], "scale": 1}
    picture = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    file.write_bytes(base64.b64decode(picture["data"]))


def main(folder: Path, names: list[str]) -> None:
    """All pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, serving(Path(data)) as scene:
        setup = f"{scene.url}{scene.app.setup_link}"
        token = scene.session() if names and "setup" not in names else None
        driver = chromium()
        try:
            fill(scene)
            signed_out = {"setup": setup, "sign-in": f"{scene.url}/login"}
            for pages in (signed_out, None):
                if pages is None:
                    sign_in(driver, scene, token)
                    pages = addresses(scene)
                for name, address in pages.items():
                    if not names or name in names:
                        picture_each(driver, folder, name, address)
        finally:
            driver.quit()


def picture_each(driver: Chrome, folder: Path, name: str, address: str) -> None:
    """One page in each size and colour scheme."""
    for colours in SCHEMES:
        scheme(driver, colours)
        for width in SIZES:
            size(driver, width)
            driver.get(address)
            shoot(driver, folder / f"{name}-{width}-{colours}.png")
    print(name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])

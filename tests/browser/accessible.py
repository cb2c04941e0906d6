"""axe-core in the browser: the accessibility checker that package-lock.json pins."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

RUN = """
const done = arguments[arguments.length - 1];
const runOnly = {type: "tag", values: arguments[0]};
axe.run(document, {resultTypes: ["violations"], preload: false, iframes: false, runOnly}).then(
  (found) => done(found.violations.map((one) =>
    `${one.id} (${one.help}): ` + one.nodes.slice(0, 3).map((node) =>
      node.target.join(" ") + " " + node.html.slice(0, 120)
      + " " + node.any.map((each) => each.message).slice(0, 1)).join(" | "))),
  (error) => done([String(error)]));
"""


def installed() -> str:
    """Install what is pinned, unless it is there; returns why it cannot be had, or nothing."""
    pinned = json.loads((FOLDER / "package-lock.json").read_text("utf-8"))
    wanted = pinned["packages"]["node_modules/axe-core"]["version"]
    present = SOURCE.with_name("package.json")
    if present.exists() and json.loads(present.read_text("utf-8"))["version"] == wanted:
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed, which brings axe-core"
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120
    )
    return f"npm ci failed: {done.stderr[-300:]}" if done.returncode else ""


def violations(driver: Chrome) -> list[str]:
    """What the page violates, of the standards and best practice."""
    if not driver.execute_script("return !!window.axe"):
        driver.execute_script(SOURCE.read_text("utf-8"))
    found: Any = driver.execute_async_script(RUN, STANDARDS)
    return [str(one) for one in found]

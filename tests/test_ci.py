"""`.ci/run` runs the command that README shows, and no other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_ci_extracts_the_test_command_from_readme() -> None:
    """The awk program of .ci/run finds exactly README's second command."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    program = re.search(r"^command=\$\(awk '(.*)' README\.md\)$", script, re.M)
    assert program is not None
    found = subprocess.run(
        ["awk", program.group(1), "README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    commands = re.findall(
        r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
    )
    assert found.stdout.strip() == commands[1].strip()
    assert "pytest" in found.stdout

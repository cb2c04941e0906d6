"""`.<file>.flagloop`: what a file looked like when it and a server last agreed.

It is the base of the three-way merge of `push` and `pull`, one copy for each environment. It may
be committed beside the file or ignored; without it a push uses what its key pushed last without.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from flagloop.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Copy:
    """The base text for one environment, and the revision that it was in step with."""

    url: str
    environment: str
    lineage: str
    revision: int
    base: str


def side_path(file: Path) -> Path:
    """`flags.yaml` -> `.flags.yaml.flagloop` in the same folder."""
    return file.with_name(f".{file.name}.flagloop")


def find(file: Path, url: str, environment: str) -> Copy | None:
    """The copy for an environment; ConfigError for a side file that cannot be read."""
    for copy in _read(side_path(file)):
        if (copy.url, copy.environment) == (url, environment):
            return copy
    return None


def keep(file: Path, copy: Copy) -> None:
    """Replace the copy of its environment, leaving those of others."""
    path = side_path(file)
    others = [
        one for one in _read(path) if (one.url, one.environment) != (copy.url, copy.environment)
    ]
    content = {"format": 1, "copies": [asdict(one) for one in [*others, copy]]}
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old or the new one; ConfigError if that fails."""
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        if target.exists():
            part.chmod(target.stat().st_mode & 0o777)
        part.replace(target)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {problem.strerror or problem}") from None


def _read(path: Path) -> list[Copy]:
    try:
        content = json.loads(path.read_bytes())
        return [Copy(**one) for one in content["copies"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as problem:
        raise ConfigError(
            f"{path} cannot be read ({problem}); remove it and give push --base REVISION"
        ) from None

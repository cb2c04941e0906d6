"""Running experiments that a change would disturb: refused unless forced with a reason.

An experiment is disturbed when the change touches who gets what of its flag: the flag, or a
segment, layer, holdout or other flag that decides for it. Descriptions, owners and tags do not
count, and neither does a change that ends the experiment itself (`status: decided`). A push is
warned, not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flagloop.document.problem import Problem
from flagloop.document.schema import references
from flagloop.errors import ConfigError, ConflictError
from flagloop_server.changes import Change, Draft, Scene, changed_refs
from flagloop_server.store import Ref
from flagloop_server.whatif import read_differently
from flagloop_server.wording import join_words


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A running experiment, the flag that it runs on, and what of the change reaches it."""

    experiment: str
    flag: str
    by: tuple[Ref, ...]

    def __str__(self) -> str:
        names = [key if section == "flags" else f"{section}.{key}" for section, key in self.by]
        return (
            f"Experiment {self.experiment} runs on {self.flag}: this change of "
            f"{join_words(names, 'and')} disturbs its result."
        )


class DisturbedError(ConflictError):
    """A change that would disturb running experiments; `.disturbances` lists them."""

    def __init__(self, found: Iterable[Disturbance]) -> None:
        self.disturbances = tuple(found)
        names = [one.experiment for one in self.disturbances]
        shown = join_words(names, "and")
        super().__init__(
            f"this would disturb the running experiment {shown}: end it first, or force the "
            "change with a reason",
            [f"experiments.{name}" for name in names],
        )


def disturbed(
    before: Mapping[str, Any], after: Mapping[str, Any], changed: Iterable[Ref]
) -> tuple[Disturbance, ...]:
    """The experiments that run in both documents and on whose flag `changed` has an effect."""
    running = {
        key
        for key, item in _section(before, "experiments").items()
        if _runs(item) and _runs(_section(after, "experiments").get(key, {}))
    }
    if not running:
        return ()
    refs = [ref for ref in changed if ref[1] and read_differently(before, after, ref)]
    found = []
    for flag, item in _section(before, "flags").items():
        for experiment in _experiments(item):
            if experiment in running:
                decides = _decides(before, flag) | _decides(after, flag)
                by = tuple(ref for ref in refs if ref in decides)
                found += [Disturbance(experiment, flag, by)] if by else []
    return tuple(found)


def _decides(document: Mapping[str, Any], flag: str) -> set[Ref]:
    """The flag and everything that it names, also through others: what decides for it."""
    found: set[Ref] = set()
    waiting: list[Ref] = [("flags", flag)]
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting.extend(references(ref[0], _section(document, ref[0]).get(ref[1])))
    return found


def warnings(
    before: Mapping[str, Any], after: Mapping[str, Any], changed: Iterable[Ref]
) -> list[Problem]:
    """The same as warnings, for a push: its file was reviewed, and a pipeline cannot be asked."""
    return [
        Problem(str(one), ("experiments", one.experiment), severity="warning")
        for one in disturbed(before, after, changed)
    ]


def guarded(planned: Change, *, force: bool = False, given: str | None = None) -> Change:
    """The same change, refused (DisturbedError) if it would disturb a running experiment.

    With `force` it is made, if it has a reason (ConfigError without): `given` is what a person
    wrote, where the change says something of its own instead of nothing. Urgent changes pass.
    """

    def draft(scene: Scene) -> Draft:
        made = planned.draft(scene)
        changed = changed_refs(scene.document, made.document)
        found = disturbed(scene.document.mapping, made.document.mapping, changed)
        if found and not force:
            raise DisturbedError(found)
        if found and not (scene.reason if given is None else given).strip():
            raise ConfigError(
                f"to disturb the running experiment {found[0].experiment} needs a reason"
            )
        return made

    return planned if planned.urgent else replace(planned, draft=draft)


def _section(document: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    items = document.get(section)
    return items if isinstance(items, dict) else {}


def _runs(experiment: Any) -> bool:
    return isinstance(experiment, dict) and experiment.get("status", "running") == "running"


def _experiments(flag: Any) -> list[str]:
    rules = flag.get("rules") if isinstance(flag, dict) else None
    listed = rules if isinstance(rules, list) else []
    return [rule["experiment"] for rule in listed if "experiment" in rule]

"""An item's text while it is edited: what it means, what is wrong with it, and steps on it.

Pages and the admin API ask here. Nothing is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from flagloop.document import yamledit
from flagloop.document.problem import Problem, errors
from flagloop.document.yamlfile import parse
from flagloop.document.yamlwrite import scalar_text
from flagloop.errors import DocumentError
from flagloop_server import changes as change
from flagloop_server.changes import Changes
from flagloop_server.drafts import conditions, rules, steps, typed
from flagloop_server.drafts.steps import Do, Step, Work
from flagloop_server.itemtext import as_document, from_document, key_of

DOINGS: dict[str, Do] = {
    "set": steps.put,
    "remove": steps.remove,
    "insert": steps.insert,
    "move": steps.move,
    "rename": steps.rename,
    "key": steps.set_key,
    "rule": rules.add_rule,
    "copy": rules.copy_rule,
    "name": rules.rename_rule,
    "outcome": rules.set_outcome,
    "variant": rules.add_variant,
    "part": rules.add_part,
    "spread": rules.spread,
    **conditions.STEPS,
}
"""What a step can do."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An item's text as it is edited.

    `mapping` is None where the text cannot be read at all; `problems` have lines of the text.
    `reformatted` says that a step laid the item out anew, `focus` where it left off, `part` in
    which field of a test.
    """

    section: str
    key: str
    text: str
    mapping: dict[str, Any] | None
    problems: tuple[Problem, ...] = ()
    reformatted: bool = False
    focus: tuple[str | int, ...] = ()
    part: str = ""

    @property
    def readable(self) -> bool:
        """Whether the text could be read, if only to find problems in it."""
        return self.mapping is not None

    @property
    def good(self) -> bool:
        """Whether it could be saved."""
        return self.readable and not errors(self.problems)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an item is edited: the environment, the section, the key (empty for a new item)."""

    changes: Changes
    environment: str
    section: str
    key: str = ""


def read_draft(desk: Desk, text: str) -> Draft:
    """What the text means in its document, with every problem. Raises NotFoundError only."""
    key = desk.key
    try:
        key = key or key_of(desk.section, text)
        planned = change.put_item(desk.environment, desk.section, key, text)
        preview = desk.changes.preview(planned)
    except DocumentError as error:
        return Draft(desk.section, key, text, None, tuple(error.problems))
    item = preview.document.items[desk.section, key]
    mapping = item.mapping if isinstance(item.mapping, dict) else {}
    problems = preview.problems
    if not desk.key and (desk.section, key) in preview.base.document.items:
        problems = (taken(desk.section, key), *problems)
    return Draft(desk.section, key, text, mapping, problems)


def taken(section: str, key: str) -> Problem:
    """A new item whose key another one has."""
    hint = "take another key, or open that one and edit it"
    return Problem("exists already", (section, key), line=1, hint=hint)


def edit_draft(desk: Desk, text: str, wanted: Iterable[Step], saved: Iterable[str] = ()) -> Draft:
    """Make steps on what the text says now; only the lines that they concern change.

    `saved` are the names of rules that were saved already: these keep their units when they are
    renamed. A text that cannot be read stays as it is. Raises DocumentError for a step that is
    not possible (its place is gone, a name is taken) and ValueError for one that is not known.
    """
    before = read_draft(desk, text)
    if before.mapping is None:
        return before
    work = Work(deepcopy(before.mapping), frozenset(saved), "" if desk.key else before.key)
    for step in wanted:
        _make(work, step)
    return _written(desk, before, work)


def _make(work: Work, step: Step) -> None:
    if step.do not in DOINGS:
        raise ValueError(f"no step '{step.do}'; there are {', '.join(DOINGS)}")
    if step.do == "set" and step.kind not in ("", *typed.KINDS):
        raise ValueError(f"no kind '{step.kind}'; there are {', '.join(typed.KINDS)}")
    work.focus, work.part = step.path, ""
    try:
        DOINGS[step.do](work, step)
    except (AttributeError, LookupError, TypeError, ValueError):
        # what stands there has another shape than the step takes it to have
        message = f"'{step.do}' cannot be done there"
        raise steps.refused(message, step.path) from None


def _written(desk: Desk, before: Draft, work: Work) -> Draft:
    text, anew = rewritten(before.section, before.key, before.text, work.item)
    if work.key not in ("", before.key):
        text = rekeyed(before.section, before.key, text, work.key)
    after = read_draft(desk, text)
    return replace(after, text=text, reformatted=anew, focus=work.focus, part=work.part)


def rewritten(section: str, key: str, text: str, mapping: Any) -> tuple[str, bool]:
    """An item's text with another meaning, and whether it had to be laid out anew."""
    document = parse(as_document(section, text))
    edit = yamledit.replace_item(document, section, key, mapping)
    return from_document(edit.document.text), edit.reformatted


def rekeyed(section: str, old: str, text: str, new: str) -> str:
    """An item's text with another key; DocumentError where the key is written unusually."""
    # the section's own line stands above the item's first
    place = (parse(as_document(section, text)).line((section, old)) or 2) - 2
    lines = text.split("\n")
    found = re.match(rf"""( *)(["']?){re.escape(old)}\2(?=\s*:)""", lines[place])
    if found is None:
        raise steps.refused("the key cannot be changed here", (), "change it in the text")
    lines[place] = found[1] + scalar_text(new) + lines[place][found.end() :]
    return "\n".join(lines)

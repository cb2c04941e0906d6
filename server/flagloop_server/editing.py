"""One person's edit of one item, and what others saved meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flagloop.document.definition import Document
from flagloop_server import changes as change
from flagloop_server.disturbance import Disturbance
from flagloop_server.drafts import Clash, Side, merge_texts
from flagloop_server.itemtext import key_of
from flagloop_server.proposals import text_of
from flagloop_server.store import Ref, RevisionRow, Store

STARTERS = {
    "flags": """\
new_flag:
  description: What this flag is for
  owner: team@example.com
  variants: {control: blue, treatment: green}
  default: control
  off: control
  rules: []
""",
    "segments": """\
new_segment:
  description: Who is in it
  when: {plan: [pro, team]}
""",
    "layers": """\
new_layer:
  description: Experiments of this layer never share a unit
""",
    "holdouts": """\
new_holdout:
  description: Gets the default of every flag that names it
  share: 2%
""",
    "metrics": """\
new_metric:
  description: The units that did it
  event: sign_up
  better: higher
""",
    "experiments": """\
new_experiment:
  hypothesis: What is expected, and why
  owner: team@example.com
  status: draft
  plan: {method: sequential, baseline: 5%, mde: 10%, power: 80%, days: 14}
""",
}
"""What the editor of a new item begins with."""

MOST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Edited:
    """What an editor sent: `key` empty for a new item, `opened` the item's revision then."""

    section: str
    key: str
    text: str
    opened: int

    @property
    def ref(self) -> Ref:
        """The item; of a new one the key stands in its text, which raises DocumentError."""
        return self.section, self.key or key_of(self.section, self.text)

    def change(self, environment: str) -> change.Change:
        """The change that saves it; DocumentError where the text names no item."""
        return change.put_item(environment, *self.ref, self.text)


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What others made of the item since it was opened.

    `merged` is None where they and the edit clash, or where nothing can be merged (`problem`).
    """

    now: int
    rows: tuple[RevisionRow, ...]
    before: str | None
    after: str | None
    merged: str | None = None
    clashes: tuple[Clash, ...] = ()
    problem: str = ""


def starter(section: str) -> str:
    """The text that a new item begins with."""
    return STARTERS[section]


def disturbed_without(document: Document, ref: Ref) -> tuple[str, ...]:
    """The running experiments that the removal of an item that nothing names would disturb."""
    flag = document.flags.get(ref[1]) if ref[0] == "flags" else None
    rules = flag.rules if flag is not None else ()
    named = [document.experiments.get(one.experiment or "") for one in rules]
    return tuple(
        str(Disturbance(one.key, ref[1], (ref,)))
        for one in named
        if one is not None and one.status == "running"
    )


def meanwhile(
    store: Store,
    environment: str,
    edited: Edited,
    choices: Mapping[str, Side] | None = None,
) -> Meanwhile | None:
    """What others saved since the item was opened; None where it is as it was.

    A new item is not merged: where its key was taken meanwhile, saving it is a conflict.
    """
    if not edited.key:
        return None
    stored = store.document(environment)
    ref = (edited.section, edited.key)
    now = stored.item_revisions.get(ref, 0)
    if now == edited.opened:
        return None
    then = store.document(environment, edited.opened) if edited.opened else None
    before = text_of(then.document, *ref) if then is not None else None
    after = text_of(stored.document, *ref)
    rows = store.revisions(environment, section=ref[0], key=ref[1], limit=MOST_ROWS)
    newer = tuple(row for row in rows if row.number > edited.opened)
    if after is None or before is None:
        return Meanwhile(now, newer, before, after, problem="it was removed meanwhile")
    merged = merge_texts(ref, (before, edited.text, after), choices)
    return Meanwhile(now, newer, before, after, merged.text, merged.clashes, merged.problem)

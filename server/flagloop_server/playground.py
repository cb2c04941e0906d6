"""Any context, now or at any past time: what every flag decides, and why, rule by rule.

    scene = look(store, "production", at=1_790_000_000_000)
    scene.decisions({"key": "u-42", "country": "DE"})     # one Decision for each flag
    scene.explain("cta_color", {"key": "u-42"})           # its steps

Times are epoch milliseconds. Nothing here is recorded: no exposure, no count.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flagloop.document.problem import did_you_mean
from flagloop.document.yamlfile import DocumentText
from flagloop.errors import ConfigError, NotFoundError
from flagloop.evaluation.decision import Decision
from flagloop.evaluation.explain import Explanation, explain
from flagloop.evaluation.ruleset import Ruleset
from flagloop_server.store import Ref, RevisionRow, Store, StoredDocument, now_ms

LARGEST_CONTEXT = 64 * 1024
"""Characters of a context's JSON."""

_KEPT = 8


@dataclass(frozen=True, slots=True)
class Scene:
    """The rules of one revision at one time: `at` is what windows of rules are held against.

    `row` says who made the revision, when and why; `current` is whether it is in force now.
    """

    stored: StoredDocument
    row: RevisionRow
    ruleset: Ruleset
    at: int
    current: bool

    def decisions(
        self, context: Mapping[str, Any], flags: Collection[str] | None = None
    ) -> list[Decision]:
        """What each flag (or each of `flags`) decides, in the document's order."""
        rules, now = self.ruleset, self.at / 1000
        names = [name for name in rules.names() if flags is None or name in flags]
        return [rules.evaluate(name, context, now) for name in names]

    def explain(self, flag: str, context: Mapping[str, Any]) -> Explanation:
        """Why the flag decides so, step by step; NotFoundError names the nearest flag."""
        names = self.ruleset.names()
        if flag not in names:
            near = did_you_mean(flag, names)
            where = f"revision {self.stored.revision} of {self.stored.environment}"
            raise NotFoundError(f"no flag '{flag}' in {where}" + (f"; {near}" if near else ""))
        return explain(self.ruleset, flag, context, self.at / 1000)


class Rulesets:
    """The last compiled rulesets by revision name (a lineage is random, so names are unique).

    They are not those that SDKs decide by: nothing that is asked here is counted. A flag is
    compiled once for all revisions in which its text is the same.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._rulesets: OrderedDict[str, tuple[Ruleset, DocumentText]] = OrderedDict()

    def of(self, stored: StoredDocument) -> Ruleset:
        """The ruleset of a stored document."""
        with self._lock:
            found = self._rulesets.get(stored.name)
            if found is None:
                document = stored.document
                made = Ruleset(document.mapping, stored.name, stored.environment)
                for other, text in self._rulesets.values():
                    made.adopt(other, alike(document, text))
                found = self._rulesets[stored.name] = (made, document)
            self._rulesets.move_to_end(stored.name)
            while len(self._rulesets) > self._kept:
                self._rulesets.popitem(last=False)
        return found[0]


def alike(one: DocumentText, other: DocumentText) -> list[str]:
    """The flags whose text is the same in both; none where anything that they may name differs."""
    if _named(one) != _named(other):
        return []
    others = other.items
    return [
        key
        for (section, key), item in one.items.items()
        if section == "flags"
        and (its := others.get((section, key))) is not None
        and its.text == item.text
    ]


def _named(document: DocumentText) -> dict[Ref, str]:
    return {
        ref: item.text for ref, item in document.items.items() if ref[0] not in ("flags", "metrics")
    }


_RULESETS = Rulesets()


def look(
    store: Store, environment: str, *, revision: int | None = None, at: int | None = None
) -> Scene:
    """The rules of an environment as they are, as of a revision, or as they were at a time.

    With `at` alone it is the revision in force then; with `revision` too, that one at that time;
    with `revision` alone, that one now. Raises NotFoundError for a revision that there is none
    of, and for a time before the first.
    """
    if revision is None and at is not None:
        revision = store.revision_at(environment, at)
    stored = store.document(environment, revision)
    return Scene(
        stored=stored,
        row=store.revision(environment, stored.revision),
        ruleset=_RULESETS.of(stored),
        at=now_ms() if at is None else at,
        current=stored.revision == store.environment(environment).revision,
    )


def read_context(text: str) -> dict[str, Any]:
    """A context as people write it: a JSON object, or a key alone; ConfigError says what is wrong.

    Attributes have plain names (`{"key": "u-42", "country": "DE"}`); those of OpenFeature's form
    (`{"key": ..., "attributes": {...}}`) are taken too.
    """
    text = text.strip()
    if len(text) > LARGEST_CONTEXT:
        raise ConfigError(f"a context has at most {LARGEST_CONTEXT:,} characters")
    if not text.startswith("{"):
        return {"key": text} if text else {}
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"the context is no JSON: {error.msg} at {place}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the context is no JSON: {error}") from None
    return check_context(found)


def check_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context flat and fit to be evaluated and written; ConfigError says what is not."""
    attributes = context.get("attributes")
    flat = {key: value for key, value in context.items() if key != "attributes"}
    flat = {**attributes, **flat} if isinstance(attributes, dict) else dict(context)
    for name, value in flat.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"attribute '{name}' is no finite number")
    try:
        json.dumps(flat, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ConfigError("the context has half a character (a lone surrogate)") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the context cannot be written as JSON: {error}") from None
    return flat


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")

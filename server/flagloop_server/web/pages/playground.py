"""The playground: any context, now or at a past time, and why each flag decides so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue

from flagloop.errors import ConfigError, NotFoundError
from flagloop.evaluation.bucketing import SPACE
from flagloop.evaluation.explain import Explanation, Position, Reached
from flagloop_server import decided, playground, wording
from flagloop_server.contextform import from_fields, in_words, to_fields, to_json
from flagloop_server.store import Environment
from flagloop_server.web import application
from flagloop_server.web.identity import public_url
from flagloop_server.web.pages.frame import blueprint, enter, first_row, page, whole
from flagloop_server.web.pages.moments import address_text, field_text, read_moment

PAGE = 200
"""Decisions that are shown at once."""

LONGEST = 4_000
"""Characters of a context that an address holds."""

STARTERS = 6
REVISIONS = 20
BLANK = 2
"""Empty rows for more attributes."""

OUTCOMES = {"served": "decides", "passed": "passed over", "not reached": "not reached"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks; `context` is None where it asks about nobody yet."""

    context: dict[str, Any] | None = None
    text: str = ""
    at: int | None = None
    revision: int | None = None
    flag: str = ""
    problem: str = ""

    @property
    def is_now(self) -> bool:
        """Whether it is the rules in force that are asked."""
        return self.at is None and self.revision is None

    @property
    def arguments(self) -> dict[str, Any]:
        """The same as the arguments of an address."""
        return {
            "context": to_json(self.context) if self.context is not None else None,
            "at": address_text(self.at) if self.at is not None else None,
            "revision": self.revision,
        }


@dataclass(frozen=True, slots=True)
class Ruler:
    """Where a unit fell on the line from 0 to 100%; `at` is None where no unit was needed."""

    by: str
    at: float | None
    low: float
    high: float
    words: str


@dataclass(frozen=True, slots=True)
class Card:
    """One step as a card; `says` is what the rule says."""

    title: str
    kind: str
    name: str
    outcome: str
    why: str
    says: str = ""
    rulers: tuple[Ruler, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page shows of a scene: counts of `lines` by kind, how many are `changed` since,
    and of the chosen flag its line and the cards that tell why; or the problem with it.
    """

    scene: playground.Scene
    lines: list[decided.Line]
    kinds: Mapping[str, int]
    changed: int
    line: decided.Line | None = None
    cards: list[Card] = field(default_factory=list)
    problem: str = ""


@blueprint.get("/environments/<environment>/playground")
def try_context(environment: str) -> ResponseReturnValue:
    """What every flag decides for the context in the address, and why one of them does."""
    env, who = enter("view", environment)
    asked = _asked()
    answer, problem = None, asked.problem
    if asked.context is not None and not problem:
        try:
            answer = _answer(env, asked)
        except NotFoundError as error:
            problem = str(error)
    store = application().store
    recorded = application().events.contexts(env.id, STARTERS) if who.may("edit", env.key) else []
    found = answer.lines if answer else []
    chosen = decided.select(found, request.args.get("show", ""), request.args.get("q", ""))
    first = first_row(len(chosen))
    response = page(
        "playground.html",
        env,
        asked=asked,
        answer=answer,
        problem=problem,
        form=_form(asked),
        starters=[(one, to_json(one.context), in_words(one.context)) for one in recorded],
        may_see_starters=who.may("edit", env.key),
        newest=store.revisions(environment, limit=REVISIONS),
        chosen=chosen,
        shown=chosen[first : first + PAGE],
        first=first,
        step=PAGE,
        show=request.args.get("show", ""),
        q=request.args.get("q", ""),
        decided=decided,
        in_words=in_words,
        url=public_url(),
        link=url_for("pages.try_context", environment=environment, **asked.arguments),
    )
    response.headers["Referrer-Policy"] = "no-referrer"  # the address holds the context
    return response


def _asked() -> Asked:
    """What is asked; with a problem where that cannot be read."""
    args = request.args
    text, flag = args.get("context", ""), args.get("flag", "")
    at = revision = context = None
    try:
        at = read_moment(args.get("at", ""))
        revision = _revision(args.get("revision", ""))
        context = _context(text)
    except ConfigError as error:
        return Asked(context, text, at, revision, flag, str(error))
    return Asked(context, text, at, revision, flag)


def _context(text: str) -> dict[str, Any] | None:
    """The context of the address: as JSON, or as fields; None where there is neither."""
    if text.strip():
        context = playground.read_context(text)
    elif "key" in request.args:
        pairs = zip(request.args.getlist("name"), request.args.getlist("value"), strict=False)
        context = playground.check_context(from_fields(request.args["key"], pairs))
    else:
        return None
    size = len(to_json(context))
    if size > LONGEST:
        raise ConfigError(
            f"an address holds a context of {LONGEST:,} characters, this one has {size:,}; "
            "larger ones are for POST /api/v1/admin/environments/<env>/reports/decide"
        )
    return context


def _revision(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    try:
        return whole(text)
    except ValueError:
        raise ConfigError(f"'{text}' is no number of a revision") from None


def _form(asked: Asked) -> dict[str, Any]:
    """What the fields hold; JSON where that is asked for, or where fields cannot say it."""
    args = request.args
    key, pairs = (
        args.get("key", ""),
        list(zip(args.getlist("name"), args.getlist("value"), strict=False)),
    )
    text = asked.text
    as_fields = to_fields(asked.context) if asked.context is not None else (key, pairs)
    if asked.context is not None:
        text = to_json(asked.context)
    json_asked = (args.getlist("as") or [""])[-1] == "json"
    unread = asked.context is None and bool(text)
    if as_fields is not None:
        key, pairs = as_fields
    return {
        "json": json_asked or as_fields is None or unread,
        "key": key,
        "pairs": [*(pair for pair in pairs if any(pair)), *[("", "")] * BLANK],
        "text": text or '{"key": ""}',
        "at": field_text(asked.at) or args.get("at", ""),
        "revision": args.get("revision", ""),
    }


def _answer(env: Environment, asked: Asked) -> Answer:
    store, context = application().store, asked.context or {}
    scene = playground.look(store, env.key, revision=asked.revision, at=asked.at)
    now = None if asked.is_now else playground.look(store, env.key).decisions(context)
    found = decided.lines(scene.decisions(context), now)
    line = next((one for one in found if one.flag == asked.flag), None)
    cards: list[Card] = []
    problem = ""
    try:
        if asked.flag:
            cards = _cards(scene, scene.explain(asked.flag, context))
    except NotFoundError as error:
        problem = str(error)
    kinds: Counter[str] = Counter(map(decided.kind, found))
    changed = sum(one.changed for one in found)
    return Answer(scene, found, kinds, changed, line, cards, problem)


def _cards(scene: playground.Scene, explanation: Explanation) -> list[Card]:
    flag = scene.ruleset.flag(explanation.decision.flag)
    rules = {rule.name: rule for rule in flag.rules} if flag is not None else {}
    cards = []
    for step in explanation.steps:
        rule = rules.get(step.name) if step.kind == "rule" else None
        cards.append(
            Card(
                title=_title(step),
                kind=step.kind,
                name=step.name,
                outcome=OUTCOMES[step.outcome],
                why=step.why,
                says=wording.rule_words(rule) if rule is not None else "",
                rulers=tuple(_ruler(one) for one in step.positions),
            )
        )
    return cards


def _title(step: Reached) -> str:
    titles = {
        "flag": "Broken",
        "killed": "Killed",
        "requires": "Prerequisite",
        "holdout": "Holdout",
        "rule": "Rule",
        "default": "Default",
    }
    return titles[step.kind]


def _ruler(position: Position) -> Ruler:
    at = None if position.at is None else position.at / SPACE
    low, high = position.low / SPACE, position.high / SPACE
    inside = "in" if position.inside else "not in"
    where = f"the unit is at {at * 100:.6g}%, {inside}" if at is not None else "takes"
    words = f"{position.by}: {where} {low * 100:.6g}% to {high * 100:.6g}%"
    return Ruler(position.by, at, low, high, words)

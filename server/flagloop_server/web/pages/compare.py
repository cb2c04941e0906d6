"""Two environments beside each other, and promoting an item from one to the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue

from flagloop.document.schema import SECTIONS
from flagloop.errors import ConfigError, ConflictError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server import promoting
from flagloop_server.compare import ComparedItem, Comparison
from flagloop_server.compare import compare as compare_documents
from flagloop_server.disturbance import DisturbedError, guarded
from flagloop_server.promoting import Promotion
from flagloop_server.store import Environment, Ref
from flagloop_server.web import application
from flagloop_server.web.identity import require
from flagloop_server.web.pages.frame import (
    back_to_flag,
    blueprint,
    enter,
    first_row,
    page,
    visible,
    whole,
)
from flagloop_server.web.pages.proposals import Proposal, propose, reason
from flagloop_server.wording import join_words

PAGE = 40
"""Items that are shown at once, each with its diff."""

SHOWS = ("differs", "here", "there", "runs", "same")
"""What the list can be narrowed to; everything but `same` is shown without."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the address asks for; an empty text asks for nothing."""

    show: str = ""
    section: str = ""
    text: str = ""

    def takes(self, item: ComparedItem) -> bool:
        """Whether the item is asked for."""
        if self.section and item.section != self.section:
            return False
        name = f"{item.section}.{item.key}".casefold()
        if not all(word in name for word in self.text.casefold().split()):
            return False
        if self.show == "runs":
            return bool(item.runtime)
        if self.show in SHOWS:
            return kind(item) == self.show
        return item.state != "same" or bool(item.runtime)


def kind(item: ComparedItem) -> str:
    """The state of an item as one word of the address."""
    return {"only left": "here", "only right": "there"}.get(item.state, item.state)


def summary(found: Comparison) -> str:
    """`12 flags differ, 3 are only in staging; 2 other items differ`."""
    here, there = found.left.environment, found.right.environment
    flags = Counter(kind(one) for one in found.items if one.section == "flags")
    others = Counter(kind(one) for one in found.items if one.section != "flags")
    told = (_counted(flags, "flag", here, there), _counted(others, "other item", here, there))
    parts = [part for part in told if part]
    running = sum(bool(one.runtime) for one in found.items)
    if running:
        parts.append(f"{running:,} {'runs' if running == 1 else 'run'} differently")
    if parts:
        return "; ".join(parts)
    return f"nothing differs between {here} and {there}"


def _counted(counts: Counter[str], noun: str, here: str, there: str) -> str:
    words = {
        "differs": ("differs", "differ"),
        "here": (f"is only in {here}", f"are only in {here}"),
        "there": (f"is only in {there}", f"are only in {there}"),
    }
    parts: list[str] = []
    for state, (one, many) in words.items():
        n = counts[state]
        if n:
            subject = f"{n:,}" if parts else f"{n:,} {noun}{'' if n == 1 else 's'}"
            parts.append(f"{subject} {one if n == 1 else many}")
    return join_words(parts, "and")


@blueprint.get("/environments/<environment>/compare/<other>")
def compare(environment: str, other: str) -> ResponseReturnValue:
    """Every item of two environments that is not the same, with its difference."""
    env, who = enter("view", environment)
    require("view", other)
    store = application().store
    found = compare_documents(store.document(environment), store.document(other))
    args = request.args
    wanted = Wanted(args.get("show", ""), args.get("section", ""), args.get("q", ""))
    chosen = [item for item in found.items if wanted.takes(item)]
    first = first_row(len(chosen))
    environments = visible(store.environments(), who)
    return page(
        "compare.html",
        env,
        other=store.environment(other),
        found=found,
        summary=summary(found),
        chosen=chosen,
        shown=chosen[first : first + PAGE],
        first=first,
        step=PAGE,
        wanted=wanted,
        sections=_sections(found),
        others=[one.key for one in environments if one.key not in (environment, other)],
        may_promote=who.may("edit", other) and environment != other,
        promotable=SECTIONS,
        kind=kind,
    )


def _sections(found: Comparison) -> Sequence[str]:
    present = dict.fromkeys(item.section for item in found.items)
    return list(present)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be promoted, with what, and what was seen of both sides when it was asked."""

    promotion: Promotion
    along: tuple[Ref, ...]

    @property
    def refs(self) -> tuple[Ref, ...]:
        """All items that would be written."""
        return (self.promotion.ref, *self.along)

    @property
    def change(self) -> change.Change:
        """The change."""
        return self.promotion.change(self.along)


@blueprint.get("/environments/<environment>/reports/promote/<other>/<section>/<key>")
def promote_page(environment: str, other: str, section: str, key: str) -> ResponseReturnValue:
    """What bringing an item here from another environment would do."""
    env, _ = enter("edit", environment)
    found = _promotion(environment, other, section, key)
    names = request.args.getlist("with") if "chosen" in request.args else None
    return _promote(env, Asked(found, _along(found, names)))


@blueprint.post("/environments/<environment>/promote/<other>/<section>/<key>")
def save_promotion(environment: str, other: str, section: str, key: str) -> ResponseReturnValue:
    """Bring an item here, unless it was changed here or there since it was looked at."""
    env, who = enter("edit", environment)
    app, form = application(), request.form
    found = _promotion(environment, other, section, key)
    asked = Asked(found, _along(found, form.getlist("with")))
    seen = form.get("seen", 0, type=whole)
    if promoting.moved_on(found.source, seen, asked.refs):
        refusal = f"it was changed in {other} since you looked; below is what it would do now"
        return _promote(env, asked, 409, refusal=refusal, why=reason())
    expected = promoting.expected(
        app.store, environment, form.get("opened", 0, type=whole), asked.refs
    )
    planned = guarded(asked.change, force="force" in form)
    try:
        applied = app.changes.apply(planned, who.actor, reason(), expected)
    except DocumentError as error:
        shown = Proposal(problems=tuple(error.problems))
        return _promote(env, asked, 422, proposal=shown, why=reason())
    except (DisturbedError, ConflictError) as error:
        return _promote(env, asked, 409, refusal=str(error), why=reason())
    except ConfigError as error:
        return _promote(env, asked, 400, refusal=str(error), why=reason(), forced="force" in form)
    return _back(environment, (section, key), applied)


def _promotion(environment: str, other: str, section: str, key: str) -> Promotion:
    """Raises NotFoundError for an item that the other environment does not have."""
    require("view", other)
    if section not in SECTIONS:
        raise NotFoundError(f"no section '{section}'; there are {', '.join(SECTIONS)}")
    store = application().store
    return promoting.promotion(store.document(other), store.document(environment), section, key)


def _along(found: Promotion, names: Sequence[str] | None) -> tuple[Ref, ...]:
    """Which missing items come along: all, unless some are named."""
    if names is None:
        return found.missing
    return tuple(ref for ref in found.missing if ".".join(ref) in names)


def _promote(
    env: Environment, asked: Asked, status: int = 200, **values: Any
) -> ResponseReturnValue:
    found = asked.promotion
    if "proposal" not in values:
        values["proposal"] = propose(env, asked.change)
    return page("promote.html", env, status, asked=asked, found=found, **values)


def _back(environment: str, ref: Ref, applied: change.Applied) -> ResponseReturnValue:
    section, key = ref
    if section == "flags":
        return back_to_flag(environment, key, applied)
    place = url_for("pages.section_item", environment=environment, kind=section, name=key)
    return redirect(place + (f"?done={applied.revision}" if applied.applied else ""), 303)

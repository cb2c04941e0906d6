"""A flag as cards: what it is, its variants, its rules in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flagloop.document.definition import Document
from flagloop.document.problem import Path, Problem
from flagloop.document.schema import SHORTHAND, read_flag
from flagloop.document.yamlwrite import flow_text
from flagloop_server import overview
from flagloop_server.drafts import typed
from flagloop_server.web.pages.visual.board import Board, Field, Known, identity, same
from flagloop_server.web.pages.visual.rules import RuleCard, rule_card

TYPES = ("boolean", "string", "integer", "number", "json")


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A variant: its name and its value."""

    id: str
    name: Field
    value: Field
    address: str


@dataclass(frozen=True, slots=True)
class NeedRow:
    """A prerequisite: another flag and the variant that it must serve."""

    id: str
    flag: Field
    variant: Field
    address: str


@dataclass(frozen=True, slots=True)
class FlagCards:
    """The cards of a flag; `shorthand` where it declares no variants."""

    about: tuple[Field, ...]
    variants: tuple[VariantRow, ...]
    shorthand: bool
    served: tuple[Field, ...]
    needs: tuple[NeedRow, ...]
    free_flags: tuple[str, ...]
    traffic: tuple[Field, ...]
    rules: tuple[RuleCard, ...]
    default: str
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def flag_cards(
    key: str,
    mapping: Mapping[str, Any],
    problems: Iterable[Problem],
    known: Known,
    document: Document,
) -> FlagCards:
    """The cards of a flag's mapping, whatever is wrong with it."""
    board = Board(problems, known)
    declared = mapping.get("variants")
    names = list(declared) if isinstance(declared, dict) else list(SHORTHAND)
    rules = mapping.get("rules")
    cards = [
        rule_card(board, mapping, names, place)
        for place in range(len(rules) if isinstance(rules, list) else 0)
    ]
    idle = _idle(key, mapping, document)
    needs = mapping.get("requires")
    needed = needs if isinstance(needs, dict) else {}
    return FlagCards(
        about=_about(board, mapping),
        variants=_variants(board, declared),
        shorthand=not isinstance(declared, dict),
        served=_served(board, mapping, names),
        needs=tuple(_need(board, needed, name) for name in needed),
        free_flags=tuple(one for one in known.flags if one != key and one not in needed),
        traffic=_traffic(board, mapping),
        rules=tuple(card.with_idle(idle.get(card.name_text, "")) for card in cards),
        default=str(mapping.get("default", "off")),
        notes=_notes(mapping),
        problems=tuple(board.left),
    )


def _about(board: Board, mapping: Mapping[str, Any]) -> tuple[Field, ...]:
    commas = "separated by commas"
    return (
        board.text(mapping, ("description",), "Description"),
        board.text(mapping, ("owner",), "Owner"),
        board.text(mapping, ("tags",), "Tags", "texts", hint=commas),
        board.text(mapping, ("expires",), "Expires", hint="a date like 2027-03-01"),
    )


def _variants(board: Board, declared: Any) -> tuple[VariantRow, ...]:
    if not isinstance(declared, dict):
        return ()
    rows = []
    for name, value in declared.items():
        path: Path = ("variants", name)
        shown = flow_text(value) if isinstance(value, list) else typed.written(value)
        found = Field(path, f"value of {name}", shown, "value", problems=board.take(path))
        named = Field(path, "variant", name, "", "rename")
        rows.append(VariantRow(identity(path), named, found, json.dumps(path)))
    return tuple(rows)


def _served(board: Board, mapping: Mapping[str, Any], names: list[str]) -> tuple[Field, ...]:
    shorthand = "variants" not in mapping
    none = [] if shorthand else [("", "the caller's default")]
    shown = {"default": "off", "off": "off", **mapping} if shorthand else mapping
    inferred = [("", "as the values are"), *same(TYPES)]
    return (
        board.choice(shown, ("default",), "Default", same(names), hint="no rule served"),
        board.choice(shown, ("off",), "Off", [*none, *same(names)], hint="while killed"),
        board.choice(mapping, ("type",), "Type", inferred),
    )


def _need(board: Board, needed: Mapping[str, Any], name: str) -> NeedRow:
    path: Path = ("requires", name)
    variants = board.known.flags.get(name, ())
    flags = same(board.known.flags)
    named = Field(path, "flag", name, "", "rename", (*flags,) or ((name, name),))
    variant = board.choice(needed, path, f"variant of {name}", same(variants))
    return NeedRow(identity(path), named, variant, json.dumps(path))


def _traffic(board: Board, mapping: Mapping[str, Any]) -> tuple[Field, ...]:
    holdouts = [("", "none"), *same(board.known.holdouts)]
    commas = "separated by commas"
    return (
        board.text(mapping, ("unit",), "Unit", hint="key", suggest="attributes"),
        board.text(mapping, ("salt",), "Salt", hint="the flag's key"),
        board.choice(mapping, ("holdout",), "Holdout", holdouts),
        board.text(mapping, ("log",), "Log with exposures", "texts", hint=commas),
    )


def _notes(mapping: Mapping[str, Any]) -> tuple[str, ...]:
    if mapping.get("killed"):
        return ("The flag is killed: no rule applies until it is restored on its page.",)
    return ()


def _idle(key: str, mapping: Mapping[str, Any], document: Document) -> dict[str, str]:
    """Rules that serve nobody, with the reason; nothing where the flag cannot be read."""
    flag, _ = read_flag(key, dict(mapping))
    if flag is None:
        return {}
    live = flag._replace(killed=None)
    rows = overview.rule_rows(live, document, overview.NO_USAGE)
    return {row.name: row.notes[-1] for row in rows if not row.serves}

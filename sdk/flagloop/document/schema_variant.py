"""What a flag serves: the type of its variants' values, and the names of variants.

Only flags with mixed, nested or wrong values get here; `schema_flag` knows the good cases.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

from flagloop.document.definition import WHOLE, VariantType
from flagloop.document.percent import format_percent
from flagloop.document.problem import Path
from flagloop.document.schema_words import (
    MAX_DEPTH,
    Problems,
    any_percent,
    is_list,
    is_number,
    refuse,
    show,
    unknown,
)

TYPES: tuple[VariantType, ...] = get_args(VariantType)


def careful_type(variants: dict[str, Any], stated: Any, out: Problems) -> VariantType:
    """The type where it is stated, mixed, or needs a look inside the values."""
    kinds: dict[str, str] = {}
    for name, value in variants.items():
        kinds.setdefault(_json_type(value, ("variants", str(name)), out), name)
    kinds.pop("", None)
    found: list[str] = list(kinds)
    if set(found) == {"integer", "number"}:
        found = ["number"]
    if len(found) > 1:
        shown = " and ".join(f"{name} is {kind}" for kind, name in kinds.items())
        hint = "write all of them as one type" + _quote_hint(variants)
        refuse(out, ("variants",), f"variants have one type, but {shown}", hint)
    inferred = "json" if found and found[0] in ("object", "array") else (found or ["json"])[0]
    if stated is None:
        return inferred  # type: ignore[return-value]  # one of TYPES by construction
    return _stated_type(stated, inferred, out) if found else "json"


def _stated_type(stated: Any, inferred: str, out: Problems) -> VariantType:
    if stated not in TYPES:
        unknown(out, ("type",), "type", stated, TYPES)
        return "json"
    if stated not in (inferred, "json") and (stated, inferred) != ("number", "integer"):
        hint = f"write type: {inferred}, or leave `type` out"
        refuse(out, ("type",), f"`type` is {stated}, but the variants are {inferred}", hint)
    return stated  # type: ignore[no-any-return]  # one of TYPES


def _quote_hint(variants: dict[str, Any]) -> str:
    odd = [v for v in variants.values() if isinstance(v, (bool, int, float))]
    if odd and any(isinstance(value, str) for value in variants.values()):
        return f'; a text that looks like {show(odd[0])} is quoted: "{show(odd[0])}"'
    return ""


def _json_type(value: Any, path: Path, out: Problems, depth: int = 0) -> str:
    """The JSON type of a value, `""` after a problem; nested values are checked."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if is_number(value):
        return "integer" if isinstance(value, int) else "number"
    before = len(out)
    if isinstance(value, dict) and depth < MAX_DEPTH:
        for name, part in value.items():
            if not isinstance(name, str):
                refuse(out, (*path, str(name)), "a name in JSON is text", f'write "{name}"')
            _json_type(part, (*path, str(name)), out, depth + 1)
        return "object" if len(out) == before else ""
    if isinstance(value, (list, tuple)) and depth < MAX_DEPTH:
        if is_list(value, path, out):
            for i, part in enumerate(value):
                _json_type(part, (*path, i), out, depth + 1)
        return "array" if len(out) == before else ""
    if value is not None or not depth:
        _no_json(value, path, out)
        return ""
    return "null"


def _no_json(value: Any, path: Path, out: Problems) -> None:
    if value is None:
        hint = "write a value; to serve nothing when killed, leave `off` out"
        refuse(out, path, "null is no value of a variant", hint)
    elif isinstance(value, (dict, list, tuple)):
        refuse(out, path, f"values are nested at most {MAX_DEPTH} deep", "write a flatter value")
    else:
        hint = "write text, a number, a boolean, a list or a mapping"
        refuse(out, path, f"{show(value)} is no JSON value", hint)


def no_variant(name: Any, path: Path, variants: Collection[str], out: Problems) -> None:
    """Says that a flag has no such variant; a boolean is told the name that it may mean."""
    named = ("off", "on")[name] if isinstance(name, bool) else ""
    if named in variants:
        hint = f"write the variant's name: {named}"
        refuse(out, path, f"a variant is named, not {show(name)}", hint)
    else:
        unknown(out, path, "variant", name, variants)


def bad_split(raw: Any, path: Path, variants: Collection[str], out: Problems) -> None:
    """Says what is wrong with a split; at least one problem comes out."""
    before = len(out)
    hint = "write split: {control: 50%, treatment: 50%}"
    pairs = list(raw.items()) if isinstance(raw, dict) else raw
    if isinstance(pairs, (list, tuple)) and not pairs:
        refuse(out, path, "the split gives nobody anything", hint)
        return
    if not isinstance(pairs, (list, tuple)):
        refuse(out, path, f"a split is a mapping of variants to percentages, not {show(raw)}", hint)
        return
    total, seen = 0, set()
    for i, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            refuse(out, (*path, i), 'a pair is ["variant", "50%"]', hint)
            continue
        name, weight = pair
        place = (*path, str(name) if isinstance(raw, dict) else i)
        if not isinstance(name, str) or name not in variants:
            no_variant(name, place, variants, out)
        elif name in seen:
            refuse(out, place, f"variant {show(name)} is there twice", "give each one weight")
        else:
            seen.add(name)
        total += any_percent(weight, place, out)
    if len(out) == before:
        over = "over" if total > WHOLE else "under"
        rest = format_percent(abs(total - WHOLE))
        message = f"the weights sum to {format_percent(total)}, {rest} {over} 100%"
        refuse(out, path, message, "weights sum to exactly 100%")

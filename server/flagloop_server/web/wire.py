"""JSON bodies in and JSON records out, for the admin API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from flask import request
from werkzeug.exceptions import BadRequest

from flagloop_server.changes import Applied
from flagloop_server.store import Environment, KeyInfo, LedgerRow, Ref, RevisionRow

T = TypeVar("T")

LARGEST = 2**53
"""Of any number in a body, an address or a query: JSON's exact integers, which SQLite holds too."""

Number = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
INTEGER = f"int(max={LARGEST})"
"""The converter for numbers in the paths of routes."""

PAGE = 50
LARGEST_PAGE = 500


class Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The root of all request bodies; an unknown word in one is an error."""


class Reason(Body, frozen=True):
    """Why, in the words of whoever asks."""

    reason: str = ""


def decode(kind: type[T]) -> T:
    """The body as `kind`, an empty one as `{}`; raises BadRequest that names the place."""
    try:
        return msgspec.json.decode(request.get_data() or b"{}", type=kind)
    except msgspec.DecodeError as problem:
        raise BadRequest(f"the body is not as it should be: {problem}") from None
    except UnicodeDecodeError:
        raise BadRequest("the body is no UTF-8") from None


def number(name: str, default: int | None = None) -> int | None:
    """The query parameter `name` as an integer >= 0; raises BadRequest."""
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= LARGEST):
        raise BadRequest(f"'{name}' must be a whole number, not '{text}'")
    return int(text)


def page_size() -> int:
    """The query parameter `limit`, at most 500."""
    return min(number("limit", PAGE) or PAGE, LARGEST_PAGE)


def refs(items: Iterable[Ref]) -> list[dict[str, str]]:
    """Item references as JSON."""
    return [{"section": section, "key": key} for section, key in items]


def applied(change: Applied) -> dict[str, Any]:
    """What every change answers."""
    details = {name: change.details[name] for name in ("before", "after") if name in change.details}
    return {
        "environment": change.environment,
        "lineage": change.lineage,
        "revision": change.revision,
        "changed": change.applied,
        "notes": list(change.notes),
        **details,
    }


def environment(item: Environment) -> dict[str, Any]:
    """An environment as JSON."""
    return {
        "key": item.key,
        "lineage": item.lineage,
        "revision": item.revision,
        "production": item.production,
        "created_at": item.created_at,
        "archived_at": item.archived_at,
    }


def key(item: KeyInfo) -> dict[str, Any]:
    """A key as JSON, without its secret."""
    return {
        "id": item.id,
        "kind": item.kind,
        "name": item.name,
        "hint": item.hint,
        "environments": list(item.environments),
        "role": item.role,
        "created_at": item.created_at,
        "created_by": item.created_by,
        "expires_at": item.expires_at,
        "revoked_at": item.revoked_at,
        "last_used_at": item.last_used_at,
    }


def revision(row: RevisionRow) -> dict[str, Any]:
    """A revision as JSON."""
    return {
        "revision": row.number,
        "at": row.at,
        "actor": {"kind": row.actor.kind, "name": row.actor.name},
        "action": row.action,
        "target": row.target,
        "reason": row.reason,
        "changed": refs(row.changed),
    }


def ledger_row(row: LedgerRow) -> dict[str, Any]:
    """A link of the ledger as JSON."""
    return {
        "seq": row.seq,
        "at": row.at,
        "kind": row.kind,
        "action": row.action,
        "actor": {"kind": row.actor.kind, "name": row.actor.name},
        "environment": row.environment,
        "target": row.target,
        "revision": row.revision,
        "reason": row.reason,
        "payload": row.payload,
        "payload_digest": row.payload_digest,
        "digest": row.digest,
    }

"""Who may read which rows of the ledger; the page and the admin API ask here."""

from __future__ import annotations

from collections.abc import Iterator

from flagloop.errors import ForbiddenError
from flagloop_server.store import EVERYWHERE, LedgerRow, Store
from flagloop_server.web import application
from flagloop_server.web.identity import known, require

EXPORT_PAGE = 1_000
"""Rows that an export reads at once: what others change meanwhile is not held up."""


def audit_rows(
    *, limit: int, before: int | None, environment: str | None, target: str | None
) -> list[LedgerRow]:
    """The newest rows that the asker may see, of one environment or of all where they may view.

    Rows of no environment (people, sign-ins, keys for all) are for admins of the server alone.
    Raises Unauthorized, ForbiddenError and NotFoundError.
    """
    ids = visible_ids(environment)
    return application().store.audit(limit=limit, before=before, environments=ids, target=target)


def exported_rows(*, after: int, environment: str | None) -> Iterator[LedgerRow]:
    """All rows that the asker may see, oldest first; who asks is checked at once.

    Raises as `audit_rows`.
    """
    ids = visible_ids(environment)
    return _rows(application().store, after, ids)


def _rows(store: Store, after: int, ids: set[int] | None) -> Iterator[LedgerRow]:
    while page := store.audit(limit=EXPORT_PAGE, after=after, environments=ids):
        yield from page
        after = page[-1].seq


def visible_ids(environment: str | None) -> set[int] | None:
    """The environments whose rows the asker may see, None for every row."""
    store = application().store
    if environment is not None:
        require("view", environment)
        return {store.environment(environment).id}
    who = known()
    if who.may("admin", EVERYWHERE):
        return None
    ids = {one.id for one in store.environments(archived=True) if who.may("view", one.key)}
    if not ids:
        raise ForbiddenError("the audit log needs a role in some environment: you have none")
    return ids

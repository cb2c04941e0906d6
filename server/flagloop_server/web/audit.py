"""Who may read which rows of the ledger; the page and the admin API ask here."""

from __future__ import annotations

from collections.abc import Iterator

from flagloop.errors import ForbiddenError
from flagloop_server.ledgerfile import every_row
from flagloop_server.store import ANY, EVERYWHERE, LedgerRow, Sought
from flagloop_server.web import application
from flagloop_server.web.identity import known, require


def audit_rows(
    *,
    limit: int,
    before: int | None,
    environment: str | None,
    target: str | None,
    sought: Sought = ANY,
) -> list[LedgerRow]:
    """The newest rows that the asker may see, of one environment or of all where they may view.

    Rows of no environment (people, sign-ins, keys for all) are for admins of the server alone.
    Raises Unauthorized, ForbiddenError and NotFoundError.
    """
    ids = visible_ids(environment)
    return application().store.audit(
        limit=limit, before=before, environments=ids, target=target, sought=sought
    )


def audit_actions(environment: str | None) -> list[str]:
    """Every action in the rows that the asker may see; raises as `audit_rows`."""
    return application().store.audit_actions(visible_ids(environment))


def exported_rows(
    *, after: int, environment: str | None, target: str | None = None, sought: Sought = ANY
) -> Iterator[LedgerRow]:
    """All rows that the asker may see, oldest first; who asks is checked at once.

    Raises as `audit_rows`.
    """
    ids = visible_ids(environment)
    return every_row(application().store, after, ids, target, sought)


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

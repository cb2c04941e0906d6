"""What the server keeps: definitions and their history, people, keys, ledger and events."""

from flagloop_server.store.documents import EMPTY_DOCUMENT, NewRevision
from flagloop_server.store.keys import hash_key
from flagloop_server.store.records import (
    DOCUMENT,
    EVERYWHERE,
    SYSTEM,
    Actor,
    ArchivedFlag,
    Environment,
    ItemVersion,
    KeyInfo,
    KeyKind,
    LedgerRow,
    Link,
    LinkPurpose,
    Ref,
    RevisionRow,
    Role,
    SessionRow,
    StoredDocument,
    User,
    Verification,
)
from flagloop_server.store.store import Store, now_ms

__all__ = [
    "DOCUMENT",
    "EMPTY_DOCUMENT",
    "EVERYWHERE",
    "SYSTEM",
    "Actor",
    "ArchivedFlag",
    "Environment",
    "ItemVersion",
    "KeyInfo",
    "KeyKind",
    "LedgerRow",
    "Link",
    "LinkPurpose",
    "NewRevision",
    "Ref",
    "RevisionRow",
    "Role",
    "SessionRow",
    "Store",
    "StoredDocument",
    "User",
    "Verification",
    "hash_key",
    "now_ms",
]

"""What the store gives out: frozen records. Times are epoch milliseconds (int, UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flagloop.document.yamlfile import DocumentText
from flagloop.errors import ConfigError

Ref: TypeAlias = tuple[str, str]
"""`(section, key)` names an item, `("flags", "cta_color")`; `(word, "")` a top-level word."""

DOCUMENT: Ref = ("", "")
"""What a change of nothing but comments or order outside the items is listed as."""

Role: TypeAlias = Literal["viewer", "editor", "admin"]
KeyKind: TypeAlias = Literal["server", "client", "admin"]
LinkPurpose: TypeAlias = Literal["setup", "sign_in"]

LONGEST_NAME = 100
"""Characters of the name of a key or a person."""

EVERYWHERE = "*"
"""In roles and admin keys: every environment, also those made later."""


def checked_name(name: str) -> str:
    """A name of a key or a person without spaces around it; ConfigError for one too long."""
    name = name.strip()
    if len(name) > LONGEST_NAME:
        raise ConfigError(f"a name has at most {LONGEST_NAME} characters, not {len(name):,}")
    return name


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: `kind` is person, key, command, controller or system."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.name


SYSTEM = Actor("system", "flagloop")


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment; `id` never changes, `key` may be renamed."""

    id: int
    key: str
    lineage: str
    revision: int
    production: bool
    created_at: int
    archived_at: int | None = None

    @property
    def name(self) -> str:
        """The name of its revision, `<lineage>.<n>`."""
        return f"{self.lineage}.{self.revision}"


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as of one revision; `item_revisions` says when each item last changed."""

    environment: str
    environment_id: int
    lineage: str
    revision: int
    document: DocumentText
    item_revisions: Mapping[Ref, int]

    @property
    def name(self) -> str:
        """The name of the revision, `<lineage>.<n>`."""
        return f"{self.lineage}.{self.revision}"


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """One revision in the history: who changed which items, when and why."""

    environment: str
    number: int
    at: int
    actor: Actor
    action: str
    target: str
    reason: str
    changed: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Sought:
    """Which rows of a history or of the ledger: an empty text or None asks for nothing.

    `actor` is a part of a name, in any case; `action` a whole word; `since` is included, `until`
    is not.
    """

    actor: str = ""
    action: str = ""
    since: int | None = None
    until: int | None = None

    @property
    def terms(self) -> dict[str, str | int]:
        """Conditions in SQL on the columns `actor`, `action` and `at`, each with its value."""
        given = {
            "instr(lower(actor), lower(?))": self.actor or None,
            "action = ?": self.action or None,
            "at >= ?": self.since,
            "at < ?": self.until,
        }
        return {term: value for term, value in given.items() if value is not None}


ANY = Sought()


@dataclass(frozen=True, slots=True)
class ItemVersion:
    """An item before and after one revision; None where it did not exist."""

    section: str
    key: str
    number: int
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ArchivedFlag:
    """A flag that left the document; its key stays reserved."""

    key: str
    text: str
    mapping: dict[str, Any]
    at: int
    revision: int
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key without its secret. `hint` is its first characters, for people to tell keys apart.

    `environments` are keys of environments, or `("*",)` for all; server and client keys have
    exactly one. `role` is set for admin keys only.
    """

    id: int
    kind: KeyKind
    name: str
    hint: str
    environments: tuple[str, ...]
    environment_ids: tuple[int, ...]
    role: Role | None
    created_at: int
    created_by: str
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    @property
    def environment(self) -> str | None:
        """The one environment of the key, or None when it is good for several."""
        single = len(self.environments) == 1 and self.environments[0] != EVERYWHERE
        return self.environments[0] if single else None

    def covers(self, environment: str) -> bool:
        """Whether the key is good for this environment."""
        return EVERYWHERE in self.environments or environment in self.environments

    def active(self, now: int) -> bool:
        """Whether the key may be used at `now`: not revoked and not expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class User:
    """A person. `roles` maps environment keys (or `*`) to roles.

    `signed_up` is False until a password was set through the setup link.
    """

    id: int
    email: str
    name: str
    roles: Mapping[str, Role]
    signed_up: bool
    created_at: int
    disabled_at: int | None = None
    last_seen_at: int | None = None

    @property
    def actor(self) -> Actor:
        """The person as the one who does something."""
        return Actor("person", self.email)


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link: set a password (`setup`) or sign in (`sign_in`).

    `user_id` is None for the setup link of the first admin, who chooses the address then.
    """

    id: int
    purpose: LinkPurpose
    user_id: int | None
    created_at: int
    expires_at: int
    used_at: int | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A signed-in browser; the token itself is not stored."""

    id: int
    user_id: int
    created_at: int
    last_seen_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One link of the hash chain. `payload` is None after a redaction; digests are hex.

    `environment` is the key that it had then, which may be another's by now.
    """

    seq: int
    at: int
    kind: str
    action: str
    actor: Actor
    environment: str | None
    environment_id: int | None
    target: str
    revision: int | None
    reason: str
    payload: Mapping[str, Any] | None
    payload_digest: str
    digest: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The chain's check: `head` is the last digest (hex), `problems` what does not fit."""

    rows: int
    head: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every link fits."""
        return not self.problems

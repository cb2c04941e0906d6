"""The store: everything that the server keeps, in two SQLite files of one folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from flagloop.document.yamlfile import DocumentText
from flagloop_server.store import migrations
from flagloop_server.store.database import SqliteFile
from flagloop_server.store.documents import Documents, NewRevision
from flagloop_server.store.environments import Environments
from flagloop_server.store.events import EventLog
from flagloop_server.store.history import History
from flagloop_server.store.keys import Keys
from flagloop_server.store.ledger import Ledger
from flagloop_server.store.people import People
from flagloop_server.store.records import (
    ANY,
    Actor,
    ArchivedFlag,
    Environment,
    ItemVersion,
    KeyInfo,
    KeyKind,
    LedgerRow,
    RevisionRow,
    Role,
    Sought,
    StoredDocument,
    Verification,
)


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Store:
    """config.db and events.db in `folder`, made when missing. Threads may share it.

    Methods raise NotFoundError for an unknown environment, revision, key or person, and
    ConfigError for names and values that cannot be taken, the constructor LaterSchemaError for
    files that are ahead of this code. `people` keeps people and sessions, `events` the event log.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], int] = now_ms) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.clock = clock
        self._file = SqliteFile(folder / "config.db", migrations.config)
        self._environments = Environments(self._file, clock)
        self._documents = Documents(self._file, self._environments, clock)
        self._history = History(self._file)
        self._keys = Keys(self._file, clock)
        self._ledger = Ledger(self._file)
        self.people = People(self._file, clock)
        with ExitStack() as undo:
            undo.callback(self._file.close)
            self.events = EventLog(folder / "events.db", clock=clock, flags=self._flags)
            undo.pop_all()

    def close(self) -> None:
        """Finish what is queued for the event log and close both files."""
        self.events.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Environments

    def environments(self, archived: bool = False) -> list[Environment]:
        """Those in use, oldest first; with `archived` also the archived ones."""
        return self._environments.all(archived=archived)

    def environment(self, key: str) -> Environment:
        """One environment, archived or not."""
        return self._environments.get(key)

    def create_environment(
        self, key: str, actor: Actor, *, production: bool = False
    ) -> Environment:
        """A new environment with an empty document as revision 1."""
        return self._documents.create(key, actor, production=production)

    def rename_environment(self, key: str, new_key: str, actor: Actor) -> Environment:
        """Another name, as a new revision; id, lineage, keys and history stay."""
        return self._documents.rename(key, new_key, actor)

    def archive_environment(self, key: str, actor: Actor) -> Environment:
        """Out of use: no changes any more; the edge stops to serve it."""
        return self._environments.set_archived(key, actor, archived=True)

    def unarchive_environment(self, key: str, actor: Actor) -> Environment:
        """In use again."""
        return self._environments.set_archived(key, actor, archived=False)

    def set_production(self, key: str, production: bool, actor: Actor) -> Environment:
        """Whether pages mark this environment as production."""
        return self._environments.set_production(key, actor, production=production)

    # Documents

    def document(self, env: str, revision: int | None = None) -> StoredDocument:
        """The document of an environment, now or as of a revision; the present one is kept."""
        return self._documents.get(env, revision)

    def commit(self, new: NewRevision) -> StoredDocument | None:
        """For `changes.py` only: write one revision; None if its base is no longer present."""
        return self._documents.commit(new)

    def set_push_base(self, env: str, pushed: DocumentText, source: str | None = None) -> None:
        """For `changes` only: remember the text of a push that changed nothing."""
        self._documents.set_push_base(env, pushed, source)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other writer, in any process, out for the length of the block."""
        with self._file.write():
            yield

    def revisions(
        self,
        env: str,
        *,
        section: str | None = None,
        key: str | None = None,
        limit: int = 50,
        before: int | None = None,
        sought: Sought = ANY,
    ) -> list[RevisionRow]:
        """Newest first; of one item when section and key are given; before a number.

        With the section "" of any item with the key.
        """
        item = (section, key) if section is not None and key is not None else None
        return self._history.revisions(env, item, limit=limit, before=before, sought=sought)

    def revision_actions(self, env: str) -> list[str]:
        """Every action in the history of an environment."""
        return self._history.actions(env)

    def revision(self, env: str, number: int) -> RevisionRow:
        """One revision of the history."""
        return self._history.revision(env, number)

    def last_of(self, env: str, actions: Iterable[str], number: int) -> RevisionRow | None:
        """The last revision up to `number` that one of these actions made; None without any."""
        return self._history.last_of(env, actions, number)

    def revision_at(self, env: str, at: int) -> int:
        """The number of the revision in force at a time (epoch ms)."""
        return self._history.revision_at(env, at)

    def revision_times(self, env: str, numbers: Iterable[int]) -> dict[int, int]:
        """When each of these revisions was made (epoch ms); unknown numbers are left out."""
        return self._history.times(env, numbers)

    def item_versions(self, env: str, number: int) -> list[ItemVersion]:
        """The items that one revision changed, with their texts before and after."""
        return self._history.item_versions(env, number)

    def push_base(self, env: str) -> DocumentText | None:
        """The text of the last push, None before the first."""
        return self._documents.push_base(env)

    def own_base(self, env: str, source: str) -> DocumentText | None:
        """The text that `source` sent last without a base, whoever pushed since; None: never."""
        return self._documents.own_base(env, source)

    def archived_flags(self, env: str) -> list[ArchivedFlag]:
        """The flags that left the document; their keys stay reserved."""
        return self._history.archived_flags(env)

    def archived_flag(self, env: str, key: str) -> ArchivedFlag | None:
        """One of them; None if there is none of that key."""
        return self._history.archived_flag(env, key)

    def archive_page(
        self, env: str, text: str, *, start: int, limit: int
    ) -> tuple[int, list[ArchivedFlag]]:
        """How many archived flags have every word of `text`, and some of them, the latest first."""
        return self._history.archive_page(env, text, start=start, limit=limit)

    def reserved(self, env: str, flags: Iterable[str]) -> list[str]:
        """Which of these keys belong to archived flags."""
        return self._history.is_archived(env, flags)

    def _flags(self, number: int) -> list[str]:
        """The flags of the environment with this id; none if it is unknown."""
        for one in self._environments.all(archived=True):
            if one.id == number:
                items = self._documents.get(one.key).document.items
                return [key for section, key in items if section == "flags"]
        return []

    # Keys

    def create_key(
        self,
        env: str | Sequence[str],
        kind: KeyKind,
        name: str,
        actor: Actor,
        *,
        role: Role | None = None,
        expires_at: int | None = None,
    ) -> tuple[KeyInfo, str]:
        """A new key and its secret (not to be had again); `"*"` is every environment."""
        scope = (env,) if isinstance(env, str) else tuple(env)
        return self._keys.create(scope, kind, name, actor, role=role, expires_at=expires_at)

    def keys(self, env: str | None = None, *, revoked: bool = False) -> list[KeyInfo]:
        """The keys good for an environment, or all; revoked ones only when asked for."""
        return self._keys.all(env, revoked=revoked)

    def find_key(self, sha256: bytes) -> KeyInfo | None:
        """The key of this digest, revoked and expired ones too: ask `.active(now)`."""
        return self._keys.find(sha256)

    def revoke_key(self, number: int, actor: Actor) -> KeyInfo:
        """End a key at once."""
        return self._keys.revoke(number, actor)

    def touch_keys(self, used: Mapping[int, int]) -> None:
        """Write down last uses: key id -> epoch milliseconds."""
        self._keys.touch(used)

    # Ledger

    def audit(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        after: int | None = None,
        environments: Collection[int] | None = None,
        target: str | None = None,
        sought: Sought = ANY,
    ) -> list[LedgerRow]:
        """The ledger, newest first; `before` is a `seq`, `environments` are ids.

        With `after` (a `seq`) those that follow it, the oldest first.
        """
        return self._ledger.rows(
            limit=limit,
            before=before,
            after=after,
            environments=environments,
            target=target,
            sought=sought,
        )

    def audit_actions(self, environments: Collection[int] | None = None) -> list[str]:
        """Every action in the ledger, of these environments (ids) or of all."""
        return self._ledger.actions(environments)

    def verify(self, head: str | None = None) -> Verification:
        """Check the whole hash chain, and that it contains `head` (hex) if given."""
        return self._ledger.verify(head)

    def redact(self, seq: int, actor: Actor, reason: str) -> None:
        """Empty one ledger row's payload; the chain stays whole and says so."""
        self._ledger.redact(seq, self.clock(), actor, reason)

    def data_version(self) -> int:
        """A number that differs after any commit to config.db, by any process."""
        return self._file.data_version()

"""Which processes decide by this server's rules, and which revision each of them said to have.

All in memory and bounded. What the edge hears is put into queues without any lock, and taken in
when somebody looks, or by `settle`, which is to be called every second.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import unquote

MOST = 10_000
"""Instances of one environment that are followed; more are only counted."""
MOST_POLLS = 50_000
MOST_NEWS = 200_000
"""Polls, and other news, that may wait to be taken in."""
GONE = 15 * 60_000
"""After so long without a word or a stream an instance is forgotten; milliseconds."""
LONGEST_INTERVAL = 3_600_000
"""So much of the pause between two polls is believed; milliseconds."""
RETURN = 70_000
"""Within so long after a server's start SDKs have come back (milliseconds): they pause for a minute
at most, unless they were told to poll more rarely."""
LEFT = 180_000
"""So long it is known who said goodbye, and no late envelope brings them back."""
MOST_LEFT = 50_000
"""So many of those; others may come back once, until they are forgotten."""
LONGEST = 500
"""Bytes of an introduction and of an entity tag; a longer one is nobody's."""
TEXT = 100
HISTORY = 8
REASONS = 20

Step: TypeAlias = tuple[str, int, int]
"""Lineage and number of a revision, and when it was first told (epoch ms)."""


class Introduction(NamedTuple):
    """What a process says of itself with each request.

    `interval` is its pause between two polls in milliseconds, 0 where it does not say.
    """

    id: str
    host: str
    pid: int
    sdk: str
    leaves: bool = False
    interval: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One instance as it is now; times are epoch milliseconds of this server's clock.

    `revision` is what it said last to have in force, `steps` when it said so of the latest few,
    `streams` how many streams it has open, the newest since `opened`; `last_seen` is when it said
    anything, `interval` its pause between two polls where it says so (milliseconds).
    """

    id: str
    host: str
    pid: int
    sdk: str
    environment: int
    key: int | None
    revision: str | None
    first_seen: int
    last_seen: int
    streams: int = 0
    opened: int = 0
    steps: tuple[Step, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    interval: int = 0

    @property
    def place(self) -> str:
        """`web-7:4711`, or the id where it does not say where it runs."""
        return f"{self.host}:{self.pid}" if self.host else self.id

    def has(self, lineage: str, number: int) -> bool:
        """Whether it said to have that revision or a later one of the lineage."""
        own = parted(self.revision)
        return own is not None and own[0] == lineage and own[1] >= number

    def reached(self, lineage: str, number: int) -> int | None:
        """When it first said so; None if it never did, or had it when it was first heard of."""
        steps = [step for step in self.steps if step[0] == lineage]
        for place, step in enumerate(steps):
            if step[1] >= number:
                return step[2] if place else None
        return None


class _News(NamedTuple):
    """Something that was heard of an instance."""

    at: int
    environment: int
    key: int | None
    who: Introduction
    kind: Literal["poll", "open", "close", "envelope"]
    revision: str | None = None
    lost: Mapping[str, int] = {}


class _Known:
    """One instance; `sure` is whether a poll or a stream told the revision."""

    __slots__ = (
        "first",
        "interval",
        "key",
        "last",
        "lost",
        "opened",
        "revision",
        "steps",
        "streams",
        "sure",
        "who",
    )

    def __init__(self, who: Introduction, at: int) -> None:
        self.who = who
        self.key: int | None = None
        self.first = self.last = at
        self.revision: str | None = None
        self.sure = False
        self.streams = self.opened = self.interval = 0
        self.steps: list[Step] = []
        self.lost: Counter[str] = Counter()

    def tell(self, revision: str | None, at: int, *, sure: bool) -> None:
        """It says to have this revision; an envelope may have waited, so it may be an old one."""
        if revision is None:
            return
        new, old = parted(revision), parted(self.revision)
        related = new is not None and old is not None and new[0] == old[0]
        if (related and new <= old) or (self.sure and not (sure or related)):  # type: ignore[operator]
            return
        self.revision, self.sure = revision, self.sure or sure
        if new is not None:
            self.steps = [*self.steps, (*new, at)][-HISTORY:]

    def lose(self, lost: Mapping[str, int]) -> None:
        """It lost records, by reason."""
        for said, n in lost.items():
            reason = _shown(said)
            known = reason in self.lost or (reason and len(self.lost) < REASONS)
            self.lost[reason if known else "other"] += n

    def view(self, environment: int) -> Seen:
        """As it is now."""
        who = self.who
        return Seen(
            who.id,
            who.host,
            who.pid,
            who.sdk,
            environment,
            self.key,
            self.revision,
            self.first,
            self.last,
            self.streams,
            self.opened,
            tuple(self.steps),
            dict(self.lost),
            self.interval,
        )


class Instances:
    """Every instance of every environment, by the environment's id.

    `polled`, `opened` and `closed` may be called on an event loop: they take no lock. `clock`
    gives epoch milliseconds.
    """

    def __init__(self, clock: Callable[[], int], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._polls: dict[tuple[int, bytes], tuple[int, bytes | None, int]] = {}
        self._news: deque[_News] = deque(maxlen=MOST_NEWS)
        self._lock = threading.Lock()
        self._known: dict[int, dict[str, _Known]] = {}
        self._left: dict[tuple[int, str], int] = {}
        self._unlisted: dict[tuple[int, str], int] = {}
        self._unwritten: set[tuple[int, str]] = set()
        self._recalled: dict[int, int] = {}

    def unlisted(self, environment: int | None = None) -> int:
        """How many were heard of lately for whom there was no room, as far as that was counted."""
        with self._lock:
            if environment is None:
                return len(self._unlisted)
            return sum(who[0] == environment for who in self._unlisted)

    def returning(self, environment: int) -> int | None:
        """Since when those of an earlier run of this server come back; None if none may be out."""
        since = self._recalled.get(environment)
        return since if since is not None and 0 <= self._clock() - since < RETURN else None

    def polled(self, environment: int, key: int, said: bytes, tag: bytes | None) -> None:
        """A poll of whoever `said` so; `tag` is its If-None-Match. On the hot path of 304s."""
        polls = self._polls
        if tag is not None and len(tag) > LONGEST:
            tag = None
        last = polls.get((environment, said))
        # The first one of a revision stays, since it is when that was told.
        if last is None:
            if len(polls) < MOST_POLLS and len(said) <= LONGEST:
                polls[environment, said] = (key, tag, self._clock())
        elif last[1] != tag:
            polls[environment, said] = (key, tag, self._clock())

    def opened(self, environment: int, key: int, said: bytes, last: bytes | None) -> None:
        """A stream began; `last` is its Last-Event-ID."""
        self._streams("open", environment, key, said, last)

    def closed(self, environment: int, key: int, said: bytes) -> None:
        """A stream ended."""
        self._streams("close", environment, key, said, None)

    def _streams(
        self,
        kind: Literal["open", "close"],
        environment: int,
        key: int,
        said: bytes,
        last: bytes | None,
    ) -> None:
        who = introduced(said)
        if who is not None:
            revision = _text(last)
            self._news.append(_News(self._clock(), environment, key, who, kind, revision))

    def delivered(
        self,
        environment: int,
        key: int | None,
        who: Introduction,
        revision: str | None,
        lost: Mapping[str, int] = {},
    ) -> None:
        """A batch of events came from `who`, made while `revision` was in force there.

        `lost` is what it says to have lost since the last one, by reason.
        """
        who = who._replace(id=_shown(who.id), host=_shown(who.host), sdk=_shown(who.sdk))
        if who.id:
            revision = _shown(revision or "") or None
            news = _News(self._clock(), environment, key, who, "envelope", revision, lost)
            self._news.append(news)

    def recall(self, environment: int, seen: Iterable[Seen]) -> None:
        """Instances of an earlier run of this server, unless they were heard of since.

        More may have been there, or have begun while no server ran.
        """
        with self._lock:
            self._recalled[environment] = self._clock()
            known = self._known.setdefault(environment, {})
            for one in seen:
                if one.id not in known and len(known) < self._most:
                    who = Introduction(one.id, one.host, one.pid, one.sdk)
                    known[one.id] = old = _Known(who, one.first_seen)
                    old.last = one.last_seen
                    old.tell(one.revision, one.last_seen, sure=False)

    def settle(self) -> None:
        """Take in what was heard, forget who is gone."""
        with self._lock:
            self._settle()

    def all(self, environment: int) -> list[Seen]:
        """Everybody of an environment, the ones heard of last first."""
        with self._lock:
            self._settle()
            found = [one.view(environment) for one in self._known.get(environment, {}).values()]
        return sorted(found, key=lambda one: (-one.last_seen, one.place, one.id))

    def newcomers(self) -> dict[int, list[Seen]]:
        """By environment, those who are new since this was asked last, and said a revision."""
        found: dict[int, list[Seen]] = {}
        with self._lock:
            self._settle()
            for who in list(self._unwritten):
                environment, name = who
                one = self._known.get(environment, {}).get(name)
                if one is not None and one.revision is None:
                    continue  # it says so in a moment, and a row without looks like an old one
                self._unwritten.discard(who)
                if one is not None:
                    found.setdefault(environment, []).append(one.view(environment))
        return found

    def left(self, environment: int) -> list[str]:
        """The ids of those who said goodbye in the last three minutes and did not come back."""
        with self._lock:
            known = self._known.get(environment, {})
            return [who for place, who in self._left if place == environment and who not in known]

    def leavers(self, since: int) -> dict[int, list[str]]:
        """By environment, the same of those who said it since then (epoch ms)."""
        found: dict[int, list[str]] = {}
        with self._lock:
            for (environment, who), at in self._left.items():
                if at >= since and who not in self._known.get(environment, {}):
                    found.setdefault(environment, []).append(who)
        return found

    # Below, the lock is held.

    def _settle(self) -> None:
        polls = self._polled()
        for one in sorted(polls, key=lambda one: one.at):
            if not one.who.leaves:
                self._take(one)
        # In the order in which they came, whatever the clock says: a stream ends after it began.
        for _ in range(len(self._news)):
            self._take(self._news.popleft())
        for one in polls:
            if one.who.leaves:
                self._take(one)
        self._forget(self._clock())

    def _polled(self) -> list[_News]:
        """The polls that wait."""
        found = []
        for _ in range(len(self._polls)):
            # One by one: the loop goes on to put some in.
            (environment, said), (key, tag, at) = self._polls.popitem()
            who = introduced(said)
            if who is not None:
                found.append(_News(at, environment, key, who, "poll", _tag(tag)))
        return found

    def _take(self, news: _News) -> None:
        known = self._known.setdefault(news.environment, {})
        one = known.get(news.who.id)
        if news.who.leaves:
            known.pop(news.who.id, None)
            self._unlisted.pop((news.environment, news.who.id), None)
            if len(self._left) < MOST_LEFT:
                self._left[news.environment, news.who.id] = news.at
            return
        if one is None:
            one = self._new(known, news)
            if one is None:
                return
        one.last = max(one.last, news.at)
        if news.kind == "close":
            one.streams = max(0, one.streams - 1)
            return
        one.who, one.key = news.who, news.key
        one.interval = news.who.interval or one.interval
        if news.kind == "open":
            one.streams += 1
            one.opened = news.at
        one.tell(news.revision, news.at, sure=news.kind != "envelope")
        one.lose(news.lost)

    def _new(self, known: dict[str, _Known], news: _News) -> _Known | None:
        who = (news.environment, news.who.id)
        if news.kind == "close" or (who in self._left and news.kind == "envelope"):
            return None
        if len(known) >= self._most:
            if who in self._unlisted or len(self._unlisted) < MOST:
                self._unlisted[who] = news.at
            return None
        self._unlisted.pop(who, None)
        self._unwritten.add(who)
        known[news.who.id] = one = _Known(news.who, news.at)
        return one

    def _forget(self, now: int) -> None:
        for environment, known in list(self._known.items()):
            for name, one in list(known.items()):
                one.last = min(one.last, now)  # a clock that was set back
                if not one.streams and now - one.last > max(GONE, 2 * one.interval):
                    del known[name]
            if not known:
                del self._known[environment]
        # Also of a clock that was set back: then `at` lies ahead.
        self._left = {who: at for who, at in self._left.items() if abs(now - at) <= LEFT}
        self._unlisted = {who: at for who, at in self._unlisted.items() if abs(now - at) <= GONE}


def parted(revision: str | None) -> tuple[str, int] | None:
    """Lineage and number of `<lineage>.<n>`; None for anything else."""
    lineage, _, number = (revision or "").rpartition(".")
    if not lineage or not (number.isascii() and number.isdecimal()) or len(number) > 15:
        return None
    return lineage, int(number)


@lru_cache(maxsize=16_384)
def introduced(said: bytes) -> Introduction | None:
    """What the header X-Flagloop-Instance says; None where it names nobody."""
    if len(said) > LONGEST:
        return None
    name, *rest = (part.strip() for part in said.decode("latin-1").split(";"))
    if not name or len(name) > TEXT or not name.isprintable():
        return None
    words = dict(part.partition("=")[::2] for part in rest)
    pid = words.get("pid", "")
    number = int(pid) if pid.isascii() and pid.isdecimal() and len(pid) <= 15 else 0
    host, sdk = _plain(words.get("host")), _plain(words.get("sdk"))
    return Introduction(name, host, number, sdk, "leaves" in words, _pause(words.get("interval")))


def _pause(seconds: str | None) -> int:
    """Seconds as milliseconds, 0 for what is no such time."""
    try:
        found = float(seconds or 0)
    except ValueError:
        return 0
    return int(min(found * 1000, LONGEST_INTERVAL)) if math.isfinite(found) and found > 0 else 0


def _plain(quoted: str | None) -> str:
    return _shown(unquote(quoted or ""))


def _shown(text: str) -> str:
    """A text of somebody else as terminals and pages may show it; nothing of a strange one."""
    return text[:TEXT] if text.isprintable() else ""


def _tag(tag: bytes | None) -> str | None:
    """The revision that an If-None-Match names, of a proxy's weakened tag too."""
    return _text(None if tag is None else tag.strip().removeprefix(b"W/").strip(b'"'))


def _text(revision: bytes | None) -> str | None:
    text = "" if revision is None else revision.decode("latin-1").strip()
    return _shown(text) or None

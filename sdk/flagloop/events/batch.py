"""A batch of events: what is posted at once, and what becomes of it when it is refused."""

from __future__ import annotations

import json

from flagloop.events.event import JSON, dump, uuid7


class Batch:
    """Events in their wire form, and the rows that travel with them.

    `head` is the envelope without `batch`, `sent` and the lists: sdk, instance, revision.
    A batch keeps its id over all tries. Of the parts of a refused one, that with the rows (of
    these: with the counts) keeps it, so that they are counted once even if an earlier try had
    arrived after all.
    """

    __slots__ = ("contexts", "counts", "events", "head", "id", "lost")

    def __init__(
        self,
        head: JSON,
        events: list[str] | None = None,
        *,
        lost: list[JSON] | None = None,
        counts: list[JSON] | None = None,
        contexts: list[JSON] | None = None,
    ) -> None:
        self.id = uuid7()
        self.head = head
        self.events = events or []
        self.lost = lost or []
        self.counts = counts or []
        self.contexts = contexts or []

    def __bool__(self) -> bool:
        return bool(self.events or self.extras)

    @property
    def extras(self) -> bool:
        """Whether anything but events is in it."""
        return bool(self.lost or self.counts or self.contexts)

    @property
    def size(self) -> int:
        """Bytes of its JSON, until the year 2286."""
        return len(self.encode(9_999_999_999_999))

    def encode(self, sent: int) -> bytes:
        """The body of a try at `sent` (epoch ms): ASCII JSON."""
        head = dump(
            {
                "batch": self.id,
                "sent": sent,
                **self.head,
                "lost": self.lost,
                "counts": self.counts,
                "contexts": self.contexts,
            }
        )
        return f'{head[:-1]},"events":[{",".join(self.events)}]}}'.encode("ascii")

    def apart(self) -> list[Batch]:
        """The events and the rest, or each kind of rows alone; [] when it is of one kind."""
        if self.events and self.extras:
            return [Batch(self.head, self.events), self._rest([])]
        kinds = [
            Batch(self.head, counts=self.counts),
            Batch(self.head, lost=self.lost),
            Batch(self.head, contexts=self.contexts),
        ]
        parts = [part for part in kinds if part]
        if self.events or len(parts) < 2:
            return []
        parts[0].id = self.id
        return parts

    def halves(self) -> list[Batch]:
        """Two smaller ones; [] when it cannot be made smaller."""
        if len(self.events) < 2:
            return self.apart()
        middle = len(self.events) // 2
        return [
            self._rest(self.events[:middle]),
            Batch(self.head, self.events[middle:]),
        ]

    def about(self, place: int) -> tuple[str | None, str | None]:
        """Flag and variant of the event at that place, (None, None) for one of `track`."""
        event = json.loads(self.events[place])
        return event.get("flag"), event.get("variant")

    def pack(self) -> bytes:
        """All of it for a file: lines of ASCII JSON, the first one all but the events."""
        rows = {"lost": self.lost, "counts": self.counts, "contexts": self.contexts}
        first = dump({"batch": self.id, "head": self.head, **rows})
        return "\n".join([first, *self.events]).encode("ascii")

    @classmethod
    def unpack(cls, content: bytes) -> Batch:
        """The batch that `pack` gave; ValueError for anything else."""
        first, *events = content.decode("ascii").split("\n")
        known = json.loads(first)
        try:
            rows = {name: list(known[name]) for name in ("lost", "counts", "contexts")}
            batch = cls(dict(known["head"]), events, **rows)
            batch.id = str(known["batch"])
        except (KeyError, TypeError) as problem:
            raise ValueError(f"no batch: {problem}") from None
        return batch

    def _rest(self, events: list[str]) -> Batch:
        rows = {"lost": self.lost, "counts": self.counts, "contexts": self.contexts}
        rest = Batch(self.head, events, **rows)
        rest.id = self.id
        return rest

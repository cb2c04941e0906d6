"""JSON bodies and queries in, for the admin API; what goes out is in `records`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, TypeVar

import msgspec
from flask import request
from werkzeug.exceptions import BadRequest

from flagloop_server.store import Ref, Sought

T = TypeVar("T")
Q = TypeVar("Q", bound=msgspec.Struct)

LARGEST = 2**53
"""Of any number in a body, an address or a query: JSON's exact integers, which SQLite holds too."""

Number = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
INTEGER = f"int(max={LARGEST})"
"""The converter for numbers in the paths of routes."""

PAGE = 50
LARGEST_PAGE = 500


class Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The root of all request bodies; an unknown word in one is an error."""


class Query(msgspec.Struct, frozen=True):
    """The root of all queries."""


class Page(Query, frozen=True):
    """Which part of a list: at most `limit` entries (500 at most), those before `before`."""

    limit: Number = PAGE
    before: Number | None = None

    @property
    def size(self) -> int:
        """How many entries to give."""
        return min(self.limit or PAGE, LARGEST_PAGE)


class Seeking(Query, frozen=True):
    """Rows by who (a part of the name), by what was done, and by when (epoch ms).

    `since` is included, `until` is not.
    """

    actor: str = ""
    action: str = ""
    since: Number | None = None
    until: Number | None = None

    @property
    def sought(self) -> Sought:
        """The same for the store."""
        return Sought(self.actor, self.action, self.since, self.until)


class SeekingPage(Seeking, frozen=True):
    """The same, and which part of the list, as `Page`."""

    limit: Number = PAGE
    before: Number | None = None

    @property
    def size(self) -> int:
        """How many entries to give."""
        return min(self.limit or PAGE, LARGEST_PAGE)


class Reason(Body, frozen=True):
    """Why, in the words of whoever asks."""

    reason: str = ""


class Forced(Reason, frozen=True):
    """Why. `force` also disturbs a running experiment, which is refused otherwise (409)."""

    force: bool = False


class Expecting(Forced, frozen=True, kw_only=True):
    """`expected` is the revision that the item was read at: 409 when it is at another one."""

    expected: Number | None = None

    def of(self, section: str, key: str) -> Mapping[Ref, int] | None:
        """The same for the item that the address names."""
        return None if self.expected is None else {(section, key): self.expected}


class ExpectedItem(Body, frozen=True):
    """The revision that an item was read at; 0 says that it is new."""

    section: str
    key: str
    revision: Number


def expectations(items: Iterable[ExpectedItem]) -> dict[Ref, int]:
    """The same for several items."""
    return {(one.section, one.key): one.revision for one in items}


def decode(kind: type[T]) -> T:
    """The body as `kind`, an empty one as `{}`; raises BadRequest that names the place."""
    try:
        return msgspec.json.decode(request.get_data() or b"{}", type=kind)
    except msgspec.DecodeError as problem:
        raise BadRequest(f"the body is not as it should be: {problem}") from None
    except UnicodeDecodeError:
        raise BadRequest("the body is no UTF-8") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def decode_query(kind: type[Q]) -> Q:
    """The query as `kind`, other parameters passed over; raises BadRequest that names the place."""
    names = kind.__struct_encode_fields__
    given = {name: value for name, value in request.args.items() if name in names}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as problem:
        text = str(problem).replace(" - at `$.", " at `?")
        raise BadRequest(f"the query is not as it should be: {text}") from None

"""Who is asked about: a key and attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias


class Context(Mapping[str, Any]):
    """A key (OpenFeature's targeting key) and attributes, as one read-only mapping.

    `Context("u-42", plan="pro")` equals `{"key": "u-42", "plan": "pro"}`; attributes whose
    names are no Python identifiers come as a mapping: `Context("u-42", {"app.version": "2.3.0"})`.
    A plain dict does the same and is the faster of the two.
    """

    __slots__ = ("mapping",)

    def __init__(
        self,
        key: str | int | None = None,
        attributes: Mapping[str, Any] | None = None,
        /,
        **more: Any,
    ) -> None:
        self.mapping: dict[str, Any] = {**(attributes or {}), **more}
        if key is not None:
            self.mapping["key"] = key

    def __getitem__(self, name: str) -> Any:
        return self.mapping[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.mapping)

    def __len__(self) -> int:
        return len(self.mapping)

    def __repr__(self) -> str:
        # Attributes may be personal and a repr ends up in logs.
        return f"<Context of {len(self.mapping)} attributes>"


User: TypeAlias = str | int | Mapping[str, Any]
"""What the client's verbs take as user: a key, a mapping with `key`, or a `Context`."""


def as_mapping(user: Any) -> Mapping[str, Any]:
    """The mapping that is evaluated for `user`; anything unusable is a context without key."""
    if isinstance(user, Context):
        return user.mapping
    if isinstance(user, Mapping):
        # A copy, since a mapping may do anything when it is read (a defaultdict grows).
        return dict(user)
    return {} if user is None else {"key": user}

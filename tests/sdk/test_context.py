"""Context and the forms of a user."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from flagloop import Context
from flagloop.context import as_mapping


def test_a_context_is_its_key_and_attributes() -> None:
    """By name, or as a mapping where a name is no identifier."""
    context = Context("u-1", {"app.version": "2.3.0"}, plan="pro")
    assert context == {"key": "u-1", "app.version": "2.3.0", "plan": "pro"}
    assert dict(context) == {"app.version": "2.3.0", "plan": "pro", "key": "u-1"}
    assert (len(context), context["plan"], context.get("country")) == (3, "pro", None)


def test_the_key_given_first_wins() -> None:
    """An attribute named `key` is the key only where no other was given."""
    assert Context("u-1", {"key": "u-2"})["key"] == "u-1"
    assert Context(None, {"key": "u-2"})["key"] == "u-2"
    assert Context(0)["key"] == 0
    assert "key" not in Context()


def test_a_context_is_a_copy() -> None:
    """Later changes of the attributes are not seen."""
    attributes = {"plan": "pro"}
    context = Context("u-1", attributes)
    attributes["plan"] = "free"
    assert context["plan"] == "pro"


def test_a_context_shows_no_attributes() -> None:
    """What is printed ends up in logs."""
    assert repr(Context("a@b.example", plan="pro")) == "<Context of 2 attributes>"
    assert "b.example" not in str(Context("a@b.example"))


def test_a_context_cannot_be_written() -> None:
    """It is one mapping for all that are asked about it."""
    with pytest.raises(TypeError):
        Context("u-1")["plan"] = "pro"  # type: ignore[index]


def test_a_context_can_be_copied_and_sent() -> None:
    """To another thread's queue or another process."""
    context = Context("u-1", plan="pro")
    assert copy.deepcopy(context) == context
    assert pickle.loads(pickle.dumps(context)) == context


@pytest.mark.parametrize(
    ("user", "mapping"),
    [
        ("u-1", {"key": "u-1"}),
        (7, {"key": 7}),
        (None, {}),
        (1.5, {"key": 1.5}),
        (Context("u-1", plan="pro"), {"key": "u-1", "plan": "pro"}),
        ([], {"key": []}),
    ],
)
def test_a_user_as_a_mapping(user: Any, mapping: dict[str, Any]) -> None:
    """Whatever is no mapping is a key; whether it can be one is decided later."""
    assert as_mapping(user) == mapping


@pytest.mark.parametrize("form", [dict, OrderedDict, MappingProxyType])
def test_mappings_are_copied(form: Any) -> None:
    """What decides and records reads plain dicts, which the caller may change afterwards."""
    user = form({"key": "u-1"})
    found = as_mapping(user)
    assert (found, type(found)) == ({"key": "u-1"}, dict)
    assert found is not user

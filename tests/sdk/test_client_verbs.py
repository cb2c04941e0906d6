"""The verbs: what they give for whom, for which flag, and that nothing makes them raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop import Client, Context, ErrorCode, Reason
from flagloop.testing import FakeClock, MemorySink, document, flag


class Hostile:
    """An object of which every use raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")

    def _no(self, *_: Any) -> Any:
        raise RuntimeError("no")

    __hash__ = __eq__ = __str__ = __repr__ = __bool__ = __len__ = __iter__ = _no
    __index__ = __float__ = _no


class HostileText(str):
    """A text of which every use raises."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __getitem__(self, place: Any) -> str:
        raise RuntimeError("no")


class HostileMapping(Mapping[str, Any]):
    """A mapping of which every use raises."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class Key(StrEnum):
    """A flag's key as applications like to write it."""

    SPLIT = "split"


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.characters(categories=["Cs"])
    | st.binary(max_size=8)
    | st.builds(Hostile)
    | st.builds(HostileText, st.text())
    | st.builds(object)
)
things = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["key", "org", "plan"]) | st.integers(), inner)
    ),
    max_leaves=6,
)
users = things | st.builds(HostileMapping) | st.builds(Context, st.none(), st.just({"key": 3}))
flags = things | st.sampled_from(["split", "holdout_split", "everyone", "by_org", "logged"])


@given(flags, users, things)
def test_nothing_makes_a_verb_raise(flag: Any, user: Any, more: Any) -> None:
    """Whatever the flag and the user are, every verb answers."""
    everything = document(
        {"holdouts": {"growth": {"share": "20%"}}},
        split=RULES["split"],
        everyone=RULES["everyone"],
        by_org=RULES["by_org"],
        logged=RULES["logged"],
        holdout_split=RULES["holdout_split"],
    )
    client = Client.from_document(everything, events=lambda batch: None)
    client.variant(flag, user)
    client.value(flag, user, more)
    client.enabled(flag, user)
    client.decide(flag, user)
    client.peek(flag, user)
    client.decide_all(user)
    client.explain(flag, user).to_mapping()
    client.track(flag, user, more, what=more)
    with client.observe(flag, user):
        pass
    client.status()
    assert client.close(60)


_COLORS = {"control": "blue", "treatment": "green"}
_HALVES = [{"name": "halves", "split": {"control": "50%", "treatment": "50%"}}]
RULES = {
    "split": flag(_COLORS, rules=_HALVES),
    "everyone": flag(_COLORS, rules=[{"name": "all", "split": {"treatment": "100%"}}]),
    "by_org": flag(_COLORS, unit="org", rules=_HALVES),
    "logged": flag(_COLORS, log=["plan", "org"], rules=_HALVES),
    "holdout_split": flag(_COLORS, holdout="growth", rules=_HALVES),
}


@pytest.mark.parametrize(
    "user",
    [
        "u-7",
        {"key": "u-7"},
        MappingProxyType({"key": "u-7"}),
        Context("u-7"),
        Context(None, {"key": "u-7"}),
    ],
    ids=["text", "dict", "mapping", "context", "attributes"],
)
def test_all_forms_of_a_user_get_the_same(client: Client, user: Any) -> None:
    """A text, any mapping and a Context of one key are one unit, for every verb."""
    wanted = client.decide("split", {"key": "u-7"})
    assert client.decide("split", user) is wanted
    assert client.peek("split", user) is wanted
    assert client.decide_all(user)["split"] is wanted
    assert client.explain("split", user).decision is wanted
    assert client.variant("split", user) == wanted.variant
    assert client.value("split", user, None) == wanted.value


def test_a_number_is_its_decimal(client: Client) -> None:
    """Applications whose keys are integers need no conversion, alone or in a mapping."""
    assert client.decide("split", 42) is client.decide("split", "42")
    assert client.decide("split", {"key": 42}) is client.decide("split", "42")


@pytest.mark.parametrize("user", [None, "", {}, {"key": None}, {"key": True}, 1.5, True, b"u", []])
def test_without_a_unit_the_default_is_served(client: Client, user: Any) -> None:
    """No key that can be bucketed: the flag's default, marked as that."""
    decision = client.decide("split", user)
    assert (decision.variant, decision.reason) == ("control", Reason.DEFAULT)
    assert decision.missing_unit
    assert client.variant("split", user, "mine") == "control"


@pytest.mark.parametrize("user", [None, {"plan": "free"}, {"key": ["u-1"]}, 1.5])
@pytest.mark.parametrize(("flag", "variant"), [("everyone", "treatment"), ("holdout", "control")])
def test_without_a_unit_nobody_is_exposed_but_all_are_served(
    client: Client, sink: Any, counted: Any, flag: str, variant: str, user: Any
) -> None:
    """A split of 100% and a flag with a holdout decide for a user that has no key."""
    assert client.variant(flag, user) == variant
    assert client.decide(flag, user).variant == variant
    assert client.status()["failures"] == {}
    assert sum(counted(client).values()) == 2
    assert sink.exposures == []


def test_a_text_enumeration_names_a_flag(client: Client) -> None:
    """StrEnum members are texts."""
    assert client.decide(Key.SPLIT, "u-7") is client.decide("split", "u-7")


@pytest.mark.parametrize("name", ["gone", "broken", "nowhere", 3, None, ["split"]])
def test_the_callers_default_stands_in_for_no_variant(client: Client, name: Any) -> None:
    """Killed without `off`, broken, unknown or no flag at all."""
    assert client.variant(name, "u-1") is None
    assert client.variant(name, "u-1", "mine") == "mine"
    assert client.value(name, "u-1", {"any": "thing"}) == {"any": "thing"}
    assert client.enabled(name, "u-1") is False


def test_values_that_look_empty_are_values(make: Callable[..., Client]) -> None:
    """False, 0 and the empty text are served, the caller's default is not."""
    flags = {
        name: flag({"only": value})
        for name, value in [("a", False), ("b", 0), ("c", ""), ("d", [])]
    }
    client = make(document(**flags))
    assert [client.value(name, "u", "mine") for name in "abcd"] == [False, 0, "", []]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nowhere", ErrorCode.FLAG_NOT_FOUND),
        ("broken", ErrorCode.PARSE_ERROR),
        (3, ErrorCode.FLAG_NOT_FOUND),
        (None, ErrorCode.FLAG_NOT_FOUND),
    ],
)
def test_a_decision_says_why_there_is_no_variant(
    client: Client, name: Any, error: ErrorCode
) -> None:
    """Every verb that gives a Decision gives its error with words."""
    for decision in (
        client.decide(name, "u-1"),
        client.peek(name, "u-1"),
        client.explain(name, "u-1").decision,
    ):
        assert (decision.reason, decision.error, decision.variant) == (Reason.ERROR, error, None)
        assert decision.message


def test_enabled_is_true_for_true_alone(make: Callable[..., Client], counted: Any) -> None:
    """1 and "true" are no True; they are counted as the wrong type beside the evaluation."""
    names = {"yes": True, "no": False, "one": 1, "text": "true"}
    client = make(document(**{name: flag({"only": value}) for name, value in names.items()}))
    assert [client.enabled(name, "u") for name in names] == [True, False, False, False]
    assert client.enabled("nowhere", "u") is False
    assert counted(client) == {
        **{(name, "only", None, "STATIC"): 1 for name in names},
        ("one", None, None, "TYPE_MISMATCH"): 1,
        ("text", None, None, "TYPE_MISMATCH"): 1,
        ("nowhere", None, None, "FLAG_NOT_FOUND"): 1,
    }


def test_targeting_reads_attributes(client: Client) -> None:
    """A mapping's attributes and a Context's are the same to a rule."""
    assert client.enabled("switch", {"key": "u-1", "plan": "staff"})
    assert client.enabled("switch", Context("u-1", plan="staff"))
    assert not client.enabled("switch", "u-1")
    assert client.enabled("switch", {"plan": "staff"})


def test_the_users_mapping_is_left_alone(client: Client) -> None:
    """Also one that would make what is asked for."""
    from collections import defaultdict

    user: dict[str, Any] = defaultdict(str, key="u-1")
    client.decide_all(user)
    client.variant("by_org", user)
    client.variant("targeted", user)
    client.track("click", user)
    assert user == {"key": "u-1"}


def test_decide_all_gives_every_flag_in_order(client: Client, mapping: dict[str, Any]) -> None:
    """The same decisions as one by one, in the order of the document."""
    user = {"key": "u-3", "org": "o-1", "plan": "staff"}
    decisions = client.decide_all(user)
    assert list(decisions) == list(mapping["flags"])
    assert all(decisions[name] is client.peek(name, user) for name in decisions)


def test_explain_tells_the_way(client: Client) -> None:
    """It ends at the same Decision and shows the rule that decided."""
    user = {"key": "u-1", "plan": "staff"}
    explanation = client.explain("targeted", user)
    assert explanation.decision is client.peek("targeted", user)
    assert "staff" in explanation.render()


def test_windows_follow_the_clock(make: Callable[..., Client], clock: FakeClock) -> None:
    """`from` and `until` are compared with the client's clock at each call."""
    rule = {"name": "sale", "from": "2026-01-02", "until": "2026-01-03", "serve": "on"}
    client = make(document(sale=flag(rules=[rule])), clock=clock)
    seen = []
    for _ in range(3):
        seen.append((client.enabled("sale", "u"), client.decide_all("u")["sale"].value,
                     client.explain("sale", "u").decision.value))  # fmt: skip
        clock.advance(86_400)
    assert seen == [(False,) * 3, (True,) * 3, (False,) * 3]


def test_a_user_that_cannot_be_read_is_counted(make: Callable[..., Client], counted: Any) -> None:
    """What raises inside of the user's own class is GENERAL in the counts and in `status()`."""
    client = make(document(split=RULES["split"]))
    decision = client.decide("split", HostileMapping())
    assert (decision.variant, decision.error) == (None, ErrorCode.GENERAL)
    assert client.decide_all(HostileMapping()) == {}
    assert counted(client) == {("split", None, None, "GENERAL"): 1}
    status = client.status()
    assert status["failures"] == {"RuntimeError": 2}
    assert status["problem"].startswith("2 RuntimeError while deciding")


def test_properties_may_be_called_like_the_parameters_of_track() -> None:
    """`event` and `user` are usual names of properties, and no verb raises."""
    sink = MemorySink()
    with Client.from_document({"flags": {}}, events=sink) as client:
        client.track("purchase", "u-1", value=2, event="sale", user="gift")
        assert client.flush(5)
    assert [event["properties"] for event in sink.events] == [{"event": "sale", "user": "gift"}]

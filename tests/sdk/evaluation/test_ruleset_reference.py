"""The compiled evaluation equals the naive reference, on documents that nobody wrote."""

from __future__ import annotations

import copy
from collections import ChainMap
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop.evaluation.explain import explain
from flagloop.evaluation.ruleset import Ruleset


class Plan(StrEnum):
    """A str subclass as applications use them."""

    PRO = "pro"
    FREE = "free"


class Level(IntEnum):
    """An int subclass."""

    ONE = 1
    SEVEN = 7


VARIANTS = ("a", "b", "c")
ATTRIBUTES = ("key", "org", "plan", "version", "level", "tags", "seen", "ip", "segment")
scalars = st.sampled_from(["pro", "free", "Pro", "", "1", 1, 7, 1.0, 2.5, 0, True, False])
texts = st.sampled_from(["pro", "PRO", "free", "r", "o", "", "strasse", "Straße"])
versions = st.sampled_from(["1.0.0", "2.3.0", "2.3.0-rc.1", "2.3.0-rc.10", "2.3.0+5", "10.0.0"])
times = st.sampled_from(["2024-01-01", "2024-06-01T12:00:00Z", "2024-06-01T12:00:00.5+02:00"])
networks = st.sampled_from(["10.0.0.0/8", "192.168.1.7", "2001:db8::/32"])
one_or_more = st.one_of(texts, st.lists(texts, max_size=3))
percents = st.sampled_from(["0%", "0.000001%", "5%", "33.333333%", "50%", "99.999999%", "100%"])
CONSTANTS = {
    "eq": scalars,
    "ne": scalars,
    "in": st.lists(scalars, max_size=4),
    "not_in": st.lists(scalars, max_size=4),
    "gt": st.sampled_from([0, 1, 1.5, 7]),
    "gte": st.sampled_from([0, 1, 1.5, 7]),
    "lt": st.sampled_from([0, 1, 1.5, 7]),
    "lte": st.sampled_from([0, 1, 1.5, 7]),
    "contains": st.one_of(scalars, st.lists(scalars, max_size=3)),
    "contains_ci": one_or_more,
    "starts_with": one_or_more,
    "starts_with_ci": one_or_more,
    "ends_with": one_or_more,
    "ends_with_ci": one_or_more,
    "eq_ci": texts,
    "in_ci": st.lists(texts, max_size=3),
    "exists": st.booleans(),
    "semver_eq": versions,
    "semver_gt": versions,
    "semver_gte": versions,
    "semver_lt": versions,
    "semver_lte": versions,
    "before": times,
    "after": times,
    "in_cidr": networks,
}
tests = st.sampled_from(sorted(CONSTANTS)).flatmap(
    lambda operator: CONSTANTS[operator].map(lambda constant: {operator: constant})
)
segment_names = st.sampled_from(["s1", "s2", "s3"])
leaves = st.one_of(
    st.dictionaries(st.sampled_from(ATTRIBUTES[:-1]), tests, min_size=1, max_size=2),
    st.fixed_dictionaries({"context.segment": scalars}),
    st.fixed_dictionaries({"segment": st.one_of(segment_names, st.lists(segment_names))}),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"any": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"all": st.lists(inner, max_size=3), "not": inner}),
    ),
    max_leaves=6,
)
splits = st.sampled_from(
    [
        {"a": "50%", "b": "50%"},
        {"a": "10%", "b": "20%", "c": "70%"},
        {"a": "0%", "b": "100%"},
        {"c": "99.999999%", "b": "0.000001%"},
        [["b", "90%"], ["a", "10%"]],
    ]
)
rollouts = st.fixed_dictionaries(
    {"to": st.just("b"), "from": st.sampled_from(["a", "c"]), "stages": st.just(["1%", "100%"])},
    optional={"stage": percents},
)
units = st.sampled_from(["key", "org"])
window = {"from": times, "until": times}
rules = st.one_of(
    st.fixed_dictionaries(
        {"serve": st.sampled_from(VARIANTS)},
        optional={"when": conditions, "share": percents, "unit": units, **window},
    ),
    st.fixed_dictionaries(
        {"split": splits},
        optional={
            "when": conditions,
            "share": percents,
            "unit": units,
            "experiment": st.sampled_from(["x1", "x2", "x3"]),
        },
    ),
    st.fixed_dictionaries({"rollout": rollouts}, optional={"when": conditions, "unit": units}),
)


def named(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": f"r{i}", **rule} for i, rule in enumerate(found)]


flags = st.fixed_dictionaries(
    {
        "variants": st.just({"a": 1, "b": 2, "c": 3}),
        "default": st.just("a"),
        "rules": st.lists(rules, max_size=4).map(named),
    },
    optional={
        "off": st.sampled_from(VARIANTS),
        "unit": units,
        "holdout": st.sampled_from(["h1", "h2", "h3"]),
        "requires": st.dictionaries(
            st.sampled_from(["f1", "f2", "f3", "f4", "none"]), st.sampled_from(VARIANTS), max_size=2
        ),
    },
)
killed_or_not = st.tuples(flags, st.integers(0, 9)).map(
    lambda pair: {**pair[0], "killed": True} if pair[1] == 0 else pair[0]
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Flags f1 to f4 over segments, layers, holdouts and experiments, some of them missing."""
    layer = st.fixed_dictionaries(
        {"name": st.just("l1"), "range": st.sampled_from([["0%", "50%"], ["0%", "100%"]])}
    )
    experiment = st.fixed_dictionaries(
        {"primary": st.just("m")},
        optional={"layer": layer, "status": st.sampled_from(["draft", "running", "decided"])},
    )
    holdout = st.fixed_dictionaries({"share": percents}, optional={"unit": units})
    return {
        "segments": {
            key: {"when": draw(conditions)} for key in draw(st.sets(segment_names, min_size=1))
        },
        "layers": {"l1": draw(st.sampled_from([{}, {"unit": "org"}]))},
        "holdouts": {key: draw(holdout) for key in ("h1", "h2")},
        "experiments": {key: draw(experiment) for key in ("x1", "x2")},
        "flags": {f"f{i}": draw(killed_or_not) for i in range(1, 5)},
    }


unit_values = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["u-1", "u-2", "ünï", 7, Level.SEVEN, -3, Plan.PRO, True, 1.5, None, "\ud800"]),
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "key": unit_values,
        "org": unit_values,
        "plan": st.one_of(scalars, st.sampled_from([Plan.PRO, Plan.FREE, None, ["pro"], {}])),
        "version": st.one_of(versions, st.sampled_from(["2.3", "v1.0.0", "1.0.0-01", 2])),
        "level": st.one_of(scalars, st.sampled_from([Level.ONE, 1e300, float("nan")])),
        "tags": st.lists(st.one_of(scalars, st.none()), max_size=3),
        "seen": st.one_of(times, st.sampled_from([1717243200000, 1.7e12, "2024-06-01T12:00:00"])),
        "ip": st.sampled_from(["10.1.2.3", "192.168.1.7", "2001:db8::1", "nowhere", 7]),
        "segment": scalars,
    },
)
moments = st.sampled_from([0.0, 1704067200.0, 1717243199.5, 1717243200.0, 1.9e9])


@settings(max_examples=120)
@given(documents(), st.lists(contexts, min_size=1, max_size=4), moments)
def test_compiled_equals_reference(
    reference: Any,
    as_outcome: Any,
    document: dict[str, Any],
    users: list[dict[str, Any]],
    now: float,
) -> None:
    """Every flag decides as the naive interpreter does, alone, by table, in bulk and explained."""
    ruleset, naive = Ruleset(document), reference(document)
    table, everything = ruleset.bind(lambda: now), ruleset.bind_all(lambda: now)
    for user in users:
        before = copy.deepcopy(user)
        bulk = everything(user)
        for name in ruleset.names():
            decision = ruleset.evaluate(name, user, now)
            assert as_outcome(decision) == naive.evaluate(name, user, now), name
            assert table[name](user) is decision
            assert bulk[name] is decision
            assert explain(ruleset, name, user, now).decision is decision
            assert decision in ruleset.decisions(name)
            assert ruleset.evaluate(name, MappingProxyType(user), now) is decision
            assert ruleset.evaluate(name, ChainMap({}, user), now) is decision
        assert repr(user) == repr(before), "evaluation must not touch the context"


@settings(max_examples=30)
@given(documents(), contexts)
def test_order_of_first_use_changes_nothing(
    as_outcome: Any, document: dict[str, Any], user: dict[str, Any]
) -> None:
    """Whichever flag is compiled first, the decisions say the same."""
    forth, back = Ruleset(document), Ruleset(document)
    names = forth.names()
    one = {name: as_outcome(forth.evaluate(name, user, 0.0)) for name in names}
    other = {name: as_outcome(back.evaluate(name, user, 0.0)) for name in reversed(names)}
    assert one == other

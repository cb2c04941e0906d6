"""Rulesets: loading, the hot table, prerequisites, broken flags, exposures."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from flagloop.document.problem import path_text
from flagloop.errors import DocumentError
from flagloop.evaluation.bucketing import SPACE, position
from flagloop.evaluation.decision import ErrorCode, Exposed, Reason
from flagloop.evaluation.ruleset import Ruleset

HALF = {"control": "50%", "treatment": "50%"}


def flag(*rules: dict[str, Any], **words: Any) -> dict[str, Any]:
    """A flag of two variants with these rules."""
    named = [{"name": f"r{i}", **rule} for i, rule in enumerate(rules)]
    variants = {"control": "blue", "treatment": "green"}
    return {"variants": variants, "default": "control", "rules": named, **words}


def load(_sections: dict[str, Any] | None = None, **flags: Any) -> Ruleset:
    return Ruleset({**(_sections or {}), "flags": flags})


def never() -> float:
    raise AssertionError("the clock is read only for flags with a window")


def unit_below(salt: str, part: float) -> str:
    """Some unit in the first `part` under the salt."""
    return next(u for i in range(10_000) if position(salt, u := f"u-{i}") < part * SPACE)


def unit_above(salt: str, part: float) -> str:
    """Some unit beyond the first `part` under the salt."""
    return next(u for i in range(10_000) if position(salt, u := f"u-{i}") >= part * SPACE)


def test_construction_reads_no_flag() -> None:
    """A flag is read at its first use: until then even a broken one costs nothing."""
    read: list[str] = []

    class Spy(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            read.append(key)
            return super().__getitem__(key)

    ruleset = Ruleset({"flags": Spy(a=flag(), b=3)})
    table = ruleset.bind(never)
    assert not read
    assert table["a"]({"key": "u"}).variant == "control"
    assert read == ["a"]


def test_table_entries_replace_themselves() -> None:
    """The first call compiles; from then on the table holds the flag's own function."""
    ruleset = load(f=flag({"split": HALF}))
    table = ruleset.bind(never)
    stub = table["f"]
    decision = table["f"]({"key": "u-1"})
    assert table["f"] is not stub
    assert table["f"]({"key": "u-1"}) is decision
    assert stub({"key": "u-1"}) is decision, "a stub that somebody kept still works"


def test_unknown_flag_is_an_error_decision_kept_once() -> None:
    """An unknown flag has one decision for each name, and only so many names are kept."""
    ruleset = load(f=flag())
    decision = ruleset.evaluate("nope", {})
    assert decision is ruleset.missing("nope")
    assert (decision.reason, decision.error) == (Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)
    assert decision.variant is None
    assert "nope" not in ruleset.bind(never)
    for i in range(2000):
        ruleset.missing(f"made-up-{i}")
    assert len(list(ruleset.counted())) == 1000
    assert ruleset.missing("made-up-1999").error is ErrorCode.FLAG_NOT_FOUND


def test_broken_flag_breaks_alone_and_says_why() -> None:
    """One bad flag is an error decision with the problem; its neighbours decide."""
    ruleset = load(good=flag({"split": HALF}), bad=flag({"serve": "purple"}))
    assert ruleset.evaluate("good", {"key": "u"}).error is None
    decision = ruleset.evaluate("bad", {"key": "u"})
    assert decision.error is ErrorCode.PARSE_ERROR
    assert decision.message is not None
    assert "purple" in decision.message
    (problem,) = ruleset.problems()
    assert path_text(problem.path) == "flags.bad.rules[0].serve"
    assert ruleset.flag("bad") is None
    assert ruleset.flag("good") is not None
    assert ruleset.decisions("bad") == (decision,)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"when": {"segment": "nowhere"}, "serve": "treatment"}, "rules[0].when"),
        ({"when": {"segment": "bad"}, "serve": "treatment"}, "rules[0].when"),
        ({"when": {"v": {"semver_gt": "1"}}, "serve": "treatment"}, "rules[0].when"),
        ({"experiment": "nowhere", "split": HALF}, "rules[0].experiment"),
        ({"experiment": "lost", "split": HALF}, "rules[0].experiment"),
        ({"experiment": "orgs", "split": HALF}, "rules[0].unit"),
    ],
)
def test_a_bad_reference_breaks_the_flag_that_names_it(rule: dict[str, Any], path: str) -> None:
    """Unknown or bad segments, experiments, layers and constants are problems at their place."""
    sections = {
        "segments": {"bad": {"when": {"ip": {"in_cidr": "nonsense"}}}},
        "layers": {"by_org": {"unit": "org"}},
        "experiments": {
            "lost": {"primary": "m", "layer": {"name": "nowhere", "range": ["0%", "5%"]}},
            "orgs": {"primary": "m", "layer": {"name": "by_org", "range": ["0%", "5%"]}},
        },
    }
    ruleset = load(sections, f=flag(rule), ok=flag())
    assert ruleset.evaluate("f", {"key": "u"}).error is ErrorCode.PARSE_ERROR
    assert [path_text(problem.path) for problem in ruleset.problems()] == [f"flags.f.{path}"]
    assert ruleset.evaluate("ok", {}).variant == "control"


def test_matches_without_its_extra_breaks_its_flag_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without google-re2 such a flag is an error that names the extra; the others decide."""
    monkeypatch.setitem(sys.modules, "re2", None)
    ruleset = load(f=flag({"when": {"key": {"matches": "^u"}}, "serve": "treatment"}), g=flag())
    decision = ruleset.evaluate("f", {"key": "u"})
    assert decision.error is ErrorCode.PARSE_ERROR
    assert "flagloop[regex]" in (decision.message or "")
    assert ruleset.evaluate("g", {}).error is None


def test_unknown_sections_are_ignored() -> None:
    """A newer server's section does not disturb."""
    ruleset = load({"format": 1, "quotas": {"x": 1}, "revision": "a.1"}, f=flag())
    assert ruleset.evaluate("f", {}).reason is Reason.STATIC
    assert ruleset.problems() == []


def test_a_section_that_is_no_mapping_is_refused() -> None:
    """Then nothing can be decided: the last good ruleset stays."""
    with pytest.raises(DocumentError, match="flags"):
        Ruleset({"flags": ["f"]})


def test_windows_read_now_and_only_then() -> None:
    """`from` is inclusive, `until` exclusive; without a window nobody asks for the time."""
    ruleset = load(
        sale=flag({"from": "2024-06-01", "until": "2024-06-02", "serve": "treatment"}),
        plain=flag({"serve": "treatment"}),
        needs=flag({"serve": "treatment"}, requires={"sale": "treatment"}),
    )
    start, end = 1717200000.0, 1717286400.0
    for now, variant in [(start - 1, "control"), (start, "treatment"), (end, "control")]:
        table = ruleset.bind(lambda now=now: now)  # type: ignore[misc]
        everything = ruleset.bind_all(lambda now=now: now)({})  # type: ignore[misc]
        assert ruleset.evaluate("sale", {}, now).variant == variant
        assert table["sale"]({}).variant == variant
        assert everything["sale"].variant == variant
        assert ruleset.evaluate("needs", {}, now) is table["needs"]({}) is everything["needs"]
        assert (ruleset.evaluate("needs", {}, now).prerequisite is None) == (variant != "control")
    assert ruleset.bind(never)["plain"]({}).variant == "treatment"
    for name in ("sale", "needs"):
        with pytest.raises(ValueError, match="now"):
            ruleset.evaluate(name, {})


def test_only_what_a_flag_requires_decides_whether_it_needs_now() -> None:
    """A flag compiled on behalf of another does not inherit the other's windows."""
    ruleset = load(
        base=flag({"serve": "treatment"}),
        middle=flag({"serve": "treatment"}, requires={"base": "treatment"}),
        sale=flag({"from": "2024-06-01", "serve": "treatment"}),
        top=flag({"serve": "treatment"}, requires={"sale": "treatment", "middle": "treatment"}),
    )
    assert ruleset.evaluate("top", {}, 1.9e9).variant == "treatment"
    assert ruleset.evaluate("middle", {}).variant == "treatment"
    with pytest.raises(ValueError, match="now"):
        ruleset.evaluate("top", {})


def test_requires_compares_what_the_prerequisite_serves() -> None:
    """Whatever the reason of the prerequisite, its variant counts; chains are followed."""
    ruleset = load(
        killed=flag(killed=True, off="treatment"),
        second=flag({"serve": "treatment"}, requires={"killed": "treatment"}),
        third=flag({"serve": "treatment"}, requires={"second": "treatment"}),
        fourth=flag({"serve": "treatment"}, requires={"third": "control"}, off="treatment"),
    )
    assert ruleset.evaluate("third", {}).reason is Reason.TARGETING_MATCH
    decision = ruleset.evaluate("fourth", {})
    assert (decision.variant, decision.reason) == ("treatment", Reason.DISABLED)
    assert decision.prerequisite == "third"


def test_unknown_and_broken_prerequisites_are_not_met() -> None:
    """Also where the variant asked for is what this flag's own `off` is called."""
    ruleset = load(
        bad=3,
        a=flag({"serve": "treatment"}, requires={"nothing": "control"}, off="control"),
        b=flag({"serve": "treatment"}, requires={"bad": "control"}, off="control"),
        c=flag({"serve": "treatment"}, requires={"a": "treatment", "nothing": "control"}),
        d=flag({"serve": "treatment"}, requires={"nothing": "control", "a": "control"}),
    )
    for name, prerequisite in [("a", "nothing"), ("b", "bad"), ("c", "a"), ("d", "nothing")]:
        decision = ruleset.evaluate(name, {})
        assert (decision.reason, decision.prerequisite) == (Reason.DISABLED, prerequisite)


def test_each_flag_on_a_cycle_is_broken_and_those_outside_are_not() -> None:
    """A cycle breaks its members, killed or not; who requires one of them is not met."""
    ruleset = load(
        a=flag(requires={"b": "control"}),
        b=flag(requires={"c": "control"}, killed=True),
        c=flag(requires={"a": "control", "free": "control"}),
        free=flag(),
        self=flag(requires={"self": "control"}),
        outside=flag(requires={"a": "control"}, off="treatment"),
    )
    for name in ("a", "b", "c", "self"):
        decision = ruleset.evaluate(name, {})
        assert decision.error is ErrorCode.PARSE_ERROR
        assert "require each other" in (decision.message or "")
    assert ruleset.evaluate("outside", {}).variant == "treatment"
    assert ruleset.evaluate("free", {}).reason is Reason.STATIC


def test_long_chains_and_wide_diamonds_stay_cheap() -> None:
    """3,000 flags in a row need no recursion; 40 layers of two that require both of the layer
    below are 80 evaluations, not 2**40.
    """
    chain = {"f0": flag({"serve": "treatment"})}
    for i in range(1, 3000):
        chain[f"f{i}"] = flag({"serve": "treatment"}, requires={f"f{i - 1}": "treatment"})
    assert load(**chain).evaluate("f2999", {}).variant == "treatment"
    layers = {name: flag({"serve": "treatment"}) for name in ("a0", "b0")}
    for i in range(1, 40):
        below = {f"a{i - 1}": "treatment", f"b{i - 1}": "treatment"}
        layers |= {f"{x}{i}": flag({"serve": "treatment"}, requires=below) for x in "ab"}
    assert load(**layers).evaluate("a39", {}).variant == "treatment"


def test_a_missing_unit_is_its_own_default() -> None:
    """The default without a unit is marked, and 0%, 100% and whole layers need none."""
    ruleset = load(
        {
            "holdouts": {"some": {"share": "50%"}},
            "layers": {"page": {}},
            "experiments": {
                "x": {"primary": "m", "layer": {"name": "page", "range": ["0%", "100%"]}}
            },
        },
        split=flag({"split": HALF}),
        later=flag({"split": HALF}, {"when": {"plan": "pro"}, "serve": "treatment"}),
        none=flag({"share": "0%", "serve": "treatment"}),
        everyone=flag({"experiment": "x", "split": {"control": "0%", "treatment": "100%"}}),
        held=flag(holdout="some"),
        org=flag({"unit": "org", "split": HALF}),
    )
    for context in ({}, {"key": None}, {"key": ""}, {"key": True}, {"key": 1.5}, {"key": "\ud800"}):
        assert ruleset.evaluate("split", context).missing_unit
        assert ruleset.evaluate("later", context).missing_unit
        assert not ruleset.evaluate("later", {**context, "plan": "pro"}).missing_unit
        assert not ruleset.evaluate("none", context).missing_unit
        assert ruleset.evaluate("everyone", context).variant == "treatment"
        assert ruleset.evaluate("held", context).missing_unit
        assert ruleset.evaluate("org", {**context, "org": "o"}).missing_unit is False
    marked, plain = ruleset.evaluate("later", {}), ruleset.evaluate("none", {})
    assert (marked.variant, marked.reason) == ("control", Reason.DEFAULT)
    assert (plain.variant, plain.reason) == ("control", Reason.DEFAULT)


class Person(StrEnum):
    """Someone whose id is an enum's member."""

    ADA = "ada"


def test_units_of_one_meaning_fall_together() -> None:
    """A text, a StrEnum of it and a subclass fall alike, as do an int and its decimal."""
    shares = {f"s{i}": flag({"share": f"{i}%", "serve": "treatment"}) for i in range(5, 100, 5)}
    ruleset = load(**shares)
    for name in shares:
        assert ruleset.evaluate(name, {"key": "ada"}) is ruleset.evaluate(name, {"key": Person.ADA})
        assert ruleset.evaluate(name, {"key": "42"}) is ruleset.evaluate(name, {"key": 42})


class Watched(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, **items: Any) -> None:
        self.items_ = items

    def __getitem__(self, key: str) -> Any:
        return self.items_[key]

    def __iter__(self) -> Any:
        return iter(self.items_)

    def __len__(self) -> int:
        return len(self.items_)


def test_any_mapping_is_a_context_and_none_is_changed() -> None:
    """A mapping that is no dict decides alike; one that fills itself when read stays empty."""
    ruleset = load(f=flag({"when": {"plan": "pro"}, "serve": "treatment"}, {"split": HALF}))
    for words in ({"key": "u-1"}, {"key": "u-2", "plan": "pro"}, {}):
        assert ruleset.evaluate("f", Watched(**words)) is ruleset.evaluate("f", words)
    greedy: defaultdict[str, Any] = defaultdict(lambda: "pro")
    ruleset.evaluate("f", greedy)
    ruleset.bind_all(never)(greedy)
    assert not greedy


def test_exposures_name_rule_unit_experiment_and_stage() -> None:
    """Bucketed rules expose by their unit; plain serving and defaults do not."""
    ruleset = load(
        {"experiments": {"x": {"primary": "m"}}},
        split=flag({"experiment": "x", "split": HALF}, log=["plan"]),
        share=flag({"unit": "org", "share": "100%", "serve": "treatment"}),
        rollout=flag({"rollout": {"to": "treatment", "stages": ["5%", "100%"], "stage": "5%"}}),
        serve=flag({"serve": "treatment"}),
    )
    found = {
        name: {decision.exposed for decision in ruleset.decisions(name)} - {None}
        for name in ruleset.names()
    }
    both = ("control", "treatment")
    assert found["split"] == {
        Exposed("split", variant, "key", rule="r0", experiment="x", log=("plan",))
        for variant in both
    }
    assert found["share"] == {Exposed("share", "treatment", "org", rule="r0")}
    assert found["rollout"] == {
        Exposed("rollout", variant, "key", rule="r0", stage=5_000_000) for variant in both
    }
    assert found["serve"] == set()
    assert ruleset.units == {"key", "org"}


def test_every_decision_of_a_flag_with_a_holdout_is_exposed() -> None:
    """Held or not, by the holdout's unit where no rule bucketed; not when killed or not met."""
    ruleset = load(
        {"holdouts": {"h": {"share": "30%", "unit": "org"}}},
        f=flag(
            {"when": {"plan": "pro"}, "serve": "treatment"},
            {"when": {"plan": "team"}, "split": HALF},
            holdout="h",
            requires={"gate": "on"},
        ),
        gate={"rules": [{"name": "open", "when": {"gate": True}, "serve": "on"}]},
        killed=flag(holdout="h", killed=True),
    )
    held, free = unit_below("holdout:h", 0.3), unit_above("holdout:h", 0.3)
    cases = {
        (held, None): Exposed("f", "control", "org", holdout="h", held=True),
        (held, "pro"): Exposed("f", "control", "org", holdout="h", held=True),
        (free, "pro"): Exposed("f", "treatment", "org", rule="r0", holdout="h"),
        (free, None): Exposed("f", "control", "org", holdout="h"),
    }
    for (org, plan), exposed in cases.items():
        context = {"key": "u", "org": org, "plan": plan, "gate": True}
        decision = ruleset.evaluate("f", context)
        assert decision.exposed == exposed
        assert decision.holdout == ("h" if exposed.held else None)
        assert ruleset.evaluate("f", {**context, "gate": False}).exposed is None
    split = ruleset.evaluate("f", {"key": "u", "org": free, "plan": "team", "gate": True})
    assert split.exposed is not None
    assert (split.exposed.unit_by, split.exposed.rule) == ("key", "r1")
    assert ruleset.evaluate("killed", {"org": held}).exposed is None


def test_draft_falls_through_and_decided_still_splits() -> None:
    """A draft's rule serves nobody; a decided experiment's serves until it is replaced."""
    for status, rule in [("draft", "r1"), ("running", "r0"), ("decided", "r0")]:
        sections = {"experiments": {"x": {"primary": "m", "status": status}}}
        f = flag({"experiment": "x", "split": HALF}, {"serve": "treatment"})
        assert load(sections, f=f).evaluate("f", {"key": "u"}).rule == rule


def test_counted_decisions_are_those_of_used_flags() -> None:
    """What was compiled may have been counted; flags that nobody asked for are left alone."""
    ruleset = load(used=flag({"split": HALF}), unused=flag())
    assert list(ruleset.counted()) == []
    decision = ruleset.evaluate("used", {"key": "u"})
    ruleset.missing("unknown")
    found = list(ruleset.counted())
    assert decision in found
    assert {one.flag for one in found} == {"used", "unknown"}
    assert set(ruleset.decisions("used")) < set(found)


def test_recording_and_names_come_from_the_document() -> None:
    """Order of flags, recorded attributes, revision and environment as given."""
    mapping = {"recording": {"attributes": ["plan", 3]}, "flags": {"b": flag(), "a": flag()}}
    ruleset = Ruleset(mapping, "abc.7", "production")
    assert ruleset.names() == ("b", "a")
    assert list(ruleset.bind_all(never)({})) == ["b", "a"]
    assert ruleset.recording == ("plan",)
    assert (ruleset.revision, ruleset.environment) == ("abc.7", "production")
    assert Ruleset({}).recording == ()
    assert Ruleset({"recording": {"attributes": "plan"}}).recording == ()


def test_threads_compile_once() -> None:
    """Many threads that use a flag for the first time get the same decision objects."""
    for _ in range(20):
        chain = {
            f"f{i}": flag({"split": HALF}, requires={f"f{i + 1}": "control"}) for i in range(8)
        }
        ruleset = load(**chain, f8=flag())
        gate, found = threading.Barrier(8), []

        def use(ruleset: Ruleset = ruleset, gate: Any = gate, found: Any = found) -> None:
            gate.wait(10)
            found.append(tuple(ruleset.evaluate(f"f{i}", {"key": "u"}) for i in range(8)))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(found) == 8
        assert len(set(found)) == 1


def test_one_flag_with_many_rules_and_variants() -> None:
    """Hundreds of rules, a split of forty variants and deep conditions compile and decide."""
    names = [f"v{i}" for i in range(40)]
    condition: dict[str, Any] = {"plan": "pro"}
    for _ in range(14):
        condition = {"not": {"any": [condition]}}
    rules = [{"name": f"r{i}", "when": {"n": i}, "serve": f"v{i % 40}"} for i in range(400)]
    rules += [{"name": "deep", "when": condition, "serve": "v1"}]
    rules += [{"name": "all", "split": dict.fromkeys(names, "2.5%")}]
    variants = {name: i for i, name in enumerate(names)}
    ruleset = load(f={"variants": variants, "default": "v0", "rules": rules})
    assert ruleset.problems() == []
    assert ruleset.evaluate("f", {"n": 399}).rule == "r399"
    assert ruleset.evaluate("f", {"plan": "pro"}).rule == "deep"
    for i in range(200):
        unit = f"u-{i}"
        expected = position("split:f", unit) * 40 // SPACE
        assert ruleset.evaluate("f", {"key": unit}).value == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12: fork with threads, the point here
def test_a_child_forked_while_a_thread_compiles_decides() -> None:
    """What a thread of the parent was compiling, a child compiles itself instead of waiting."""
    reading, go_on = threading.Event(), threading.Event()

    class Slow(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if threading.current_thread() is thread:
                reading.set()
                go_on.wait(30)
            return super().__getitem__(key)

    staff = {"when": {"plan": "staff"}}
    ruleset = load(
        {"segments": Slow(staff=staff)},
        a=flag({"when": {"segment": "staff"}, "serve": "treatment"}),
    )
    thread = threading.Thread(target=ruleset.compiled, args=("a",))
    thread.start()
    assert reading.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if ruleset.evaluate("a", {"plan": "staff"}).variant == "treatment" else 1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    go_on.set()
    thread.join(30)
    assert (ended, ruleset.evaluate("a", {"plan": "staff"}).variant) == (0, "treatment")

"""What a change would do to recorded contexts."""

from __future__ import annotations

from typing import Any

from flagloop_server import whatif
from flagloop_server.recording import Recording
from flagloop_server.store.events import RecordedContext

NOW = 1_800_000_000


def document(share: str, **more: Any) -> dict[str, Any]:
    """`base` with a share, `leaf` that requires it, `other` that does not."""
    return {
        "version": 1,
        "segments": {"s": {"when": {"plan": more.get("plan", "pro")}}},
        "flags": {
            "base": {"rules": [{"name": "some", "share": share, "serve": "on"}]},
            "leaf": {"requires": {"base": "on"}, "rules": [{"name": "all", "serve": "on"}]},
            "other": {"rules": [{"name": "seg", "when": {"segment": "s"}, "serve": "on"}]},
        },
    }


def people(number: int = 200) -> Recording:
    """Recorded contexts, the newest first; `email` is not among what is recorded."""
    contexts = [
        RecordedContext((NOW - n) * 1000, {"key": f"u-{n}", "plan": ("pro", "free")[n % 2]}, "l.1")
        for n in range(number)
    ]
    return Recording(contexts, {"l.1": frozenset({"key", "plan"})})


def test_raising_a_share_is_counted_with_what_hangs_on_it() -> None:
    """The changed flag leads, the flags that require it are told beside it."""
    found = whatif.what_if(document("0%"), document("100%"), people(), [("flags", "base")], NOW)
    assert found.moves == (
        whatif.Move("base", "off", "on", 200),
        whatif.Move("leaf", "off", "on", 200),
    )
    assert found.sentence == (
        "200 of 200 recorded contexts move off → on, none back; with it contexts move in leaf."
    )
    assert found.unjudged == ()
    assert found.period == "from 2027-01-15 07:56 to 08:00 UTC"


def test_who_moves_is_told_by_the_attribute_that_differs_most() -> None:
    """Of those who move all are pro, and their countries are those of everybody."""
    before, after = document("0%"), document("0%")
    rule = {"name": "pros", "when": {"plan": "pro"}, "serve": "on"}
    after["flags"]["base"] = {"rules": [rule]}
    seen = people()
    for number, one in enumerate(seen.contexts):
        one.context["country"] = ("DE", "DE", "FR", "FR")[number % 4]
    wide = Recording(seen.contexts, {"l.1": frozenset({"key", "plan", "country"})})
    found = whatif.what_if(before, after, wide, [("flags", "base")], NOW)
    (by_plan,) = found.groups
    assert by_plan.attribute == "plan"
    assert [(one.value, one.moved, one.n) for one in by_plan.groups] == [
        ("pro", 100, 100),
        ("free", 0, 100),
    ]
    assert by_plan.difference == 1.0


def test_moves_in_both_directions_are_both_told() -> None:
    """A segment that turns around moves people there and back."""
    before, after = document("5%"), document("5%", plan="free")
    moved = [("segments", "s"), ("flags", "other")]
    found = whatif.what_if(before, after, people(), moved, NOW)
    assert found.sentence in (
        "200 of 200 recorded contexts move: 100 off → on, 100 on → off.",
        "200 of 200 recorded contexts move: 100 on → off, 100 off → on.",
    )


def test_the_same_document_moves_nobody() -> None:
    """Nor does one that evaluation reads in the same way; none is said in words."""
    same, told = document("5%"), document("5%")
    told["flags"]["base"]["description"] = "Some of them"
    for after in (same, told):
        found = whatif.what_if(same, after, people(), [("flags", "base")], NOW)
        assert (found.moved, found.flags) == (False, ())
        assert found.sentence.startswith("No flag decides differently")


def test_a_changed_segment_reaches_its_flags() -> None:
    """A change elsewhere in the document is followed to the flags that name it."""
    before, after = document("5%"), document("5%", plan="free")
    assert whatif.affected(before, [("segments", "s")]) == {"other"}
    found = whatif.what_if(before, after, people(), [("segments", "s")], NOW)
    assert found.flags == ("other",)
    assert {(one.before, one.after, one.n) for one in found.moves} == {
        ("on", "off", 100),
        ("off", "on", 100),
    }
    assert found.sentence == "Up to 200 of 200 recorded contexts move in 1 flag."


def test_no_recorded_contexts_is_said_and_not_called_nobody() -> None:
    """Without contexts nothing is claimed."""
    found = whatif.what_if(document("0%"), document("9%"), Recording([]), [("flags", "base")], NOW)
    assert found.sentence.startswith("Nobody can be counted")
    assert found.contexts == 0
    assert found.period == ""


def test_rules_on_unrecorded_attributes_are_named() -> None:
    """Who matches such a rule cannot be known, and the preview says which and why."""
    before, after = document("0%"), document("0%")
    rule = {"name": "staff", "when": {"email": {"ends_with": "@x"}}, "serve": "on"}
    after["flags"]["base"] = {"rules": [rule]}
    found = whatif.what_if(before, after, people(), [("flags", "base")], NOW)
    assert found.sentence == (
        "None of 200 recorded contexts is known to get another variant. "
        "Not every rule could be judged."
    )
    assert found.unjudged[0] == (
        "base: rule staff tests email, which recorded contexts do not keep"
    )


def test_a_rule_on_a_recorded_attribute_that_nobody_had_is_judged() -> None:
    """It is known of all these users that they have no such attribute."""
    before, after = document("0%"), document("0%")
    after["flags"]["base"] = {"rules": [{"name": "vip", "when": {"tier": "vip"}, "serve": "on"}]}
    seen = people()
    wide = Recording(seen.contexts, {"l.1": frozenset({"key", "plan", "tier"})})
    found = whatif.what_if(before, after, wide, [("flags", "base")], NOW)
    assert found.unjudged == ()
    assert found.sentence == "None of 200 recorded contexts would get another variant."


def test_an_added_flag_moves_from_no_flag() -> None:
    """Before it existed applications got their own default."""
    before, after = document("5%"), document("5%")
    after["flags"]["fresh"] = {}
    found = whatif.what_if(before, after, people(10), [("flags", "fresh")], NOW)
    assert found.moves == (whatif.Move("fresh", "no flag (the caller's default)", "off", 10),)


def test_words_that_decide_nothing_move_nothing() -> None:
    """A metric is no part of evaluation."""
    found = whatif.what_if(document("5%"), document("5%"), people(), [("metrics", "m")], NOW)
    assert found.sentence.startswith("No flag decides differently")


def test_many_flags_cost_no_more_than_the_budget() -> None:
    """With many flags fewer contexts are looked at, the newest, and the number is told."""
    flags = {f"f{n}": {"rules": [{"name": "a", "share": "5%", "serve": "on"}]} for n in range(2000)}
    before: dict[str, Any] = {"version": 1, "flags": flags}
    after = {"version": 1, "flags": {key: {} for key in flags}}
    changed = [("flags", key) for key in flags]
    found = whatif.what_if(before, after, people(500), changed, NOW)
    assert found.contexts * len(flags) * 2 <= whatif.BUDGET
    assert found.contexts == 100

"""Replay: who stays, who moves, and which rules nobody can judge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagloop.evaluation.replay import Unjudged, replay
from flagloop.evaluation.ruleset import Ruleset


def load(*rules: dict[str, Any], **words: Any) -> Ruleset:
    """A ruleset of the flag `f`, of two variants, with these rules."""
    named = [{"name": f"r{i}", **rule} for i, rule in enumerate(rules)]
    flag = {"variants": {"a": 1, "b": 2}, "default": "a", "rules": named, **words}
    return Ruleset({"flags": {"f": flag}})


USERS = [{"key": f"u-{i}", "plan": "pro" if i % 4 == 0 else "free"} for i in range(400)]


def test_a_larger_share_only_moves_units_in() -> None:
    """From 10% to 60%: nobody leaves, and each move is counted with some keys."""
    old, new = (load({"share": share, "serve": "b"}) for share in ("10%", "60%"))
    result = replay(old, new, USERS).flags["f"]
    expected = [
        user["key"]
        for user in USERS
        if old.evaluate("f", user).variant != new.evaluate("f", user).variant
    ]
    assert result.moves == {("a", "b"): len(expected)}
    assert result.stay == len(USERS) - len(expected)
    assert result.moved == len(expected) > 150
    assert result.examples["a", "b"] == expected[:5]
    assert [USERS[place]["key"] for place in result.movers] == expected


def test_the_same_rules_move_nobody() -> None:
    """Two rulesets of one document agree for everybody."""
    rules = [{"when": {"plan": "pro"}, "serve": "b"}, {"split": {"a": "50%", "b": "50%"}}]
    done = replay(load(*rules), load(*rules), USERS)
    assert done.flags["f"].moves == {}
    assert done.flags["f"].stay == done.contexts == len(USERS)


def test_rules_on_unrecorded_attributes_are_named() -> None:
    """A rule that tests what no context has is unjudged; one that some contexts have is judged."""
    old = load({"when": {"plan": "pro"}, "serve": "b"})
    new = load(
        {"when": {"any": [{"country": "DE"}, {"not": {"beta": True}}]}, "serve": "b"},
        {"unit": "org", "share": "5%", "serve": "b"},
        {"when": {"tier": 1}, "share": "0%", "serve": "b"},
    )
    result = replay(old, new, USERS).flags["f"]
    assert result.unjudged == (Unjudged("r0", ("beta", "country")), Unjudged("r1", ("org",)))
    recorded = ["key", "plan", "country", "beta", "org"]
    assert replay(old, new, USERS, recorded=recorded).flags["f"].unjudged == ()
    assert replay(old, new, []).flags["f"].unjudged == ()
    killed = load({"when": {"country": "DE"}, "serve": "b"}, killed=True)
    assert replay(old, killed, USERS).flags["f"].unjudged == ()


def test_a_flag_cannot_be_judged_where_its_prerequisite_cannot() -> None:
    """Whether the prerequisite is met hangs on unrecorded attributes, also two flags away."""
    by_country = {"rules": [{"name": "de", "when": {"country": "DE"}, "serve": "on"}]}

    def chain(**base: Any) -> Ruleset:
        middle = {"requires": {"base": "on"}, "default": "on", "variants": {"on": 1, "off": 0}}
        top = {"requires": {"middle": "on"}, "rules": [{"name": "all", "serve": "on"}]}
        return Ruleset({"flags": {"base": base, "middle": middle, "top": top}})

    done = replay(chain(), chain(**by_country), USERS)
    for name in ("middle", "top"):
        assert done.flags[name].unjudged == (Unjudged("de", ("country",), "base"),)
    assert done.flags["base"].unjudged == (Unjudged("de", ("country",)),)
    assert done.flags["top"].to_mapping()["unjudged"] == [
        {"rule": "de", "attributes": ["country"], "flag": "base"}
    ]
    assert "rule de of required flag base cannot be judged; not recorded: country" in done.render()
    killed = replay(chain(killed=True, **by_country), chain(killed=True, **by_country), USERS)
    assert [flag.unjudged for flag in killed.flags.values()] == [(), (), ()]


def test_flags_on_a_cycle_are_replayed() -> None:
    """They are broken: everybody gets the caller's default, and nothing is left to judge."""
    circle = Ruleset({"flags": {"a": {"requires": {"b": "on"}}, "b": {"requires": {"a": "on"}}}})
    assert replay(circle, circle, USERS).flags["a"].unjudged == ()


def test_flags_may_come_and_go() -> None:
    """A flag of one ruleset only moves everybody from or to the caller's default."""
    old = Ruleset({"flags": {"gone": {}, "same": {}}})
    new = Ruleset({"flags": {"came": {}, "same": {}}})
    done = replay(old, new, USERS)
    assert list(done.flags) == ["gone", "same", "came"]
    assert done.flags["gone"].moves == {("off", None): len(USERS)}
    assert done.flags["came"].moves == {(None, "off"): len(USERS)}
    assert (done.flags["came"].before, done.flags["came"].after) == (False, True)
    assert list(replay(old, new, USERS, ["same"]).flags) == ["same"]


def test_forms_for_machines_and_people() -> None:
    """The JSON form and the lines say the same."""
    old, new = load(), load({"when": {"plan": "pro"}, "serve": "b"})
    done = replay(old, new, iter(USERS[:8]))
    assert json.loads(json.dumps(done.to_mapping())) == {
        "contexts": 8,
        "flags": {
            "f": {
                "before": True,
                "after": True,
                "stay": 6,
                "moved": 2,
                "moves": [{"from": "a", "to": "b", "n": 2, "examples": ["u-0", "u-4"]}],
                "unjudged": [],
            }
        },
    }
    assert done.render().splitlines() == [
        "f: 6 stay, 2 move",
        "  2 a -> b (u-0, u-4)",
        "contexts: 8, flags: 1, flags with moves: 1",
    ]
    unjudged = replay(load({"when": {"x": 1}, "serve": "b"}), Ruleset({}), [{"key": "u"}])
    assert unjudged.render().splitlines() == [
        "f: 0 stay, 1 move",
        "  1 a -> unknown flag (u)",
        "  rule r0 cannot be judged; not recorded: x",
        "contexts: 1, flags: 1, flags with moves: 1",
    ]


def test_windows_need_now() -> None:
    """Both rulesets are asked as of one moment."""
    ruleset = load({"from": "2024-06-01", "serve": "b"})
    assert replay(load(), ruleset, USERS, now=1.9e9).flags["f"].moved == len(USERS)
    assert replay(load(), ruleset, USERS, now=0.0).flags["f"].moved == 0
    with pytest.raises(ValueError, match="now"):
        replay(load(), ruleset, USERS)

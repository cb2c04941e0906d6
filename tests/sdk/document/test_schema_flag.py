"""Flags and rules: what is read, and how each mistake is answered."""

from __future__ import annotations

from typing import Any

import pytest

from flagloop.document.definition import Flag, Killed, Rollout, Rule
from flagloop.document.definition import Test as Leaf
from flagloop.document.schema import read_flag


def good(mapping: dict[str, Any]) -> Flag:
    """The flag `f`, which must be without problems."""
    flag, problems = read_flag("f", mapping)
    assert not problems
    assert flag is not None
    return flag


def wrong(mapping: Any, key: str = "f") -> list[str]:
    """Each problem as one line; a flag with problems is no flag."""
    flag, problems = read_flag(key, mapping)
    assert flag is None
    assert problems
    return [problem.render() for problem in problems]


def rule(**words: Any) -> dict[str, Any]:
    """A flag of two variants with one rule."""
    words = {word.rstrip("_"): value for word, value in words.items()}
    return {
        "variants": {"a": 1, "b": 2},
        "default": "a",
        "rules": [{"name": "r", **words}],
    }


def test_every_word_arrives() -> None:
    """A flag that uses all words is read into a definition that holds them."""
    flag = good(
        {
            "description": "d",
            "owner": "o",
            "tags": ["t"],
            "expires": "2027-03-01",
            "type": "string",
            "variants": {"a": "x", "b": "y"},
            "default": "a",
            "off": "b",
            "unit": "org",
            "salt": "s",
            "holdout": "h",
            "requires": {"other": "on"},
            "log": ["country"],
            "killed": {"reason": "why", "by": "me", "at": "2027-01-01T00:00:00Z"},
            "rules": [
                {
                    "name": "r",
                    "salt": "old",
                    "unit": "key",
                    "when": {"plan": "pro"},
                    "from": "1970-01-02",
                    "until": "1970-01-03T00:00:00Z",
                    "share": "20%",
                    "experiment": "e",
                    "split": {"b": "33.333333%", "a": "66.666667%"},
                },
                {
                    "name": "go",
                    "rollout": {
                        "to": "b",
                        "from": "a",
                        "stages": ["1%", "100%"],
                        "guardrails": ["errors"],
                        "dwell": {"min": "10m", "max": "6h"},
                        "harm_budget": "2%",
                        "on_harm": "pause",
                        "stage": "1%",
                        "paused": True,
                    },
                },
            ],
        }
    )
    split = (("b", 33_333_333), ("a", 66_666_667))
    rollout = Rollout(
        "b", "a", (1_000_000, 100_000_000), ("errors",), 600, 21600, 2_000_000, "pause", 1_000_000,
        True,
    )  # fmt: skip
    when = Leaf("plan", "eq", "pro")
    assert flag == Flag(
        "f",
        "string",
        {"a": "x", "b": "y"},
        "a",
        "b",
        "org",
        "s",
        (
            Rule("r", "old", "key", when, 86400, 172800, 20_000_000, None, split, None, "e"),
            Rule("go", "go", "org", rollout=rollout),
        ),
        (("other", "on"),),
        "h",
        ("country",),
        Killed("why", "me", "2027-01-01T00:00:00Z"),
        "d",
        "o",
        ("t",),
        "2027-03-01",
    )


def test_what_is_left_out() -> None:
    """Defaults: the key's own salt, the rule's name as salt, the unit `key`, no `off`."""
    flag = good({"variants": {"a": 1}, "default": "a", "rules": [{"name": "r", "serve": "a"}]})
    assert (flag.salt, flag.unit, flag.off, flag.killed, flag.log) == ("f", "key", None, None, ())
    assert flag.rules == (Rule("r", "r", "key", serve="a"),)


def test_a_flag_without_variants_is_boolean() -> None:
    """The shorthand has on and off, serves off, and is off when killed, whatever its default."""
    flag = good({})
    assert (flag.type, dict(flag.variants)) == ("boolean", {"on": True, "off": False})
    assert (flag.default, flag.off) == ("off", "off")
    assert (good({"default": "on"}).default, good({"default": "on"}).off) == ("on", "off")
    assert good({"off": "on"}).off == "on"


def test_rules_take_the_unit_of_the_flag_unless_they_have_one() -> None:
    """`unit` is inherited wherever it stands in the flag."""
    rules = [{"name": "r", "serve": "on"}, {"name": "s", "serve": "on", "unit": "org"}]
    flag = good({"rules": rules, "unit": "tenant"})
    assert [rule.unit for rule in flag.rules] == ["tenant", "org"]


def test_a_rollout_goes_from_the_default_at_0_percent() -> None:
    """A fresh rollout needs `to` and `stages` only."""
    rollout = good(rule(rollout={"to": "b", "stages": ["5%", "50%"]})).rules[0].rollout
    assert rollout == Rollout("b", "a", (5_000_000, 50_000_000))
    assert (rollout.stage, rollout.on_harm, rollout.dwell_max) == (0, "rollback", None)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([True, False], "boolean"),
        (["a", ""], "string"),
        ([1, 2], "integer"),
        ([1, 2.5], "number"),
        ([0.5], "number"),
        ([{"a": None}, {}], "json"),
        ([[1, "x"], []], "json"),
    ],
)
def test_the_type_is_that_of_the_values(values: list[Any], type_: str) -> None:
    """All variants have one JSON type; integers and decimals together are numbers."""
    variants = {f"v{i}": value for i, value in enumerate(values)}
    assert good({"variants": variants, "default": "v0"}).type == type_
    assert good({"variants": variants, "default": "v0", "type": type_}).type == type_
    assert good({"variants": variants, "default": "v0", "type": "json"}).type == "json"


def test_integers_may_be_called_numbers() -> None:
    """A flag whose values happen to be whole may be declared a number."""
    assert good({"variants": {"a": 1}, "default": "a", "type": "number"}).type == "number"


def test_a_split_may_be_a_list_of_pairs() -> None:
    """The wire's form of a split means the same as the mapping in that order."""
    mapping = good(rule(split={"b": "10%", "a": "90%"}))
    pairs = good(rule(split=[["b", "10%"], ["a", "90%"]]))
    assert pairs == mapping
    assert pairs.rules[0].split == (("b", 10_000_000), ("a", 90_000_000))


def test_weights_of_0_and_100_percent_are_weights() -> None:
    """An experiment that is over may be written without changing its variants."""
    split = good(rule(split={"a": "0%", "b": "100%"})).rules[0].split
    assert split == (("a", 0), ("b", 100_000_000))


FLAGS = [
    (None, "a flag is a mapping, not null (write {} for the default)"),
    ([], "a flag is a mapping, not a list (write {} for the default)"),
    ({"variannts": {}}, "variannts: unknown word 'variannts' in a flag (did you mean 'variants'?)"),
    ({1: 2}, "unknown word 1 in a flag"),
    ({"variants": {"a": 1}}, "`default` is missing, which is served when no rule serves"),
    ({"variants": {}, "default": "a"}, "variants: variants are a mapping"),
    ({"variants": ["a"], "default": "a"}, "variants: variants are a mapping, not a list"),
    ({"variants": {"a b": 1}, "default": "a b"}, "for example a-b"),
    ({"variants": {"a": 1}, "default": "b"}, "default: unknown variant 'b' (known: a)"),
    ({"default": True}, "default: a variant is named, not true (write the variant's name: on)"),
    ({"off": "of"}, "off: unknown variant 'of' (did you mean 'off'?)"),
    ({"variants": {"a": None}, "default": "a"}, "variants.a: null is no value of a variant"),
    ({"variants": {"a": float("nan")}, "default": "a"}, "variants.a: nan is no JSON value"),
    ({"variants": {"a": {"b": [{1}]}}, "default": "a"}, "variants.a.b[0]: {1} is no JSON value"),
    (
        {"variants": {"a": {1: 2}}, "default": "a"},
        'variants.a.1: a name in JSON is text (write "1"',
    ),
    (
        {"variants": {"a": True, "b": "off"}, "default": "a"},
        "variants: variants have one type, but a is boolean and b is string "
        '(write all of them as one type; a text that looks like true is quoted: "true")',
    ),
    ({"variants": {"a": {}, "b": []}, "default": "a"}, "a is object and b is array"),
    ({"type": "string"}, "type: `type` is string, but the variants are boolean (write type: bool"),
    ({"type": "strnig"}, "type: unknown type 'strnig' (did you mean 'string'?)"),
    ({"variants": {"a": 1.5}, "default": "a", "type": "integer"}, "but the variants are number"),
    ({"tags": "landing"}, "tags: this is a list, not 'landing' (write [landing])"),
    ({"tags": ["a", "a"]}, "tags[1]: 'a' is there twice (remove one)"),
    ({"owner": 7}, 'owner: this is text, not 7 (write "7")'),
    ({"expires": "2027-02-30"}, "expires: '2027-02-30' is not in the calendar"),
    ({"unit": "/org"}, "unit: '/org' cannot name an attribute (names that begin with /"),
    ({"unit": ""}, "unit: this must not be empty"),
    ({"salt": "a:b"}, "salt: 'a:b' is no key"),
    ({"holdout": ["h"]}, "holdout: a key is text, not a list"),
    ({"log": ["a"] * 10_001}, "log: the list has 10,001 entries (at most 10,000 entries"),
    ({"requires": ["a"]}, "requires: `requires` is a mapping of flags, not a list"),
    ({"requires": {"a": True}}, "requires.a: a variant is named, not true"),
    ({"killed": False}, "killed: `killed` is true or {reason, by, at}, not false"),
    ({"killed": {"raeson": "x"}}, "killed.raeson: unknown word 'raeson' in `killed`"),
    ({"killed": {"at": "now"}}, "killed.at: 'now' is no time"),
    ({"rules": {}}, "rules: this is a list, not a mapping"),
    ({"rules": ["x"]}, "rules[0]: a rule is a mapping, not 'x'"),
    ({"rules": [{"name": "r"}] * 2}, "rules[1].name: another rule of this flag has the name 'r'"),
]


@pytest.mark.parametrize(("mapping", "line"), FLAGS)
def test_a_mistake_in_a_flag_is_answered_with_its_mend(mapping: Any, line: str) -> None:
    """Place, problem and mend stand in one line."""
    assert any(line in found for found in wrong(mapping)), wrong(mapping)


RULES = [
    (rule(), "rules[0]: the rule serves nothing (add serve"),
    (rule(serve="a", split={"a": "100%"}), "one of serve, split, rollout, not `serve` and `split`"),
    (rule(serve=True), "rules[0].serve: unknown variant true (known: a, b)"),
    (rule(serve="a", shaer="5%"), "rules[0].shaer: unknown word 'shaer' in a rule (did you mean"),
    (rule(serve="a", share=5), "rules[0].share: 5 is a number (write a percentage with its sign"),
    (rule(serve="a", share="101%"), "rules[0].share: 101% is over 100%"),
    (rule(serve="a", share=["5%"]), "rules[0].share: a percentage is text, not a list"),
    (rule(serve="a", experiment="e"), "rules[0].experiment: `experiment` goes only with `split`"),
    (rule(serve="a", from_="2027-01-01T00:00:00"), "rules[0].from: '2027-01-01T00:00:00' needs"),
    (
        rule(serve="a", from_="2027-01-02", until="2027-01-01"),
        "rules[0].until: `until` is not after `from`",
    ),
    (rule(serve="a", when=[]), "rules[0].when: a condition is a mapping, not a list"),
    (rule(serve="a", name_="x y"), "rules[0].name: 'x y' is no key"),
    (rule(split={"a": "50%", "b": "49.999999%"}), "sum to 99.999999%, 0.000001% under 100%"),
    (rule(split={"a": "50%", "b": "51%"}), "sum to 101%, 1% over 100% (weights sum to exactly"),
    (rule(split={"a": "50%", "c": "50%"}), "rules[0].split.c: unknown variant 'c' (known: a, b)"),
    (rule(split={"a": 50, "b": "50%"}), "rules[0].split.a: 50 is a number"),
    (rule(split=[["a", "50%"], ["a", "50%"]]), "rules[0].split[1]: variant 'a' is there twice"),
    (rule(split=[["a"]]), "rules[0].split[0]: a pair is"),
    (rule(split={}), "rules[0].split: the split gives nobody anything (write split:"),
    (rule(split=None), "rules[0].split: a split is a mapping of variants to percentages, not null"),
    (rule(split="a"), "rules[0].split: a split is a mapping"),
    (rule(rollout="b"), "rules[0].rollout: a rollout is a mapping, not 'b'"),
    (rule(rollout={"stages": ["1%"]}), "rules[0].rollout: `to` is missing"),
    (rule(rollout={"to": "b"}), "rules[0].rollout: `stages` is missing"),
    (rule(rollout={"to": "c", "stages": ["1%"]}), "rules[0].rollout.to: unknown variant 'c'"),
    (rule(rollout={"to": "a", "stages": ["1%"]}), "rules[0].rollout.to: the rollout goes from 'a'"),
    (rule(rollout={"to": "b", "stages": []}), "a rollout has at least one stage"),
    (rule(rollout={"to": "b", "stages": ["5%", "1%"]}), "stages[1]: stage 1% is not above 5%"),
    (rule(rollout={"to": "b", "stages": ["0%"]}), "stages[0]: stage 0% is not above 0%"),
    (rule(rollout={"to": "b", "stages": ["1%"], "dwell": {"min": "1h", "max": "1m"}}), "shorter"),
    (rule(rollout={"to": "b", "stages": ["1%"], "dwell": "1h"}), "`dwell` is a mapping"),
    (rule(rollout={"to": "b", "stages": ["1%"], "harm_budget": "0%"}), "0% cannot be used here"),
    (rule(rollout={"to": "b", "stages": ["1%"], "on_harm": "rolback"}), "did you mean 'rollback'?"),
    (rule(rollout={"to": "b", "stages": ["1%"], "paused": "yes"}), "this is true or false"),
    (
        rule(rollout={"to": "b", "stages": ["1%"]}, share="5%"),
        "rules[0].share: `share` does not go with `rollout` (remove `share`",
    ),
]


@pytest.mark.parametrize(("mapping", "line"), RULES)
def test_a_mistake_in_a_rule_is_answered_with_its_mend(mapping: Any, line: str) -> None:
    """Place, problem and mend stand in one line."""
    assert any(line in found for found in wrong(mapping)), wrong(mapping)


def test_a_rule_without_name_is_told_so() -> None:
    """The name is what share, history and exposures go by."""
    assert "rules[0]: `name` is missing" in wrong({"rules": [{"serve": "on"}]})[0]


def test_all_mistakes_come_at_once() -> None:
    """Each place that is wrong is named in the same reading, once."""
    found = wrong(
        {
            "defualt": "on",
            "owner": None,
            "tags": ["a", 1],
            "killed": 1,
            "rules": [
                {"name": "a", "serve": "no"},
                {"name": "a", "split": {"on": "1%"}, "when": {"x": {"equals": 1}}},
                {"share": "x%"},
            ],
        }
    )
    assert len(found) == 11
    assert len(set(found)) == 11


@pytest.mark.parametrize("key", ["", "a:b", ".a", "-a", "ä", "a b", "a" * 101, 7, None, ("a",)])
def test_a_key_is_plain(key: Any) -> None:
    """Letters, digits and . _ -, the first a letter or digit, at most 100 characters."""
    assert "key" in wrong({}, key)[0]


def test_a_key_of_100_characters_is_one() -> None:
    """The limit is included."""
    key = "a.B_9-" + "x" * 94
    flag, problems = read_flag(key, {})
    assert flag is not None
    assert (flag.key, problems) == (key, [])


def test_a_definition_does_not_change_with_its_mapping() -> None:
    """What was read stays as it was read."""
    mapping = {"variants": {"a": 1, "b": 2}, "default": "a"}
    flag = good(mapping)
    mapping["variants"]["c"] = 3  # type: ignore[index]
    assert dict(flag.variants) == {"a": 1, "b": 2}


def test_an_end_that_cannot_be_read_is_told_once() -> None:
    """It is not also called too early."""
    told = wrong(rule(serve="a", from_="2027-01-01", until="soon"))
    assert len(told) == 1, told
    assert "'soon' is no time" in told[0]

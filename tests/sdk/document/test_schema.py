"""Whole documents: sections, references between items, and the example that teaches them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.problem import errors
from flagloop.document.schema import (
    OPERATOR_NAMES,
    SECTIONS,
    WORDS,
    changed_flags,
    constants_of,
    read_document,
    references,
    wire,
)
from flagloop.document.yamlfile import parse

EXAMPLE = (Path(__file__).resolve().parents[3] / "flags.example.yaml").read_text("utf-8")


@pytest.fixture
def example() -> dict[str, Any]:
    """The mapping of flags.example.yaml, free to change."""
    return copy.deepcopy(parse(EXAMPLE).mapping)


def lines(mapping: Any) -> list[str]:
    """Each problem of a document as one line."""
    return [problem.render() for problem in read_document(mapping)[1]]


def boolean(**words: Any) -> dict[str, Any]:
    """A boolean flag whose one rule is a split of an experiment `e`, with other words."""
    rule = {"name": "r", "experiment": "e", "split": {"off": "50%", "on": "50%"}}
    return {"rules": [rule], **words}


def test_an_empty_document_is_good() -> None:
    """Nothing but its version."""
    document, problems = read_document({"version": 1})
    assert not problems
    assert (document.version, dict(document.flags), document.environment) == (1, {}, None)


def test_the_head_is_read() -> None:
    """Environment and recorded attributes."""
    head = {"version": 1, "environment": "production", "recording": {"attributes": ["plan"]}}
    document, problems = read_document(head)
    assert not problems
    assert (document.environment, document.recording) == ("production", ("plan",))


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        (None, "a document is a mapping, not null (begin with version: 1)"),
        ([], "a document is a mapping, not a list (begin with version: 1)"),
        ({}, "`version` is missing (begin the document with version: 1)"),
        ({"version": 2}, "version: version 2 is not known (write version: 1)"),
        ({"version": "1"}, "version: version '1' is not known (write version: 1)"),
        ({"version": True}, "version: version true is not known (write version: 1)"),
        ({"version": 1, "flag": {}}, "unknown word 'flag' in a document (did you mean 'flags'?)"),
        ({"version": 1, 5: {}}, "5: unknown word 5 in a document"),
        ({"version": 1, "flags": []}, "flags: `flags` is a mapping of keys, not a list"),
        ({"version": 1, "flags": None}, "flags: `flags` is a mapping of keys, not null (write {}"),
        ({"version": 1, "environment": "a b"}, "environment: 'a b' is no key"),
        ({"version": 1, "recording": ["plan"]}, "recording: `recording` is a mapping, not a list"),
        (
            {"version": 1, "recording": {"attributes": "plan"}},
            "recording.attributes: this is a list",
        ),
        ({"version": 1, "flags": {7: {}}}, "flags.7: a key is text, not 7"),
    ],
)
def test_a_mistake_in_the_head_is_answered_with_its_mend(mapping: Any, line: str) -> None:
    """Exactly one problem for one mistake."""
    found = lines(mapping)
    assert len(found) == 1
    assert line in found[0]


def test_bad_items_are_left_out() -> None:
    """Problems of all items come at once; good items are there, bad ones are not."""
    document, problems = read_document(
        {
            "version": 1,
            "segments": {"good": {"when": {}}, "bad": {}},
            "flags": {"a": {}, "b": {"off": "x"}, "c": {"holdout": "absent"}},
        }
    )
    assert list(document.segments) == ["good"]
    assert list(document.flags) == ["a"]
    assert [problem.path for problem in problems] == [
        ("segments", "bad"),
        ("flags", "b", "off"),
        ("flags", "c", "holdout"),
    ]


def test_what_is_named_must_exist() -> None:
    """Each reference to nothing is a problem at its place, with the nearest key."""
    found = lines(
        {
            "version": 1,
            "segments": {"staff": {"when": {"not": {"segment": ["stuff"]}}}},
            "metrics": {"errors": {"event": "e", "better": "lower"}},
            "experiments": {
                "e": {
                    "primary": "eror",
                    "secondary": ["errors", "x1"],
                    "guardrails": ["x2"],
                    "layer": {"name": "x3", "range": ["0%", "1%"]},
                }
            },
            "flags": {
                "f": {
                    "holdout": "x4",
                    "requires": {"x5": "on"},
                    "rules": [
                        {"name": "a", "when": {"any": [{"segment": "x6"}]}, "serve": "on"},
                        {"name": "b", "experiment": "x7", "split": {"on": "100%"}},
                        {
                            "name": "c",
                            "rollout": {"to": "on", "stages": ["1%"], "guardrails": ["x8"]},
                        },
                    ],
                }
            },
        }
    )
    assert [line.split(": unknown ")[0] for line in found if "unknown" in line] == [
        "segments.staff.when.not.segment[0]",
        "experiments.e.primary",
        "experiments.e.secondary[1]",
        "experiments.e.guardrails[0]",
        "experiments.e.layer.name",
        "flags.f.holdout",
        "flags.f.requires.x5",
        "flags.f.rules[0].when.any[0].segment",
        "flags.f.rules[1].experiment",
        "flags.f.rules[2].rollout.guardrails[0]",
    ]
    assert "unknown segment 'stuff' (did you mean 'staff'?)" in found[0]
    assert "unknown metric 'eror' (did you mean 'errors'?)" in found[1]


def test_a_broken_section_is_one_problem() -> None:
    """References into a section that is no mapping are not complained about one by one."""
    flags = {"f": {"holdout": "h"}, "g": {"holdout": "h"}}
    assert len(lines({"version": 1, "holdouts": [], "flags": flags})) == 1


def test_a_required_variant_must_exist() -> None:
    """The variant is looked up in the other flag, unless that one is broken itself."""
    flags = {"a": {}, "b": {"requires": {"a": "onn"}}}
    assert lines({"version": 1, "flags": flags}) == [
        "flags.b.requires.a: unknown variant of flag 'a': 'onn' (did you mean 'on'?)"
    ]
    flags["a"] = {"type": 1}
    assert len(lines({"version": 1, "flags": flags})) == 1


def test_flags_on_a_cycle_of_requires_are_named() -> None:
    """Each flag on the cycle is a problem; one that only leads to it is not."""
    requires = {"a": "b", "b": "c", "c": "a", "self": "self", "leads": "a", "free": "end"}
    flags: dict[str, Any] = {name: {"requires": {other: "on"}} for name, other in requires.items()}
    flags["end"] = {}
    assert lines({"version": 1, "flags": flags}) == [
        f"flags.{name}.requires.{requires[name]}: 'a', 'b', 'c' require each other in a cycle "
        "(remove `requires` from one of them)"
        for name in ("a", "b", "c")
    ] + [
        "flags.self.requires.self: 'self' requires itself (remove `requires` from one of them)",
    ]


def test_segments_on_a_cycle_are_named() -> None:
    """A segment that names itself through others can never be told."""
    segments = {
        "a": {"when": {"segment": "b"}},
        "b": {"when": {"not": {"segment": ["c", "a"]}}},
        "c": {"when": {}},
        "d": {"when": {"segment": ["d", "a"]}},
    }
    found = lines({"version": 1, "segments": segments})
    assert [line.split(" (")[0] for line in found] == [
        "segments.a.when: 'a', 'b' name each other in a cycle",
        "segments.b.when: 'a', 'b' name each other in a cycle",
        "segments.d.when: 'd' names itself",
    ]


def test_a_long_chain_of_requires_is_no_cycle() -> None:
    """Neither recursion nor the square of the number of flags."""
    flags: dict[str, Any] = {f"f{i}": {"requires": {f"f{i + 1}": "on"}} for i in range(3000)}
    flags["f3000"] = {}
    assert lines({"version": 1, "flags": flags}) == []
    flags["f3000"] = {"requires": {"f0": "on"}}
    found = lines({"version": 1, "flags": flags})
    assert len(found) == 3001
    assert "and 2996 more require each other" in found[0]


def test_an_experiment_belongs_to_one_rule() -> None:
    """The second rule that names it is the problem, in the same flag or in another."""
    second = {"name": "s", "experiment": "e", "split": {"off": "50%", "on": "50%"}}
    flags = {"a": boolean(), "b": {"rules": [second]}}
    document = {"version": 1, "experiments": {"e": {}}, "flags": flags}
    assert lines(document) == [
        "flags.b.rules[0].experiment: experiment 'e' is already in flags.a.rules[0] "
        "(an experiment belongs to one rule; make another experiment)"
    ]
    flags["a"]["rules"].append(second)
    del flags["b"]
    assert ["already in flags.a.rules[0]" in line for line in lines(document)] == [True]


def test_a_running_experiment_without_rule_is_warned_about() -> None:
    """A draft may wait, a decided one may stay; neither forbids anything."""
    for status, count in (("running", 1), ("draft", 0), ("decided", 0)):
        document, problems = read_document({"version": 1, "experiments": {"e": {"status": status}}})
        assert len(problems) == count
        assert not errors(problems)
        assert "e" in document.experiments


def test_the_control_is_in_the_split() -> None:
    """The written control, or else the flag's default."""
    document: dict[str, Any] = {
        "version": 1,
        "experiments": {"e": {"control": "a"}},
        "flags": {
            "f": {
                "variants": {"a": 1, "b": 2, "c": 3},
                "default": "a",
                "rules": [
                    {"name": "r", "experiment": "e", "split": {"b": "50%", "c": "50%"}},
                ],
            }
        },
    }
    assert lines(document) == [
        "experiments.e.control: unknown variant in flags.f.rules[0].split: 'a' (known: b, c)"
    ]
    document["experiments"]["e"] = {}
    assert lines(document) == [
        "experiments.e: the flag's default 'a' is not in flags.f.rules[0].split "
        "(add control: b, or another variant of it)"
    ]
    document["experiments"]["e"] = {"control": "c"}
    assert lines(document) == []


def in_layer(*ranges: tuple[str, str, str]) -> dict[str, Any]:
    """A document with one experiment for each (low, high, status) of one layer."""
    document: dict[str, Any] = {"version": 1, "layers": {"l": {}}, "experiments": {}, "flags": {}}
    for i, (low, high, status) in enumerate(ranges):
        layer = {"name": "l", "range": [low, high]}
        document["experiments"][f"e{i}"] = {"layer": layer, "status": status}
        flag = boolean()
        flag["rules"][0]["experiment"] = f"e{i}"
        document["flags"][f"f{i}"] = flag
    return document


def test_running_experiments_of_a_layer_do_not_overlap() -> None:
    """Ranges are half-open, so they may touch; the later one is the problem."""
    assert lines(in_layer(("0%", "50%", "running"), ("50%", "100%", "running"))) == []
    assert lines(in_layer(("50%", "100%", "running"), ("0%", "50%", "running"))) == []
    assert lines(in_layer(("50%", "100%", "running"), ("0%", "50.000001%", "running"))) == [
        "experiments.e1.layer.range: the range overlaps with [50%, 100%] of experiment 'e0' "
        "(running experiments hold disjoint ranges)"
    ]
    for other in ("draft", "decided"):
        assert lines(in_layer(("0%", "50%", other), ("0%", "50%", "running"))) == []
        assert lines(in_layer(("0%", "50%", "running"), ("0%", "50%", other))) == []


def test_an_experiment_has_the_unit_of_its_layer_and_holdout() -> None:
    """Units of different kinds cannot be kept apart; the rule's own unit counts."""
    document = in_layer(("0%", "50%", "running"))
    document["holdouts"] = {"h": {"share": "1%", "unit": "org"}}
    document["layers"]["l"]["unit"] = "org"
    assert lines(document) == [
        "flags.f0.rules[0].experiment: the rule's unit is 'key', but layer 'l' has 'org' "
        "(give rule and layer the same `unit`)"
    ]
    document["flags"]["f0"]["unit"] = "org"
    document["flags"]["f0"]["holdout"] = "h"
    assert lines(document) == []
    document["flags"]["f0"]["rules"][0]["unit"] = "key"
    assert len(lines(document)) == 2
    del document["flags"]["f0"]["rules"][0]["experiment"]
    assert [line for line in lines(document) if "flags.f0" in line] == []


def test_an_item_has_at_most_256_kb() -> None:
    """Text beyond ASCII is measured in UTF-8, not in escapes."""
    many = {"version": 1, "flags": {"f": {"description": "ä" * 120_000}}}
    assert lines(many) == []
    many["flags"]["f"]["description"] += "ä" * 20_000  # type: ignore[index]
    assert "flags.f: the item is 273 KB large" in lines(many)[0]


@pytest.mark.parametrize(
    ("section", "mapping", "names"),
    [
        ("flags", {"holdout": "h", "requires": {"a": "on"}}, {("holdouts", "h"), ("flags", "a")}),
        ("flags", boolean(), {("experiments", "e")}),
        ("segments", {"when": {"any": [{"segment": ["a"]}]}}, {("segments", "a")}),
        (
            "experiments",
            {"primary": "m", "layer": {"name": "l"}},
            {("metrics", "m"), ("layers", "l")},
        ),
        ("layers", {}, set()),
        ("flags", {"rules": [3, {"when": 5}], "requires": ["a"], "holdout": 1}, set()),
        ("flags", None, set()),
    ],
)
def test_references_are_what_an_item_names(section: str, mapping: Any, names: set[Any]) -> None:
    """Also of broken items, as far as they can be understood."""
    assert references(section, mapping) == names


def test_the_example_is_without_problem_and_warning() -> None:
    """What teaches must be right."""
    text = parse(EXAMPLE)
    assert not text.warnings
    document, problems = read_document(text.mapping)
    assert not problems
    assert document.flags["cta_color"].variants == {"control": "blue", "treatment": "green"}
    split = document.flags["cta_color"].rules[1]
    assert (split.experiment, split.split) == (
        "cta_color_2026",
        (("control", 50_000_000), ("treatment", 50_000_000)),
    )


def mappings_by_kind(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each mapping of the document with the kind of words that it holds."""
    yield "document", document
    yield "recording", document["recording"]
    for section, kind in zip(
        ("segments", "layers", "holdouts", "metrics", "experiments", "flags"),
        ("segment", "layer", "holdout", "metric", "experiment", "flag"),
        strict=True,
    ):
        yield from ((kind, item) for item in document[section].values())
    yield from (("exceeds", item.get("exceeds")) for item in document["metrics"].values())
    for item in document["experiments"].values():
        yield "experiment layer", item.get("layer")
        yield "plan", item.get("plan")
    for flag in document["flags"].values():
        yield "killed", flag.get("killed")
        for rule in flag.get("rules", ()):
            yield "rule", rule
            rollout = rule.get("rollout", {})
            yield "rollout", rollout
            yield "dwell", rollout.get("dwell")


def test_the_example_shows_every_word(example: dict[str, Any]) -> None:
    """Each word that the schema knows stands in the example where it belongs."""
    seen: dict[str, set[str]] = {kind: set() for kind in WORDS}
    for kind, mapping in mappings_by_kind(example):
        seen[kind] |= set(mapping or ())
    text = json.dumps(example)
    seen["condition"] = {word for word in WORDS["condition"] if f'"{word}": ' in text}
    missing = {kind: set(words) - seen[kind] for kind, words in WORDS.items()}
    # A file that named its environment could be pushed to no other: it stands in a comment.
    missing["document"].remove("environment")
    assert "# environment: " in EXAMPLE
    assert not {kind: words for kind, words in missing.items() if words}


def test_the_example_shows_every_operator(example: dict[str, Any]) -> None:
    """Each operator is used with a constant."""
    whens = [segment["when"] for segment in example["segments"].values()]
    used = {operator for when in whens for _, operator, _ in constants_of(when)}
    assert set(OPERATOR_NAMES) - used == set()


def test_a_snapshot_reads_as_the_document(example: dict[str, Any]) -> None:
    """What evaluation needs survives the wire; the rest does not travel."""
    document, _ = read_document(example)
    sent = json.loads(json.dumps(wire(example), sort_keys=True))
    assert "metrics" not in sent
    again, problems = read_document({"version": 1, **sent})
    assert [problem.render() for problem in errors(problems)] == []
    for key, flag in document.flags.items():
        received = again.flags[key]
        assert received.variants == flag.variants
        assert [rule.split for rule in received.rules] == [rule.split for rule in flag.rules]
        assert [rule.when for rule in received.rules] == [rule.when for rule in flag.rules]
        assert (received.killed is None) == (flag.killed is None)
    assert again.recording == document.recording


def test_flags_change_with_what_they_name(example: dict[str, Any]) -> None:
    """A change of a segment, an experiment or a required flag reaches the flags above it."""
    before = copy.deepcopy(example)
    assert changed_flags(before, example) == frozenset()
    example["segments"]["staff"]["when"] = {"plan": "none"}  # through beta_testers, new_checkout
    assert changed_flags(before, example) == {"cta_color", "new_checkout", "new_ranker"}
    assert changed_flags(wire(before), wire(example)) == changed_flags(before, example)
    example = copy.deepcopy(before)
    example["experiments"]["sidebar_2026"]["status"] = "running"
    del example["flags"]["headline"]
    example["flags"]["fresh"] = {}
    assert changed_flags(before, example) == {"sidebar", "headline", "fresh"}


def test_what_people_read_changes_no_flag(example: dict[str, Any]) -> None:
    """Descriptions, owners, metrics and plans decide nothing."""
    before = copy.deepcopy(example)
    example["flags"]["cta_color"]["description"] = "other"
    example["metrics"]["errors"]["better"] = "higher"
    example["experiments"]["cta_color_2026"]["plan"]["days"] = 7
    example["flags"]["old_banner"]["killed"] = True
    assert changed_flags(before, example) == frozenset()


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.integers(5000, 5000).map(lambda digits: 10**digits)  # Python refuses to print it
    | st.sampled_from(["", "x", "on", "50%", "2027-01-01", "10m", "/a", "a:b", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["when", "name", "to", "split", "eq", "a"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a mapping form, the root left out."""
    parts = value.items() if isinstance(value, dict) else ()
    parts = enumerate(value) if isinstance(value, list) else parts
    for name, part in parts:
        yield (*path, name)
        yield from places(part, (*path, name))


PLACES = list(places(parse(EXAMPLE).mapping))


@given(st.data())
def test_no_document_makes_reading_raise(data: st.DataObject) -> None:
    """Junk anywhere in the example gives problems at places that exist, never an exception."""
    mapping = copy.deepcopy(parse(EXAMPLE).mapping)
    path = data.draw(st.sampled_from(PLACES))
    owner = mapping
    for name in path[:-1]:
        owner = owner[name]
    if isinstance(owner, dict):
        owner[data.draw(st.sampled_from([path[-1], 1, None, "x", "when"]))] = data.draw(JUNK)
    else:
        owner[path[-1]] = data.draw(JUNK)
    document, problems = read_document(mapping)
    wire(mapping)
    for problem in problems:
        assert problem.message
        assert all(isinstance(part, (str, int)) for part in problem.path)
    broken = {problem.path[:2] for problem in errors(problems)}
    for section in SECTIONS:
        for key in getattr(document, section):
            assert (section, key) not in broken

"""What reading finds, what compiling finds, and what a change touches."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.problem import errors
from flagloop.document.schema import Links, namers, refs
from flagloop.document.yamlfile import parse
from flagloop.evaluation import bucketing
from flagloop.evaluation.ruleset import Ruleset
from flagloop.evaluation.validate import Index, validate, validate_items

EXAMPLE = parse((Path(__file__).resolve().parents[3] / "flags.example.yaml").read_bytes()).mapping


def lines(mapping: Any) -> list[str]:
    """Each problem as one line."""
    return [problem.render() for problem in validate(mapping)]


def test_the_example_is_valid() -> None:
    """No problem, no warning, whole or item by item."""
    pytest.importorskip("re2")
    assert lines(EXAMPLE) == []
    assert validate_items(EXAMPLE, set(refs(EXAMPLE))) == []


def test_what_is_no_document_is_one_problem() -> None:
    """Nothing is compiled then."""
    assert lines([1]) == ["a document is a mapping, not a list (begin with version: 1)"]


CONSTANTS = [
    ({"semver_gte": "2.3"}, "semver_gte", '"2.3.0"'),
    ({"semver_eq": "v2.3.0"}, "semver_eq", '"2.3.0"'),
    ({"before": "tomorrow"}, "before", "write it like"),
    ({"after": "2027-01-01T00:00:00"}, "after", "write it like"),
    ({"in_cidr": ["10.0.0.0/8", "10.0.0.1/8"]}, "in_cidr", "write it like"),
]


@pytest.mark.parametrize(("test", "operator", "mend"), CONSTANTS)
def test_constants_that_cannot_be_compiled_have_their_place(
    test: dict[str, Any], operator: str, mend: str
) -> None:
    """In rules of flags and in segments, however deep, with the mend."""
    document = {
        "version": 1,
        "segments": {"s": {"when": {"not": {"a": test}}}},
        "flags": {"f": {"rules": [{"name": "r", "when": {"any": [{"a": test}]}, "serve": "on"}]}},
    }
    found = lines(document)
    assert len(found) == 2
    assert found[0].startswith(f"segments.s.when.not.a.{operator}: ")
    assert found[1].startswith(f"flags.f.rules[0].when.any[0].a.{operator}: ")
    assert all(mend in line for line in found)


def test_a_pattern_is_compiled_where_re2_is_there() -> None:
    """A pattern that RE2 does not take is a problem."""
    pytest.importorskip("re2")
    found = lines({"version": 1, "segments": {"s": {"when": {"a": {"matches": "(?=x)"}}}}})
    assert len(found) == 1
    assert found[0].startswith("segments.s.when.a.matches: ")


def test_a_constant_of_a_wrong_type_is_one_problem() -> None:
    """What reading has refused is not refused again by compiling."""
    for constant in (2.3, None, ["1.0.0"], {"x": 1}):
        when = {"a": {"semver_gte": constant}, "b": {"in": ["x", None]}}
        assert len(lines({"version": 1, "segments": {"s": {"when": when}}})) == 2


def test_two_uses_of_one_salt_are_a_warning() -> None:
    """The later one is told where else units fall alike; nothing is forbidden."""
    share = {"rules": [{"name": "r", "share": "5%", "serve": "on"}]}
    document = {"version": 1, "flags": {"a": share, "b": {**share, "salt": "a"}}}
    problems = validate(document)
    assert [problem.render() for problem in problems] == [
        "warning: flags.b.rules[0]: units fall as in flags.a: "
        "salt 'share:a:r' is used there (write another `salt`)"
    ]
    assert not errors(problems)


def test_two_shares_of_one_flag_with_one_salt_are_a_warning() -> None:
    """A rule that was copied with its salt would take the same units again."""
    rules = [{"name": name, "salt": "old", "share": "5%", "serve": "on"} for name in "ab"]
    found = lines({"version": 1, "flags": {"f": {"rules": rules}}})
    assert len(found) == 1
    assert "flags.f.rules[1]: units fall as in flags.f" in found[0]


def test_two_splits_of_one_flag_share_their_salt() -> None:
    """That is how a unit keeps its variant when another rule applies: no warning."""
    rules = [{"name": name, "split": {"on": "50%", "off": "50%"}} for name in "ab"]
    assert lines({"version": 1, "flags": {"f": {"rules": rules}}}) == []


def seeds_that_meet() -> tuple[str, str]:
    """Two layer keys whose salts have one seed; about 2**16 keys must be tried to meet one."""
    seen: dict[int, str] = {}
    for number in range(2**20):
        key = f"l{number}"
        other = seen.setdefault(bucketing.seed(bucketing.layer_salt(key)), key)
        if other != key:
            return other, key
    raise AssertionError("murmur3 has no collision in 2**20 texts")


def test_different_salts_with_one_seed_are_a_warning() -> None:
    """32 bits are few: layers that meet by chance would be one layer."""
    one, other = seeds_that_meet()
    found = lines({"version": 1, "layers": {one: {}, other: {}}})
    assert found == [
        f"warning: layers.{other}: units fall as in layers.{one}: salt 'layer:{other}' has the "
        f"seed of 'layer:{one}' (rename one of them)"
    ]


def change(data: st.DataObject, mapping: dict[str, Any]) -> set[tuple[str, str]]:
    """Changes, removes or copies some items of the mapping; returns which."""
    changed = set()
    for _ in range(data.draw(st.integers(1, 3))):
        section, key = data.draw(st.sampled_from(sorted(refs(EXAMPLE))))
        items = mapping[section]
        what = data.draw(st.sampled_from(["remove", "swap", "copy", "break"]))
        if what == "remove":
            items.pop(key, None)
        elif what == "swap":
            items[key] = copy.deepcopy(data.draw(st.sampled_from(list(EXAMPLE[section].values()))))
        elif what == "copy":
            items[key + "_copy"] = copy.deepcopy(EXAMPLE[section][key])
            changed.add((section, key + "_copy"))
        else:
            items[key] = data.draw(st.sampled_from([None, [], {"x": 1}, {"rules": [{}]}]))
        changed.add((section, key))
    return changed


@given(st.data())
def test_an_index_follows_changes(data: st.DataObject) -> None:
    """Updated, it is the index that the changed document would get anew."""
    mapping = copy.deepcopy(EXAMPLE)
    index = Index.of(mapping)
    for _ in range(2):
        changed = change(data, mapping)
        index = index.updated(mapping, changed)
        assert index == Index.of(mapping)


@given(st.data())
def test_all_items_together_are_the_document(data: st.DataObject) -> None:
    """Item by item the same problems are found, none twice."""
    mapping = copy.deepcopy(EXAMPLE)
    change(data, mapping)
    found = validate_items(mapping, set(refs(mapping)))
    assert sorted(map(repr, found)) == sorted(map(repr, validate(mapping)))


@given(st.data())
def test_a_change_is_judged_without_the_rest(data: st.DataObject) -> None:
    """From a good document, the errors of a change are those of the whole changed document."""
    mapping = copy.deepcopy(EXAMPLE)
    changed = change(data, mapping)
    found = validate_items(mapping, changed, Index.of(mapping))
    assert set(map(repr, errors(found))) == set(map(repr, errors(validate(mapping))))


def test_a_kill_reads_the_flag_and_its_neighbours_only() -> None:
    """However many flags there are, only those that a change can concern are read."""
    flags: dict[str, Any] = {f"f{i}": {"rules": "broken"} for i in range(500)}
    flags["base"] = {"killed": True}
    flags["above"] = {"requires": {"base": "on"}}
    mapping = {"version": 1, "flags": flags}
    index = Index.of(mapping)
    assert index.touched({("flags", "base")}) == {("flags", "base"), ("flags", "above")}
    assert validate_items(mapping, {("flags", "base")}, index) == []
    assert len(errors(validate(mapping))) == 500


def test_the_head_is_looked_at_with_any_change() -> None:
    """A change beside the items, and words that are no section, cost no item to be judged."""
    mapping = {"version": 1, "recording": {"attributes": 5}, "flags": {"f": {"rules": 1}}}
    for changed in (set(), {("recording", "")}):
        found = [problem.render() for problem in validate_items(mapping, changed)]
        assert len(found) == 1
        assert found[0].startswith("recording.attributes: this is a list, not 5")


def test_links_read_an_item_once() -> None:
    """An item that many others name is the same definition for all of them."""
    links = Links(EXAMPLE, namers(EXAMPLE))
    assert links.flag("new_checkout") is links.flag("new_checkout")
    assert links.flag("absent") is None


@pytest.mark.parametrize("look", ["validate", "validate_items", "problems"])
def test_a_document_of_unknown_references_is_looked_at_in_time(look: str) -> None:
    """Ten thousand problems are all told; only the first come with the name that was meant."""
    names = [f"segment_number_{i}" for i in range(10_000)]
    flags = {
        f"f{i}": {"rules": [{"name": "r", "when": {"segment": f"x{name}"}, "serve": "on"}]}
        for i, name in enumerate(names)
    }
    mapping = {
        "version": 1,
        "segments": {name: {"when": {"plan": "pro"}} for name in names},
        "flags": flags,
    }
    began = time.thread_time()
    if look == "validate":
        problems = validate(mapping)
    elif look == "validate_items":
        problems = validate_items(mapping, {("flags", key) for key in flags})
    else:
        problems = Ruleset(mapping).problems()
    assert time.thread_time() - began < 20  # with a hint for each it takes a quarter of an hour
    assert len(problems) == len(names)
    hints = [problem.hint for problem in problems if "did you mean" in (problem.hint or "")]
    assert hints == [f"did you mean '{name}'?" for name in names[: len(hints)]]
    assert 10 <= len(hints) <= 50

"""An item's text while it is edited: one text for cards and YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagloop.document.problem import errors
from flagloop.document.yamlwrite import flow_text, item_text
from flagloop.errors import DocumentError
from flagloop_server.drafts import Desk, Step, edit_draft, read_draft, rewritten
from flagloop_server.web.pages.visual import Field, Known, flag_cards

Desks = Callable[..., Desk]
constants = st.one_of(
    st.sampled_from(["pro", "99", "true", "a, b", "it's", "@x", "", " x", "grün"]),
    st.integers(-3, 3),
    st.booleans(),
    st.sampled_from([0.5, 2.25]),
)
tests = st.one_of(
    constants,
    st.lists(constants, min_size=1, max_size=3),
    st.fixed_dictionaries({"ne": constants}),
    st.fixed_dictionaries({"gt": st.integers(0, 9), "lte": st.integers(10, 20)}),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"matches": st.sampled_from(["^a{1,2}$", ["^a{1,2}$", "b, c"]])}),
    st.fixed_dictionaries({"ends_with": st.lists(st.sampled_from(["a", "b,c", "1"]), min_size=1)}),
)
leaves = st.dictionaries(st.sampled_from(["plan", "country", "age", "a b"]), tests, max_size=2)


def groups(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Conditions around conditions."""
    return st.one_of(
        st.builds(lambda parts, rest: {"any": parts, **rest}, st.lists(inner, max_size=2), leaves),
        st.builds(lambda parts: {"all": parts}, st.lists(inner, max_size=2)),
        st.builds(lambda part, rest: {**rest, "not": part}, inner, leaves),
        st.just({"segment": ["staff", "beta"]}),
        st.just({"segment": "staff"}),
    )


conditions = st.recursive(leaves, groups, max_leaves=4)
outcomes = st.one_of(
    st.fixed_dictionaries({"serve": st.sampled_from(["control", "treatment"])}),
    st.sampled_from([{"split": {"control": "40%", "treatment": "60%"}}]),
    st.sampled_from(
        [{"rollout": {"to": "treatment", "stages": ["1%", "5%"], "dwell": {"min": "10m"}}}]
    ),
)


@st.composite
def flags(draw: st.DrawFn) -> dict[str, Any]:
    """A flag with rules of every kind."""
    rules = []
    for name in ("first", "second", "third")[: draw(st.integers(0, 3))]:
        rule: dict[str, Any] = {"name": name}
        if draw(st.booleans()):
            rule["when"] = draw(conditions)
        made = draw(outcomes)
        if "rollout" not in made and draw(st.booleans()):
            rule["share"] = draw(st.sampled_from(["5%", "12.5%", "100%"]))
        rules.append({**rule, **made})
    return {
        "variants": {"control": "blue", "treatment": "green"},
        "default": "control",
        "rules": rules,
    }


lightly = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def changed_lines(before: str, after: str) -> list[str]:
    """The lines of `after` that are not in `before`."""
    old = before.splitlines()
    return [line for line in after.splitlines() if line not in old]


@lightly
@given(before=flags(), after=flags())
def test_a_mapping_becomes_text_and_comes_back(
    desk: Desks, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Whatever the cards mean, the text means the same, and the same once more is no change."""
    text = item_text("colour", before, 0, "\n")
    made = rewritten("flags", "colour", text, after)[0]
    mapping = read_draft(desk("colour"), made).mapping
    assert mapping == after
    assert flow_text(mapping) == flow_text(after)
    assert rewritten("flags", "colour", made, after)[0] == made
    assert rewritten("flags", "colour", text, before)[0] == text


@lightly
@given(flag=flags())
def test_each_field_sent_back_as_it_is_changes_nothing(desk: Desks, flag: dict[str, Any]) -> None:
    """What a field shows is read as what it was made from: text, numbers, lists, percentages."""
    text = item_text("colour", flag, 0, "\n")
    cards = cards_of(read_draft(desk("colour"), text).mapping)
    for one in fields_of(cards):
        if one.text == "" and one.do == "set":
            continue  # left empty: there is no such word
        step = Step(one.do, one.path, one.text, one.kind)
        again = edit_draft(desk("colour"), text, [step], ["first", "second", "third"])
        assert again.text == text, one


@lightly
@given(flag=flags(), data=st.data())
def test_a_step_touches_only_the_lines_of_its_rule(
    desk: Desks, flag: dict[str, Any], data: st.DataObject
) -> None:
    """Comments and all other rules stay byte for byte."""
    if not flag["rules"]:
        return
    place = data.draw(st.integers(0, len(flag["rules"]) - 1))
    lines = [f"    - {flow_text(rule)}  # note {n}" for n, rule in enumerate(flag["rules"])]
    head = "colour:  # mine\n  variants: {control: blue, treatment: green}\n  default: control\n"
    text = head + "  rules:\n" + "\n".join(lines) + "\n"
    step = Step("condition", ("rules", place, "when"), "segment", "beta")
    made = edit_draft(desk("colour"), text, [step])
    kept = [line for number, line in enumerate(text.splitlines()) if number != 4 + place]
    assert [line for line in kept if line not in made.text.splitlines()] == []
    assert made.mapping is not None
    others = [rule for number, rule in enumerate(made.mapping["rules"]) if number != place]
    assert others == [rule for number, rule in enumerate(flag["rules"]) if number != place]


def cards_of(mapping: dict[str, Any] | None) -> Any:
    """The cards of a flag alone."""
    from flagloop.document.definition import Document

    assert mapping is not None
    return flag_cards("colour", mapping, [], Known(), Document())


def fields_of(cards: Any) -> list[Field]:
    """Every field of some cards."""
    if isinstance(cards, Field):
        return [cards]
    if isinstance(cards, tuple):
        return [field for one in cards for field in fields_of(one)]
    slots = getattr(cards, "__slots__", ())
    return [field for name in slots for field in fields_of(getattr(cards, name))]


def test_the_fields_of_a_flag_are_found_by_the_test_above(desk: Desks, colour: str) -> None:
    """Otherwise it would test nothing."""
    found = {one.path for one in fields_of(cards_of(read_draft(desk("colour"), colour).mapping))}
    assert {("default",), ("rules", 1, "share"), ("rules", 0, "when", "segment")} <= found


def test_a_text_that_cannot_be_read_stays(desk: Desks, colour: str) -> None:
    """The problem has its line; a step on it changes nothing."""
    broken = colour + "  tags: [\n"
    draft = edit_draft(desk("colour"), broken, [Step("rule", ())])
    assert not draft.readable
    assert draft.text == broken
    assert draft.problems[0].line is not None


def test_problems_have_the_lines_of_the_text(desk: Desks, colour: str) -> None:
    """Also of values that are read well and mean nothing."""
    draft = read_draft(desk("colour"), colour.replace("share: 50%", "share: 500%"))
    (problem,) = draft.problems
    assert (problem.line, problem.path[2:]) == (11, ("rules", 1, "share"))
    assert not draft.good
    assert draft.readable


def test_a_new_item_takes_its_key_from_the_text(desk: Desks) -> None:
    """And a syntax error its line."""
    assert read_draft(desk(""), "fresh: {}\n").key == "fresh"
    draft = read_draft(desk(""), "fresh:\n  tags: ]\n")
    assert (draft.mapping, draft.problems[0].line) == (None, 2)
    assert read_draft(desk("", "segments"), "us: {when: {country: US}}\n").good


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            Step("set", ("rules", 1, "share"), "12,5", "percent"),
            "      share: 12.5%",
        ),
        (
            Step("constant", ("rules", 0, "when", "segment", "eq"), "x"),
            "",
        ),
        (
            Step("set", ("tags",), "a, b", "texts"),
            "  tags: [a, b]",
        ),
        (
            Step("set", ("rules", 1, "share"), "", "percent"),
            "",
        ),
        (
            Step("name", ("rules", 1), "some"),
            "    - name: some        # slowly|      salt: half",
        ),
        (
            Step("attribute", ("rules", 0, "when", "segment", "eq"), "x"),
            "    - {name: staff, when: {x: staff}, serve: treatment}",
        ),
        (
            Step("condition", ("rules", 1, "when"), "segment", "beta"),
            "      when: {segment: beta}",
        ),
        (
            Step("rename", ("variants", "treatment"), "green"),
            "  variants: {control: blue, green: green}"
            "|    - {name: staff, when: {segment: staff}, serve: green}|      serve: green",
        ),
    ],
)
def test_a_step_writes_what_a_person_would(desk: Desks, colour: str, step: Step, line: str) -> None:
    """One step, the lines that are new afterwards."""
    made = edit_draft(desk("colour"), colour, [step], ["staff", "half"])
    if step.do == "constant":
        line = "    - {name: staff, when: {segment: x}, serve: treatment}"
    assert "|".join(changed_lines(colour, made.text)) == line
    assert not made.reformatted


def test_a_move_keeps_comments(desk: Desks, colour: str) -> None:
    """The rules change their places with their text."""
    made = edit_draft(desk("colour"), colour, [Step("move", ("rules", 1), to=0)])
    assert made.mapping is not None
    assert [rule["name"] for rule in made.mapping["rules"]] == ["half", "staff"]
    assert "# people here" in made.text
    assert made.focus == ("rules", 0)


def test_renaming_there_and_back_is_no_change(desk: Desks, colour: str) -> None:
    """The salt that keeps the units goes again; a rule that nobody saved gets none."""
    there = edit_draft(desk("colour"), colour, [Step("name", ("rules", 1), "x")], ["half"])
    back = edit_draft(desk("colour"), there.text, [Step("name", ("rules", 1), "half")], ["half"])
    assert "salt: half" in there.text
    assert back.text == colour
    fresh = [Step("rule", ()), Step("name", ("rules", 2), "mine")]
    assert "salt" not in edit_draft(desk("colour"), colour, fresh, ["staff", "half"]).text


def test_a_copy_is_independent(desk: Desks, colour: str) -> None:
    """It has a name of its own, so no salt of the other rule."""
    made = edit_draft(desk("colour"), colour, [Step("copy", ("rules", 1))] * 2)
    assert made.mapping is not None
    names = [rule["name"] for rule in made.mapping["rules"]]
    assert names == ["staff", "half", "half-copy-2", "half-copy"]
    assert made.good


def test_every_outcome_is_good_to_begin_with(desk: Desks, colour: str) -> None:
    """Switching between serve, split and rollout leaves nothing that is refused."""
    text = colour
    for wanted in ("split", "rollout", "serve", "rollout", "split"):
        made = edit_draft(desk("colour"), text, [Step("outcome", ("rules", 1), wanted)])
        assert made.good, made.problems
        assert made.mapping is not None
        assert wanted in made.mapping["rules"][1]
        text = made.text


def test_a_flag_without_variants_gets_names_for_them(desk: Desks) -> None:
    """On and off first, then one more."""
    text = "plain:\n  rules:\n    - {name: all, serve: on}\n"
    made = edit_draft(desk("plain"), text, [Step("variant", ())])
    assert made.mapping is not None
    assert made.mapping["variants"] == {"on": True, "off": False}
    assert made.good
    split = [Step("outcome", ("rules", 0), "split"), Step("spread", ("rules", 0, "split"))]
    assert edit_draft(desk("plain"), text, split).good


@pytest.mark.parametrize(
    "step",
    [
        Step("set", ("rules", 9, "share"), "5%"),
        Step("remove", ("rules", 0, "split", "control")),
        Step("name", ("rules", 0), "half"),
        Step("rename", ("variants", "control"), "treatment"),
        Step("constant", ("rules", 0, "when"), "x"),
        Step("constant", ("rules",), "x"),
        Step("copy", ("variants", "control")),
        Step("outcome", ("rules", 0), "nothing"),
        Step("move", ("variants", 0)),
        Step("spread", ("rules", 7, "split")),
    ],
)
def test_a_step_that_is_not_possible_is_refused(desk: Desks, colour: str, step: Step) -> None:
    """Its place is gone, or the name is taken."""
    with pytest.raises(DocumentError):
        edit_draft(desk("colour"), colour, [step])


def test_an_unknown_step_is_a_mistake_of_the_caller(desk: Desks, colour: str) -> None:
    """It is named with the known ones."""
    with pytest.raises(ValueError, match="no step 'dance'; there are set,"):
        edit_draft(desk("colour"), colour, [Step("dance", ())])
    with pytest.raises(ValueError, match="no kind 'poem'"):
        edit_draft(desk("colour"), colour, [Step("set", ("owner",), "x", "poem")])


def test_numbers_that_a_browser_cannot_hold_survive(desk: Desks) -> None:
    """Steps carry what was changed and nothing else."""
    text = (
        "colour:\n  variants: {control: 12345678901234567890, treatment: 1.0}\n"
        "  default: control\n  rules: []\n"
    )
    made = edit_draft(desk("colour"), text, [Step("set", ("owner",), "me", "text")])
    assert "12345678901234567890" in made.text
    assert json.dumps(made.mapping["variants"]["treatment"] if made.mapping else 0) == "1.0"


def test_the_key_of_a_new_item_is_a_step_too(desk: Desks) -> None:
    """In its line, with all comments; the key of a saved item stays."""
    text = "# why\nnew_flag:   # for now\n  rules: []\n"
    made = edit_draft(desk(""), text, [Step("key", (), " blue_button ")])
    assert (made.key, made.text) == ("blue_button", text.replace("new_flag", "blue_button"))
    assert not errors(made.problems)
    bad = edit_draft(desk(""), text, [Step("key", (), "a b: c")])
    assert bad.text.splitlines()[1] == '"a b: c":   # for now'
    assert errors(bad.problems)
    assert edit_draft(desk(""), bad.text, [Step("key", (), "new_flag")]).text == text
    for key, text in (("plain", "plain: {}\n"), ("", '"ne\\u0077": {}\n')):
        with pytest.raises(DocumentError):
            edit_draft(desk(key), text, [Step("key", (), "other")])
    with pytest.raises(DocumentError):
        edit_draft(desk(""), text, [Step("key", (), " ")])


def test_a_key_that_is_taken_is_told_at_once(desk: Desks) -> None:
    """Also while the cards of the new item are still filled in."""
    made = edit_draft(desk(""), "new:\n  rules: []\n", [Step("key", (), "plain")])
    assert [one.message for one in made.problems] == ["exists already"]

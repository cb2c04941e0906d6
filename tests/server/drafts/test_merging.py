"""Two people edited one item."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop_server.drafts import merge_texts
from flagloop_server.drafts.merging import merge_lines

REF = ("flags", "colour")
BASE = """\
# the button
colour:
  owner: a@example.com
  variants: {control: blue, treatment: green}
  default: control
  rules:
    - {name: staff, when: {plan: staff}, serve: treatment}
    # half of them
    - {name: half, share: 50%, serve: treatment}
"""


def mine(old: str, new: str) -> str:
    """BASE with one text in place of another."""
    assert old in BASE
    return BASE.replace(old, new)


def merged(one: str, other: str) -> str | None:
    """The merged text; the same, whoever is first."""
    found = merge_texts(REF, (BASE, one, other)).text
    back = merge_texts(REF, (BASE, other, one)).text
    assert (found is None) == (back is None)
    return found


def test_changes_of_different_lines_are_both_kept() -> None:
    """With their comments."""
    one = mine("a@example.com", "b@example.com  # since May")
    other = mine("share: 50%", "share: 60%")
    assert merged(one, other) == one.replace("share: 50%", "share: 60%")


def test_changes_of_one_line_are_merged_by_field() -> None:
    """A line conflict is none if it is about different words."""
    one = mine("{plan: staff}", "{plan: [staff, team]}")
    other = mine("{plan: staff}, serve", "{plan: staff}, share: 5%, serve")
    found = merged(one, other)
    assert found is not None
    assert "{name: staff, when: {plan: [staff, team]}, share: 5%, serve: treatment}" in found
    assert "# half of them" in found


def test_a_moved_rule_keeps_its_comment() -> None:
    """Also where both changed it, whoever is chosen: both had the comment."""
    lines = BASE.splitlines(keepends=True)
    moved = "".join([*lines[:-3], *lines[-2:], lines[-3]]).replace("50%", "35%")
    changed = mine("50%", "60%")
    for side, share in (("mine", "35%"), ("theirs", "60%")):
        found = merge_texts(REF, (BASE, moved, changed), {"rules.half.share": side}).text
        assert found is not None
        assert f"    # half of them\n    - {{name: half, share: {share}" in found
        assert found.index("half") < found.index("staff, when")


def test_added_rules_of_both_are_kept_in_order() -> None:
    """Each stands where its author put it."""
    one = mine("  rules:\n", "  rules:\n    - {name: first, share: 1%, serve: treatment}\n")
    other = BASE + "    - {name: last, share: 2%, serve: treatment}\n"
    found = merged(one, other)
    assert found is not None
    places = [found.index(name) for name in ("first", "staff", "half", "last")]
    assert places == sorted(places)


def test_the_same_field_is_a_clash_until_somebody_chooses() -> None:
    """Nothing is decided silently; the choice settles that field alone."""
    one = mine("share: 50%", "share: 60%").replace("a@", "b@")
    other = mine("share: 50%", "share: 70%")
    found = merge_texts(REF, (BASE, one, other))
    assert found.text is None
    (clash,) = found.clashes
    assert (clash.name, clash.base, clash.mine, clash.theirs) == (
        "rules.half.share",
        "50%",
        "60%",
        "70%",
    )
    theirs = merge_texts(REF, (BASE, one, other), {clash.name: "theirs"}).text
    assert theirs is not None
    assert "share: 70%" in theirs
    assert "b@" in theirs
    ours = merge_texts(REF, (BASE, one, other), {clash.name: "mine"}).text
    assert ours is not None
    assert "share: 60%" in ours
    assert "b@" in ours


def test_a_removed_rule_that_somebody_changed_is_a_clash() -> None:
    """Neither the removal nor the change is lost."""
    gone = mine("    - {name: half, share: 50%, serve: treatment}\n", "")
    found = merge_texts(REF, (BASE, gone, mine("share: 50%", "share: 70%")))
    assert [(one.name, one.mine) for one in found.clashes] == [("rules.half", "absent")]
    kept = merge_texts(REF, (BASE, gone, mine("a@", "b@"))).text
    assert kept is not None
    assert "half" not in kept.replace("# half of them", "")


def test_two_orders_are_a_clash_one_is_not() -> None:
    """Who moves rules and who changes one do not disturb each other."""
    head, _, _ = BASE.partition("    - {name: staff")
    staff = "    - {name: staff, when: {plan: staff}, serve: treatment}\n"
    half = "    - {name: half, share: 50%, serve: treatment}\n"
    turned = head + half + staff
    found = merged(turned, mine("share: 50%", "share: 70%"))
    assert found is not None
    assert found.index("half") < found.index("staff")
    assert "share: 70%" in found


def test_a_text_that_cannot_be_read_is_not_merged() -> None:
    """It says why."""
    found = merge_texts(REF, (BASE, BASE + "  tags: [\n", mine("a@", "b@")))
    assert found.text is None
    assert found.problem.startswith("it cannot be merged")
    assert merge_texts(REF, (BASE, "other: {}\n", mine("a@", "b@"))).problem


@settings(max_examples=60, deadline=None)
@given(
    one=st.lists(st.sampled_from("abcde"), max_size=6),
    other=st.lists(st.sampled_from("abcde"), max_size=6),
    base=st.lists(st.sampled_from("abcde"), max_size=6),
)
def test_lines_merge_alike_from_both_sides(
    one: list[str], other: list[str], base: list[str]
) -> None:
    """Who changed nothing gets the other's text; who is first does not matter."""
    texts = ["".join(f"{line}\n" for line in side) for side in (base, one, other)]
    assert merge_lines(texts[0], texts[1], texts[0]) == texts[1]
    assert merge_lines(texts[0], texts[1], texts[1]) == texts[1]
    assert merge_lines(*texts) == merge_lines(texts[0], texts[2], texts[1])


@pytest.mark.parametrize("side", ["mine", "theirs"])
def test_an_unchanged_side_gives_way(side: str) -> None:
    """The other's text stands byte for byte."""
    changed = mine("default: control", "default: treatment  # why")
    texts = (BASE, changed, BASE) if side == "mine" else (BASE, BASE, changed)
    assert merge_texts(REF, texts).text == changed

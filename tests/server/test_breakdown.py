"""Who moves, by the recorded attributes."""

from __future__ import annotations

from flagloop_server.breakdown import MOST_GROUPS, Group, breakdowns


def test_values_are_told_as_the_document_writes_them() -> None:
    """`1` and `"1"` are two values, a missing one is called so, a list is no value."""
    contexts = [{"a": 1}, {"a": "1"}, {"a": ["x"]}, {}]
    (found,) = breakdowns(contexts, [True, True, False, False], ["a"])
    assert found.groups == (
        Group('"1"', 1, 1),
        Group("1", 1, 1),
        Group("(a list)", 0, 1),
        Group("(missing)", 0, 1),
    )


def test_what_tells_single_people_apart_is_no_group() -> None:
    """Neither the key nor an attribute with very many values, nor one that all share."""
    contexts = [{"key": f"u-{n}", "mail": f"m-{n}", "plan": "pro"} for n in range(100)]
    moved = [n % 2 == 0 for n in range(100)]
    assert breakdowns(contexts, moved, ["key", "mail", "plan"]) == ()


def test_nobody_moves_in_no_group() -> None:
    """Without moves there is nothing to tell."""
    assert breakdowns([{"a": "x"}, {"a": "y"}], [False, False], ["a"]) == ()


def test_the_first_groups_are_shown_and_the_others_counted() -> None:
    """The most moves come first."""
    contexts = [{"city": f"c-{n % 9}"} for n in range(90)]
    moved = [n % 9 < 2 for n in range(90)]
    (found,) = breakdowns(contexts, moved, ["city"])
    assert [one.value for one in found.groups[:2]] == ["c-0", "c-1"]
    assert len(found.groups) == MOST_GROUPS
    assert found.others == 9 - MOST_GROUPS
    assert found.difference > 0.99


def test_equal_values_of_other_types_are_told_apart() -> None:
    """1, 1.0 and true are other values, and what is neither text nor number is a list."""
    contexts = [{"a": value} for value in (1, 1.0, True, "1", [1], {"b": 1}, None)]
    (found,) = breakdowns(contexts, [True] * len(contexts), ["a"])
    shown = {group.value: group.n for group in found.groups}
    assert shown == {"(a list)": 2, '"1"': 1, "(missing)": 1, "1": 1, "1.0": 1, "true": 1}

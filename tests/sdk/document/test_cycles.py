"""Order and cycles of any graph, held against their definitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flagloop.document.cycles import Cycles, components

NAMES = "abcdef"
graphs = st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES)) for name in NAMES})


def reached(graph: dict[str, list[str]], name: str) -> set[str]:
    """All that a name leads to in one step or more."""
    found: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += graph[other]
    return found


@given(graphs)
def test_groups_lead_to_each_other_and_come_after_what_they_lead_to(
    graph: dict[str, list[str]],
) -> None:
    """Every name that the root leads to is in one group, behind the groups that it leads to."""
    groups = list(components("a", graph.__getitem__))
    order = [name for group in groups for name in group]
    assert sorted(order) == sorted({"a", *reached(graph, "a")})
    done: set[str] = set()
    for group in groups:
        done |= set(group)
        for name in group:
            beyond = reached(graph, name)
            assert beyond <= done
            assert {other for other in beyond | {name} if name in reached(graph, other)} - {
                name
            } == set(group) - {name}


@given(graphs, st.permutations(NAMES))
def test_a_name_is_on_a_cycle_when_it_leads_to_itself(
    graph: dict[str, list[str]], asked: list[str]
) -> None:
    """Whatever was asked before; its cycle is whoever it reaches that reaches it."""
    cycles = Cycles(graph.__getitem__)
    for name in asked:
        beyond = reached(graph, name)
        expected = sorted(other for other in beyond if name in reached(graph, other))
        assert cycles.of(name) == (expected if name in beyond else [])


def test_each_name_is_walked_once() -> None:
    """A document with one long chain takes no longer to look through from each of its names."""
    asked: list[str] = []

    def following(name: str) -> list[str]:
        asked.append(name)
        return [str(int(name) + 1)] if int(name) < 5000 else []

    cycles = Cycles(following)
    assert not any(cycles.of(str(number)) for number in range(5001))
    assert len(asked) == 2 * 5001


def test_what_is_done_is_left_out() -> None:
    """Who is known already is neither walked nor told again."""
    graph = {"a": ["b", "c"], "b": ["d"], "c": [], "d": []}
    assert list(components("a", graph.__getitem__, {"b"})) == [["c"], ["a"]]

"""Steps on a condition: tests, groups, segments.

A test is addressed by (condition, attribute, operator), also where the text has the short form
`plan: pro` (eq) or `plan: [pro, team]` (in).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from flagloop.document.problem import Path
from flagloop_server.drafts import typed
from flagloop_server.drafts.steps import Step, Work, gone, insert_word, order_of, refused, remove

LISTS = frozenset({"in", "in_ci", "not_in"})
"""Operators that take a list and nothing else."""

EITHER = frozenset(
    {
        *("contains", "contains_ci", "starts_with", "starts_with_ci", "ends_with", "ends_with_ci"),
        *("matches", "in_cidr"),
    }
)
"""Operators that take one constant or a list."""

TEXTS = frozenset(
    {
        *("eq_ci", "in_ci", "contains_ci", "starts_with", "starts_with_ci", "ends_with"),
        *("ends_with_ci", "matches", "in_cidr", "before", "after"),
        *("semver_eq", "semver_gt", "semver_gte", "semver_lt", "semver_lte"),
    }
)
"""Operators whose constants are always text."""

GROUPS = ("all", "any", "not")
Found: TypeAlias = tuple[dict[str, Any], str, str]


def short(raw: Any) -> str:
    """The operator that a test without one has."""
    return "in" if isinstance(raw, list) else "eq"


def tests_of(raw: Any) -> dict[str, Any]:
    """Operator -> constant of what stands behind an attribute."""
    return raw if isinstance(raw, dict) else {short(raw): raw}


def read_constant(operator: str, text: str, before: Any = None) -> Any:
    """The constant that a field says; `before` tells whether it was a list."""
    if operator == "exists":
        return text.strip() != "false"
    found: list[Any]
    if operator == "matches":
        found = list(typed.patterns(text))
    else:
        found = typed.constants(text) if operator in LISTS | EITHER else [typed.constant(text)]
    if operator in TEXTS:
        found = [one if isinstance(one, str) else _typed_text(one, text) for one in found]
    if operator in LISTS or len(found) > 1 or (operator in EITHER and isinstance(before, list)):
        return found
    return found[0] if found else ""


def _typed_text(value: Any, text: str) -> str:
    """`2.10` as it was typed, not as the number 2.1."""
    plain = text.strip()
    return plain if "," not in plain else typed.written(value)


def set_constant(work: Work, step: Step) -> None:
    """Another constant, in the form that the text has."""
    holder, attribute, operator = _test(work, step)
    raw = holder[attribute]
    constant = read_constant(operator, str(step.value), tests_of(raw)[operator])
    if isinstance(raw, dict):
        raw[operator] = constant
    else:
        holder[attribute] = constant


def set_operator(work: Work, step: Step) -> None:
    """Another operator; the constant becomes one that it can take."""
    holder, attribute, operator = _test(work, step)
    new, raw = str(step.value), holder[attribute]
    tests = dict(tests_of(raw))
    if new == operator:
        return
    if new in tests:
        raise refused(f"'{attribute}' is tested with {new} already", step.path)
    constant = fitting(new, tests[operator])
    renamed = {new if word == operator else word: value for word, value in tests.items()}
    holder[attribute] = shortest({**renamed, new: constant})
    work.focus, work.part = (*step.path[:-1], new), "constant"


def set_attribute(work: Work, step: Step) -> None:
    """Test another attribute; beside tests of it that are there already."""
    holder, attribute, operator = _test(work, step)
    new = str(step.value).strip()
    if new == attribute:
        return
    if new in (*GROUPS, "segment", "flag"):
        new = f"context.{new}"
    constant = tests_of(holder[attribute])[operator]
    there = tests_of(holder[new]) if new in holder else {}
    if operator in there:
        hint = "put one of the two into a group"
        raise refused(f"'{new}' is tested with {operator} already", step.path, hint)
    alone = len(tests_of(holder[attribute])) == 1
    if alone and not there:
        kept = [(new if word == attribute else word, value) for word, value in holder.items()]
        holder.clear()
        holder.update(kept)
    else:
        holder[new] = shortest({**there, operator: constant})
        _drop(work, step.path)
    work.focus, work.part = (*step.path[:-2], new, operator), "operator"


def drop_test(work: Work, step: Step) -> None:
    """Take a test away, with what then holds nothing."""
    _test(work, step)
    _drop(work, step.path)


def add_to_condition(work: Work, step: Step) -> None:
    """One more test, segment or group, AND with what is there.

    `value` is `test`, `all`, `any`, `not` or `segment`; a segment's key stands in `kind`.
    """
    path, word = step.path, str(step.value)
    holder = work.mapping_at(path)
    content: Any = {"test": "", "segment": step.kind, "not": {"": ""}}.get(word, [{"": ""}])
    name = "" if word == "test" else word
    if name in holder:
        if word == "test":
            raise refused("one condition has no attribute yet", path, "name it first")
        inner = holder.get("all")
        if not isinstance(inner, list):
            inner = []
            holder["all"] = inner
        inner.append({name: content})
        work.focus = (*path, "all", len(inner) - 1)
        return
    insert_word(holder, name, content, order_of(path))
    work.focus = (*path, name)
    if word == "test":
        work.focus, work.part = (*path, name, "eq"), "attribute"


def set_segments(work: Work, step: Step) -> None:
    """The segments of which the context is in any: one key, or a list."""
    *above, word = step.path
    found = typed.words(str(step.value))
    if not found:
        remove(work, step)
        return
    holder = work.mapping_at(tuple(above))
    was_list = isinstance(holder.get(str(word)), list)
    holder[str(word)] = found if len(found) > 1 or was_list else found[0]


def fitting(operator: str, constant: Any) -> Any:
    """A constant that an operator can take, from that of another one."""
    if operator == "exists":
        return True
    if isinstance(constant, bool) and operator not in ("eq", "ne", "in", "not_in", "contains"):
        constant = ""
    if operator in LISTS:
        return constant if isinstance(constant, list) else [] if constant == "" else [constant]
    if isinstance(constant, list) and operator not in EITHER:
        return constant[0] if constant else ""
    return constant


def shortest(tests: dict[str, Any]) -> Any:
    """The tests of an attribute as people write them."""
    if len(tests) == 1:
        (operator, constant) = next(iter(tests.items()))
        plain = not isinstance(constant, list | dict) and constant is not None
        if (operator == "eq" and plain) or (operator == "in" and isinstance(constant, list)):
            return constant
    return tests


def _test(work: Work, step: Step) -> Found:
    """The condition's mapping with the attribute and the operator of a test that is there."""
    if len(step.path) < 2:
        raise gone(step.path)
    *above, attribute, operator = step.path
    holder = work.at(tuple(above))
    if not isinstance(holder, dict) or operator not in tests_of(holder.get(attribute)):
        raise gone(step.path)
    return holder, str(attribute), str(operator)


def _drop(work: Work, path: Path) -> None:
    *above, attribute, operator = path
    holder = work.at(tuple(above))
    raw = holder[attribute]
    if isinstance(raw, dict) and len(raw) > 1:
        del raw[operator]
        work.focus = tuple(above)
    else:
        remove(work, Step("remove", (*above, attribute)))


STEPS: dict[str, Callable[[Work, Step], None]] = {
    "constant": set_constant,
    "operator": set_operator,
    "attribute": set_attribute,
    "drop": drop_test,
    "condition": add_to_condition,
    "segments": set_segments,
}

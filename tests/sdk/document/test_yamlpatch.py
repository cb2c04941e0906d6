"""Edits inside one item: what comes can go again, and awkward shapes keep their writing."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagloop.document.yamledit import add_item, put_item_text, replace_item
from flagloop.document.yamlfile import parse
from flagloop.document.yamlpatch import patch_item

edits = settings(max_examples=200, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32)


def is_block(document):
    """No part of the document is in flow style."""
    return all(chunk.kind not in ("root", "flow") for chunk in document.chunks)


@edits
@given(st.data(), seeds, st.booleans(), st.booleans())
def test_a_word_that_comes_and_goes_leaves_the_old_bytes(messy, data, seed, first, last):
    """A kill adds at most one line, and a restore takes exactly it away."""
    document = parse(data.draw(messy).raw)
    flags = [ref for ref, item in document.items.items() if isinstance(item.mapping, dict)]
    if not flags or not is_block(document):
        return
    ref = flags[-1] if last else Random(seed).choice(flags)
    old = document.items[ref].mapping
    word = {"stopped": {"reason": "INC-7: it's down", "by": "ana", "at": "2027-01-01T02:13:00Z"}}
    killed = replace_item(document, *ref, {**word, **old} if first else {**old, **word})
    assert not killed.reformatted
    before, after = document.text.splitlines(), killed.document.text.splitlines()
    assert len(after) - len(before) <= 1
    assert replace_item(killed.document, *ref, old).document.raw == document.raw


ENDS = [
    "  a:\n    x: 1\n    d: |\n      some\n      text",
    "  a:\n    x: 1\n    d: >  # why\n      some\n      text",
    "  a:\n    x: 1\n    d: |-\n      text",
    "  a:\n    d: |\n      text",
    "  a:\n    rules:\n      - name: r\n        d: |\n          text",
    "  a:\n    d: |\n      text\n    x: 1",
    "  a:\n    x: 1  # why",
    "  a:\n    x: 1\n    # end of a",
    "  a: {x: 1}",
    "  a: { }",
    "  a: {   }\n",
    "  a: {  # none\n  }\n",
    "  a: {\n  }\n",
]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("text", ENDS)
def test_kill_and_restore_at_the_end_of_a_file(text, first, newline):
    """Whatever a file ends with, a kill is one line, nothing else is new, and it can go again."""
    document = parse(("flags:\n" + text).replace("\n", newline))
    mapping = document.items["flags", "a"].mapping
    edit = replace_item(
        document,
        "flags",
        "a",
        {"killed": True, **mapping} if first else {**mapping, "killed": True},
    )
    assert not edit.reformatted
    again = parse(edit.document.raw)
    assert again.mapping["flags"]["a"] == {**mapping, "killed": True}
    assert again.items == edit.document.items
    assert len(again.text.splitlines()) <= len(document.text.splitlines()) + 1
    assert replace_item(edit.document, "flags", "a", mapping).document.raw == document.raw


def test_a_block_scalar_that_is_written_anew_is_told():
    """A word below one that ends the file must change how it is written: the page says so."""
    document = parse("flags:\n  a:\n    r:\n      to: on\n      d: |\n        text")
    edit = replace_item(document, "flags", "a", {"r": {"to": "on", "d": "text", "stage": "5%"}})
    assert edit.reformatted
    assert edit.document.text == (
        "flags:\n  a:\n    r:\n      to: on\n      d: |-\n        text\n      stage: 5%"
    )


def test_an_item_behind_a_block_scalar_does_not_change_it():
    """A text that ended with the file still ends without a line feed in the middle of one."""
    document = parse("flags:\n  a:\n    d: >2  # why\n        text")
    edit = add_item(document, "flags", "b", {}).document
    assert edit.text == "flags:\n  a:\n    d: >-2  # why\n        text\n\n  b: {}\n"
    assert edit.mapping["flags"]["a"] == document.mapping["flags"]["a"] == {"d": "  text"}
    document = parse("environment: |\n  prod")
    edit = add_item(document, "flags", "b", {}).document
    assert edit.text == "environment: |-\n  prod\n\nflags:\n  b: {}\n"


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("  a:\n    x: [1]\n", {"x": []}, "  a:\n    x: []\n"),
        ("  a:\n    x:  # why\n      - 1\n      - 2\n", {"x": []}, "  a:\n    x: []  # why\n"),
        ("  a:\n    x: 1\n", {}, "  a: {}\n"),
        ("  a: {\n    x: 1,\n  }\n", {}, "  a: {}\n"),
        ("  a: {x: [1, 2, ], y: [ ]}\n", {"x": [], "y": [3]}, "  a: {x: [], y: [ 3 ]}\n"),
        ("  a:\n", {"x": 1}, "  a: {x: 1}\n"),
        ("  a: {}  # none\n", {"x": "y"}, "  a: {x: y}  # none\n"),
        (
            "  a:\n    x: |\n      b\n      c\n    y: 1\n",
            {"x": "z", "y": 1},
            "  a:\n    x: z\n    y: 1\n",
        ),
        ("  a:\n    - 1\n    -\n    - 3\n", [1, 2, 3], "  a:\n    - 1\n    - 2\n    - 3\n"),
        ("  a:\n  - x: 1\n    y: 2\n  - z\n", [{"y": 2}, "z"], "  a:\n  - y: 2\n  - z\n"),
        (
            "  a:\n  - x: 1\n    y: 2\n",
            [{"w": 0, "x": 1, "y": 2}],
            "  a:\n  - w: 0\n    x: 1\n    y: 2\n",
        ),
        (
            "  a: {\n    x: 1,  # one\n    y: 2  # two\n  }\n",
            {"x": 1},
            "  a: {\n    x: 1  # one\n  }\n",
        ),
        (
            "  a: {\n    x: 1,  # one\n    y: 2  # two\n  }\n",
            {"x": 1, "y": 2, "z": 3},
            "  a: {\n    x: 1,  # one\n    y: 2,  # two\n    z: 3\n  }\n",
        ),
        ("  a: {x: , y: 2}\n", {"x": 1, "y": 2}, "  a: {x: 1, y: 2}\n"),
        ("  a:\n    x: 'it''s'\n", {"x": "he's"}, "  a:\n    x: 'he''s'\n"),
        ("  a:\n    x: 2.50\n", {"x": "2.50"}, '  a:\n    x: "2.50"\n'),
    ],
)
def test_edits_of_awkward_shapes(before, value, after):
    """Containers that fill or empty, block scalars, elements on a dash, flow over lines."""
    edit = replace_item(parse("flags:\n" + before), "flags", "a", value)
    assert edit.document.text == "flags:\n" + after
    assert not edit.reformatted


def test_a_shape_that_no_span_edit_fits_is_rewritten_and_said_so():
    """A pair without braces in a list cannot get a second word: the item is written anew."""
    document = parse("flags:\n  # lead\n  a: {x: [y: 1], z: 2}\n  b: {}\n")
    edit = replace_item(document, "flags", "a", {"x": [{"y": 1, "w": 2}], "z": 2})
    assert edit.reformatted
    assert edit.document.mapping["flags"]["a"] == {"x": [{"y": 1, "w": 2}], "z": 2}
    assert edit.document.text.startswith("flags:\n  # lead\n  a:\n")
    assert edit.document.text.endswith("  b: {}\n")


def test_the_text_of_an_item_means_the_same_wherever_it_is_put():
    """A block scalar that ended a file is put in the middle of another without a line feed more."""
    document = parse("flags:\n  a:\n    d: |\n      text")
    text, mapping = document.items["flags", "a"].text, document.items["flags", "a"].mapping
    other = parse("flags:\n  a: {}\n  b: {}\n")
    edit = put_item_text(other, "flags", "a", text).document
    assert edit.items["flags", "a"].mapping == mapping == {"d": "text"}
    assert edit.text == "flags:\n  a:\n    d: |-\n      text\n  b: {}\n"


def test_a_placeholder_leaves_no_quotes() -> None:
    """What was empty had to be quoted; what stands there now is written as people write it."""
    done = patch_item('a: {country: "", plan: "pro"}\n', "a", {"country": "DE", "plan": "x"}, "\n")
    assert done.text == 'a: {country: DE, plan: "x"}\n'


def test_a_rule_of_another_name_keeps_its_comments() -> None:
    """Also without the salt that a rule gets which was saved already."""
    text = "a:\n  rules:\n    - {name: one, serve: on}  # first\n"
    done = patch_item(text, "a", {"rules": [{"name": "two", "serve": "on"}]}, "\n")
    assert done.text == text.replace("one", "two")

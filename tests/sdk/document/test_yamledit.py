"""Edits of a document's text: the words that change, and nothing else."""

from __future__ import annotations

import difflib
import gc
import time
from collections import Counter
from copy import deepcopy
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagloop.document.yamledit import (
    add_item,
    put_item_text,
    remove_item,
    replace_item,
)
from flagloop.document.yamlfile import DocumentText, parse
from flagloop.document.yamlwrite import same, scalar_text
from flagloop.errors import DocumentError, NotFoundError

SHOP = """\
version: 1

flags:
  # Colour of the button
  cta_color:
    description: Colour   # seen by all
    tags: [landing, "top"]
    default: control
    variants: {control: blue, treatment: green}
    rules:
      # staff first
      - {name: staff, when: {segment: staff}, serve: treatment}
      - name: test        # the test
        split: {control: 50%, treatment: 50%}
      - {name: canary, share: 5%, serve: treatment}   # careful
    # end of cta_color

  plain: {default: on}
# the end
"""

edits = settings(max_examples=120, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32)


def is_block(document: DocumentText) -> bool:
    """No part of the document is in flow style."""
    return all(chunk.kind not in ("root", "flow") for chunk in document.chunks)


def ends_in_block_scalar(document: DocumentText, ref: tuple[str, str]) -> bool:
    """Whether the item ends the file by a block scalar that a line feed behind it would change."""
    if document.raw.endswith(b"\n"):
        return False
    longer = parse(document.raw + (b"\r\n" if b"\r\n" in document.raw else b"\n"))
    return not same(longer.items[ref].mapping, document.items[ref].mapping)


def above_last(old, new):
    """`new` as it is written there: what would stand behind the last word stands above it."""
    last = [*old][-1] if isinstance(old, dict) and old else None
    if not isinstance(new, dict) or last not in new:
        return new
    return {word: new[word] for word in sorted(new, key=lambda word: word == last)}


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and the lines that came."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    gone = [line[2:] for line in lines if line.startswith("- ")]
    return gone, [line[2:] for line in lines if line.startswith("+ ")]


def edited(change) -> tuple[list[str], list[str]]:
    """The changed lines of SHOP when `change(cta_color's mapping)` was done."""
    document = parse(SHOP)
    mapping = deepcopy(document.items["flags", "cta_color"].mapping)
    change(mapping)
    edit = replace_item(document, "flags", "cta_color", mapping)
    assert not edit.reformatted
    assert parse(edit.document.text).mapping["flags"]["cta_color"] == mapping
    return changed_lines(SHOP, edit.document.text)


@edits
@given(st.data(), seeds)
def test_an_edit_means_what_was_intended_and_leaves_other_items(messy, another_value, data, seed):
    """The new text means the new value; every other item keeps its bytes; chunks are as read."""
    document = parse(data.draw(messy).raw)
    random = Random(seed)
    if not document.items:
        return
    ref = random.choice(list(document.items))
    wanted = deepcopy(document.mapping)
    wanted[ref[0]][ref[1]] = new = another_value(document.items[ref].mapping, random)
    edit = replace_item(document, *ref, new)
    again = parse(edit.document.raw)
    if ends_in_block_scalar(document, ref):
        wanted[ref[0]][ref[1]] = above_last(document.items[ref].mapping, new)
    assert same(again.mapping, wanted)
    assert same(edit.document.mapping, wanted)
    assert again.chunks == edit.document.chunks
    assert again.items == edit.document.items
    if is_block(document):
        assert not edit.reformatted or ends_in_block_scalar(document, ref)
        for other, item in document.items.items():
            text = edit.document.items[other].text
            assert other == ref or text == item.text or text.rstrip() == item.text


@edits
@given(st.data(), st.sampled_from(["segments", "metrics", "flags", "experiments"]))
def test_an_item_that_comes_and_goes_leaves_the_old_bytes(messy, data, section):
    """Adding an item (and the section, if there is none) and removing it is as if nothing was."""
    document = parse(data.draw(messy).raw)
    value = {"description": "new", "rules": [{"name": "a", "serve": "on"}]}
    added = add_item(document, section, "new", value).document
    assert parse(added.raw).chunks == added.chunks
    assert same(parse(added.raw).mapping, added.mapping)
    assert added.items[section, "new"].mapping == value
    assert set(added.items) == {*document.items, (section, "new")}
    removed = remove_item(added, section, "new").document
    assert parse(removed.raw).chunks == removed.chunks
    exact = is_block(document) and section not in document.entries
    if exact and document.raw.endswith(b"\n"):
        assert removed.raw == document.raw
    assert set(removed.items) == set(document.items)


@edits
@given(st.data(), seeds)
def test_an_item_taken_out_can_be_put_back_by_its_text(messy, data, seed):
    """Removing an item leaves all others; its text brings back what it meant."""
    document = parse(data.draw(messy).raw)
    if not document.items:
        return
    ref = Random(seed).choice(list(document.items))
    text, value = document.items[ref].text, document.items[ref].mapping
    removed = remove_item(document, *ref).document
    assert parse(removed.raw).chunks == removed.chunks
    assert removed.items.keys() == document.items.keys() - {ref}
    if is_block(document):
        back = put_item_text(removed, *ref, text).document
        assert parse(back.raw).chunks == back.chunks
        assert same(back.items[ref].mapping, value)
        others = Counter(chunk.text for chunk in removed.chunks if chunk.kind == "item")
        assert len(others - Counter(chunk.text for chunk in back.chunks)) <= 1


def test_a_word_changes_one_line():
    """A scalar is replaced in its place; the comment behind it stays."""
    gone, came = edited(lambda flag: flag.update(description="Hue"))
    assert gone == ["    description: Colour   # seen by all"]
    assert came == ["    description: Hue   # seen by all"]


def test_a_share_of_a_rule_changes_one_line():
    """A word inside a rule in flow style."""
    gone, came = edited(lambda flag: flag["rules"][2].update(share="10%"))
    assert gone == ["      - {name: canary, share: 5%, serve: treatment}   # careful"]
    assert came == ["      - {name: canary, share: 10%, serve: treatment}   # careful"]


def test_weights_change_one_line():
    """A split inside a rule in block style."""
    new = {"control": "10%", "treatment": "90%"}
    gone, came = edited(lambda flag: flag["rules"][1].update(split=new))
    assert gone == ["        split: {control: 50%, treatment: 50%}"]
    assert came == ["        split: {control: 10%, treatment: 90%}"]


def test_the_order_of_weights_counts():
    """A split in another order is another split, so it is written anew."""
    new = {"treatment": "50%", "control": "50%"}
    _, came = edited(lambda flag: flag["rules"][1].update(split=new))
    assert came == ["        split: {treatment: 50%, control: 50%}"]


def test_a_rule_is_dropped_with_its_comment():
    """The comment directly above a rule goes with it."""
    gone, came = edited(lambda flag: flag["rules"].pop(0))
    assert [line.strip() for line in gone] == [
        "# staff first",
        "- {name: staff, when: {segment: staff}, serve: treatment}",
    ]
    assert came == []


def test_a_rule_is_inserted_at_its_place():
    """Other rules keep their lines."""
    rule = {"name": "beta", "when": {"plan": ["pro", "team"]}, "serve": "treatment"}
    gone, came = edited(lambda flag: flag["rules"].insert(1, rule))
    assert gone == []
    assert came == ["      - {name: beta, when: {plan: [pro, team]}, serve: treatment}"]


def test_a_replaced_rule_is_written_anew_and_the_others_stay():
    """A rule of another name takes the place of the old one."""
    rule = {"name": "all", "serve": "control"}
    gone, came = edited(lambda flag: flag["rules"].__setitem__(1, rule))
    assert [line.strip() for line in gone] == [
        "- name: test        # the test",
        "split: {control: 50%, treatment: 50%}",
    ]
    assert came == ["      - {name: all, serve: control}"]


def test_a_rule_that_moves_keeps_its_writing():
    """Order is changed by moving lines, comments included."""
    gone, came = edited(lambda flag: flag["rules"].append(flag["rules"].pop(0)))
    assert sorted(gone) == sorted(came)
    assert len(gone) == 2


def test_kill_and_restore():
    """A kill is one line where the mapping has the word; the end of the item keeps its comment."""
    document = parse(SHOP)
    mapping = document.items["flags", "cta_color"].mapping
    word = {"killed": {"reason": "INC-77", "by": "ana", "at": "2027-03-01T02:13:00Z"}}
    line = "    killed: {reason: INC-77, by: ana, at: 2027-03-01T02:13:00Z}"
    for killed, above in (
        ({**word, **mapping}, "  cta_color:"),
        ({**mapping, **word}, "    # end of cta_color"),
    ):
        edit = replace_item(document, "flags", "cta_color", killed)
        gone, came = changed_lines(SHOP, edit.document.text)
        assert (gone, came) == ([], [line])
        lines = edit.document.text.splitlines()
        assert lines[lines.index(line) - 1] == above or above.lstrip().startswith("#")
        assert replace_item(edit.document, "flags", "cta_color", mapping).document.text == SHOP


def test_lists_and_flow_mappings_are_edited_in_their_line():
    """An added tag, a dropped variant, a quote that is kept."""
    gone, came = edited(lambda flag: flag["tags"].append("a, b"))
    assert (gone, came) == (['    tags: [landing, "top"]'], ['    tags: [landing, "top", "a, b"]'])
    _, came = edited(lambda flag: flag["tags"].__setitem__(1, "bottom"))
    assert came == ['    tags: [landing, "bottom"]']
    _, came = edited(lambda flag: flag["variants"].pop("control"))
    assert came == ["    variants: {treatment: green}"]


def test_no_change_is_no_edit():
    """The very same document comes back, also from flow style."""
    for text in (SHOP, "{flags: {cta_color: {a: 1}}}"):
        document = parse(text)
        mapping = deepcopy(document.items["flags", "cta_color"].mapping)
        assert replace_item(document, "flags", "cta_color", mapping).document is document


def test_untouched_chunks_are_the_same_objects():
    """A store can tell by identity what an edit touched."""
    document = parse(SHOP)
    edit = replace_item(document, "flags", "plain", {"default": "off"}).document
    same_ones = [one is other for one, other in zip(document.chunks, edit.chunks, strict=True)]
    assert same_ones.count(False) == 1


def test_line_endings_are_the_documents():
    """New lines in a CRLF file end with CRLF."""
    document = parse(SHOP.replace("\n", "\r\n"))
    added = add_item(document, "flags", "new", {"rules": [{"name": "a", "serve": "on"}]}).document
    text = "x:\n  a: 1\n"
    for edit in (added, put_item_text(added, "segments", "x", text).document):
        assert edit.text.count("\n") == edit.text.count("\r\n")


def test_a_missing_final_newline_is_added_where_it_is_needed():
    """An item behind a last line without a line feed begins a line of its own."""
    document = parse("flags:\n  a: {x: 1}")
    edit = add_item(document, "flags", "b", {"y": 2}).document
    assert edit.text == "flags:\n  a: {x: 1}\n  b: {y: 2}\n"
    assert edit.items["flags", "a"].text == "  a: {x: 1}\n"
    assert replace_item(document, "flags", "a", {"x": 2}).document.text == "flags:\n  a: {x: 2}"


def test_new_sections_stand_in_the_usual_order():
    """Experiments come before flags, set apart as the other sections are."""
    document = add_item(parse(SHOP), "experiments", "e", {"primary": "sign_up"}).document
    assert document.text.startswith("version: 1\n\nexperiments:\n  e: {primary: sign_up}\n\nflags:")
    assert remove_item(document, "experiments", "e").document.text == SHOP
    empty = add_item(parse(""), "flags", "a", {}).document
    assert empty.text == "flags:\n  a: {}\n"


def test_an_empty_section_is_filled_where_it_stands():
    """`flags: {}` becomes a section; the last item of one with comments leaves `{}`."""
    document = add_item(
        parse("version: 1\nflags: {}  # none yet\n"), "flags", "a", {"x": 1}
    ).document
    assert document.text == "version: 1\nflags:  # none yet\n  a: {x: 1}\n"
    assert (
        remove_item(document, "flags", "a").document.text == "version: 1\nflags: {}  # none yet\n"
    )


def test_text_from_an_editor_is_fitted_in():
    """Any indentation, line ending and blank lines at the ends; comments come along."""
    text = "\r\n# about it\r\nplain:\r\n  default: off\r\n  # deep\r\n\r\n"
    edit = put_item_text(parse(SHOP), "flags", "plain", text).document
    assert (
        edit.items["flags", "plain"].text
        == "  # about it\n  plain:\n    default: off\n    # deep\n"
    )
    assert edit.text.startswith(SHOP[: SHOP.index("  plain")])
    assert edit.text.endswith("    # deep\n# the end\n")
    assert parse(edit.raw).chunks == edit.chunks


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("other: {}", 1, "defines 'other'"),
        ("plain: {}\nother: {}", 1, "defines 'plain', 'other'"),
        ("", 1, "defines no item"),
        ("{plain: {}}", 1, "in braces"),
        ("\n\nplain:\n  a: 1\n  a: 2", 5, "there twice"),
        ("plain:\n  a: &x 1", 2, "anchors"),
        ("plain:\n  a: [1", None, "expected"),
        ("plain: {}\n---\nversion: 2", 3, "expected"),
        ("plain: {}\n...\n", 2, "expected"),
    ],
)
def test_text_that_is_not_the_item_is_refused(text, line, words):
    """Problems carry lines of the text that was given."""
    with pytest.raises(DocumentError) as caught:
        put_item_text(parse(SHOP), "flags", "plain", text)
    problem = caught.value.problems[0]
    assert words in problem.message
    assert line is None or problem.line == line


def test_top_level_words_are_edited_as_items_without_a_key():
    """`recording` and the like: added at the head, replaced in place, removed."""
    document = add_item(parse(SHOP), "recording", "", {"attributes": ["plan"]}).document
    assert document.text.startswith("version: 1\nrecording: {attributes: [plan]}\n\nflags:")
    document = replace_item(document, "recording", "", {"attributes": ["plan", "country"]}).document
    assert "recording: {attributes: [plan, country]}\n" in document.text
    assert remove_item(document, "recording", "").document.text == SHOP


def test_what_is_not_there_and_what_cannot_be_written():
    """Errors name the place."""
    document = parse(SHOP)
    with pytest.raises(NotFoundError, match="'nope' in flags"):
        replace_item(document, "flags", "nope", {})
    with pytest.raises(NotFoundError, match="'nope' in flags"):
        remove_item(document, "flags", "nope")
    with pytest.raises(DocumentError, match="there already"):
        add_item(document, "flags", "plain", {})
    with pytest.raises(DocumentError, match="no section 'flag'"):
        add_item(document, "flag", "x", {})
    for value in (float("nan"), {1: 2}, object(), "\ud800"):
        with pytest.raises(DocumentError):
            replace_item(document, "flags", "plain", {"a": value})


def test_flow_sections_become_block_sections_at_the_first_edit():
    """Each item keeps its writing and its comments; the page can say that it was reformatted."""
    text = "version: 1\nflags: {a: {x: 1}, # about a\n  b: {y: [1,\n 2]}} # all\n# end\n"
    edit = replace_item(parse(text), "flags", "a", {"x": 2})
    assert edit.reformatted
    assert edit.document.text == (
        "version: 1\nflags: # all\n  a: {x: 2}  # about a\n  b: {y: [1,\n    2]}\n# end\n"
    )


def test_json_becomes_block_style_at_the_first_edit():
    """A document in JSON can be edited, too; untouched items keep their braces."""
    document = parse('{"version":1,"flags":{"a":{"x":"y"},"b":{"z":[1,2]}}}')
    edit = add_item(document, "flags", "c", {"w": True}).document
    assert (
        edit.text
        == '"version": 1\n"flags":\n  "a": {"x":"y"}\n  "b": {"z":[1,2]}\n  c: {w: true}\n'
    )


@settings(max_examples=200)
@given(
    st.text() | st.sampled_from(["on", "null", "1.0", "-", "a: b", "a #b", " x", "x:", "[", "'"])
)
def test_any_text_can_be_written_and_read(text):
    """Quotes are put where they are needed; the rest stays plain."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    document = add_item(parse("version: 1\n"), "flags", "a", {"x": text, "y": [text, {text: 1}]})
    assert document.document.mapping["flags"]["a"] == {"x": text, "y": [text, {text: 1}]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("on", "on"), ("50%", "50%"), ("2027-03-01", "2027-03-01"), ("growth@example.com",) * 2,
        ("@example.com", '"@example.com"'), ("1.0", '"1.0"'), ("true", '"true"'), ("", '""'),
        ("https://example.com/a",) * 2, ("a: b", '"a: b"'), ("Green, since", '"Green, since"'),
        ("two words", "two words"), ("größe", "größe"), ("x\ny", '"x\\ny"'), ("- x", '"- x"'),
        (True, "true"), (None, "null"), (1.5, "1.5"), (1e100, "1e+100"), ("10:30", "10:30"),
    ],
)  # fmt: skip
def test_quotes_are_put_only_where_needed(value, written):
    """What is safe everywhere is plain."""
    assert scalar_text(value) == written


def test_an_edit_costs_the_item_not_the_document():
    """A hundred times as many flags make an edit of one less than ten times slower."""

    def cost(flags: int) -> float:
        item = SHOP[SHOP.index("  cta_color") : SHOP.index("  plain")]
        items = (item.replace("cta_color", f"flag_{number}") for number in range(flags))
        document = parse("flags:\n" + "".join(items))
        mapping = document.items["flags", "flag_1"].mapping
        replace_item(document, "flags", "flag_1", {**mapping, "owner": "x"})
        gc.collect()
        times = []
        for number in range(12):
            start = time.thread_time()
            replace_item(document, "flags", "flag_1", {**mapping, "owner": str(number)})
            times.append(time.thread_time() - start)
        return min(times)

    assert cost(500) < 10 * cost(5)

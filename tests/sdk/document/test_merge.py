"""Three-way merge by item: its laws on messy documents, and the cases that operation meets."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagloop.document.merge import ItemChange, item_diff, merge
from flagloop.document.schema import runtime_words, without_runtime
from flagloop.document.yamledit import add_item, put_item_text, remove_item, replace_item
from flagloop.document.yamlfile import DocumentText, Ref, parse
from flagloop.document.yamlwrite import same

BASE = """\
version: 1

segments:
  staff:
    when: {plan: staff}

flags:
  # Colour
  cta_color:
    variants: {control: blue, treatment: green}
    default: control
    rules:
      - {name: test, split: {control: 50%, treatment: 50%}}

  new_ranker:
    rules:
      - name: canary
        rollout: {to: on, stages: [1%, 5%, 100%]}

  plain: {default: on}
"""
KILLED = {"reason": "INC-77", "by": "ana", "at": "2027-03-01T02:13:00Z"}

laws = settings(max_examples=100, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32)


def changed(document: DocumentText, random: Random, another_value) -> tuple[DocumentText, set[Ref]]:
    """The document after one to three edits of items, and which items they touched."""
    touched = set()
    for _ in range(random.randint(1, 3)):
        refs = list(document.items)
        verb = random.randrange(5)
        if refs and verb < 3:
            ref = random.choice(refs)
            value = another_value(document.items[ref].mapping, random)
            document = replace_item(document, *ref, value).document
        elif refs and verb == 3:
            ref = random.choice(refs)
            document = remove_item(document, *ref).document
        else:
            ref = (random.choice(["segments", "flags"]), f"new_{random.randrange(3)}")
            value = {"x": random.randrange(9)}
            if ref in document.items:
                document = replace_item(document, *ref, value).document
            else:
                document = add_item(document, *ref, value).document
        touched.add(ref)
    return document, touched


def plain_items(document: DocumentText) -> dict[Ref, object]:
    """What the items mean, runtime words aside."""
    return {ref: without_runtime(ref[0], item.mapping) for ref, item in document.items.items()}


def with_item(document: DocumentText, key: str, **words) -> DocumentText:
    """The document with words of a flag set."""
    mapping = {**deepcopy(document.items["flags", key].mapping), **words}
    return replace_item(document, "flags", key, mapping).document


def at_stage(document: DocumentText, stage: str) -> DocumentText:
    """The document with the rollout of new_ranker at a stage."""
    mapping = deepcopy(document.items["flags", "new_ranker"].mapping)
    mapping["rules"][0]["rollout"]["stage"] = stage
    return replace_item(document, "flags", "new_ranker", mapping).document


@laws
@given(st.data(), seeds)
def test_a_change_on_one_side_is_that_side(messy, another_value, data, seed):
    """merge(b, m, b) means m; merge(b, b, t) is t, byte by byte."""
    base = parse(data.draw(messy).raw)
    side, _ = changed(base, Random(seed), another_value)
    mine = merge(base, side, base)
    assert not mine.conflicts
    assert same(sorted_items(mine.document), sorted_items(side))
    assert parse(mine.document.raw).mapping == mine.document.mapping
    theirs = merge(base, base, side)
    assert theirs.document.raw == side.raw
    assert (theirs.taken, theirs.removed, theirs.conflicts) == ((), (), ())


def sorted_items(document: DocumentText) -> list[object]:
    """The items' plain meaning in the order of their names."""
    return [[*ref, value] for ref, value in sorted(plain_items(document).items())]


@laws
@given(st.data(), seeds)
def test_edits_of_different_items_are_both_kept(messy, another_value, data, seed):
    """Disjoint edits merge without conflict; an overlapping one that differs applies nothing."""
    base = parse(data.draw(messy).raw)
    random = Random(seed)
    mine, my_refs = changed(base, random, another_value)
    theirs, their_refs = changed(base, random, another_value)
    merged = merge(base, mine, theirs)
    again = parse(merged.document.raw)
    assert again.chunks == merged.document.chunks
    assert same(again.mapping, merged.document.mapping)
    conflicts = {(one.section, one.key) for one in merged.conflicts}
    assert conflicts <= my_refs & their_refs
    if conflicts:
        assert merged.document is theirs
        assert (merged.taken, merged.removed) == ((), ())
        return
    expected, mines, others = plain_items(base), plain_items(mine), plain_items(theirs)
    got = plain_items(merged.document)
    for ref in {*expected, *my_refs, *their_refs} - (my_refs & their_refs):
        side = mines if ref in my_refs else others
        assert same(got.get(ref), side.get(ref))


@laws
@given(st.data(), seeds)
def test_runtime_words_stay_with_the_environment(messy, another_value, data, seed):
    """Whatever a push changes, an item that was there keeps its runtime words (where it can)."""
    base = parse(data.draw(messy).raw)
    random = Random(seed)
    mine, _ = changed(base, random, another_value)
    theirs = base
    for section, key in base.items:
        value = base.items[section, key].mapping
        if section == "flags" and isinstance(value, dict) and random.randrange(2):
            theirs = replace_item(theirs, section, key, {**value, "killed": KILLED}).document
    merged = merge(base, mine, theirs)
    assert not merged.conflicts
    for ref, item in merged.document.items.items():
        if ref[0] == "flags" and ref in theirs.items and isinstance(item.mapping, dict):
            there = runtime_words("flags", theirs.items[ref].mapping)
            assert item.mapping.get("killed") == there.get(("killed",))


def test_an_old_file_does_not_revive_a_killed_flag():
    """The push says which words it left alone."""
    base = parse(BASE)
    theirs = with_item(at_stage(base, "5%"), "cta_color", killed=KILLED)
    merged = merge(base, base, theirs)
    assert merged.document.raw == theirs.raw
    assert merged.ignored == (
        ("flags", "cta_color", ("killed",), None, KILLED),
        ("flags", "new_ranker", ("rules", "canary", "rollout", "stage"), None, "5%"),
    )
    assert (merged.taken, merged.kept, merged.removed) == ((), (), ())


def test_an_edit_of_a_killed_flag_is_taken_and_it_stays_killed():
    """A kill on the server is no change that conflicts with a file's edit."""
    base = parse(BASE)
    theirs = with_item(base, "cta_color", killed=KILLED)
    mine = with_item(base, "cta_color", default="treatment", owner="growth")
    merged = merge(base, mine, theirs)
    assert merged.taken == (("flags", "cta_color"),)
    flag = merged.document.mapping["flags"]["cta_color"]
    assert (flag["killed"], flag["default"], flag["owner"]) == (KILLED, "treatment", "growth")
    assert "  # Colour\n  cta_color:\n" in merged.document.text


def test_a_file_cannot_move_a_running_rollout():
    """A stage in the file is ignored and listed; with `state` it is applied."""
    base = parse(BASE)
    theirs, mine = at_stage(base, "5%"), at_stage(base, "100%")
    path = ("rules", "canary", "rollout", "stage")
    merged = merge(base, mine, theirs)
    assert merged.document.text == theirs.text
    assert merged.ignored == (("flags", "new_ranker", path, "100%", "5%"),)
    applied = merge(base, mine, theirs, state=True)
    assert applied.document.text == mine.text
    assert applied.taken == (("flags", "new_ranker"),)
    assert applied.ignored == ()


def test_a_renamed_rule_keeps_its_stage_with_its_salt():
    """With the old name as salt its units stay where they are, so the new name moves nobody."""
    base = parse(BASE)
    renamed = BASE.replace("name: canary", "name: wide\n        salt: canary")
    merged = merge(base, parse(renamed), at_stage(base, "25%"))
    rule = merged.document.items["flags", "new_ranker"].mapping["rules"][0]
    assert (rule["name"], rule["salt"], rule["rollout"]["stage"]) == ("wide", "canary", "25%")
    again = renamed.replace("name: wide", "name: wider")
    merged = merge(parse(renamed), parse(again), merged.document)
    rule = merged.document.items["flags", "new_ranker"].mapping["rules"][0]
    assert (rule["name"], rule["rollout"]["stage"]) == ("wider", "25%")
    other = merge(base, parse(BASE.replace("name: canary", "name: wide")), at_stage(base, "25%"))
    assert "stage" not in other.document.items["flags", "new_ranker"].mapping["rules"][0]["rollout"]


def test_state_revives_what_the_file_has_alive():
    """`state` gives items the runtime words of the file, also where it has none."""
    base = parse(BASE)
    theirs = with_item(base, "cta_color", killed=True)
    merged = merge(base, base, theirs, state=True)
    assert merged.document.text == BASE
    assert merged.taken == (("flags", "cta_color"),)


def test_a_new_flag_comes_with_its_runtime_words():
    """Only items that are there already keep theirs."""
    base = parse(BASE)
    mine = add_item(base, "flags", "fresh", {"killed": True, "default": "on"}).document
    merged = merge(base, mine, base)
    assert merged.document.raw == mine.raw
    assert merged.ignored == ()


def test_both_changed_one_item_differently():
    """All conflicts are listed with their three texts, and nothing is applied."""
    base = parse(BASE)
    mine = with_item(with_item(base, "cta_color", default="treatment"), "plain", owner="me")
    theirs = with_item(base, "cta_color", owner="them")
    merged = merge(base, mine, theirs)
    assert merged.document is theirs
    [conflict] = merged.conflicts
    assert (conflict.section, conflict.key) == ("flags", "cta_color")
    assert "default: treatment" in str(conflict.mine)
    assert "owner: them" in str(conflict.theirs)
    assert conflict.base == base.items["flags", "cta_color"].text
    assert merged.taken == ()


def test_the_same_change_on_both_sides_is_no_conflict():
    """Also when its writing differs: then the file's writing is taken."""
    base = parse(BASE)
    mine = put_item_text(base, "flags", "plain", "plain:\n  default: off  # reviewed\n").document
    theirs = with_item(base, "plain", default="off")
    merged = merge(base, mine, theirs)
    assert not merged.conflicts
    assert merged.document.raw == mine.raw


@pytest.mark.parametrize("killed", [False, True])
def test_what_the_file_dropped_is_removed(killed):
    """An item of the base that is missing in the file goes, and is listed; also a killed one."""
    base = parse(BASE)
    mine = remove_item(base, "flags", "cta_color").document
    theirs = with_item(base, "cta_color", killed=True) if killed else base
    merged = merge(base, mine, theirs)
    assert merged.removed == (("flags", "cta_color"),)
    assert merged.document.raw == mine.raw


def test_dropped_here_and_changed_there_is_a_conflict():
    """In both directions, with None for the side that dropped it."""
    base = parse(BASE)
    without = remove_item(base, "flags", "plain").document
    with_change = with_item(base, "plain", owner="x")
    assert merge(base, without, with_change).conflicts[0].mine is None
    assert merge(base, with_change, without).conflicts[0].theirs is None


def test_what_only_the_server_has_stays():
    """Items that the file never had are kept, at their place among the others."""
    base = parse(BASE)
    theirs = add_item(base, "flags", "fresh", {"default": "on"}, after="cta_color").document
    theirs = add_item(theirs, "experiments", "e", {"primary": "sign_up"}).document
    mine = parse(BASE.replace("default: control", "default: treatment") + "\n# the end\n")
    merged = merge(base, mine, theirs)
    assert set(merged.kept) == {("flags", "fresh"), ("experiments", "e")}
    assert list(merged.document.mapping["flags"]) == ["cta_color", "fresh", "new_ranker", "plain"]
    assert merged.document.text.endswith("\n# the end\n")
    assert "default: treatment" in merged.document.text


def test_without_a_base_what_differs_conflicts():
    """A first push to an environment that has other definitions of the same keys."""
    mine, theirs = parse(BASE), with_item(parse(BASE), "plain", default="off")
    assert [one.key for one in merge(None, mine, theirs).conflicts] == ["plain"]
    merged = merge(None, mine, parse("version: 1\nflags:\n  other: {}\n"))
    assert set(merged.document.items) == {*mine.items, ("flags", "other")}
    assert merged.kept == (("flags", "other"),)


def test_a_first_push_into_an_empty_document_is_the_file():
    """Byte by byte, with all comments."""
    empty = parse("version: 1\n")
    merged = merge(empty, parse("# shop\n" + BASE + "# end\n"), empty)
    assert merged.document.text == "# shop\n" + BASE + "# end\n"


def test_comments_between_items_merge_with_edits_of_items():
    """The file's new banner and the server's new share are both there."""
    base = parse(BASE)
    mine = parse(BASE.replace("flags:\n", "flags:\n\n  # --- sign-up ---\n\n"))
    theirs = with_item(base, "plain", default="off")
    merged = merge(base, mine, theirs)
    assert merged.document.text == mine.text.replace("{default: on}", "{default: off}")


def test_line_endings_alone_are_no_change():
    """A file that a checkout gave CRLF changes nothing on the server."""
    base = parse(BASE)
    theirs = with_item(base, "plain", default="off")
    merged = merge(base, parse(BASE.replace("\n", "\r\n")), theirs)
    assert merged.document.raw == theirs.raw
    assert merged.taken == ()


def test_layout_alone_is_no_conflict():
    """A file that was indented anew merges with an edit on the server."""
    base = parse(BASE)
    theirs = with_item(base, "plain", default="off")
    merged = merge(base, parse(BASE.replace("\n  ", "\n    ")), theirs)
    assert not merged.conflicts
    assert merged.document.mapping == theirs.mapping


def test_a_last_block_of_text_without_a_final_line_feed_merges():
    """What comes behind it makes `|-` of its `|`, which is no change of that item."""
    base = parse("flags:\n  a:\n    default: on\n    description: |  # why\n      some text")
    mine = add_item(base, "flags", "b", {"default": "on"}).document
    theirs = with_item(base, "a", default="off")
    assert "|-" in mine.items["flags", "a"].text
    merged = merge(base, mine, theirs)
    assert not merged.conflicts
    assert merged.document.mapping["flags"] == {
        "a": {"default": "off", "description": "some text"},
        "b": {"default": "on"},
    }


def test_top_level_words_merge_too():
    """They are listed as (word, "")."""
    base = parse(BASE)
    mine = add_item(base, "recording", "", {"attributes": ["plan"]}).document
    theirs = with_item(base, "plain", default="off")
    merged = merge(base, mine, theirs)
    assert merged.taken == (("recording", ""),)
    assert merged.document.mapping["recording"] == {"attributes": ["plan"]}
    assert merged.document.mapping["flags"]["plain"] == {"default": "off"}


def test_json_merges_with_edits_of_the_same_document_in_block_style():
    """A file in JSON stays mergeable after the server put it into block style."""
    base = parse('{"version": 1, "flags": {"a": {"x": 1}, "b": {"y": 2}}}')
    theirs = replace_item(base, "flags", "a", {"x": 5}).document
    mine = parse('{"version": 1, "flags": {"a": {"x": 1}, "b": {"y": 3}}}')
    merged = merge(base, mine, theirs)
    assert merged.document.mapping["flags"] == {"a": {"x": 5}, "b": {"y": 3}}


def test_item_diff_lists_what_differs():
    """Changed, new and gone items with their texts, in the order of the new text."""
    old = parse("flags:\n  a: {x: 1}\n  b: {}\n  c: {}\n")
    new = parse("version: 1\nflags:\n  a: {x: 2}\n  c: {}\n  d: {}\n")
    assert item_diff(old, new) == [
        ItemChange("version", "", None, "version: 1\n"),
        ItemChange("flags", "a", "  a: {x: 1}\n", "  a: {x: 2}\n"),
        ItemChange("flags", "d", None, "  d: {}\n"),
        ItemChange("flags", "b", "  b: {}\n", None),
    ]
    assert item_diff(old, old) == []


def test_what_theirs_once_had_is_no_conflict():
    """An item of mine that is as in `known` is kept as theirs; others conflict as ever."""
    base, known = (parse(f"version: 1\nflags:\n  a: {{x: {n}}}\n  b: {{}}\n") for n in (1, 2))
    theirs = parse("version: 1\nflags:\n  a: {x: 3}\n  b: {}\n")
    merged = merge(base, known, theirs, known=known)
    assert merged.kept == (("flags", "a"),)
    assert merged.document.text == theirs.text
    assert merge(base, known, theirs).conflicts
    assert merge(base, known, theirs, known=base).conflicts

"""Text -> meaning, lines and chunks; what is refused, and where."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagloop.document.problem import Problem
from flagloop.document.yamlfile import Chunk, DocumentText, examine, parse
from flagloop.errors import DocumentError

TEACHING = """\
# Flags of the shop

version: 1

# Who works here
segments:
  staff:
    when: {email: {ends_with: "@example.com"}}

flags: # the flags

  # ---- payments ----

  # Colour of the button,
  # since March
  cta_color:
    variants: {control: blue, treatment: green}
    default: control   # no rule served
    rules:
      - {name: staff, when: {segment: staff}, serve: treatment}
      - name: test
        split: {control: 50%, treatment: 50%}
      # a rule may follow

  new_checkout: {}

  # retired: old_banner
# the end
"""


def refused(text: str | bytes) -> Problem:
    """The only problem of a text."""
    with pytest.raises(DocumentError) as caught:
        parse(text)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_import_then_export_gives_the_same_bytes_and_the_meaning(messy, data):
    """However a document is written, it is read right and written back byte by byte."""
    raw, mapping = data.draw(messy)
    document = parse(raw)
    assert document.raw == raw
    assert "".join(chunk.text for chunk in document.chunks).encode() == raw
    assert all(chunk.text for chunk in document.chunks)
    assert document.mapping == mapping
    assert [*document.mapping] == [*mapping]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_document_is_rebuilt_from_its_chunks(messy, data):
    """What a store keeps (chunks and plain forms) is the whole document again."""
    raw, mapping = data.draw(messy)
    document = parse(raw)
    stored = {ref: item.mapping for ref, item in document.items.items()}
    again = DocumentText.from_chunks(document.chunks, stored)
    assert (again.raw, again.mapping) == (raw, mapping)
    assert again.items == document.items
    assert again.warnings == document.warnings


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_line_of_an_item_is_where_its_key_stands(messy, data):
    """`line` finds each item's key in the text, in every style."""
    document = parse(data.draw(messy).raw)
    lines = document.text.split("\n")
    for section, key in document.items:
        line = document.line((section, key))
        assert line is not None
        assert key in lines[line - 1]


def test_chunks_give_each_item_the_comments_that_belong_to_it():
    """Comments directly above and deeper ones below go with an item; others stand apart."""
    kinds = [(chunk.kind, chunk.key or chunk.section) for chunk in parse(TEACHING).chunks]
    assert kinds == [
        ("header", ""),
        ("entry", "version"),
        ("separator", ""),
        ("section", "segments"),
        ("item", "staff"),
        ("separator", ""),
        ("section", "flags"),
        ("item", "cta_color"),
        ("separator", ""),
        ("item", "new_checkout"),
        ("footer", ""),
    ]
    items = parse(TEACHING).items
    text = items["flags", "cta_color"].text
    assert text.startswith("  # Colour of the button,\n")
    assert text.endswith("      # a rule may follow\n")
    assert items["flags", "new_checkout"].text == "  new_checkout: {}\n"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("version",), 3),
        (("segments",), 6),
        (("segments", "staff", "when", "email", "ends_with"), 8),
        (("flags",), 10),
        (("flags", "cta_color"), 16),
        (("flags", "cta_color", "default"), 18),
        (("flags", "cta_color", "rules"), 19),
        (("flags", "cta_color", "rules", 0, "serve"), 20),
        (("flags", "cta_color", "rules", 1), 21),
        (("flags", "cta_color", "rules", "test", "split", "control"), 22),
        (("flags", "cta_color", "rules", 7, "when"), 19),
        (("flags", "cta_color", "nothing"), 16),
        (("flags", "nothing"), 10),
        (("nothing", "at all"), 1),
    ],
)
def test_line_of_a_path(path, line):
    """A path's line, or that of the nearest part that is there."""
    assert parse(TEACHING).line(path) == line


def test_locate_puts_problems_in_the_order_of_the_text():
    """Problems get their lines; one that has a line keeps it."""
    document = parse(TEACHING)
    found = document.locate(
        [Problem("b", ("flags",)), Problem("a", ("version",)), Problem("c", (), 5)]
    )
    assert [(problem.message, problem.line) for problem in found] == [("a", 3), ("c", 5), ("b", 10)]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True), ("True", True), ("TRUE", True), ("false", False), ("FALSE", False),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("NO", "NO"), ("y", "y"),
        ("null", None), ("~", None), ("", None), ("nULL", "nULL"),
        ("2027-03-01", "2027-03-01"), ("2027-03-01T10:00:00Z", "2027-03-01T10:00:00Z"),
        ("1_000", "1_000"), ("1:30", "1:30"), ("12", 12), ("-5", -5), ("0o17", 15), ("0x1F", 31),
        ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("25%", "25%"), ("2.3.0", "2.3.0"),
        ("0b1", "0b1"), ("+", "+"), (".", "."), ("=", "="), ("<<", "<<"),
        ("'1'", "1"), ('"true"', "true"), ("|\n  a\n  b\n", "a\nb\n"), (">-\n  a\n  b", "a b"),
    ],
)  # fmt: skip
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(written, value):
    """Only true and false are booleans, only JSON-like numbers are numbers; the rest is text."""
    got = parse(f"a: {written}").mapping["a"]
    assert got == value
    assert type(got) is type(value)


def test_keys_are_always_text():
    """`1`, `true` and `null` as keys are the texts that are written."""
    assert parse("{1: a, true: b, null: c, 1.10: d, <<: {e: f}}").mapping == {
        "1": "a", "true": "b", "null": "c", "1.10": "d", "<<": {"e": "f"},
    }  # fmt: skip


def test_a_number_that_would_not_print_as_written_warns():
    """`2.10` is the number 2.1: most who write it mean text."""
    warnings = parse("flags:\n  a:\n    v: [2.10, 2.5, '1.10']\n    w: 007\n").warnings
    assert [(one.line, one.path, one.severity) for one in warnings] == [
        (3, ("flags", "a", "v", 0), "warning"),
        (4, ("flags", "a", "w"), "warning"),
    ]
    assert "2.10 is the number 2.1" in warnings[0].render()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: &x 2", 2, "anchors"),
        ("a: 1\nb: *x", 2, "aliases"),
        ("a:\n  - !!str 1", 2, "tags"),
        ("a: ! x", 1, "tags"),
        ("a: 1\nb: 2\na: 3", 3, "'a' is there twice"),
        ("flags:\n  a: {x: 1,\n  x: 2}", 3, "'x' is there twice"),
        ("a: 1\n? b\n: 2", 2, "'b' has no ': value'"),
        ("a: {b, c: 1}", 1, "'b' has no ': value'"),
        ("a: 1\n? [b]\n: 2", 2, "key must be plain text"),
        ("a: 1\n{b: 1}: 2", 2, "key must be plain text"),
        ("a:\n  {? : 2}", 2, "a key is missing"),
        ("a: 1\n---\nb: 2", 2, "several documents"),
        ("%YAML 1.2\n---\na: 1", 1, "directives"),
        ("a: 1\nb: |+\n  x\n", 2, "keep chomping"),
        ("a: >2+ # c\n   x\n", 1, "keep chomping"),
        ("a:\n " + "[" * 32 + "]" * 32, 2, "deeper than 32"),
        ("[" * 200_000, 1, "deeper than 32"),
        ("a: 1\nb: .inf", 2, "no finite number"),
        ("a: -.INF", 1, "no finite number"),
        ("a: .nan", 1, "no finite number"),
        ("a: 1e999", 1, "too large"),
        ("a: " + "9" * 5000, 1, "over 4,300 digits"),
        ("a: 0x" + "f" * 4000, 1, "over 4,300 digits"),
        ("a: 1\nb: x\rc", 2, "carriage return"),
        ("a: 1\nb: x\u2028y", 2, "U+2028"),
        ("a: x\u0085", 1, "U+0085"),
        ("a: \x07", 1, "U+0007"),
        ("a: x\ufeffy", 1, "U+FEFF"),
        ("a: \ud800", 1, "U+D800"),
        (b"a: 1\nb: \xff", 2, "not UTF-8"),
        ("a: 1\nb: @x", 2, "cannot start any token"),
        ("a:\n\t- b", 2, "cannot start any token"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a: 'x", 1, "end of stream"),
        ("a: 1\n- b", 2, "expected"),
        ("- a", 1, "a document is a mapping"),
        ("text", 1, "a document is a mapping"),
        ('a: "\\ud83d"', 1, "invalid Unicode"),
    ],
)
def test_what_is_refused_with_its_line(text, line, words):
    """Each refusal names its line and says what is wrong."""
    problem = refused(text)
    assert words in problem.message
    assert problem.line == line


def test_sizes_are_limited():
    """A document may have 4 MB, an item 256 KB."""
    assert "4 MB" in refused("#" * (4 * 1024 * 1024 + 1)).message
    big = refused("version: 1\nflags:\n  a: {d: " + "x" * 256 * 1024 + "}\n")
    assert (big.line, big.path) == (3, ("flags", "a"))
    assert "256 KB" in big.message


def test_nesting_of_32_is_read():
    """The limit itself is allowed."""
    assert parse("a: " + "[" * 31 + "]" * 31).mapping["a"] == eval("[" * 31 + "]" * 31)


def test_examine_goes_on_behind_refusals_that_allow_it():
    """A key that is there twice does not hide the rest of the document."""
    document, problems = examine("version: 1\nflags:\n  a: {b: 1, b: 2}\n  c: .inf\n  d: {}\n")
    assert [problem.line for problem in problems] == [3, 4]
    assert document.mapping["flags"]["a"] == {"b": 1}
    assert document.mapping["flags"]["d"] == {}


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff", "--- # x\n...\n"]
)
def test_a_text_without_words_is_an_empty_document(text):
    """An empty file is a document that defines nothing."""
    document = parse(text)
    assert document.mapping == {}
    assert document.raw == text.encode()


def test_a_byte_order_mark_belongs_to_the_bytes_only():
    """`text` is without the mark, `raw` with it, lines do not count it."""
    document = parse(b"\xef\xbb\xbfversion: 1\nflags: {}\n")
    assert document.text == "version: 1\nflags: {}\n"
    assert document.raw.startswith(b"\xef\xbb\xbf")
    assert document.line(("flags",)) == 2
    assert document.chunks[0] == Chunk("header", "", "", "\ufeff")


def test_json_is_a_document_too():
    """JSON is YAML in flow style: read, cut into items, lines found."""
    document = parse('{"version": 1, "flags": {\n  "a": {"x": [1, 2]},\n  "b": {"x":1}\n}}')
    assert document.mapping == {"version": 1, "flags": {"a": {"x": [1, 2]}, "b": {"x": 1}}}
    assert document.items["flags", "b"].text == '"b": {"x":1}'
    assert document.line(("flags", "b", "x")) == 3


def test_spaces_of_a_block_scalar_stay_with_it():
    """White lines that are text of a literal do not leave its item."""
    text = "flags:\n  a: |\n    x\n      \n\n  b: 1\n"
    document = parse(text)
    assert document.mapping["flags"] == {"a": "x\n  \n", "b": 1}
    assert parse("flags:\n" + document.items["flags", "a"].text).mapping["flags"]["a"] == "x\n  \n"


def test_the_example_file_is_read_and_written_back(root):
    """The file that teaches every word goes through unchanged."""
    raw = (root / "flags.example.yaml").read_bytes()
    assert parse(raw).raw == raw


@pytest.mark.parametrize("text", ["a:\n\tb: 1\n", "a: 1\n\tb: 2\n", "a:\n  - x\n\t- y\n"])
def test_a_tab_in_the_indentation_is_named(text: str) -> None:
    """Nobody sees a tab, and libyaml speaks of a token: the hint says what to do."""
    with pytest.raises(DocumentError, match="indent with spaces, not tabs"):
        parse(text)

"""Item texts as people edit them."""

from __future__ import annotations

import pytest

from flagloop.document import yamledit
from flagloop.document.yamlfile import parse
from flagloop.errors import DocumentError
from flagloop_server.itemtext import dedented, key_of

DOCUMENT = """\
version: 1
flags:
    # above
    first:
        # inside
        description: |
            two

              lines
        rules: []   # behind

    second: {}
"""


def test_the_editor_begins_in_the_first_column() -> None:
    """The key and its comments stand at the left, the rest keeps its depth."""
    text = dedented(parse(DOCUMENT).items["flags", "first"].text)
    assert text.startswith("# above\nfirst:\n    # inside\n")
    assert "          lines\n" in text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_unchanged_text_put_back_changes_no_byte(newline: str) -> None:
    """Open and save, also through a browser's CRLF, gives the same file."""
    document = parse(DOCUMENT.replace("\n", newline))
    text = dedented(document.items["flags", "first"].text).replace("\r\n", "\n")
    edit = yamledit.put_item_text(document, "flags", "first", text)
    assert edit.document.raw == document.raw


def test_the_key_of_a_new_flag_is_read_from_its_text() -> None:
    """Exactly one key is needed; the message says what was found."""
    assert key_of("flags", "# about\nfresh:\n  description: x\n") == "fresh"
    for text in ("a: {}\nb: {}\n", "# nothing\n"):
        with pytest.raises(DocumentError):
            key_of("flags", text)

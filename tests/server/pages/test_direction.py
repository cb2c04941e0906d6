"""Text that would run backwards is shown as what it is."""

from __future__ import annotations

from flagloop_server.web.pages.direction import straight


def test_turning_characters_are_named_in_text_and_kept_in_what_forms_send() -> None:
    """The text of a page tells them; values and text areas hold them as they are."""
    page = "<p title='a\u202eb'>a\u202eb\u2066c</p><textarea name='t'>\nx\u202ey</textarea>\u2069"
    assert straight(page) == (
        "<p title='a\u202eb'>aU+202E bU+2066 c</p><textarea name='t'>\nx\u202ey</textarea>U+2069 "
    )


def test_a_page_without_them_is_the_same_object() -> None:
    """Right-to-left letters and marks are no such characters."""
    page = "<p>שלום\u200f (مرحبا)</p>"
    assert straight(page) is page

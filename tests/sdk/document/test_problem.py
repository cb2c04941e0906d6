"""How problems are told: their place in words, and the word that may have been meant."""

from __future__ import annotations

import time

import pytest

from flagloop.document.problem import did_you_mean, few_hints


@pytest.mark.parametrize("word", ["team_77_checkout_buton", "tam_77_checkout_button"])
def test_the_near_name_is_found_among_very_many(word: str) -> None:
    """Of thousands of names that are all alike the nearest is named."""
    known = [f"team_{n}_checkout_button" for n in range(5_000)]
    assert did_you_mean(word, known) == "did you mean 'team_77_checkout_button'?"


def test_no_hint_for_a_word_that_is_like_none() -> None:
    """A wrong guess would cost more than none."""
    assert did_you_mean("zzz", [f"team_{n}" for n in range(100)]) is None


def test_a_hint_costs_little_among_very_many_names() -> None:
    """An application may ask for it while it decides: comparing all names in full takes longer."""
    import difflib

    known = [f"team_{n}_checkout_button" for n in range(5_000)]
    began = time.thread_time()
    did_you_mean("team_77_checkout_buton", known)
    hint = time.thread_time()
    difflib.get_close_matches("team_77_checkout_buton", known, n=1)
    assert hint - began < (time.thread_time() - hint) / 3


def test_only_the_first_words_of_a_document_get_a_hint() -> None:
    """Within one look at a document the budget is one, however deep; afterwards there is none."""
    with few_hints(2):
        assert did_you_mean("shere", ["share"])
        with few_hints(100):
            assert did_you_mean("shere", ["share"])
            assert did_you_mean("shere", ["share"]) is None
        assert did_you_mean("shere", ["share"]) is None
    assert did_you_mean("shere", ["share"]) == "did you mean 'share'?"
    with few_hints(1):
        assert did_you_mean("shere", ["share"])

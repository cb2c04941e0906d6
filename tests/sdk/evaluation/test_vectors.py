"""The published vectors, through the SDK and through the reference interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flagloop.document.percent import parse_percent
from flagloop.evaluation.bucketing import (
    edge,
    experiment_salt,
    holdout_salt,
    layer_salt,
    position,
    seed,
    share_salt,
    split_salt,
    unit_of,
)
from flagloop.evaluation.operators import OPERATORS
from flagloop.evaluation.ruleset import Ruleset


def read(root: Path, name: str) -> Any:
    return json.loads((root / "tests" / "vectors" / name).read_text(encoding="utf-8"))


def test_seeds_and_positions(root: Path, reference_position: Any) -> None:
    """Each salt has its seed and each unit its position, hashed by mmh3 and in pure Python."""
    vectors = read(root, "bucketing.json")
    for row in vectors["seed"]:
        assert seed(row["salt"]) == row["seed"], row
    for row in vectors["position"]:
        assert position(row["salt"], row["unit"]) == row["position"], row
        assert reference_position(row["salt"], row["unit"]) == row["position"], row
    assert len(vectors["position"]) > 100


def test_edges(root: Path) -> None:
    """Each percentage has its edge; 0% and 100% are the ends."""
    rows = read(root, "bucketing.json")["edge"]
    found = {row["percent"]: edge(parse_percent(row["percent"])) for row in rows}
    assert found == {row["percent"]: row["edge"] for row in rows}
    assert found["0%"] == 0
    assert found["100%"] == 2**32


def test_units(root: Path) -> None:
    """What is bucketed for a value is its text or decimal, or it is missing."""
    for row in read(root, "bucketing.json")["unit"]:
        assert unit_of(row["value"]) == row["unit"], row


def test_salts(root: Path) -> None:
    """The salts are spelled as published."""
    assert read(root, "bucketing.json")["salts"] == {
        "split": split_salt("<flag salt>"),
        "experiment": experiment_salt("<experiment key>"),
        "share": share_salt("<flag salt>", "<rule salt>"),
        "layer": layer_salt("<layer key>"),
        "holdout": holdout_salt("<holdout key>"),
    }


def test_operators(root: Path, reference_test: Any) -> None:
    """Each operator gives the published answer, and so does the reference."""
    pytest.importorskip("re2", reason="matches needs the extra 'regex'")
    rows = read(root, "operators.json")["test"]
    for row in rows:
        constant = row["constant"]
        assert OPERATORS[row["operator"]](constant)(row["value"]) is row["holds"], row
        constant = tuple(constant) if isinstance(constant, list) else constant
        assert reference_test(row["operator"], row["value"], constant) is row["holds"], row
    assert {row["operator"] for row in rows} == set(OPERATORS)


def test_refused_constants(root: Path) -> None:
    """A constant that an operator cannot use is refused with what is wrong and the mend."""
    pytest.importorskip("re2", reason="matches needs the extra 'regex'")
    for row in read(root, "operators.json")["refused"]:
        with pytest.raises(ValueError, match=";"):
            OPERATORS[row["operator"]](row["constant"])


def test_evaluation(root: Path, reference: Any, as_outcome: Any) -> None:
    """Each case of the evaluation vectors decides as published, and so does the reference."""
    vectors = read(root, "evaluation.json")
    ruleset, naive = Ruleset(vectors["document"]), reference(vectors["document"])
    for case in vectors["cases"]:
        flag, context, now = case["flag"], case["context"], case["now"]
        decision = ruleset.evaluate(flag, context, now)
        found = decision.to_mapping()
        found.pop("message", None)
        assert found.pop("flag") == flag
        empty = {"rule": None, "variant": None, "value": None}
        assert found == {**empty, **case["expected"]}, case
        assert as_outcome(decision) == naive.evaluate(flag, context, now), case


def test_evaluation_vectors_cover_the_table(root: Path) -> None:
    """Every flag of the document is asked, and every reason and detail comes out somewhere."""
    vectors = read(root, "evaluation.json")
    expected = [case["expected"] for case in vectors["cases"]]
    assert {case["flag"] for case in vectors["cases"]} > set(vectors["document"]["flags"])
    reasons = {"STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED", "ERROR"}
    assert {one["reason"] for one in expected} == reasons
    details = {"rule", "experiment", "holdout", "prerequisite", "error", "missing_unit"}
    assert details <= {word for one in expected for word in one}

"""A document with a little of every section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flagloop.document.definition import Document
from flagloop.document.schema import read_document

SHOP: dict[str, Any] = {
    "version": 1,
    "segments": {
        "staff": {"when": {"email": {"ends_with": "@example.com"}}},
        "insiders": {"when": {"any": [{"segment": "staff"}, {"plan": "team"}]}},
        "nobody": {"when": {"plan": "none"}},
    },
    "layers": {"landing": {}, "empty": {"unit": "org"}},
    "holdouts": {"growth": {"share": "2%"}},
    "metrics": {
        "sign_up": {"event": "sign_up", "better": "higher"},
        "errors": {"event": "error", "better": "lower"},
        "revenue": {"event": "purchase", "sum": "amount", "better": "higher", "cap": "p99.9"},
        "slow": {
            "event": "page_view",
            "exceeds": {"property": "ms", "limit": 1200},
            "better": "lower",
        },
    },
    "experiments": {
        "colour": {
            "primary": "sign_up",
            "secondary": ["revenue"],
            "guardrails": ["errors"],
            "layer": {"name": "landing", "range": ["0%", "50%"]},
        },
        "image": {"status": "decided", "layer": {"name": "landing", "range": ["60%", "70%"]}},
        "words": {"status": "draft", "layer": {"name": "landing", "range": ["65%", "95%"]}},
    },
    "flags": {
        "cta": {
            "variants": {"control": "blue", "treatment": "green"},
            "default": "control",
            "holdout": "growth",
            "rules": [
                {"name": "team", "when": {"not": {"segment": "insiders"}}, "serve": "control"},
                {
                    "name": "test",
                    "experiment": "colour",
                    "split": {"control": "50%", "treatment": "50%"},
                },
            ],
        },
        "checkout": {
            "requires": {"cta": "treatment"},
            "rules": [
                {"name": "staff", "when": {"segment": "staff"}, "serve": "on"},
                {
                    "name": "canary",
                    "rollout": {"to": "on", "stages": ["5%"], "guardrails": ["errors"]},
                },
            ],
        },
    },
}


@pytest.fixture
def read() -> Callable[[dict[str, Any]], Document]:
    """The definitions of a mapping without problems."""

    def run(mapping: dict[str, Any]) -> Document:
        parsed, problems = read_document(mapping)
        assert problems == []
        return parsed

    return run


@pytest.fixture
def mapping() -> dict[str, Any]:
    """Two flags and what they use."""
    return SHOP


@pytest.fixture
def shop(read: Callable[[dict[str, Any]], Document], mapping: dict[str, Any]) -> Document:
    """Their definitions."""
    return read(mapping)

"""Whatever stands in an address: a page, or words about what is wrong, never a 500."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagloop_server.app import Application

PAGES = {
    "/environments/production/playground": (
        *("context", "key", "name", "value", "name", "value"),
        *("at", "revision", "flag", "q", "show", "start", "as"),
    ),
    "/environments/production/compare/development": ("show", "section", "q", "start"),
    "/environments/production/history": (
        *("item", "actor", "action", "since", "until", "before", "from", "to"),
    ),
    "/environments/production/reports/revert": ("number", "section", "key"),
    "/environments/production/reports/promote/production/flags/cta_color": ("with", "chosen"),
    "/audit": ("environment", "target", "actor", "action", "since", "until", "before"),
    "/reports/audit": ("head", "before"),
    "/reports/audit/export": ("format", "environment", "target", "actor", "since"),
}
WORDS = (
    *("0", "-1", "9" * 20, "1e9", "NaN", "1e400", "{", "[]", '{"key": [1]}', '{"a": {"b": 1}}'),
    *("null", "2026-11-23", "2026-11-23T08:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("9999-12-31T23:59:59-23:59", "[a", "{a: b", "!!x", "*a", "key", "flags.cta_color", "json"),
    *("changed", "differs", "csv", "\x00", "a" * 5_000, '{"key": "\\ud83d"}', "0x" + "f" * 4_000),
)
QUERIES = st.sampled_from(list(PAGES)).flatmap(
    lambda page: st.tuples(
        st.just(page),
        st.lists(
            st.tuples(st.sampled_from(PAGES[page]), st.sampled_from(WORDS) | st.text(max_size=9)),
            max_size=8,
        ),
    )
)


def test_no_address_makes_a_500(shop: Application, visit: Any) -> None:
    """The pages that take most words from their address, with wrong ones and many at once."""
    client = visit("admin", "*").client

    @given(QUERIES)
    @settings(
        max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    def ask(asked: tuple[str, list[tuple[str, str]]]) -> None:
        page, query = asked
        words = [(name, text.encode("utf-8", "replace")) for name, text in query]
        answer = client.get(f"{page}?{urlencode(words)}")
        assert answer.status_code in (200, 400, 403, 404), query
        assert answer.data or page.endswith("/export")  # streams are read to their end

    ask()
